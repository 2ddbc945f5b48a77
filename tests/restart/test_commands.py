"""`lpm run --resume` and `lpm branch`, as a user types them."""

import sys
from pathlib import Path

import numpy as np
import pytest

import lpm
from lpm import cli

ROOT = Path(__file__).parents[2]
CONFIG = """
title: A town
model: lpm.worlds.sir:build
settings: {agents: 300, contacts: {kind: well_mixed}, transmission: 0.001, initial: 0.05}
run: {start: 2020-02-27, end: 2020-03-27, checkpoint: {at: [2020-03-01]}}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a config and a run of it, whose picture is not drawn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LPM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
    monkeypatch.setattr("lpm.commands.draw", lambda results, target: target.write_bytes(b"a picture"))
    (tmp_path / "town.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def run_lpm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """`lpm ...` within this process: exit status, output, errors."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lpm", *words])
        capsys.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_resume_begins_a_run_that_is_not_there_and_leaves_a_finished_one(run_lpm):
    assert run_lpm("run", "town.yaml", "--out", "a", "--resume")[0] == 0
    Path("a/overview.png").write_bytes(b"mine")
    status, out, _ = run_lpm("run", "town.yaml", "--out", "a", "--resume")
    assert status == 0
    assert "a: finished before; nothing was changed" in out
    assert Path("a/overview.png").read_bytes() == b"mine"


def test_resume_wants_to_know_which_run(run_lpm):
    status, _, errors = run_lpm("run", "town.yaml", "--resume")
    assert status == 2
    assert "--resume: asked for the directory of the run to go on with, got none; write --out DIRECTORY" in errors


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        (("--set", "settings.transmission=0.002"), "settings.transmission: was 0.001, is 0.002"),
        (("--set", "settings.contacts.kind=erdos_renyi"), "settings.contacts.kind: was well_mixed, is erdos_renyi"),
        (("--seed", "4"), "run.seed: was 0, is 4"),
        (("--agents", "301"), "settings.agents: was 300, is 301"),
    ],
)
def test_resume_refuses_other_settings_by_their_keys(words, difference, run_lpm):
    run_lpm("run", "town.yaml", "--out", "a")
    status, _, errors = run_lpm("run", "town.yaml", "--out", "a", "--resume", *words)
    assert status == 2
    assert f"got {difference}; " in errors
    assert errors.count("error") == 1


def test_resume_takes_no_offence_at_a_default_written_out(run_lpm):
    run_lpm("run", "town.yaml", "--out", "a")
    assert run_lpm("run", "town.yaml", "--out", "a", "--resume", "--set", "settings.infectious_days=10")[0] == 0


def test_a_model_file_that_was_changed_is_seen(run_lpm):
    assert run_lpm("new", "rumour")[0] == 0
    words = ("run", "rumour/config.yaml", "--agents", "200", "--realizations", "1", "--out", "a")
    assert run_lpm(*words)[0] == 0
    model = Path("rumour/model.py")
    model.write_text(model.read_text() + "\n# changed\n")
    status, _, errors = run_lpm(*words, "--resume")
    assert status == 2
    assert "got model.text: was" in errors


def test_a_branch_leaves_its_run_on_a_date_and_says_what_it_changes(run_lpm):
    run_lpm("run", "town.yaml", "--out", "a", "--seed", "3")
    status, out, errors = run_lpm(
        "branch", "a", "--at", "2020-03-01", "--set", "settings.transmission=0.01", "--out", "b"
    )
    assert status == 0, errors
    assert "b: leaves a after step 3; settings.transmission: was 0.001, is 0.01" in out
    mine, its = lpm.open("b"), lpm.open("a")
    days = mine["time"].values
    np.testing.assert_array_equal(days, its["time"].values)
    assert days[3] == np.datetime64("2020-03-01")
    new, old = mine["incidence"].values[0, 0], its["incidence"].values[0, 0]
    np.testing.assert_array_equal(new[:3], old[:3])
    assert (new[3:] != old[3:]).any()
    assert mine.attrs["seed"] == "3"
    assert mine.attrs["config_overrides"] == "run.seed=3\nsettings.transmission=0.01"


def test_a_branch_takes_over_settings_of_several_lines(run_lpm):
    run_lpm("run", "town.yaml", "--out", "a", "--set", "title=A town,\n\n  and more", "--set", "run.checkpoint.at=[3]")
    status, _, errors = run_lpm("branch", "a", "--at", "3", "--out", "b")
    assert status == 0, errors
    assert lpm.open("b").attrs["title"] == lpm.open("a").attrs["title"]
    assert lpm.open("a").attrs["title"].startswith("A town,\nand more")


def test_a_branch_from_elsewhere_finds_the_config(run_lpm, place, monkeypatch):
    run_lpm("run", "town.yaml", "--out", "a")
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert run_lpm("branch", "../a", "--set", "run.end=2020-04-10", "--out", "b")[0] == 0
    assert lpm.open("b").sizes["time"] == 44
    (place / "town.yaml").rename(place / "city.yaml")
    assert run_lpm("branch", "../a", "--set", "run.end=2020-04-10", "--out", "c")[0] == 2
    assert run_lpm("branch", "../a", "--config", "../city.yaml", "--set", "run.end=2020-04-10", "--out", "c")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere: asked for the results of a run"),
        (("a", "--at", "monday"), "--at: asked for a date or a number of days, got 'monday'"),
        (("a", "--at", "5"), "its checkpoints are of the steps 3, 30. Write one of those as --at"),
        (("a",), "goes on after step 30, got run.steps=30"),
        (("a", "--set", "run.seeds=3"), "unknown key `seeds`"),
    ],
)
def test_a_branch_that_cannot_be_is_told_what_to_write(words, message, run_lpm):
    run_lpm("run", "town.yaml", "--out", "a")
    status, _, errors = run_lpm("branch", *words, "--out", "b")
    assert status == 2
    assert message in errors
    assert not Path("b").exists() or not list(Path("b").iterdir())


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("[2020-02-27]", "got 2020-02-27, 0 days after the start; write for example `1`"),
        ("[31]", "asked for a number of days done from 1 to 30"),
        ("[soon]", "asked for a date"),
    ],
)
def test_a_day_that_cannot_be_kept_is_located(at, message, run_lpm):
    status, _, errors = run_lpm("validate", "town.yaml", "--set", f"run.checkpoint.at={at}")
    assert status == 2
    assert message in errors
