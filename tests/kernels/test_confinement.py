"""Who is at home meets the household alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.kernels import confinement, contagion, groups, random, strata
from lpm.kernels.contagion import Infectious, Layer
from lpm.kernels.stages import Stages
from lpm.networks import groups as place_groups

N = 600
RNG = np.random.default_rng(5)
SIZE = np.repeat(3, N).astype(np.uint8)
POSITION = np.tile(np.arange(3, dtype=np.uint8), N // 3)
PLACE = RNG.integers(-1, 40, N)
REGION, BAND = np.repeat([0, 1], N // 2), RNG.integers(0, 2, N)
PEOPLE = np.array([[((r == REGION) & (b == BAND)).sum() for b in (0, 1)] for r in (0, 1)], np.float32)
AGES, REGIONS = np.array([[1.2, 0.4], [0.5, 0.8]], np.float32), np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
STAGE = RNG.choice(4, N, p=[0.6, 0.2, 0.1, 0.1]).astype(np.uint8)  # susceptible, infectious, less infectious, immune
SUSCEPTIBILITY = RNG.uniform(0.5, 1.5, N).astype(np.float32)
RATES = {"household": 0.3, "places": 0.4, "community": 0.5}
WEIGHT, OUTSIDE = 0.6, 0.01
WORD = np.asarray(random.words(random.key(2), jnp.arange(N, dtype=jnp.uint32))[0])


def layers() -> tuple[Layer, tuple[Layer, ...]]:
    places, _ = place_groups(PLACE, 40)
    mixing = strata.Mixing(
        strata.strata(REGION, BAND, 2, 2), jnp.asarray(AGES), jnp.asarray(REGIONS), jnp.asarray(PEOPLE)
    )
    rates = {name: jnp.float32(rate) for name, rate in RATES.items()}
    household = Layer(groups.households(POSITION, SIZE), rates["household"])
    return household, (
        Layer(places, jnp.full(places.size.shape, rates["places"])),
        Layer(mixing, rates["community"]),
    )


ABOUT = {
    "susceptible": 0,
    "infectious": (Infectious((1,)), Infectious((2,), jnp.float32(WEIGHT))),
    "susceptibility": jnp.asarray(SUSCEPTIBILITY),
    "outside": jnp.float32(OUTSIDE),
}


def infected(isolated: np.ndarray, quarantined: np.ndarray, gives: float, gets: float) -> np.ndarray:
    household, others = layers()
    confined = confinement.Confined(
        jnp.asarray(isolated, jnp.uint8), jnp.asarray(quarantined, jnp.uint8), jnp.float32(gives), jnp.float32(gets)
    )

    @jax.jit
    def drawn(confined: confinement.Confined) -> jax.Array:
        stages = Stages(jnp.asarray(STAGE), 4)
        return confinement.infections(WORD, stages, household, others, confined, **ABOUT).value

    return np.asarray(drawn(confined))


def reference(isolated: np.ndarray, quarantined: np.ndarray, gives: float, gets: float) -> np.ndarray:
    """The probability of each agent, from the formula, agent by agent."""
    weight = np.select([STAGE == 1, STAGE == 2], [1.0, WEIGHT], 0.0)
    away = (isolated | quarantined) == 0
    chance = np.zeros(N)
    prevalence = np.array([[weight[away & (r == REGION) & (b == BAND)].sum() for b in (0, 1)] for r in (0, 1)]) / PEOPLE
    met = REGIONS @ (prevalence @ AGES.T)
    for i in np.flatnonzero(STAGE == 0):
        home = np.arange(N) // 3 == i // 3
        rate = RATES["household"] / 2 * (weight * np.where(isolated == 1, gives, 1))[home].sum()
        hazard = rate * (gets if quarantined[i] else 1)
        if away[i]:
            there = (PLACE[i] == PLACE) & (PLACE >= 0)
            hazard += OUTSIDE + RATES["community"] * met[REGION[i], BAND[i]]
            hazard += RATES["places"] * weight[there & away].sum() / max(there.sum() - 1, 1)
        chance[i] = 1 - np.exp(-SUSCEPTIBILITY[i] * hazard)
    return chance


def flags(share: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(N) < share).astype(np.uint8)


def test_nobody_confined_is_plain_contagion_to_the_bit() -> None:
    household, others = layers()
    nobody = np.zeros(N, np.uint8)

    @jax.jit
    def plain() -> jax.Array:
        return contagion.infections(WORD, Stages(jnp.asarray(STAGE), 4), (household, *others), **ABOUT).value

    found = infected(nobody, nobody, 0.3, 2.0)
    assert found.sum() > 20
    np.testing.assert_array_equal(found, plain())


@pytest.mark.parametrize(("gives", "gets"), [(1.0, 1.0), (0.25, 2.0), (0.0, 0.5)])
def test_events_are_those_of_the_formula(gives: float, gets: float) -> None:
    isolated, quarantined = flags(0.3, 1), flags(0.3, 2)
    found, chance = infected(isolated, quarantined, gives, gets), reference(isolated, quarantined, gives, gets)
    uniform = (WORD >> 1) / 2**31
    clear = np.abs(uniform - chance) > 1e-5
    assert clear.sum() > 0.99 * N
    np.testing.assert_array_equal(found[clear], (uniform < chance)[clear])


def test_if_all_infectious_isolate_perfectly_only_the_outside_infects() -> None:
    isolated = np.isin(STAGE, (1, 2)).astype(np.uint8)
    found = infected(isolated, np.zeros(N, np.uint8), 0.0, 1.0)
    chance = np.where(STAGE == 0, 1 - np.exp(-SUSCEPTIBILITY * OUTSIDE), 0)
    np.testing.assert_array_equal(found, chance > (WORD >> 1) / 2**31)


def test_those_at_home_are_infected_by_nobody_outside() -> None:
    everybody = np.ones(N, np.uint8)
    assert infected(np.zeros(N, np.uint8), everybody, 1.0, 0.0).sum() == 0
