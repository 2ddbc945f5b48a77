"""A fit that was stopped goes on with the same numbers; what no longer fits is made anew."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lpm import calibration
from lpm.calibration import Prior, Problem, results
from lpm.calibration.history import Log
from lpm.calibration.problem import digest, keys, simulator
from lpm.calibration.task import Fit, Row
from tests.calibration import growth


class Stopped(Exception):
    """Stands for a kill."""


def fit(folder: Path | None, stop: int = 10**9, of: Problem | None = None, **asked: object) -> tuple[Fit, list[str]]:
    """A fit, of `growth.problem()` if of none, that is stopped at its simulation number `stop`."""
    said: list[str] = []
    log = Log(folder, said.append) if folder else None
    kept = log.of if log else None

    def stopping(*words: object) -> tuple[np.ndarray, ...]:
        assert log is not None
        assert kept is not None
        if log.calls == stop:
            raise Stopped
        return kept(*words)  # type: ignore[arg-type]

    if log:
        log.of = stopping  # type: ignore[method-assign]
    problem = dataclasses.replace(of or growth.problem(), log=log)
    return calibration.fit(problem, **({"realizations": 2, "starts": 2} | asked)), said  # type: ignore[arg-type]


@pytest.mark.parametrize("stop", [3, 14, 20])
def test_a_fit_that_was_stopped_ends_as_if_it_was_not(stop: int, tmp_path: Path) -> None:
    whole, _ = fit(None)
    with pytest.raises(Stopped):
        fit(tmp_path, stop)
    (tmp_path / f"{stop:06}.partial").write_bytes(b"torn")
    again, said = fit(tmp_path)
    assert said == [f"{tmp_path}: {stop} simulations taken over; goes on from there"]
    np.testing.assert_array_equal(again.z, whole.z)
    np.testing.assert_array_equal(again.covariance, whole.covariance)
    assert again.simulations == whole.simulations


def test_what_no_longer_fits_is_made_anew(tmp_path: Path) -> None:
    fit(tmp_path)
    other, said = fit(tmp_path, realizations=4)
    np.testing.assert_array_equal(other.z, fit(None, realizations=4)[0].z)
    assert "no longer fit" in said[0]


def changed(of: str, **values: object) -> Problem:
    """The problem of growth with another first parameter, stream or world."""
    own = growth.problem()
    if of == "parameter":
        return dataclasses.replace(own, parameters=(dataclasses.replace(growth.FIRST, **values), growth.GROWTH))  # type: ignore[arg-type]
    if of == "stream":
        return dataclasses.replace(own, streams=(dataclasses.replace(own.streams[0], **values),))  # type: ignore[arg-type]
    return dataclasses.replace(own, world=dataclasses.replace(own.world, **values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "values"),
    [
        ("parameter", {"relative": True}),
        ("parameter", {"targets": ("share",)}),
        ("parameter", {"targets": ("observation.events.reporting",)}),
        ("parameter", {"high": 1e6}),
        ("stream", {"delay": (0.5, 0.5)}),
        ("stream", {"first": np.arange(growth.STEPS)[::-1]}),
        ("stream", {"observable": dataclasses.replace(growth.EVENTS, over="last")}),
        ("world", {"scale": 0.5}),
    ],
)
def test_simulations_of_another_problem_are_not_taken(of: str, values: dict[str, object], tmp_path: Path) -> None:
    """Not even where points and keys are the same."""
    seeds, z = keys(0, 0, 2), np.array([3.0, 0.1])
    other = changed(of, **values)
    for each in (growth.problem(), other):
        machine = simulator(dataclasses.replace(each, log=Log(tmp_path)))
        np.testing.assert_array_equal(machine.curves(z, seeds), simulator(each).curves(z, seeds))
    assert digest(other) != digest(growth.problem())


def test_a_covariate_makes_another_problem() -> None:
    world = growth.world()
    world = dataclasses.replace(world, params=world.params | {"shares": np.ones(growth.STEPS, np.float32)})
    plain = dataclasses.replace(growth.FIRST, targets=("shares",))
    found = [
        digest(dataclasses.replace(growth.problem(), world=world, parameters=(each,)))
        for each in (
            plain,
            dataclasses.replace(plain, covariate=((0, 2.0),)),
            dataclasses.replace(plain, covariate=((0, 3.0),)),
            dataclasses.replace(plain, days=(0, 7)),
            dataclasses.replace(plain, days=(0, 8)),
        )
    ]
    assert len(set(found)) == len(found)


def test_derivatives_by_another_rule_are_not_taken(tmp_path: Path) -> None:
    counts = []
    for rule in ("cavity", "mean_field"):
        log = Log(tmp_path)
        simulator(dataclasses.replace(growth.problem(), log=log, rule=rule)).tangents(np.zeros(2), keys(0, 0, 2))  # type: ignore[arg-type]
        counts.append(log.used)
    assert counts == [0, 0]


def test_a_unit_of_an_unbounded_parameter_makes_another_problem() -> None:
    free = [dataclasses.replace(growth.GROWTH, low=-np.inf, high=np.inf, prior=Prior("normal", 0, w)) for w in (1, 2)]
    one, two = (digest(dataclasses.replace(growth.problem(), parameters=(each,))) for each in free)
    assert one != two


@pytest.mark.parametrize(
    ("of", "values"),
    [
        ("parameter", {"prior": Prior("lognormal", 25, 9)}),
        ("parameter", {"name": "other", "start": (3.0,), "walk": 0.2}),
        ("stream", {"values": np.full((growth.STEPS, 1), 25.0), "likelihood": "negative_binomial", "label": "b"}),
    ],
)
def test_simulations_do_not_depend_on_data_and_priors(of: str, values: dict[str, object]) -> None:
    assert digest(changed(of, **values)) == digest(growth.problem())


def test_with_other_data_and_iterations_what_still_agrees_is_used(tmp_path: Path) -> None:
    """The points from which a start is chosen."""
    fit(tmp_path)
    other = changed("stream", values=growth.problem(seed=2).streams[0].values)
    again, said = fit(tmp_path, of=other, iterations=3)
    np.testing.assert_array_equal(again.z, fit(None, of=other, iterations=3)[0].z)
    used = re.search(r": (\d+) simulations are used", said[0])
    assert used
    assert int(used[1]) >= 6 * 2  # of two starts


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    first, _ = fit(tmp_path)
    (tmp_path / "000013.npz").write_bytes(b"nothing")
    again, said = fit(tmp_path)
    np.testing.assert_array_equal(again.z, first.z)
    assert said[0].startswith(f"{tmp_path}: 13 simulations are used")


def test_reverse_mode_is_kept_too(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        problem = dataclasses.replace(growth.problem(), log=Log(tmp_path))
        found.append(calibration.adam(problem, realizations=2, starts=1, steps=12, averages=2).z)
    np.testing.assert_array_equal(*found)


def test_the_history_has_a_row_for_each_iteration(tmp_path: Path) -> None:
    history = results.History(tmp_path / "history.zarr", ("a", "b"))
    for iteration in range(3):
        history.add(Row(0, iteration, np.array([1.0, iteration]), 5.0 - iteration, 1.0, 0.1, 10 * iteration))
    found = xr.open_zarr(tmp_path / "history.zarr", consolidated=False)
    np.testing.assert_array_equal(found["misfit"], [5, 4, 3])
    np.testing.assert_array_equal(found["z"].sel(parameter="b"), [0, 1, 2])
