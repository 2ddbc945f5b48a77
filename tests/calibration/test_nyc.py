"""The fit of New York City at a small size: its config holds together."""

import numpy as np
import pytest

from lpm.calibration import setup
from lpm.calibration.problem import Problem
from lpm.config import build_world, load

BOROUGHS = ("Bronx", "Brooklyn", "Manhattan", "Queens", "Staten Island")
HELD_OUT = 4  # weeks


@pytest.fixture(scope="module")
def problem() -> Problem:
    """With one person in five hundred."""
    chosen = load("nyc-2020-fit", ["settings.people.agents=17600"])
    return setup.problem_of(chosen, build_world(chosen))


def test_the_last_four_weeks_are_not_shown_to_the_fit(problem: Problem) -> None:
    for each in problem.streams:
        assert each.labels == BOROUGHS
        assert np.isnan(each.values[-HELD_OUT:]).all()
        assert np.isfinite(each.values[-HELD_OUT - 10 : -HELD_OUT]).all()
        assert each.first[-1] + 7 == problem.calendar.steps
