"""Many well-mixed agents follow the mean-field recursion, stray from it as chance has it, and meet the differential
equation when steps are short."""

import functools

import jax
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
    """With three phases of latency and two of infectiousness, whatever the step."""
    latent, infectious = ((m / step, np.sqrt(m / step * (m / step - k) / k)) for m, k in ((4, 3), (6, 2)))
    return seir.build(seir.Settings(agents, MIXED, 0.5 * step, *latent, *infectious, INITIAL), Calendar(DAYS))


def curves(world: World, realizations: int, days: int = DAYS, every: int = 1) -> np.ndarray:
    """Fractions susceptible, (exposed,) infectious after each record: (realizations, records, 2 or 3)."""
    observe = tuple(o for o in world.observables if o.name in ("susceptible", "exposed", "infectious"))
    found = []
    for realization in range(realizations):
        start = (world.model, world.params, world.state, random.key(20, realization))
        seen = lpm.simulate(*start, steps=days, observe=observe, every=every)[1]
        found.append(np.stack([np.asarray(seen[observable.name]) for observable in observe], -1))
    return np.stack(found) / world.agents


GATHER = {"sir": np.eye(2), "seir": np.array([[1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]])}


def recursion(model: str, parts: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Means and n times covariances of the same fractions, by the recursion, after each of `parts` steps a day."""
    steps = DAYS * parts
    if model == "sir":
        return mean_field.sir(0.35 / parts, 8 * parts, INITIAL, steps)
    mean, covariance = mean_field.seir(0.5 / parts, (4 * parts, 3), (6 * parts, 2), INITIAL, steps)
    return mean @ GATHER["seir"].T, GATHER["seir"] @ covariance @ GATHER["seir"].T


@pytest.mark.parametrize("step", [1, 1 / 8])
def test_the_seir_world_has_the_phases_that_the_recursion_takes(step):
    course = seir_world(100, step).state.fixed["course"]
    assert [len(course.kinds(stage)) for stage in ("exposed", "infectious")] == [3, 2]


BUILD = {"sir": sir_world, "seir": seir_world}


@pytest.mark.parametrize("model", BUILD)
def test_a_million_well_mixed_agents_follow_the_recursion(model):
    """z of each fraction on each day, its variance known; by chance any is beyond the bound with p < 0.001."""
    realizations, agents = 3, 1_000_000
    mean, covariance = recursion(model)
    seen = curves(BUILD[model](agents), realizations).mean(0)
    error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2) / (agents * realizations))
    later = slice(5, None)  # before, nobody has passed through all phases, and the limit has no variance
    z = ((seen - mean) / np.where(error > 0, error, 1))[later]
    assert np.abs(z).max() < stats.norm.isf(0.001 / 2 / z.size)
    assert 0 < error[later].min() < error.max() < 0.003, "a wider error would see little"


@pytest.mark.parametrize("model", BUILD)
def test_well_mixed_agents_stray_from_the_recursion_as_far_as_chance_allows(model):
    """Squared distances by the limiting covariance are chi-squared; two-sided p = 0.001 on each of three days."""
    realizations, agents = 60, 20_000
    mean, covariance = recursion(model)
    seen = curves(BUILD[model](agents), realizations)
    for day in (15, 25, 50):
        deviation = seen[:, day] - mean[day]
        squared = np.einsum("ri,ij,rj->", deviation, np.linalg.inv(covariance[day] / agents), deviation)
        assert 0.0005 < stats.chi2.sf(squared, deviation.size) < 0.9995


@functools.cache
def equation(model: str) -> np.ndarray:
    """The solution of the differential equation at each whole day, in the order of `curves`."""
    rates, start = mean_field.sir_rates(0.35, 8.0), [1 - INITIAL, INITIAL]
    if model == "seir":
        rates, start = mean_field.seir_rates(0.5, (4.0, 3), (6.0, 2)), [1 - INITIAL, 0, 0, 0, INITIAL, 0]
    x = solve_ivp(rates, (0, DAYS), start, t_eval=np.arange(1, DAYS + 1), rtol=1e-9, atol=1e-12).y.T
    return x @ GATHER[model].T


@pytest.mark.parametrize("model", BUILD)
def test_short_steps_lead_to_the_differential_equation(model):
    """The recursion's distance from the equation halves with the step; a simulation is no farther, but for chance.

    The bound allows for the deviation on the worst day with two-sided p = 0.001.
    """

    def distance(parts: int) -> float:
        return np.abs(recursion(model, parts)[0][parts - 1 :: parts] - equation(model)).max()

    assert 1.8 < distance(4) / distance(8) < 2.2
    parts, agents = 8, 500_000
    seen = curves(BUILD[model](agents, 1 / parts), 1, DAYS * parts, every=parts)[0]
    variance = np.diagonal(recursion(model, parts)[1], axis1=1, axis2=2).max()
    bound = distance(parts) + stats.norm.isf(0.001 / 2) * np.sqrt(variance / agents)
    assert np.abs(seen - equation(model)).max() < bound < 0.03


def test_the_noise_of_the_recursion_is_that_of_a_plain_simulation():
    """The reference against 4,000 draws in numpy: four times the relative error (2 / 4000)^(1/2) is allowed."""
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
    world = sir_world(10_007)
    init = jax.jit(world.model.init)
    for seed in range(5):
        start = init(world.params, world.state, lpm.key(seed))
        assert int((start.agents["stage"].value == sir.INFECTIOUS).sum()) == 100
