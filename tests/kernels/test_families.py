"""Ghosts in a group: how many they infect and when, against a stochastic epidemic in the group."""

from math import comb

import jax.numpy as jnp
import numpy as np
import pytest

from lpm.kernels import chains, families


def final_size(m, escapes):
    """Expected infections among m susceptible agents by one infectious agent (Ball 1986, Adv. Appl. Prob. 18, 289).

    `escapes(k)` is the probability that k given agents all escape one infectious agent.
    """
    chance = np.zeros(m + 1)
    for k in range(m + 1):
        earlier = sum(comb(m - w, k - w) * chance[w] / escapes(m - k) ** (w + 1) for w in range(k))
        chance[k] = (comb(m, k) - earlier) * escapes(m - k) ** (k + 1)
    return np.arange(m + 1) @ chance


def linear_epidemic(m, hazard, days, steps, latent_days=0.0, phases=1):
    """New infections of a root and its family in each step, as the numbers of `families` let them come."""
    start, left = families._shared(
        jnp.float32([m]),
        jnp.float32(1 - np.exp(-hazard)),
        jnp.float32(days),
        jnp.float32(latent_days),
        jnp.float32(phases),
        jnp.float32([0]),
    )
    start, root_left, left = (float(np.asarray(x)[0]) for x in (start, *left))
    q, passes, ends = 1 - np.exp(-hazard), phases / days, 1 / latent_days if latent_days else 1
    root, family, latent, born = np.eye(phases)[0], np.zeros(phases), 0.0, []
    for _ in range(steps):
        born.append(m * q * (root + family).sum())
        root, family = passed(root * root_left, passes), passed(family * left, passes)
        if latent_days:
            begin, latent = latent * ends, latent * (1 - ends) + start * born[-1]
        else:
            begin = start * born[-1]
        family[0] += begin
    return np.array(born)


def passed(each, share):
    """That share of what is in each phase goes on to the next, and out of the last."""
    return each * (1 - share) + np.concatenate([[0], each[:-1] * share])


def simulated_epidemics(m, hazard, days, steps, runs, latent_days=0.0, phases=1):
    """New infections in each step, mean over runs of a chain binomial."""
    rng = np.random.default_rng(0)
    susceptible, latent, born = np.full(runs, m), np.zeros(runs, int), []
    infectious = np.zeros((phases, runs), int)
    infectious[0] = 1
    for _ in range(steps):
        new = rng.binomial(susceptible, 1 - np.exp(-hazard * infectious.sum(0)))
        ending = rng.binomial(latent, 1 / latent_days) if latent_days else new
        passing = rng.binomial(infectious, phases / days)
        infectious = infectious - passing + np.concatenate([ending[None], passing[:-1]])
        susceptible, latent = susceptible - new, latent + new - ending
        born.append(new.mean())
    return np.array(born)


@pytest.mark.parametrize(("m", "contacts"), [(1, 1.0), (2, 2.0), (3, 1.0), (4, 3.0), (8, 1.5)])
def test_a_root_and_its_family_infect_as_many_as_an_epidemic_of_exponential_periods(m, contacts):
    days = 400.0  # a short step, so that it is a process in continuous time, to 1 / days
    hazard = contacts / m / days
    expected = final_size(m, lambda k: 1 / (1 + k * contacts / m))
    assert linear_epidemic(m, hazard, days, 40_000).sum() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("phases", "within"), [(2, 0.02), (4, 0.04)])
@pytest.mark.parametrize(("m", "contacts"), [(1, 1.0), (3, 1.0), (3, 30.0), (8, 1.5), (12, 3.0)])
def test_and_of_an_epidemic_whose_infectious_period_has_phases(m, contacts, phases, within):
    """Up to a third more than with an exponential one; what four phases make lies in a line with one and two."""
    days = 400.0
    expected = final_size(m, lambda k: (1 + k * contacts / (m * phases)) ** -phases)
    infected = linear_epidemic(m, contacts / m / days, days, 20_000, phases=phases).sum()
    assert infected == pytest.approx(expected, rel=within)


@pytest.mark.parametrize(("phases", "within"), [(1, 1e-4), (2, 1e-4), (4, 0.02)])
def test_a_sum_over_the_steps_of_an_infection_and_what_is_lost_in_each(phases, within):
    """Exact for one phase and two, and for more in a line by 1 / k."""
    lost, days = jnp.float32([1e-3, 0.01, 0.1, 0.3, 0.7, 0.95]), 7.0
    infectious, seen = np.eye(phases)[0], np.zeros(6)
    for t in range(400):
        seen += (1 - np.asarray(lost, float)) ** t * infectious.sum()
        infectious = passed(infectious, phases / days)
    about = jnp.float32(days), jnp.float32(phases)
    np.testing.assert_allclose(families._steps(lost, *about), seen, rtol=within)
    np.testing.assert_allclose(families._lost(jnp.asarray(seen, jnp.float32), *about), lost, atol=within)


@pytest.mark.parametrize(("latent_days", "phases"), [(0.0, 1), (5.0, 1), (0.0, 2), (5.0, 2), (5.0, 4)])
@pytest.mark.parametrize(("m", "contacts"), [(2, 3.0), (3, 2.0), (5, 2.0), (11, 3.0), (14, 1.5)])
def test_they_infect_as_early_as_an_epidemic(m, contacts, latent_days, phases):
    """The sum of exp(-r t) within 4 %, for a doubling in a fortnight or in five days, of 20,000 epidemics."""
    days, steps = 10.0, 300
    born = linear_epidemic(m, contacts / m / days, days, steps, latent_days, phases)
    found = simulated_epidemics(m, contacts / m / days, days, steps, 20_000, latent_days, phases)
    assert born.sum() == pytest.approx(found.sum(), rel=0.05)
    for rate in (0.05, 0.14):
        weights = np.exp(-rate * np.arange(steps))
        assert born @ weights == pytest.approx(found @ weights, rel=0.04)


def test_the_table_is_what_the_chains_give():
    sizes = np.array([1, 5])
    same = chains.computed(sizes) == chains.table()[:, :, sizes]
    assert same.mean() > 0.99  # where two fits are as good as each other, rounding decides


def test_nobody_is_infected_where_nobody_can_be():
    assert linear_epidemic(0, 0.1, 10.0, 50).sum() == 0
