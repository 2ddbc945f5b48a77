"""Known parameters of small epidemics are found again."""

import numpy as np
import pytest

from lpm import calibration
from lpm.calibration import Parameter, Prior
from lpm.series import Series
from lpm.settings import Calendar
from lpm.worlds import seir, sir
from lpm.worlds.contacts import Contacts

WELL_MIXED = Contacts("well_mixed")
INITIAL = Parameter("initial", ("initial",), 1e-3, 0.2, Prior("lognormal", 0.02, 0.02))
TRANSMISSION = Parameter("transmission", ("transmission",), 0.05, 3, Prior("lognormal", 0.6, 0.3))
INFECTIOUS = Parameter("infectious_days", ("infectious_days",), 1.5, 30, Prior("lognormal", 8, 5))
LATENT = Parameter("latent_days", ("latent_days",), 1, 12, Prior("lognormal", 4, 2))


def blank(world: object, calendar: Calendar, *free: Parameter) -> calibration.Problem:
    series = Series("incidence", tuple(range(calendar.steps)), np.zeros(calendar.steps))
    stream = calibration.stream(world, calendar, series, likelihood="poisson")  # type: ignore[arg-type]
    return calibration.Problem(world, calendar, free, (stream,))  # type: ignore[arg-type]


def z_of(problem: calibration.Problem, *values: float) -> np.ndarray:
    from lpm.calibration.parameters import inverse

    return np.array([inverse(each, value) for each, value in zip(problem.parameters, values, strict=True)])


def test_an_sir_epidemic_is_found_again() -> None:
    """10,000 agents, one epidemic, three unknowns: R0 within 8 %, each within 3.5 posterior deviations (p = 0.002)."""
    calendar = Calendar(45)
    world = sir.build(sir.Settings(agents=10_000, contacts=WELL_MIXED), calendar)
    problem = blank(world, calendar, TRANSMISSION, INFECTIOUS, INITIAL)
    found = calibration.recover(problem, z_of(problem, 0.5, 5, 0.02)[None], (1.0,), realizations=12, starts=1, seed=2)
    assert not found.failed
    assert (np.abs(found.error) < 3.5).all(), str(found)
    assert found.estimate[0, 0] * found.estimate[0, 1] == pytest.approx(2.5, rel=0.08)


@pytest.mark.slow
def test_seir_epidemics_are_found_again_with_honest_intervals() -> None:
    """20,000 agents, 5 epidemics, 4 unknowns: medians within 25 %; of 20 intervals of 90 %, at least 14 (p = 0.002)."""
    calendar = Calendar(60)
    world = seir.build(seir.Settings(agents=20_000, contacts=WELL_MIXED), calendar)
    problem = blank(world, calendar, TRANSMISSION, LATENT, INFECTIOUS, INITIAL)
    truth = z_of(problem, 0.6, 3, 6, 0.01)
    found = calibration.recover(problem, np.repeat(truth[None], 5, 0), (1.0,), realizations=16, starts=2, seed=3)
    assert not found.failed
    assert (found.relative_error < 0.25).all(), str(found)
    assert found.coverage.sum() * 5 >= 14, str(found)
