"""A fit that was stopped goes on with the same numbers; what no longer fits is made anew."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lpm import calibration
from lpm.calibration import results
from lpm.calibration.history import Log
from lpm.calibration.task import Fit, Row
from tests.calibration import growth


class Stopped(Exception):
    """Stands for a kill."""


def fit(folder: Path | None, stop: int = 10**9, **asked: object) -> tuple[Fit, list[str]]:
    """A fit that is stopped at its simulation number `stop`."""
    said: list[str] = []
    log = Log(folder, said.append) if folder else None
    of = log.of if log else None

    def stopping(*words: object) -> tuple[np.ndarray, ...]:
        assert log is not None
        assert of is not None
        if log.calls == stop:
            raise Stopped
        return of(*words)  # type: ignore[arg-type]

    if log:
        log.of = stopping  # type: ignore[method-assign]
    problem = dataclasses.replace(growth.problem(), log=log)
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
