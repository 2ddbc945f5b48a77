"""The runs of a study: paired with the baseline, the same in any order and after any interruption, none dropped."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

import lpm
from lpm.config import build_world
from lpm.errors import InputError
from lpm.studies import compare, plan, records, report, runs
from lpm.studies.records import Unit
from tests.studies.town import CLOSED, CONFIG, NAMES, STEPS, STUDY, Files, write

ROOT = Path(__file__).parents[2]
OBSERVED = ("infections", "onsets", "admissions", "deaths", "infectious", "hospitalised", "critical")


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    """That two datasets have the same variables and bits."""
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=str(name))


def collect(path: Path) -> list[tuple[Unit, str]]:
    """Join the runs without drawing anything; the runs that are missing."""
    about = records.read(path)
    records.collect(path, about)
    return records.missing(path, about)


@pytest.mark.parametrize(
    ("scenario", "day"), [("five days earlier", CLOSED - 5), ("open <all> & $more", CLOSED), ("the same", STEPS)]
)
def test_a_scenario_is_the_baseline_until_they_part(scenario: str, day: int, done: Files) -> None:
    results = lpm.open(done.out).load()
    mine, base = results.sel(scenario=scenario), results.sel(scenario=NAMES[0])
    for name in OBSERVED:
        np.testing.assert_array_equal(mine[name].values[:, :day], base[name].values[:, :day])
    if day < STEPS:
        assert all((mine["infections"] != base["infections"]).any(["time", "region", "age"]).values)


def test_the_day_of_parting_is_found(done: Files) -> None:
    with xr.open_zarr(done.out / report.ANSWERS, consolidated=False) as answers:
        found = dict(zip(answers["scenario"].values.tolist(), answers["parts_at"].values.tolist(), strict=True))
    assert found[NAMES[0]] == found["the same"] == -1
    assert CLOSED - 5 <= found["five days earlier"] <= CLOSED + 2
    assert CLOSED <= found["open <all> & $more"] <= CLOSED + 7


def test_runs_are_those_of_lpm_run(done: Files, tmp_path: Path) -> None:
    scenario = 2
    config = plan.load(done.study).scenarios[scenario].config
    world = build_world(config)
    lpm.run(world, config.run.calendar, tmp_path / "out", seed=config.run.seed, realizations=3)
    alone, study = lpm.open(tmp_path / "out").load(), lpm.open(done.out).load().isel(scenario=[scenario])
    for name in OBSERVED:
        np.testing.assert_array_equal(alone[name].values, study[name].values)


def test_all_scenarios_share_one_compiled_step(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = CONFIG.replace("agents: 2000", "agents: 1777")  # a size that nothing else compiles
    study = plan.load(write(tmp_path, config=config), realizations=2)
    with jax.log_compiles():
        runs.run(study, tmp_path / "out")
    compiled = [line for line in caplog.messages if line.startswith("Compiling") and "_advance_batch" in line]
    assert len(compiled) == 1


def test_tasks_collected_are_the_whole(done: Files, tmp_path: Path) -> None:
    study, tasks = plan.load(done.study), 5
    for task in (4, 1, 5, 3, 2):
        runs.run(study, tmp_path / "out", task=(task, tasks))
    collect(tmp_path / "out")
    same(lpm.open(tmp_path / "out").load(), lpm.open(done.out).load())
    same(compare.answers(tmp_path / "out"), compare.answers(done.out))


@pytest.mark.parametrize("tasks", [1, 3, 7, 30])
def test_every_run_belongs_to_one_task(tasks: int) -> None:
    units = [Unit(scenario, each) for scenario in range(4) for each in range(5)]
    parts = [runs.part(units, task, tasks) for task in range(1, tasks + 1)]
    assert sorted(itertools.chain(*parts), key=lambda unit: (unit.scenario, unit.realization)) == units
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def killed_after(folder: Path, runs_done: int, how: signal.Signals) -> int:
    """Begin the study in a process of its own, and send it a signal once so many runs are there; its status."""
    own = {"LPM_CACHE_DIR": str(ROOT / ".pytest_cache" / "lpm"), "PYTHONPATH": str(ROOT)}
    own["JAX_COMPILATION_CACHE_DIR"] = str(ROOT / ".pytest_cache" / "jax")
    words = ["study", str(folder / "study.yaml"), "--out", str(folder / "out"), "--resume"]
    command = [sys.executable, "-c", "from lpm.cli import main; main()", *words]
    with (
        open(folder / "log", "w") as said,
        subprocess.Popen(command, env=os.environ | own, stdout=said, stderr=said) as child,
    ):
        try:
            end = time.monotonic() + 60
            while child.poll() is None and time.monotonic() < end:
                if len(list((folder / "out" / records.FOLDER).glob("[0-9]*.npz"))) >= runs_done:
                    child.send_signal(how)
                    break
                time.sleep(0.005)
            child.wait(30)
        finally:
            child.kill()
    return child.returncode


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_study_killed_and_resumed_is_the_unbroken_one(how: signal.Signals, done: Files, tmp_path: Path) -> None:
    write(tmp_path)
    assert killed_after(tmp_path, 3, how) == (-signal.SIGKILL if how == signal.SIGKILL else 143)
    study = plan.load(tmp_path / "study.yaml")
    left = records.missing(tmp_path / "out", records.read(tmp_path / "out"))
    assert 0 < len(left) <= len(NAMES) * 3 - 3
    if how == signal.SIGTERM:
        assert re.search(r"stopped after \d+ of 12 runs; .* Go on with `lpm study", (tmp_path / "log").read_text())
    runs.run(study, tmp_path / "out", resumed=True)
    collect(tmp_path / "out")
    same(lpm.open(tmp_path / "out").load(), lpm.open(done.out).load())


@pytest.mark.slow
def test_two_hundred_runs_killed_half_way_and_resumed_are_the_unbroken_ones(tmp_path: Path) -> None:
    small, many = CONFIG.replace("agents: 2000", "agents: 500"), STUDY.replace("realizations: 3", "realizations: 50")
    whole = runs.run(plan.load(write(tmp_path / "whole", many, small)), tmp_path / "whole" / "out")
    collect(whole)
    write(tmp_path / "broken", many, small)
    assert killed_after(tmp_path / "broken", 100, signal.SIGKILL) == -signal.SIGKILL
    out = tmp_path / "broken" / "out"
    assert 50 < len(records.missing(out, records.read(out))) <= 100
    runs.run(plan.load(tmp_path / "broken" / "study.yaml"), out, resumed=True)
    collect(out)
    same(lpm.open(out).load(), lpm.open(whole).load())


def test_realizations_can_be_added(done: Files, tmp_path: Path) -> None:
    runs.run(plan.load(write(tmp_path), realizations=1), tmp_path / "out")
    first = (tmp_path / "out" / "runs" / "0000-00000.npz").stat().st_mtime_ns
    runs.run(plan.load(tmp_path / "study.yaml"), tmp_path / "out", resumed=True)
    assert (tmp_path / "out" / "runs" / "0000-00000.npz").stat().st_mtime_ns == first
    collect(tmp_path / "out")
    same(lpm.open(tmp_path / "out").load(), lpm.open(done.out).load())


def test_another_study_is_not_gone_on_with(done: Files, tmp_path: Path) -> None:
    file = write(tmp_path, STUDY.replace("settings.schedule: -5", "settings.schedule: -6"))
    before = sorted((done.out / records.FOLDER).iterdir())
    with pytest.raises(InputError, match=r"five days earlier: settings.schedule.0.from: was 2020-02-08, is 2020-02-07"):
        runs.run(plan.load(file), done.out, resumed=True)
    with pytest.raises(InputError, match="asked for a new or empty directory"):
        runs.run(plan.load(done.study), done.out)
    assert sorted((done.out / records.FOLDER).iterdir()) == before


def test_outcomes_and_costs_can_be_changed_without_running_anew(done: Files, tmp_path: Path) -> None:
    write(tmp_path)
    runs.run(plan.load(tmp_path / "study.yaml", realizations=1), tmp_path / "out")
    write(tmp_path, STUDY.replace("12_000 USD", "24_000 USD"))
    seen: list[int] = []
    study = plan.load(tmp_path / "study.yaml", realizations=1)
    runs.run(study, tmp_path / "out", resumed=True, progress=lambda done, total: seen.append(done))
    assert not seen
    assert {cost.amount for cost in records.read(tmp_path / "out").costs} == {24_000.0, 800.0}


BREAKS = """
import dataclasses
import jax.numpy as jnp
from lpm import Observable, chain, initial_state
from lpm.settings import Calendar
from lpm.world import World

