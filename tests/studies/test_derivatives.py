"""One-shot sensitivities are the changes that runs with changed settings show, and are written, kept and refused."""

import csv
import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from rich.console import Console

import lpm
from lpm.config import build_world, load
from lpm.errors import InputError
from lpm.studies import command, compare, derivatives, plan, records, report, runs
from tests.studies.town import CONFIG as TOWN
from tests.studies.town import STEPS, Files, write

OVER = "[settings.transmission.work, settings.disease.intensive_care, settings.transmission]"
SPREAD = "household: 0.6, school: 0.4, work: 0.4, community: 0.4"
CONFIG = TOWN.replace(SPREAD, "household: 0.2, school: 0.2, work: 0.4, community: 0.3").replace("60000", "20000")
STUDY = f"""
study:
  base: town.yaml
  realizations: 1
  scenarios: {{open schools: {{set: {{settings.schedule.0.contacts: 1}}}}}}
  outcomes: [infections, deaths, peak of hospitalised, days of critical]
  sensitivities: {{over: {OVER}, shift: [settings.schedule], realizations: 2}}
"""
LABELS = ("transmission.work", "disease.intensive_care", "transmission", "dates of schedule, a day later")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The study, run."""
    folder = tmp_path_factory.mktemp("derivatives")
    file = write(folder, STUDY, CONFIG)
    runs.run(plan.load(file), folder / "out")
    return Files(file, folder / "out")


@pytest.fixture(scope="module")
def answers(done: Files) -> xr.Dataset:
    """The study's answers; drawing its page takes longer than its runs."""
    return derivatives.add(compare.answers(done.out), done.out, records.read(done.out))


def asked(file: Path) -> derivatives.Slopes:
    slopes = plan.load(file).wanted.slopes
    assert slopes is not None
    return slopes


def totals(config: Any, realizations: int, name: str) -> np.ndarray:
    """Of an observable in plain runs, (realizations,)."""
    world = build_world(config)
    found = []
    for realization in range(realizations):
        key = lpm.kernels.random.key(config.run.seed, realization)
        _, seen = lpm.simulate(world.model, world.params, world.state, key, steps=STEPS, observe=world.observables)
        found.append(np.asarray(seen[name], np.float64).sum())
    return np.array(found)


def test_a_sensitivity_is_the_difference_between_runs_with_the_setting_changed(
    done: Files, answers: xr.Dataset
) -> None:
    base = asked(done.study).base
    value = totals(base, 2, "infections")
    for label, key, now in (("transmission.work", "settings.transmission.work", 0.4),):
        more, less = (totals(load(base.path, [f"{key}={now * (1 + h)}"]), 2, "infections") for h in (0.05, -0.05))
        expected = (more - less).mean() / 0.1 / value.mean()
        found = answers["elasticity_infections"].sel(elasticity_setting=label, of_estimate="estimate").item()
        assert expected > 0.05
        assert found == pytest.approx(expected, rel=1e-4)


def test_numbers_below_a_key_change_together_and_dates_by_a_day(done: Files) -> None:
    """A day earlier and a day later with the same draws; contacts halfway between both have half of the effect."""
    slopes = asked(done.study)
    world = build_world(slopes.base)
    along = derivatives.directions(slopes, world)
    assert tuple(along) == LABELS
    for layer in ("household", "school", "work", "community"):
        np.testing.assert_allclose(along["transmission"].transmission[layer], world.params.transmission[layer], 1e-4)
        assert (along["transmission.work"].transmission[layer] != 0) == (layer == "work")
    later, earlier = (
        build_world(
            load(slopes.base.path, [f"settings.schedule.{n}.from=2020-02-{d + by}" for n, d in ((0, 13), (1, 16))])
        )
        for by in (1, -1)
    )
    half = (later.params.contacts - earlier.params.contacts) / 2
    np.testing.assert_allclose(along[LABELS[3]].contacts, half, atol=1e-6)
    for entry in jax.tree.leaves(dataclasses.replace(along[LABELS[3]], contacts=np.zeros(1))):
        assert not np.asarray(entry).any()


def test_days_in_intensive_care_follow_its_admissions_and_infections_do_not(answers: xr.Dataset) -> None:
    answers = answers.sel(elasticity_setting=LABELS[1])
    assert not answers["elasticity_infections"].values.any()
    estimate, low, high = answers["elasticity_days_of_critical"].values
    assert low < estimate < high
    assert estimate > 0.3


def test_the_command_prints_them_and_names_the_tables(done: Files, capsys: pytest.CaptureFixture[str]) -> None:
    command.collect(done.out, Console(width=100))
    said = capsys.readouterr().out
    assert said.count("for 1 % more of") == 4
    for label in LABELS:
        assert said.count(label) >= 4
    assert f"Tables   {done.out}: answers.csv, sensitivity.csv" in " ".join(said.split("\n"))


