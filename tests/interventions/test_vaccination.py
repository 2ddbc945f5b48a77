"""Doses: exactly as many as there are, in their order, and what they protect from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm.interventions import Campaign, Vaccination, vaccination
from lpm.worlds.disease import BANDS
from tests.interventions.town import ACTIVE, BEGINS, IDLE, SHARE, asked, baseline, built, seen

ORDERED = Vaccination(
    (
        Campaign(25.7 / SHARE, 3, 20, ages=("80+", "70-79", "20-29"), regions=("Queens", "Bronx")),
        Campaign(9 / SHARE, 8),
    ),
    uptake=0.8,
    delay=3,
    half_life=60.0,
)


def ordered() -> dict[str, np.ndarray]:
    return seen(asked(vaccination=ORDERED))


def doses(found: dict[str, np.ndarray]) -> np.ndarray:
    return found["doses"].sum((1, 2))


def test_doses_used_are_doses_given() -> None:
    for found in (ordered(), seen(asked(**ACTIVE["vaccination"]))):
        vaccinated = (found["dosed_of_each"] > 0).sum(1)
        np.testing.assert_array_equal(doses(found).cumsum(), vaccinated)
        assert (np.diff(found["dosed_of_each"].astype(int), axis=0)[found["dosed_of_each"][:-1] > 0] == 0).all()


def test_doses_are_those_that_arrived_until_nobody_is_left() -> None:
    """Nobody asked twice: 300 a day, until all who accept one have it; what is left over is given to nobody."""
    found = doses(seen(asked(**ACTIVE["vaccination"])))
    assert found[:BEGINS].sum() == 0
    assert (found[BEGINS : BEGINS + 7] == 300).all()
    total = found.sum()
    assert 0.75 * 3001 < total < 0.85 * 3001
    assert (found[-3:] < 10).all()


def test_fractions_of_doses_are_kept_for_the_next_day() -> None:
    few = Vaccination((Campaign(0.4 / SHARE),), delay=3, half_life=60.0)
    np.testing.assert_array_equal(doses(seen(asked(vaccination=few)))[:10], [0, 0, 1, 0, 1, 0, 0, 1, 0, 1])


def test_doses_follow_the_order_of_priority() -> None:
    """On each day nobody is served whose class comes after one in which somebody still waits."""
    world, found = built(asked(vaccination=ORDERED)), ordered()
    fixed = world.state.fixed
    region = np.searchsorted(fixed["community"].strata.bounds, np.arange(world.agents), side="right") - 1
    band, course = np.asarray(fixed["band"]), fixed["course"]
    classes = vaccination.priorities(ORDERED.campaigns, world.coords["region"], BANDS)[0][region, band]
    away = np.isin(found["stages"], course.kinds("hospitalised", "critical", "dead"))
    last = found["dosed_of_each"][-1]
    for day in range(3, 8):  # when there is one campaign
        served = found["dosed_of_each"][day] == day + 1
        assert served.sum() in (25, 26)
        # Those who have a dose at the end accept one.
        waits = (last > day + 1) & ~away[day]
        assert classes[served].max() < vaccination.NOT_SERVED
        assert classes[served].max() <= classes[waits].min(initial=vaccination.NOT_SERVED)
    assert len(np.unique(classes[(last > 3) & (last <= 8)])) > 1


def test_a_dose_is_given_to_no_one_else() -> None:
    only = Vaccination((Campaign(1e9, ages=("60-69",), regions=("Bronx",)),), uptake=1.0, delay=3, half_life=60.0)
    found = seen(asked(vaccination=only))["doses"].sum(0)
    assert found[0, BANDS.index("60-69")] > 10
    assert found.sum() == found[0, BANDS.index("60-69")]


def test_more_doses_reach_the_same_people_and_others() -> None:
    some, more = (
        seen(asked(vaccination=Vaccination((Campaign(rate / SHARE),), delay=30, half_life=60.0)))["dosed_of_each"]
        for rate in (10, 11)
    )
    np.testing.assert_array_equal(some[0] > 0, (more[0] > 0) & (some[0] > 0))
    assert ((more[-1] > 0) >= (some[-1] > 0)).mean() > 0.999  # but for those in hospital when their turn comes


def test_the_perfectly_vaccinated_are_never_infected() -> None:
    perfect = Vaccination((Campaign(1e9, BEGINS),), uptake=1.0, against_infection=1.0, delay=0, half_life=1e9)
    found = seen(asked(vaccination=perfect))
    assert found["infections"][:BEGINS].sum() > 100
    assert found["infections"][BEGINS:].sum() == 0
    assert baseline()["infections"][BEGINS:].sum() > 100


def test_the_perfectly_protected_have_no_symptoms() -> None:
    mild = Vaccination((Campaign(1e9),), uptake=1.0, against_infection=0.0, against_disease=1.0, delay=0, half_life=1e9)
    found = seen(asked(vaccination=mild))
    assert found["infections"].sum() > 500
    for name in ("onsets", "admissions", "deaths"):
        assert found[name].sum() == 0
        assert baseline()[name].sum() > 0


def test_without_effect_a_vaccine_changes_no_epidemic() -> None:
    useless = Vaccination((Campaign(1e9),), against_infection=0.0, against_disease=0.0, delay=0, half_life=60.0)
    found = seen(asked(vaccination=useless))
    assert found["doses"].sum() > 1000
    np.testing.assert_array_equal(found["stages"], baseline()["stages"])


@pytest.mark.parametrize("half_life", [None, 20.0])
def test_protection_begins_after_its_delay_and_halves(half_life: float | None) -> None:
    world = built(asked(vaccination=dataclasses.replace(ORDERED, half_life=half_life)))
    dosed = jnp.asarray(np.arange(world.agents) % 60, jnp.uint16)  # day of the dose, plus one
    state = dataclasses.replace(world.state.replace(dosed=dosed), step=jnp.int32(50))
    found = np.asarray(vaccination.relative_susceptibility(world.params, state))
    days = 50 - (np.arange(world.agents) % 60 - 1.0) - 3
    left = 1.0 if half_life is None else 0.5 ** (days / half_life)
    expected = np.where((dosed > 0) & (days >= 0), 1 - 0.92 * left, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    fork, band = jnp.full((4, 9), 0.5), state.fixed["band"]
    table, column = vaccination.forks(world.params, state, fork, band)
    chance = np.asarray(table)[:, np.asarray(column)]
    middle = 1.0 if half_life is None else 0.5 ** ((days // 14 * 14 + 7) / half_life)
    np.testing.assert_allclose(chance[0], 0.5 * np.where((dosed > 0) & (days >= 0), 1 - 0.25 * middle, 1), rtol=1e-5)
    np.testing.assert_array_equal(chance[1:], 0.5)


def test_the_day_of_a_dose_does_not_depend_on_how_long_the_run_is() -> None:
    """So that a branch may be longer than its parent; more days are told apart than a byte counts."""
    world = built(asked(vaccination=ORDERED))
    late = dataclasses.replace(world.state, step=jnp.int32(699))
    dosed = jax.jit(vaccination.vaccinate)(world.params, late, lpm.key(1))[0].agents["dosed"]
    assert set(np.unique(dosed)) == {0, 700}
    after = dataclasses.replace(late.replace(dosed=dosed), step=jnp.int32(750))
    np.testing.assert_array_equal(vaccination.days_protected(after), np.where(np.asarray(dosed) > 0, 750 - 699 - 3, -1))


def test_doses_given_out_are_the_reference() -> None:
    """By sorting, class by class, for any number of doses."""
    world = built(IDLE)
    state, rng = world.state, np.random.default_rng(6)
    order = rng.choice(np.array([0, 1, 2, 255], np.uint8), (5, 9))
    eligible = (rng.random(world.agents) < 0.7).astype(np.uint8)
    words = tuple(jnp.asarray(rng.integers(0, 2**32, world.agents, dtype=np.uint32)) for _ in range(2))
    region = np.searchsorted(state.fixed["community"].strata.bounds, np.arange(world.agents), side="right") - 1
    classes = order[region, np.asarray(state.fixed["band"])]
    who = np.flatnonzero(eligible & (classes < 255))
    queue = who[np.lexsort((np.asarray(words[1])[who], np.asarray(words[0])[who], classes[who]))]
    given_out = jax.jit(
        lambda count: vaccination.given_out(words, jnp.asarray(eligible), jnp.asarray(order), count, state)
    )
    for count in (0, 1, 400, 901, len(who), len(who) + 50):
        expected = np.zeros(world.agents, np.uint8)
        expected[queue[:count]] = 1
        np.testing.assert_array_equal(given_out(jnp.int32(count)), expected)
