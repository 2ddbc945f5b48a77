"""The model of configs/sir-million.yaml against plain numpy on the same graph, with other random numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lpm
from lpm import config, networks
from lpm.kernels import random
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts
from tests.references import graph_epidemic


@functools.cache
def graph(agents: int, degree: float, seed: int) -> networks.Edges:
    return networks.erdos_renyi(agents, degree, seed=seed)


def reference(settings: sir.Settings, days: int, realizations: int) -> np.ndarray:
    """Daily incidence, (realizations, days)."""
    edges = graph(settings.agents, settings.contacts.mean_degree, settings.contacts.seed)
    found = [
        graph_epidemic.sir(
            edges.source,
            edges.target,
            settings.agents,
            infection=1 - np.exp(-settings.transmission),
            recovery=1 / settings.infectious_days,
            initial=round(settings.initial * settings.agents),
            days=days,
            rng=np.random.default_rng([2026, r]),
        )
        for r in range(realizations)
    ]
    return np.array(found)


def simulated(settings: sir.Settings, days: int, realizations: int, together: bool = True) -> np.ndarray:
    """The same by lpm."""
    world = sir.build(settings, lpm.Calendar(days))

    def one(r):
        start = (world.model, world.params, world.state, random.key(9, r))
        return lpm.simulate(*start, steps=days, observe=world.observables[:1])[1]["incidence"]

    if together:
        return np.asarray(jax.lax.map(one, jnp.arange(realizations)))
    return np.stack([np.asarray(one(r)) for r in range(realizations)])


def assert_alike(one: np.ndarray, other: np.ndarray) -> None:
    """Welch's t-tests of the incidence of each five days and of the final size; by chance any fails with p < 0.001."""
    total = [values.sum(1, keepdims=True) for values in (one, other)]
    parts = [values.reshape(len(values), -1, 5).sum(2) for values in (one, other)]
    pairs = [np.concatenate(pair, axis=1) for pair in zip(total, parts, strict=True)]
    p = stats.ttest_ind(*pairs, equal_var=False).pvalue
    assert p.min() > 0.001 / len(p), p


@pytest.mark.parametrize(("agents", "realizations"), [(50_000, 8), pytest.param(1_000_000, 6, marks=pytest.mark.slow)])
def test_the_million_agents_of_the_config_meet_the_reference(agents, realizations):
    settings = config.load("sir-million", [f"settings.agents={agents}"]).settings
    assert isinstance(settings, sir.Settings)
    one = simulated(settings, 100, realizations, together=agents < 100_000)
    other = reference(settings, 100, realizations)
    assert_alike(one, other)
    assert one.sum(1).std() < 0.01 * one.sum(1).mean(), "a wider spread would see little"


SMALL = sir.Settings(500, Contacts("erdos_renyi", 6, seed=4), transmission=0.06, infectious_days=5, initial=0.02)


@functools.cache
def small() -> tuple[np.ndarray, np.ndarray]:
    return simulated(SMALL, 100, 400), reference(SMALL, 100, 1000)


def test_realizations_spread_as_widely_as_independent_ones():
    """Final sizes of 400 realizations: variance by Levene, distribution by Kolmogorov and Smirnov, p = 0.001 each."""
    one, other = (incidence.sum(1) for incidence in small())
    assert stats.levene(one, other).pvalue > 0.001
    assert stats.ks_2samp(one, other).pvalue > 0.001
    assert_alike(*small())


def test_realizations_are_not_correlated():
    """The correlation of r of n independent pairs is normal with variance 1 / n; p = 0.001 each of three lags."""
    final = small()[0].sum(1).astype(float)
    for lag in (1, 2, 200):
        r = stats.pearsonr(final[:-lag], final[lag:]).statistic
        assert abs(r) < stats.norm.isf(0.0005) / np.sqrt(len(final) - lag)


def test_a_biased_simulator_would_be_found():
    """The test's own power: transmission five in a hundred too high."""
    biased = sir.Settings(50_000, Contacts("erdos_renyi", 10, seed=0), 0.0304592 * 1.05, 10, 0.01)
    plain = sir.Settings(50_000, Contacts("erdos_renyi", 10, seed=0), 0.0304592, 10, 0.01)
    with pytest.raises(AssertionError):
        assert_alike(simulated(biased, 100, 8), simulated(plain, 100, 8))
