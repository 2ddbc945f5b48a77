"""The ranks of a fit share out its simulations, or the agents of each, and it is the fit of one process."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lpm.calibration import problem
from tests.laws.worlds import WORLDS
from tests.ranks.launch import in_this_process, on_ranks
from tests.ranks.program import Z, chancy, fit_of, fitted, seeds, simulations

ROOT = Path(__file__).parents[2]
SCHOOL = (ROOT / "configs" / "school-influenza-1978.yaml").read_text("utf-8").split("calibrate:")[0]
SECTION = """calibrate:
  parameters:
    - {name: transmission, low: 0.2, high: 10}
    - {name: infectious_days, low: 1, high: 10}
  coarse: 300
  coarse_realizations: 9
  realizations: 7
  starts: 1
  iterations: 2
  draws: 11
  checks: {recovery: 0, profiles: none}
"""
DIRECT = SECTION.replace("  coarse: 300\n  coarse_realizations: 9\n", "")
MISTAKE = "  parameters: [{name: transmision, low: 0.2, high: 10}]\n"


def test_a_fit_shared_out_is_that_of_one_process(tmp_path: Path) -> None:
    """To the bits: the estimate, its covariance, its simulations and what is predicted."""
    done = on_ranks(2, "fit", str(tmp_path))
    assert done.returncode == 0, done.stderr
    expected = fit_of(chancy())
    assert np.ptp(expected["curves"], axis=0).max() > 1  # realizations differ, so that their order matters
    with np.load(tmp_path / "fit.npz") as found:
        assert set(found) == set(expected)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.slow  # the same of a world that compiles at once stands above
@pytest.mark.parametrize(
    ("how", "derivatives"), [("shared", "differences"), ("shared", "cavity"), ("split", "differences")]
)
def test_a_fit_on_two_ranks_is_that_of_one_process(
    how: str, derivatives: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bits: the estimate, its covariance, the draws and what they predict; told once."""
    file = tmp_path / "own.yaml"
    # A sample of people is one more program to compile on every rank, and derivatives that are carried a large one.
    section = f"{SECTION if how == 'split' else DIRECT}  derivatives: {derivatives}\n"
    file.write_text(SCHOOL + section, "utf-8")
    in_this_process(monkeypatch, "calibrate", str(file), "--out", str(tmp_path / "1"))
    words = ("--split",) if how == "split" else ()
    done = on_ranks(2, "lpm", "calibrate", str(file), "--out", str(tmp_path / "2"), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Verdict:") == 1
    assert ("each rank built its own part" in done.stdout) == (how == "split")
    one, two = (json.loads((tmp_path / name / "fit.json").read_text("utf-8")) for name in "12")
    assert one["z"] == two["z"]
    assert one["covariance_of_z"] == two["covariance_of_z"]
    assert one["simulations"] == two["simulations"]
    for group in ("unconstrained_posterior", "posterior_predictive"):
        stores = [xr.open_zarr(tmp_path / name / "fit.zarr", group=group, consolidated=False).load() for name in "12"]
        xr.testing.assert_equal(*stores)
    assert np.isfinite(one["z"]).all()


@pytest.mark.slow  # plain runs and derivatives on ranks have tests of their own in tests/ranks
def test_a_divided_population_is_simulated_as_on_one_process(tmp_path: Path) -> None:
    """Counts to the bit, derivatives forward and in reverse to float rounding."""
    done = on_ranks(2, "calibrate", str(tmp_path))
    assert done.returncode == 0, done.stderr
    expected = simulations(problem.simulator(fitted(WORLDS["sir_well_mixed"]())))
    graph = problem.simulator(fitted(WORLDS["sir_on_a_graph"]())).curves(Z, seeds())
    with np.load(tmp_path / "fit.npz") as found:
        np.testing.assert_array_equal(found["plain"], expected["plain"])
        for name in ("graph", "whole", "again"):
            np.testing.assert_array_equal(found[name], graph)
        for name in ("tangents", "pulled"):
            size = np.abs(expected[name]).max()
            assert size > 0
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-5 * size, err_msg=name)


@pytest.mark.slow
def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"{SCHOOL}calibrate:\n{MISTAKE}", "utf-8")
    done = on_ranks(2, "lpm", "calibrate", str(file), "--out", str(tmp_path / "fit"))
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count("write `transmission`") == 1
    assert not (tmp_path / "fit").exists()


def test_a_fit_that_fails_is_told_once(tmp_path: Path) -> None:
    """All starts are dropped; the rank that waits for simulations fails alike, and is not ended by the other."""
    done = on_ranks(2, "fit", str(tmp_path), "hopeless")
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("starts that came to nothing") == 1
    assert "error rank" not in done.stderr
    assert not (tmp_path / "fit.npz").exists()


@pytest.mark.slow  # the same of a world that compiles at once stands above
def test_a_config_whose_fit_fails_is_told_once(tmp_path: Path) -> None:
    """All starts are dropped: an epidemic that dies out everywhere."""
    file = tmp_path / "own.yaml"
    section = SECTION.replace("low: 0.2, high: 10", "low: 0.001, high: 0.002").replace(
        "  coarse: 300\n  coarse_realizations: 9\n", ""
    )
    file.write_text(f"{SCHOOL}{section}  derivatives: differences\n", "utf-8")
    done = on_ranks(2, "lpm", "calibrate", str(file), "--out", str(tmp_path / "fit"))
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("starts that came to nothing") == 1