@pytest.mark.slow
def test_the_rule_finds_what_differences_find(tmp_path: Path) -> None:
    """Infections and admissions by 24 realizations each: within 10 % and 3.3 standard errors of both (p = 0.001)."""
    base = CONFIG.replace("agents: 2000", "agents: 1000")
    text = STUDY.replace("[infections, deaths, peak of hospitalised, days of critical]", "[infections, admissions]")
    text = text.replace("realizations: 2}", "realizations: 24, method: METHOD}")
    text = text.replace(OVER, "[settings.transmission]").replace("shift: [settings.schedule], ", "")
    found = {}
    for method in ("differences", "cavity"):
        slopes = asked(write(tmp_path / method, text.replace("METHOD", method), base))
        found[method] = derivatives.compute(slopes)
    for name in ("infections", "admissions"):
        right, ruled = (found[method][f"slope {name}"][:, 0].sum(-1) for method in ("differences", "cavity"))
        error = np.hypot(right.std(ddof=1), ruled.std(ddof=1)) / 24**0.5
        assert error < 0.15 * right.mean()
        assert abs(ruled.mean() - right.mean()) < 0.1 * right.mean() + 3.3 * error
        np.testing.assert_array_equal(found["cavity"][f"value {name}"], found["differences"][f"value {name}"])


def test_page_and_tables_have_them(done: Files, answers: xr.Dataset) -> None:
    written = report.collect(done.out)
    xr.testing.assert_identical(written.dataset, answers)
    page = written.page.read_text("utf-8")
    assert 'aria-label="Sensitivities of the baseline"' in page
    assert all(label in page for label in LABELS)
    with (done.out / report.SENSITIVITY).open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {(line["outcome"], line["setting"]) for line in lines} == {
        (outcome.id, label) for outcome in written.about.outcomes for label in LABELS
    }
    assert {line["measure"] for line in lines} == {"elasticity"}
    dataset = written.dataset
    assert dataset["elasticity_deaths"].dims == ("elasticity_setting", "of_estimate")


def test_they_are_computed_once_and_missed_until_then(done: Files, tmp_path: Path) -> None:
    study = plan.load(write(tmp_path, STUDY, CONFIG))
    runs.run(study, tmp_path / "out", task=(2, 2))
    written = report.collect(tmp_path / "out")
    assert "Sensitivities are missing: they were not computed yet." in written.page.read_text("utf-8")
    assert "elasticity_deaths" not in written.dataset
    runs.run(study, tmp_path / "out", task=(1, 2))
    first = (tmp_path / "out" / derivatives.NAME).stat().st_mtime_ns
    runs.run(study, tmp_path / "out", resumed=True)
    assert (tmp_path / "out" / derivatives.NAME).stat().st_mtime_ns == first
    mine, its = (derivatives.kept(out, asked(done.study).asked) for out in (tmp_path / "out", done.out))
    assert mine is not None
    assert its is not None
    for name in its:
        if name != "asked":
            np.testing.assert_array_equal(mine[name], its[name])


def test_a_failure_is_told(done: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(derivatives, "compute", broken)
    said: list[str] = []
    path = runs.run(plan.load(write(tmp_path, STUDY, CONFIG)), tmp_path / "out", say=said.append)
    assert said[-1] == "Sensitivities could not be computed: no room"
    assert "Sensitivities are missing: no room." in report.collect(path).page.read_text("utf-8")
    assert not records.missing(path, records.read(path))


TESTED = "set: {settings.interventions.testing: {screening: 0.1}}, "


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("{}", "study.sensitivities: asked for settings, got none; write `over: [settings.transmission]`"),
        (
            "{over: [settings.transmission.wrk]}",
            "over.0: asked for one of the keys of settings.transmission: household, school, work, community, got the "
            "unknown 'wrk'; write `work`",
        ),
        (
            "{over: [settings.people]}",
            "over.0: asked for a key with numbers at or below it, not whole and not 0",
        ),
        (
            "{over: [settings.schedule.0.contacts]}",
            "over.0: asked for a key with numbers at or below it, not whole and not 0",
        ),
        ("{shift: [settings.disease]}", "shift.0: asked for a key with dates at or below it, got settings.disease"),
        ("{over: [settings.transmission, settings.transmission]}", "over.1: got settings.transmission twice"),
        ("{over: [settings.disease.exposed], agents: 0}", "agents: asked for a number"),
        (
            "{over: [settings.interventions.testing.sensitivity], method: cavity}",
            "over.0: asked for derivatives by a rule, got settings.interventions.testing.sensitivity, which turns "
            "interventions.testing.sensitivity, where a rule would say zero; write `method: differences`",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(section: str, told: str, tmp_path: Path) -> None:
    own = TESTED if "testing" in section else ""
    text = f"study: {{base: town.yaml, {own}scenarios: {{same: {{}}}}, sensitivities: {section}}}\n"
    with pytest.raises(InputError) as caught:
        plan.load(write(tmp_path, text))
    assert len(caught.value.problems) == 1
    assert told in caught.value.problems[0]
    assert caught.value.problems[0].startswith(str(tmp_path / "study.yaml:1:"))
