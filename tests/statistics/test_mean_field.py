"""Many well-mixed agents follow the mean-field recursion, stray from it as far as chance allows, and with short steps meet the
differential equation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp

import lpm
from lpm import Calendar, World
from lpm.kernels import random
from lpm.worlds import seir, sir
from lpm.worlds.contacts import Contacts
from tests.references import mean_field

MIXED = Contacts("well_mixed")
DAYS = 100
INITIAL = 0.01


def sir_world(agents: int, step: float = 1.0) -> World:
    """With a step of so many days."""
    settings = sir.Settings(agents, MIXED, transmission=0.35 * step, infectious_days=8 / step, initial=INITIAL)
    return sir.build(settings, Calendar(DAYS))


def seir_world(agents: int, step: float = 1.0) -> World:
    settings = seir.Settings(agents, MIXED, 0.5 * step, 4 / step, 1.5 / step, 6 / step, 4 / step, initial=INITIAL)
    return seir.build(settings, Calendar(DAYS))


def phases(world: World, stage: str) -> int:
    return len(world.state.fixed["course"].kinds(stage))


def curves(world: World, realizations: int, days: int = DAYS, every: int = 1, together: bool = False) -> np.ndarray:
    """Fractions susceptible, (exposed,) infectious after each record: (realizations, records, 2 or 3)."""
    observe = tuple(o for o in world.observables if o.name in ("susceptible", "exposed", "infectious"))

    def one(r):
        key = random.key(20, r)
        return lpm.simulate(world.model, world.params, world.state, key, steps=days, observe=observe, every=every)[1]

    seen = jax.vmap(one)(jnp.arange(realizations)) if together else [jax.device_get(one(r)) for r in range(realizations)]
    names = [observable.name for observable in observe]
    if together:
        return np.stack([np.asarray(seen[name]) for name in names], -1) / world.agents
    return np.stack([np.stack([each[name] for name in names], -1) for each in seen]) / world.agents


def recursion(model: str) -> tuple[np.ndarray, np.ndarray]:
    """Means and n times covariances of the same fractions, by the recursion."""
    if model == "sir":
        return mean_field.sir(0.35, 8, INITIAL, DAYS)
    world = seir_world(100)
    latent, infectious = phases(world, "exposed"), phases(world, "infectious")
    assert (latent, infectious) == (3, 2), "the phases should be more than one each, and differ"
    mean, covariance = mean_field.seir(0.5, (4, latent), (6, infectious), INITIAL, DAYS)
    gather = np.zeros((3, mean.shape[1]))
    gather[0, 0] = gather[1, 1 : 1 + latent] = gather[2, 1 + latent :] = 1
    return mean @ gather.T, gather @ covariance @ gather.T


BUILD = {"sir": sir_world, "seir": seir_world}


@pytest.mark.parametrize("model", BUILD)
def test_a_million_well_mixed_agents_follow_the_recursion(model):
    """z of each fraction on each day, with the exact limit of its variance; by chance any is beyond the bound with p < 0.001."""
    realizations, agents = 3, 1_000_000
    mean, covariance = recursion(model)
    seen = curves(BUILD[model](agents), realizations).mean(0)
    error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2) / (agents * realizations))
    z = (seen - mean) / error
    assert np.abs(z).max() < stats.norm.isf(0.001 / 2 / z.size)
    assert error.max() < 0.001, "a wider error would see little"


@pytest.mark.parametrize("model", BUILD)
def test_well_mixed_agents_stray_from_the_recursion_as_far_as_chance_allows(model):
    """Squared distances in the metric of the limiting covariance are chi-squared; two-sided p = 0.001 on each of three days."""
    realizations, agents = 60, 20_000
    mean, covariance = recursion(model)
    seen = curves(BUILD[model](agents), realizations, together=True)
    for day in (15, 25, 50):
        deviation = seen[:, day] - mean[day]
        squared = np.einsum("ri,ij,rj->", deviation, np.linalg.inv(covariance[day] / agents), deviation)
        assert 0.0005 < stats.chi2.sf(squared, deviation.size) < 0.9995


@functools.cache
def equation(model: str, latent: int, infectious: int) -> np.ndarray:
    """The solution of the differential equation at each whole day, in the order of `curves`."""
    start = np.zeros(1 + latent + infectious)
    start[0], start[1 + latent] = 1 - INITIAL, INITIAL
    transmission, days = (0.35, 8.0) if model == "sir" else (0.5, 6.0)
    rates = mean_field.seir_rates(transmission, (4.0, latent) if latent else None, (days, infectious))
    times = np.arange(1, DAYS + 1)
    x = solve_ivp(rates, (0, DAYS), start, t_eval=times, rtol=1e-9, atol=1e-12).y.T
    stages = [x[:, 0]] + ([x[:, 1 : 1 + latent].sum(1)] if latent else []) + [x[:, 1 + latent :].sum(1)]
    return np.stack(stages, -1)


@pytest.mark.parametrize("model", BUILD)
def test_short_steps_lead_to_the_differential_equation(model):
    """The recursion's distance from the equation halves with the step, and a simulation with eight steps a day meets it within 0.01."""

    def distance(parts: int) -> float:
        if model == "sir":
            x = mean_field.sir(0.35 / parts, 8 * parts, INITIAL, DAYS * parts)[0]
            return np.abs(x[parts - 1 :: parts] - equation("sir", 0, 1)).max()
        x = mean_field.seir(0.5 / parts, (4 * parts, 3), (6 * parts, 2), INITIAL, DAYS * parts)[0][parts - 1 :: parts]
        x = np.stack([x[:, 0], x[:, 1:4].sum(1), x[:, 4:].sum(1)], -1)
        return np.abs(x - equation("seir", 3, 2)).max()

    assert 1.7 < distance(4) / distance(8) < 2.3
    parts, agents = 8, 200_000
    world = BUILD[model](agents, 1 / parts)
    chains = (0, 1) if model == "sir" else (phases(world, "exposed"), phases(world, "infectious"))
    seen = curves(world, 1, DAYS * parts, every=parts)[0]
    assert np.abs(seen - equation(model, *chains)).max() < 0.01


def test_the_noise_of_the_recursion_is_that_of_a_plain_simulation():
    """The reference's own check: its covariance against 4,000 draws in numpy; a variance's relative error is (2 / 4000)^(1/2)."""
    rng, n, days = np.random.default_rng(1), 50_000, 30
    susceptible = np.full(4000, n - n // 100)
    infectious = n - susceptible
    for _ in range(days):
        infected = rng.binomial(susceptible, 1 - np.exp(-0.35 * infectious / n))
        recovered = rng.binomial(infectious, 1 / 8)
        susceptible, infectious = susceptible - infected, infectious + infected - recovered
    mean, covariance = (values[-1] for values in mean_field.sir(0.35, 8, INITIAL, days))
    seen = np.stack([susceptible, infectious]) / n
    np.testing.assert_allclose(np.diag(np.cov(seen)) * n, np.diag(covariance), rtol=4 * np.sqrt(2 / 4000))
    np.testing.assert_allclose(seen.mean(1), mean, atol=1e-3)


def test_initial_cases_are_exactly_as_many_as_asked():
    world = dataclasses.replace(sir_world(10_007))
    for seed in range(5):
        start = world.model.init(world.params, world.state, lpm.key(seed))
        assert int((start.agents["stage"].value == sir.INFECTIOUS).sum()) == 100
