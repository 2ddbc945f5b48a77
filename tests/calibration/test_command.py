"""`lpm calibrate`: what it prints and writes, and what it says of a section with mistakes."""

import dataclasses
import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from lpm import calibration, cli
from lpm.calibration import hub, observation, results, setup
from lpm.calibration.command import _fitted, _write
from lpm.config import build_world, load
from lpm.fit_settings import CalibrateSection
from tests.calibration import growth

ROOT = Path(__file__).parents[2]
SCHOOL = (ROOT / "configs" / "school-influenza-1978.yaml").read_text("utf-8").split("calibrate:")[0]
QUICK = (
    "calibrate.realizations=20",
    "calibrate.starts=1",
    "calibrate.iterations=4",
    "calibrate.draws=20",
    "calibrate.checks={recovery: 1, profiles: none}",
)


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, command: str = "calibrate"
) -> tuple[int, str, str]:
    """`lpm calibrate ...`, or another command, within this process."""
    monkeypatch.setattr(sys, "argv", ["lpm", command, *words])
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
    try:
        cli.main()
        status = 0
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_school_is_fitted_from_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fit"
    sets = [word for text in QUICK for word in ("--set", text)]
    status, said, errors = run(monkeypatch, capsys, "school-influenza-1978", "--out", str(out), *sets)
    assert status == 0, errors
    assert re.search(r"transmission +\d\.\d+ +\d\.\d+ to \d\.\d+", said)
    assert "of the 14 counts lie within the 90 % band" in said
    assert re.search("Verdict: (do not )?believe it", said)
    written = json.loads((out / "fit.json").read_text("utf-8"))
    values = {row["name"]: row["estimate"] for row in written["parameters"]}
    assert 3 < values["transmission"] * values["infectious_days"] < 5.5
    assert [row["name"] for row in written["derived"]] == ["R0"]
    np.testing.assert_allclose(written["derived"][0]["estimate"], values["transmission"] * values["infectious_days"])
    assert "R0 = transmission" in (out / "fit.html").read_text("utf-8")
    assert (out / "fit.png").stat().st_size > 10_000
    assert "Does the same fit find what is known?" in (out / "fit.html").read_text("utf-8")
    assert written["verdict"] in said
    drawn = xr.open_zarr(out / "fit.zarr", group="posterior_predictive", consolidated=False)
    assert drawn["infectious"].sizes["time_infectious"] == 14
    again = run(monkeypatch, capsys, "school-influenza-1978", "--out", str(out))
    assert again[0] == 2
    assert "asked for a new or empty directory" in again[2]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("  parameters: [{name: transmision, low: 0, high: 3}]", "parameters.0.name: .* write `transmission`"),
        ("  parameters: [{name: transmission, low: 3, high: 1}]", "parameters.0: asked for bounds with low < high"),
        ("  parameters: [{name: transmission}]", "two finite bounds with a uniform prior"),
        ("  parameters: []", "asked for free parameters"),
        ("  parameters: [{name: a, target: initial, low: 0, high: 1, from: [1979-01-01]}]", "days within the run"),
        (
            "  parameters: [{name: transmission, low: 0, high: 3}]\n  data: [{variable: infectous}]",
            "data.0.variable: .*write `infectious`",
        ),
        ("  parameters: [{name: transmission, low: 0, hihg: 3}]", "unknown key `hihg`; write `high`"),
        (
            "  parameters: [{name: transmission, low: 0, high: 3}]\n"
            "  data: [{variable: infectious, until: 1977-03-15}]",
            "data.0: asked for counts until 1977-03-15, got counts of 1978-01-22 to 1978-02-04 alone",
        ),
    ],
)
@pytest.mark.parametrize("command", ["calibrate", "validate"])
def test_a_mistake_is_told_with_its_place(
    command: str,
    section: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"{SCHOOL}calibrate:\n{section}\n", "utf-8")
    status, _, errors = run(monkeypatch, capsys, str(file), command=command)
    assert status == 2
    assert re.search(rf"own\.yaml:\d+:\d+ calibrate\..*{said}", errors), errors


def test_a_fit_that_is_stopped_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*words: object, **asked: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lpm.calibration.fitting.fit", stopped)
    words = ("school-influenza-1978", "--out", str(tmp_path / "fit"))
    status, _, errors = run(monkeypatch, capsys, *words)
    assert status == 130
    assert f"lpm calibrate school-influenza-1978 --out {tmp_path / 'fit'} --resume" in " ".join(errors.split())
    changed = ("--set", "compare.0.label=beds", "--set", "calibrate.iterations=3")  # neither is of the world
    assert run(monkeypatch, capsys, *words, "--resume", *changed)[0] == 130
    status, _, errors = run(monkeypatch, capsys, *words, "--resume", "--set", "settings.agents=700")
    assert status == 2
    assert "settings.agents: was 763, is 700" in errors


