"""Infections within households of two to five meet Reed and Frost's model.

Agents are infectious for exactly one day, one member of each household from the start, and in a household of n a
member escapes an infectious other with q = exp(-r / (n - 1)). Chi-squared tests have fixed seeds and fail by chance
with p = 0.001.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lpm
from lpm import Calendar, World, networks
from lpm.kernels.stages import Stages
from lpm.worlds import city, sir
from lpm.worlds.contacts import Contacts
from lpm.worlds.disease import Disease, Dwell
from tests.laws.worlds import STAGES
from tests.references.reed_frost import final_sizes

RATE = 0.8
SIZES = range(2, 6)


def compare(household: np.ndarray, infected: np.ndarray, rate: float) -> tuple[float, int]:
    """Chi-squared of final sizes over households of two to five, and its degrees of freedom.

    Args:
        household: (n,), the household of each agent.
        infected: (n,) bool, who was infected in the end, the first case included.
        rate: r.
    """
    members = np.bincount(household)
    others = np.bincount(household, weights=infected).astype(int) - 1
    total, freedom = 0.0, 0
    for size in SIZES:
        seen = np.bincount(others[members == size], minlength=size)
        expected = final_sizes(size - 1, np.exp(-rate / (size - 1))) * seen.sum()
        assert expected.min() > 20
        attack, asked = (
            (seen @ np.arange(size)) / seen.sum() / (size - 1),
            (expected @ np.arange(size)) / seen.sum() / (size - 1),
        )
        assert abs(attack - asked) < 0.02, (
            f"secondary attack rate {attack:.3f} in households of {size}, expected {asked:.3f}"
        )
        total += ((seen - expected) ** 2 / expected).sum()
        freedom += size - 1
    return total, freedom


def first_members(household: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One member of each household, (n,) bool: not always the first, so that each place is tried."""
    order = np.lexsort((rng.random(len(household)), household))
    chosen = np.zeros(len(household), bool)
    chosen[order[np.flatnonzero(np.diff(household[order], prepend=-1))]] = True
    return chosen


def graph_of(household: np.ndarray) -> networks.Edges:
    """Every pair within a household."""
    source, target = [], []
    for apart in range(1, max(SIZES)):
        pairs = np.flatnonzero(household[apart:] == household[:-apart])
        source.append(pairs)
        target.append(pairs + apart)
    return networks.Edges(len(household), np.concatenate(source), np.concatenate(target))


def one_day_world(household: np.ndarray, network, rate: float) -> World:
    """SIR with an infectious time of one day over the network given, one infectious agent in each household."""
    n = len(household)
    world = sir.build(sir.Settings(n, Contacts("well_mixed"), transmission=rate, infectious_days=1), Calendar(6))
    stages = Stages(jnp.asarray(first_members(household, np.random.default_rng(5)).astype(np.uint8)), 3)
    state = dataclasses.replace(world.state, fixed=world.state.fixed | {"contacts": network}).replace(stage=stages)
    return dataclasses.replace(world, state=state, model=dataclasses.replace(world.model, start=None))


def infected(world: World, steps: int) -> np.ndarray:
    """Who is no longer susceptible in the end, when nobody is infectious any more."""
    start = (world.model, world.params, world.state, lpm.key(8))
    state, seen = lpm.simulate(*start, steps=steps, observe=(STAGES,), start=False)
    stages = np.asarray(seen["stages"])
    np.testing.assert_array_equal(stages[-1], stages[-2])
    return np.asarray(state.agents["stage"].value) > 0


@pytest.mark.parametrize("kind", ["households", "groups"])
def test_final_sizes_in_households_meet_reed_frost(kind):
    sizes = np.random.default_rng(2).integers(2, 6, 20_000)
    household = np.repeat(np.arange(len(sizes)), sizes)
    network = networks.households(household) if kind == "households" else networks.groups(household, len(sizes))[0]
    total, freedom = compare(household, infected(one_day_world(household, network, RATE), 6), RATE)
    assert total < stats.chi2.isf(0.001, freedom)


def test_final_sizes_in_small_cliques_of_a_graph_meet_reed_frost():
    """On a graph the rate is per contact, so each size is a world of its own."""
    household = np.repeat(np.arange(10_000), 4)
    network, order = networks.graph(graph_of(household))
    standing = household[order]
    everybody = infected(one_day_world(standing, network, RATE / 3), 6)
    others = np.bincount(standing, weights=everybody).astype(int) - 1
    expected = final_sizes(3, np.exp(-RATE / 3)) * 10_000
    assert stats.chisquare(np.bincount(others, minlength=4), expected).pvalue > 0.001


def test_final_sizes_in_the_citys_households_meet_reed_frost():
    """The shipped city with its own households; one infectious day without symptoms, contacts at home alone."""
    day = Dwell(1.0, 0.0)
    disease = Disease(
        exposed=day, asymptomatic=day, symptoms=(0.0,) * 9, susceptibility=(1.0,) * 9, asymptomatic_infectiousness=0.5
    )
    settings = city.Settings(
        city.People(agents=60_000),
        transmission=city.Transmission(household=2 * RATE, school=0.0, work=0.0, community=0.0),
        importation=(),
        disease=disease,
    )
    who = city.population(settings.people)
    household = np.cumsum(who.position == 0) - 1
    world = city.build(settings, Calendar(24))
    line = world.state.fixed["course"]
    assert line.kinds("exposed") == (1,)
    assert len(line.kinds("asymptomatic")) == 1
    first = first_members(household, np.random.default_rng(6))
    stages = Stages(jnp.asarray(np.where(first, line.first("exposed"), 0).astype(np.uint8)), line.size)
    world = dataclasses.replace(world, state=world.state.replace(stage=stages))
    everybody = infected(world, 24)
    total, freedom = compare(household, everybody, RATE)
    assert total < stats.chi2.isf(0.001, freedom)


def test_the_chain_of_the_reference_sums_to_one_and_meets_simple_cases():
    for others in range(1, 6):
        for escape in (0.0, 0.3, 0.9, 1.0):
            sizes = final_sizes(others, escape)
            assert abs(sizes.sum() - 1) < 1e-12
            assert (sizes > -1e-12).all()
    q = 0.7  # two others: none; one, who then spares the third; the rest
    np.testing.assert_allclose(final_sizes(2, q), [q**2, 2 * (1 - q) * q * q, 1 - q**2 - 2 * (1 - q) * q**2])
