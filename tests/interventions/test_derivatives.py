"""Dials of measures that reach the epidemic through numbers have the derivative that differences find."""

import functools
import re

import jax.numpy as jnp
import pytest

from lpm import Calendar
from lpm.entries import named_entries
from lpm.errors import InputError
from lpm.gradients import GradientCheck, check_gradient, jacobian
from lpm.interventions import Campaign, Interventions, Masks, Vaccination
from lpm.interventions.assemble import UNFOLLOWED
from lpm.worlds import city
from tests.interventions.town import IDLE, built

STEPS = 30
MASKS = "interventions.masks.efficacy"
VACCINE = "interventions.vaccination.against_infection"
DOSES = "interventions.vaccination.doses"


@functools.cache
def world() -> city.World:
    asked = Interventions(
        masks=(Masks(0.7, 2, efficacy=0.6),),
        vaccination=Vaccination((Campaign(8e5, 2),), against_infection=0.6, delay=2),
    )
    settings = city.Settings(
        people=city.People(agents=1000),
        transmission=city.Transmission(household=0.4, school=0.4, work=0.5, community=0.9),
        importation=(city.Importation(20_000, to=8),),
        interventions=asked,
    )
    return city.build(settings, Calendar(STEPS))


@functools.cache
def checked() -> GradientCheck:
    wanted = {"parameters": [MASKS, VACCINE, DOSES], "observables": ["infections"], "realizations": 28, "change": 0.1}
    return check_gradient(world(), steps=STEPS, **wanted)  # type: ignore[arg-type]


@pytest.mark.slow
def test_efficacies_meet_central_differences() -> None:
    """28 realizations with the same draws: each slope within 10 % of 1 and its error times 3.3 (p = 0.001)."""
    for each in checked().comparisons[:2]:
        assert each.error < 0.15, str(checked())
        assert abs(each.slope - 1) < 0.1 + 3.3 * each.error, str(checked())
        assert each.cosine > 0.9, str(checked())


@pytest.mark.slow
def test_numbers_of_doses_have_a_derivative_by_differences_alone() -> None:
    """Who is served is decided by counting, which no rule follows: its zero is told as a chain that is cut."""
    doses = checked().comparisons[2]
    assert doses.parameter == DOSES
    assert doses.verdict == "cut", str(checked())
    assert doses.slope == 0


def test_a_rule_refuses_what_it_would_call_zero() -> None:
    """Each dial that counting decides is refused by name; differences are not, and other dials are none the worse."""
    every = built(IDLE)
    dials = [f"interventions.{measure}.{dial}" for measure, dials in UNFOLLOWED.items() for dial in dials]
    entries = named_entries(every.params)
    assert set(dials) <= set(entries)
    for name in dials:
        along = {path: jnp.full_like(leaf, path == name) for path, leaf in entries.items()}
        direction = type(every.params)(**_nested(along))
        with pytest.raises(
            InputError, match=re.escape(f"asked for derivatives by 'cavity', got {name}, which decides")
        ):
            jacobian(every, {"dial": direction}, steps=2)
    with pytest.raises(InputError, match='write method="differences"'):
        jacobian(world(), [DOSES], steps=2, method="mean_field")
    assert jacobian(world(), [DOSES], steps=2, method="differences").parameters == (DOSES,)


@pytest.mark.slow
def test_where_no_parameters_are_named_those_are_left_out() -> None:
    found = jacobian(world(), steps=2, observables=["infections"]).parameters
    assert {MASKS, VACCINE} <= set(found)
    assert not world().cut(found)


def test_every_dial_is_followed_or_refused() -> None:
    """A new dial belongs to one of these lists: those here have a derivative, as docs/interventions.md says."""
    followed = {
        "orders": {"compliance", "effect", "days"},
        "masks": {"wearing", "efficacy", "days"},
        "shielding": {"contacts", "compliance", "days"},
        "travel": {"contacts", "replaced", "days"},
        "vaccination": {"against_infection", "against_disease", "half_life"},
        "testing": {"household"},
        "quarantine": {"household"},
    }
    every = built(IDLE)
    found = {measure: set(dials) for measure, dials in every.params.interventions.items()}
    assert found == {measure: followed.get(measure, set()) | set(UNFOLLOWED.get(measure, ())) for measure in found}


def _nested(entries: dict[str, jnp.ndarray]) -> dict:
    """Entries by path as the fields of the city's parameters."""
    found: dict = {}
    for path, leaf in entries.items():
        *parents, last = path.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = leaf
    found["disease"] = type(built(IDLE).params.disease)(**found["disease"])
    return found
