"""The village of Hagelloch: children are where the line list puts them, and the fit goes on at small size."""

import datetime
from pathlib import Path

import jax
import numpy as np
import pytest

from lpm import calibration
from lpm.calibration import setup
from lpm.config import build_world, load


@pytest.fixture(scope="module")
def village(data_dir: Path) -> calibration.Problem:
    chosen = load(Path(__file__).parents[2] / "benchmarks" / "hagelloch" / "measles-hagelloch-1861.yaml")
    return setup.problem_of(chosen, build_world(chosen))


def test_the_line_list_is_counted_by_class(village: calibration.Problem) -> None:
    """188 children; two who came first are given, and one who fell ill a month after all others is outside the run."""
    (stream,) = village.streams
    assert set(stream.labels) == {"0", "1", "2"}
    assert np.nansum(stream.values) == 188 - 3
    assert village.calendar.start == datetime.date(1861, 10, 30)
    assert np.isnan(stream.values[0]).all()


def test_everybody_has_a_family_and_half_a_class(village: calibration.Problem) -> None:
    fixed = village.world.state.fixed
    assert sorted(np.asarray(fixed["id"]).tolist()) == list(range(1, 189))
    assert fixed["families"].size.sum() == 188
    assert sorted(np.asarray(fixed["classes"].size).tolist()) == [30, 68]
    assert int(fixed["first"].sum()) == 2


def test_most_children_fall_ill_and_all_who_do_were_infected(village: calibration.Problem) -> None:
    from lpm import key, simulate

    world = village.world
    _, seen = jax.vmap(
        lambda r: simulate(
            world.model, world.params, world.state, key(3, r), steps=village.calendar.steps, observe=world.observables
        )
    )(np.arange(8))
    ill, infected = (np.asarray(seen[name]).sum((1, 2)) for name in ("fell_ill", "infected"))
    assert (ill <= infected).all()
    assert (infected <= 186).all()
    assert np.median(ill) > 150


def test_a_small_ensemble_moves_to_the_data(village: calibration.Problem) -> None:
    """The first class passed measles on faster than the second, and members come nearer to the data."""
    found = calibration.assimilate(village, members=60, assimilations=3, chance=20)
    assert found.misfit[-1] < 0.9 * found.misfit[0]
    values = dict(zip(found.names, np.median(found.values, axis=0), strict=True))
    assert values["first_class"] > values["second_class"]