@dataclasses.dataclass(frozen=True)
class Settings:
    growth: float = 1.0

def grow(params, state, key):
    return state.replace(wealth=state.agents["wealth"] * params), {}

TOTAL = Observable("wealth", lambda state, info: state.agents["wealth"].sum(), over="sum")
MODEL = chain(grow=grow)

def build(settings: Settings, calendar: Calendar) -> World:
    return World(MODEL, jnp.float32(settings.growth), initial_state({"wealth": jnp.ones(3)}), (TOTAL,))
"""


def test_what_failed_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "wealth.py").write_text(BREAKS)
    (tmp_path / "wealth.yaml").write_text("model: wealth.py:build\nsettings: {growth: 1.1}\nrun: {steps: 20}\n")
    scenarios = "{too fast: {set: {settings.growth: 1.0e9}}, slow: {set: {settings.growth: 1.01}}}"
    (tmp_path / "study.yaml").write_text(f"study: {{base: wealth.yaml, realizations: 2, scenarios: {scenarios}}}\n")
    path = runs.run(plan.load(tmp_path / "study.yaml"), tmp_path / "out")
    written = report.collect(path)
    lines = written.dataset.attrs["missing"].splitlines()
    assert [line.partition(":")[0] for line in lines] == ["too fast, realization 0", "too fast, realization 1"]
    assert all("asked for finite numbers, got others in" in line for line in lines)
    assert np.isnan(written.dataset["wealth"].values[1]).all()
    assert np.isfinite(written.dataset["averted_wealth"].values[2]).all()
    assert all(line.partition(":")[0] in written.page.read_text() for line in lines)
    assert lpm.open(path)["wealth"].isel(scenario=2).notnull().all()


def test_a_damaged_run_is_missed_and_done_again(done: Files, tmp_path: Path) -> None:
    path = runs.run(plan.load(write(tmp_path)), tmp_path / "out")
    torn, flipped = (path / records.FOLDER / f"{unit.name}.npz" for unit in (Unit(1, 0), Unit(2, 1)))
    torn.write_bytes(torn.read_bytes()[:5000])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    assert [unit for unit, _ in collect(path)] == [Unit(1, 0), Unit(2, 1)]
    runs.run(plan.load(tmp_path / "study.yaml"), path, resumed=True)
    assert not collect(path)
    same(lpm.open(path).load(), lpm.open(done.out).load())


def test_what_a_killed_process_left_is_removed_once_all_runs_are_there(done: Files, tmp_path: Path) -> None:
    path = tmp_path / "out"
    shutil.copytree(done.out, path)
    (path / records.FOLDER / ".gitignore").touch()
    old, new = (path / records.FOLDER / f".0001-0000{number}.npz.elsewhere.17" for number in (0, 1))
    for each in (old, new, path / ".study.json.elsewhere.17"):
        each.write_bytes(b"half")
        os.utime(each, (0, 0))
    os.utime(new)  # still being written

    def hidden() -> list[str]:
        return sorted(each.name for each in path.rglob(".[0-9gs]*.*") if each.is_file() and "zarr" not in str(each))

    run = path / records.FOLDER / f"{Unit(1, 0).name}.npz"
    run.rename(tmp_path / "aside")
    records.collect(path, records.read(path))
    assert old.name in hidden()
    (tmp_path / "aside").rename(run)
    records.collect(path, records.read(path))
    assert hidden() == [new.name]


def test_a_run_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / records.FOLDER).mkdir()
    with pytest.raises(AttributeError, match="no room"):
        records.write_run(tmp_path, Unit(0, 0), {"deaths": Unwritable()}, 1.0)  # type: ignore[dict-item]
    assert not list((tmp_path / records.FOLDER).iterdir())


class Unwritable:
    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise AttributeError("no room")


@pytest.mark.parametrize("task", [(0, 3), (4, 3)])
def test_a_task_that_is_not_one_of_them_is_refused(task: tuple[int, int], done: Files, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="asked for I/N with I from 1 to N"):
        runs.run(plan.load(done.study), tmp_path / "out", task=task)
    assert not (tmp_path / "out").exists()