@pytest.mark.parametrize(
    ("method", "module", "function", "owns"),
    [
        ("ensemble", "ensemble", "smooth", {"members", "assimilations"}),
        ("regression", "regression", "regress", {"points", "iterations", "budget", "record"}),
        ("levenberg_marquardt", "fitting", "fit", {"starts", "iterations", "budget", "record"}),
    ],
)
def test_a_method_is_given_what_it_takes(
    method: str, module: str, function: str, owns: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Given(Exception):
        """Stands for the fit."""

    def given(problem: object, **asked: object) -> None:
        raise Given(asked)

    takes = inspect.signature(getattr(importlib.import_module(f"lpm.calibration.{module}"), function)).parameters
    monkeypatch.setattr(f"lpm.calibration.{module}.{function}", given)
    chosen = load("school-influenza-1978", [f"calibrate.method={method}", "calibrate.coarse=null"])
    with pytest.raises(Given) as raised:
        _fitted({"whole": growth.problem()}, chosen, tmp_path, Console())
    asked = raised.value.args[0]
    assert set(asked) == {"realizations", "seed", "progress"} | owns
    assert set(asked) <= set(takes)


def test_settings_that_a_method_has_no_use_for_are_named() -> None:
    chosen = load("school-influenza-1978", ["calibrate.method=ensemble", "calibrate.coarse=null"])
    assert setup.idle(chosen) == ["starts"]
    fields = {field.name for field in dataclasses.fields(CalibrateSection)}
    assert set().union(*setup.IDLE.values()) <= fields


@pytest.mark.parametrize(("days", "over", "told"), [(7, "last", 1), (7, "sum", 0), (1, "last", 0)])
def test_a_stock_compared_with_a_week_is_told(days: int, over: Literal["last", "sum"], told: int) -> None:
    (stream,) = growth.problem().streams
    other = dataclasses.replace(stream, days=days, observable=dataclasses.replace(stream.observable, over=over))
    assert len(observation.stocks((other,))) == told


def test_a_finished_fit_is_kept_though_its_forecast_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    fit = calibration.fit(growth.problem(), realizations=2, starts=1, averages=1)
    predictive = calibration.predict(fit, 20)
    found = calibration.check(fit, predictive, repeats=0)
    monkeypatch.setattr(hub, "write", full)
    with pytest.raises(OSError, match="no space left"):
        _write((fit, predictive, found, None), load("school-influenza-1978", []), tmp_path, Console())
    assert json.loads((tmp_path / "fit.json").read_text("utf-8"))["z"] == fit.z.tolist()


def test_dates_that_do_not_overlap_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.yaml"
    section = "calibrate:\n  parameters: [{name: transmission, low: 0, high: 3}]\n"
    file.write_text(SCHOOL.replace("start: 1978", "start: 1979") + section, "utf-8")
    status, _, errors = run(monkeypatch, capsys, str(file))
    assert status == 2
    assert "asked for data within the run's 15 days, got 1978-01-22 to 1978-02-04" in errors


def test_a_config_without_the_section_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(SCHOOL, "utf-8")
    status, _, errors = run(monkeypatch, capsys, str(file))
    assert status == 2
    assert "asked for a section `calibrate`" in errors


def test_the_tables_carry_labels_and_every_draw() -> None:
    fit = calibration.fit(growth.problem(), realizations=2, starts=1)
    predictive = calibration.predict(fit, 50)
    found = results.datasets(fit, predictive)
    assert dict(found["posterior"].sizes) == {"chain": 1, "draw": 50}
    assert set(found["posterior"].data_vars) == {"first", "growth"}
    assert found["posterior_predictive"]["events"].sizes["time_events"] == growth.STEPS
    np.testing.assert_array_equal(found["observed_data"]["events"].values[:, 0], fit.problem.counts)
    assert 0.7 <= calibration.coverage(fit, predictive) <= 1


def test_r0_and_its_interval_are_those_of_the_draws() -> None:
    chosen = load("school-influenza-1978", [])
    problem = setup.problem_of(chosen, build_world(chosen))
    assert problem.names[:2] == ("transmission", "infectious_days")
    z = np.random.default_rng(1).normal(size=(2, 50, problem.size))
    (row,) = results.derived(SimpleNamespace(problem=problem, z=z[0, 0]), SimpleNamespace(z=z))  # type: ignore[arg-type]
    of_draws = problem.values(z.reshape(-1, problem.size))[:, :2].prod(1)
    np.testing.assert_allclose(row.estimate, of_draws[0], rtol=1e-6)
    np.testing.assert_allclose((row.low, row.high), np.quantile(of_draws, [0.05, 0.95]), rtol=1e-6)


def test_arviz_is_given_the_groups_that_it_knows() -> None:
    pytest.importorskip("arviz", reason="needs ArviZ: pip install 'lpm[bayes]'")
    fit = calibration.fit(growth.problem(), realizations=2, starts=1, averages=1)
    predictive = calibration.predict(fit, 30)
    found = results.to_arviz(fit, predictive)
    assert set(found.groups()) == {
        "posterior",
        "unconstrained_posterior",
        "posterior_predictive",
        "observed_data",
    }
    drawn = fit.problem.values(predictive.z)
    np.testing.assert_array_equal(found.posterior["growth"].to_numpy(), drawn[None, :, 1])
    np.testing.assert_array_equal(found.unconstrained_posterior["first"].to_numpy(), predictive.z[None, :, 0])
    np.testing.assert_array_equal(found.observed_data["events"].to_numpy(), fit.problem.streams[0].values)
    np.testing.assert_array_equal(found.posterior_predictive["events"].to_numpy()[0, ..., 0], predictive.counts)


def test_without_arviz_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = calibration.fit(growth.problem(), realizations=2, starts=1, averages=1)
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r"pip install lpm\[bayes\]"):
        results.to_arviz(fit, calibration.predict(fit, 5))
