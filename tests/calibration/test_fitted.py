"""A fit put to use: each realization is the run that its draw alone would give."""

import contextlib
import datetime
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import lpm
from lpm import Calendar, InputError, calibration, cli
from lpm.calibration import checks, fitted, parameters, results, setup
from lpm.calibration.parameters import Parameter, Prior
from lpm.config import build_world, load
from lpm.runner import run
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts
from tests.calibration import growth

CALENDAR = Calendar(12)
FREE = (
    Parameter("transmission", ("transmission",), 0.1, 4),
    Parameter("seen", ("observation.incidence.reporting",), 0, 1),
    Parameter("infectious_days", ("infectious_days",), 1, 10),
)
DRAWS = np.random.default_rng(5).normal(0, 1, (10, 3))
FIT = fitted.Fitted(Path("fit"), FREE, np.zeros(3), DRAWS)


def world() -> lpm.World:
    return sir.build(sir.Settings(agents=300, contacts=Contacts("well_mixed"), initial=0.05), CALENDAR)


def test_a_realization_is_what_its_draw_alone_gives(tmp_path: Path) -> None:
    """Five realizations of two draws: in turn the first draw and the middle one."""
    both = fitted.with_draws(world(), FIT, 2, seed=3, realizations=5)
    seen = lpm.open(run(both, CALENDAR, tmp_path / "both", seed=3, realizations=5))["incidence"].values[0]
    for draw in (0, 1):
        own = fitted.Fitted(Path("fit"), FREE, DRAWS[5 * draw], DRAWS)
        one = run(fitted.at_estimate(world(), own), CALENDAR, tmp_path / str(draw), seed=3, realizations=5)
        np.testing.assert_array_equal(seen[draw::2], lpm.open(one)["incidence"].values[0, draw::2])
    assert (seen[0] != seen[1]).any()


def test_the_estimate_stands_where_the_fit_says() -> None:
    found = fitted.at_estimate(world(), FIT).params
    values = parameters.values(FREE, np.zeros(3))
    assert (float(found.transmission), float(found.infectious_days)) == (values[0], values[2])
    assert float(found.initial) == pytest.approx(0.05)


def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most the 10 draws in fit, got 11"):
        fitted.with_draws(world(), FIT, 11, 1, 11)
    with pytest.raises(InputError, match="a fit of another model"):
        fitted.at_estimate(growth.world(), FIT)
    with pytest.raises(InputError, match="asked for a fit, got No such file"):
        fitted.read(tmp_path, CALENDAR)
    (tmp_path / "fit.json").write_text(json.dumps({"z": []}), "utf-8")
    with pytest.raises(InputError, match="an older one; fit again"):
        fitted.read(tmp_path, CALENDAR)


@pytest.mark.parametrize(
    "parameter",
    [
        Parameter("a", ("x.y", "z"), 0, prior=Prior("gamma", 3, 1), relative=True),
        Parameter("b", ("x.2",), -1, 1, days=(0, 7), walk=0.5),
        Parameter("c", ("c",), prior=Prior("normal", 3, 1)),
        Parameter("d", ("x.2",), 0, 2, covariate=((-3, 0.5), (4, 1.25))),
    ],
)
@pytest.mark.parametrize("calendar", [CALENDAR, Calendar(12, datetime.date(2020, 3, 1))])
def test_a_parameter_comes_back_from_json(parameter: Parameter, calendar: Calendar) -> None:
    text = json.dumps(results._plain(results.described(parameter, calendar)))
    back = results.parameter_of(json.loads(text), calendar)
    assert repr(back) == repr(parameter)  # NaN is no equal of itself


def test_days_of_a_fit_move_with_the_start_of_a_run() -> None:
    first, later = Calendar(30, datetime.date(2020, 3, 1)), Calendar(40, datetime.date(2020, 2, 20))
    parameter = Parameter("b", ("x",), -1, 1, days=(0, 7))
    assert results.parameter_of(results._plain(results.described(parameter, first)), later).days == (10, 17)


@pytest.mark.parametrize("listed", [1, -1])
def test_a_written_fit_is_read_again_whatever_order_its_arrays_are_listed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    def in_order(*args: Any, **keywords: Any) -> xr.Dataset:
        found = opened(*args, **keywords)
        return found[sorted(found.data_vars)[::listed]]

    opened = xr.open_zarr
    monkeypatch.setattr(xr, "open_zarr", in_order)
    fit = calibration.fit(growth.problem(), realizations=2, starts=1)
    predictive = calibration.predict(fit, 20)
    results.write(fit, predictive, checks.check(fit, predictive, repeats=0), tmp_path)
    back = fitted.read(tmp_path, Calendar(growth.STEPS + 5))
    np.testing.assert_allclose(back.z, fit.z)
    np.testing.assert_allclose(back.draws, predictive.z)
    assert (back.last, math.isnan(back.parameters[0].prior.mean)) == (growth.STEPS - 1, False)
    assert "is a forecast" in fitted.sentences(back, Calendar(growth.STEPS + 5), None)[-1]
    assert fitted.at_estimate(growth.world(), back).params["growth"] == pytest.approx(fit.values[1])


def test_a_run_takes_the_fit_and_says_what_is_forecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three draws for three realizations, in a run that is five days longer than the fit's."""
    chosen = load("school-influenza-1978", ["calibrate.derivatives=differences"])  # the cheaper ones to compile
    problem = setup.problem_of(chosen, build_world(chosen))
    fit = calibration.fit(problem, realizations=4, starts=1, iterations=2, averages=1)
    predictive = calibration.predict(fit, 12)
    results.write(fit, predictive, checks.check(fit, predictive, repeats=0), tmp_path / "fit")
    words = ["run", "school-influenza-1978", "--steps", "20", "--draws", "3"]
    monkeypatch.setattr(
        sys, "argv", ["lpm", *words, "--from-fit", str(tmp_path / "fit"), "--out", str(tmp_path / "run")]
    )
    with contextlib.suppress(SystemExit):
        cli.main()
    assert "data up to 1978-02-04; what comes later is a forecast" in capsys.readouterr().out
    seen = lpm.open(tmp_path / "run")
    assert (seen.sizes["realization"], seen.sizes["time"], seen.attrs["from_fit_draws"]) == (3, 20, "3")
    monkeypatch.setattr(sys, "argv", ["lpm", *words])
    with pytest.raises(SystemExit):
        cli.main()
    assert "--draws: asked for draws from a posterior, got no fit" in capsys.readouterr().err
