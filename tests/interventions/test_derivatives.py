"""Dials of measures that reach the epidemic through numbers have the derivative that differences find."""

import functools

from lpm import Calendar
from lpm.gradients import GradientCheck, check_gradient
from lpm.interventions import Campaign, Interventions, Masks, Vaccination
from lpm.worlds import city

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


def test_efficacies_meet_central_differences() -> None:
    """28 realizations with the same draws: each slope within 10 % of 1 and its error times 3.3 (p = 0.001)."""
    for each in checked().comparisons[:2]:
        assert each.error < 0.15, str(checked())
        assert abs(each.slope - 1) < 0.1 + 3.3 * each.error, str(checked())
        assert each.cosine > 0.9, str(checked())


def test_numbers_of_doses_have_a_derivative_by_differences_alone() -> None:
    """Who is served is decided by counting, which no rule follows: its zero is told as a chain that is cut."""
    doses = checked().comparisons[2]
    assert doses.parameter == DOSES
    assert doses.verdict == "cut", str(checked())
    assert doses.slope == 0
