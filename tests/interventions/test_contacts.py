"""Orders, masks, shielding, travel limits and triggers change contacts as their formulas say, and on their days."""

import numpy as np
import pytest

from lpm.interventions import ORDERS, Masks, Order, Shielding, Travel, Trigger
from lpm.worlds.disease import BANDS
from lpm.worlds.schedule import LAYERS
from tests.interventions.town import IDLE, SHARE, STEPS, asked, baseline, built, seen

WITHIN = slice(5, 12)


def test_measures_in_force_together_multiply() -> None:
    found = seen(asked(orders=(Order("close_schools", 5, 11, compliance=0.8),), masks=(Masks(0.5, 8, efficacy=0.4),)))
    closed = 1 + 0.8 * (np.array(ORDERS["close_schools"]) - 1)
    masked = np.array([1, 0.8, 0.8, 0.8])
    expected = np.ones((STEPS, 4))
    expected[WITHIN] *= closed
    expected[8:] *= masked
    np.testing.assert_allclose(found["contacts"], expected, rtol=1e-6)
    assert (found["contacts"][:5] == 1).all()


def test_masks_are_worn_where_the_settings_say() -> None:
    found = seen(asked(masks=(Masks(1.0, 0, efficacy=1.0, work=False),)))["contacts"]
    np.testing.assert_array_equal(found, np.tile([1, 0, 1, 0], (STEPS, 1)))


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_has_the_contacts_of_its_source(order: str) -> None:
    found = seen(asked(orders=(Order(order, 5, 11),)))["contacts"]  # type: ignore[arg-type]
    assert LAYERS == ("household", "school", "work", "community")
    np.testing.assert_allclose(found[WITHIN], np.tile(ORDERS[order], (7, 1)), rtol=1e-6)
    assert (found[12:] == 1).all()


def test_the_shielded_meet_fewer_and_each_other_twice_as_few() -> None:
    found = seen(asked(shielding=(Shielding(("70-79", "80+"), 5, 11, contacts=0.2, compliance=0.5),)))
    factor = np.ones(len(BANDS))
    factor[7:] = 1 - 0.5 * 0.8
    usual = np.asarray(built(IDLE).state.fixed["community"].ages)
    np.testing.assert_allclose(found["community_ages"][6], usual * factor[:, None] * factor, rtol=1e-6)
    np.testing.assert_array_equal(found["community_ages"][12], usual)


@pytest.mark.parametrize("replaced", [0.0, 0.5, 1.0])
def test_contacts_cut_between_regions_are_replaced_at_home_or_not(replaced: float) -> None:
    travel = (Travel(0.1, 5, 11, regions=("Manhattan",), replaced=replaced),)
    found = seen(asked(travel=travel))["community_regions"]
    usual, manhattan = np.asarray(built(IDLE).state.fixed["community"].regions, np.float64), 2
    expected = usual.copy()
    for r in range(5):
        for s in range(5):
            if r != s and manhattan in (r, s):
                expected[r, s] = usual[r, s] * 0.1
                expected[r, r] += usual[r, s] * 0.9 * replaced
    np.testing.assert_allclose(found[6], expected, rtol=1e-5)
    np.testing.assert_array_equal(found[12], usual.astype(np.float32))
    if replaced == 1:
        np.testing.assert_allclose(found[6].sum(1), usual.sum(1), rtol=1e-5)


def test_closed_borders_without_replacement_infect_fewer() -> None:
    closed = seen(asked(travel=(Travel(0.0, replaced=0.0),)))
    assert closed["infections"].sum() < baseline()["infections"].sum()


@pytest.mark.parametrize("days", [1, 3])
def test_a_trigger_follows_what_is_observed(days: int) -> None:
    """Against a plain loop over the evenings before."""
    above, below = 40, 35
    trigger = Trigger("full", "hospitalised", above / SHARE, below / SHARE, days)
    found = seen(asked(orders=(Order("stay_at_home", 0, when="full"),), triggers=(trigger,)))
    evening = np.append(0, found["hospitalised"].sum((1, 2))[:-1])
    on, counted, expected = False, 0, []
    for value in evening:
        counted = counted + 1 if (value < below if on else value > above) else 0
        if counted == days:
            on, counted = not on, 0
        expected.append(on)
    np.testing.assert_array_equal(found["trigger_on"][:, 0], expected)
    assert 0 < np.sum(expected) < STEPS
    np.testing.assert_allclose(found["contacts"][:, 3], np.where(expected, 0.25, 1), rtol=1e-6)


def test_a_measure_waits_for_its_days_and_its_trigger() -> None:
    always = Trigger("always", "hospitalised", 0.0, 0.0, 1)
    found = seen(asked(orders=(Order("close_schools", 9, 15, when="always"),), triggers=(always,)))
    on = found["trigger_on"][:, 0] == 1
    dated = (np.arange(STEPS) >= 9) & (np.arange(STEPS) <= 15)
    assert (on & dated).any()
    np.testing.assert_allclose(found["contacts"][:, 1], np.where(on & dated, 0, 1), rtol=1e-6)
