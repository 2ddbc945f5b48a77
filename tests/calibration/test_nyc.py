"""The fit of New York City at a small size: its config holds together."""

import numpy as np
import pytest

from lpm import InputError
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
        assert np.isfinite(each.values[-HELD_OUT - 9 : -HELD_OUT]).all()
        assert each.first[-1] + 7 == problem.calendar.steps


def test_contacts_follow_mobility(problem: Problem) -> None:
    """At the response 1 contacts in the week from 18 April are those of the walk, times what the file says."""
    response = problem.names.index("response to mobility")
    z = np.zeros(len(problem.names))
    z[response] = -30.0  # no response
    without, both = (np.asarray(problem.params(z).contacts) for z[response] in (-30.0, 0.0))
    np.testing.assert_allclose(both[77, 2:], 0.336 * without[77, 2:], rtol=1e-5)
    np.testing.assert_array_equal(both[:, :2], without[:, :2])


def test_a_covariate_that_is_not_there_is_told() -> None:
    folder = "calibrate.parameters.1.covariate"
    for change, said in ((f"{folder}.file=none.csv", "in none of"), (f"{folder}.column=mobile", "write `mobility`")):
        chosen = load("nyc-2020-fit", ["settings.people.agents=17600", change])
        with pytest.raises(InputError, match=said):
            setup.problem_of(chosen, build_world(chosen))
