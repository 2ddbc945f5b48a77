"""The command line, from the words a user types to the exit status, the lines and the files that come of them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import lpm
from lpm import cli
from lpm.schema import export_schema

ROOT = Path(__file__).parents[2]
COMMANDS = ("run", "branch", "show", "validate", "new", "schema")
SMALL = ("run", "sir-million", "--agents", "300", "--steps", "20")


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


Lpm = Callable[..., Done]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and caches of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LPM_CACHE_DIR", str(tmp_path.parent / "cache"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def run_lpm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lpm:
    """`lpm ...` within this process."""

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["lpm", *words])
        capsys.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return run


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_help_imports_nothing_slow() -> None:
    slow = ["jax", "matplotlib", "numpy", "pandas", "pydantic", "ruamel", "xarray", "zarr"]
    code = f"""
import sys
from lpm.cli import main
try:
    main()
finally:
    print("imported", *(name for name in {slow} if name in sys.modules), file=sys.stderr)
"""
    done = python(code, "--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)
    assert done.stderr.split() == ["imported"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, run_lpm: Lpm) -> None:
    done = run_lpm(command, "--help")
    assert done.status == 0
    assert f"lpm {command}" in done.out


def test_a_run_says_what_it_did_and_where_the_results_are(run_lpm: Lpm, place: Path) -> None:
    done = run_lpm(*SMALL, "--out", "results", "--seed", "3")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"lpm {lpm.__version__}, sir-million"
    for line in (r"300 agents, 20 days, seed 3$", r"^new infections +\d+ +\d+ +day \d+", r"^attack rate +[\d.]+ %"):
        assert re.search(line, done.out, re.MULTILINE)
    assert "results/results.zarr" in done.out
    assert {path.name for path in (place / "results").iterdir()} == {"results.zarr", "overview.png", "checkpoints"}
    assert (place / "results" / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert lpm.open("results").attrs["seed"] == "3"


def test_a_log_has_no_bars_and_no_more_than_a_line_for_each_tenth(run_lpm: Lpm) -> None:
    done = run_lpm("run", "school-influenza-1978", "--realizations", "30")
    assert "\x1b" not in done.out
    assert "\r" not in done.out
    lines = re.findall(r"^([\d,]+) of 450 steps", done.out, re.MULTILINE)
    assert 1 <= len(lines) <= 11
    assert lines[-1] == "450"
    assert re.search(r"^boys in bed: peak 298 observed on 1978-01-27, \d+ \(\d+–\d+\) simulated$", done.out, re.M)


def test_what_is_shown_is_what_the_run_printed(run_lpm: Lpm) -> None:
    table = re.compile(r"^ +total.*^attack rate[^\n]*", re.MULTILINE | re.DOTALL)
    ran = run_lpm(*SMALL, "--out", "results")
    Path("results/overview.png").unlink()
    for where in ("results", "results/results.zarr"):
        shown = run_lpm("show", where)
        assert shown.status == 0
        assert table.findall(shown.out) == table.findall(ran.out) != []
    assert Path("results/overview.png").is_file()


def test_several_runs_are_shown_side_by_side(run_lpm: Lpm) -> None:
    for number, words in enumerate(((), ("--set", "settings.transmission=0.06"), ("--realizations", "3"))):
        assert run_lpm(*SMALL, "--out", f"runs/{'abc'[number]}", *words).status == 0
    done = run_lpm("show", "runs/a", "runs/b", "runs/c", "runs/a/results.zarr")
    assert (done.status, done.err) == (0, "")
    heads = re.search(r"^ +a +b +c *$", done.out, re.MULTILINE)
    assert heads
    for number, name in enumerate("abc"):
        alone = run_lpm("show", f"runs/{name}").out
        ((total, peak, when),) = re.findall(r"^new infections +(\S.*?)  +(\S.*?)  +(day \d+)", alone, re.MULTILINE)
        (share,) = re.findall(r"^attack rate +(\S.*%\S*( \S+)?) *$", alone, re.MULTILINE)
        rows = {"new infections +total": total, "peak": peak, "when": when, "attack rate": share[0]}
        for row, value in rows.items():
            line = re.search(rf"^ *{row} +(.*)$", done.out, re.MULTILINE)
            assert line
            assert re.split(" {2,}", line[1].strip())[number] == value
    assert (
        "b: SIR, a million agents with ten contacts each; transmission=0.06, agents=300, 300 agents, seed 1" in done.out
    )
    assert "Picture  runs/comparison.png" in done.out
    assert Path("runs/comparison.png").read_bytes().startswith(b"\x89PNG")
    elsewhere = run_lpm("show", "runs/a", "runs/b", "--picture", "mine.png")
    assert "Picture  mine.png" in elsewhere.out
    assert Path("mine.png").is_file()


def test_runs_without_a_common_observable_are_refused(run_lpm: Lpm) -> None:
    assert run_lpm(*SMALL, "--out", "sir").status == 0
    assert run_lpm("new", "rumour").status == 0
    words = ("--agents", "300", "--steps", "20", "--realizations", "1", "--out", "told")
    assert run_lpm("run", "rumour/config.yaml", *words).status == 0
    done = run_lpm("show", "sir", "told")
    assert done.status == 2
    assert done.err.startswith(
        "error show: asked for runs with an observable in common, got sir has incidence, susceptible, infectious, "
        "recovered; told has newly_aware, telling; write the folders of runs of one model"
    )
    assert not Path("comparison.png").exists()


def test_results_are_numbered_and_never_written_over(run_lpm: Lpm) -> None:
    for name in ("sir-million", "sir-million-2", "sir-million-3"):
        done = run_lpm(*SMALL, "--seed", "1")
        assert f"runs/{name}/results.zarr" in done.out
    assert len(list(Path("runs").iterdir())) == 3


def test_an_existing_out_is_refused_and_left_as_it_is(run_lpm: Lpm) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep")
    done = run_lpm(*SMALL, "--out", "mine")
    assert done.status == 2
    assert "mine: asked for a new or empty directory" in done.err
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "settings.agent=5"), "--set settings.agent=5"),
        (("--set", "run.seed=-1"), "asked for a number from 0 to 2^64 - 1, got -1"),
        (("--set", "settings.initial=1.0000001"), "asked for a number from 0 to 1 (fraction), got 1.0000001"),
        (("--set", "settings.agents"), "asked for"),
        (("--steps", "0"), "error --steps: asked for a number from 1 to 1000000 (days), got 0; write for"),
        (("--agents", "0"), "error --agents: asked for a number of at least 1 (count), got 0; write for"),
        (("--seed", "-1"), "error --seed: asked for a number from 0 to 2^64 - 1, got -1; write for example `--seed 0`"),
        (("--realizations", "-3"), "error --realizations: asked for a number of at least 1 (count), got -3; write for"),
    ],
)
def test_a_wrong_setting_is_located_and_nothing_is_written(words: tuple[str, ...], message: str, run_lpm: Lpm) -> None:
    done = run_lpm("run", "sir-million", *words)
    assert done.status == 2
    assert done.err.startswith("error ")
    assert message in done.err
    assert "Traceback" not in done.err
    assert not list(Path().iterdir())


def test_all_mistaken_options_are_said_each_by_its_name(run_lpm: Lpm) -> None:
    done = run_lpm("run", "nyc-2020", "--agents", "3", "--seed", "-1", "--set", "run.every=0")
    assert done.status == 2
    assert [line.split()[1] for line in done.err.splitlines()[:-1]] == ["--seed:", "--set"]
    done = run_lpm("run", "nyc-2020", "--agents", "3")
    assert done.err.startswith("error --agents: asked for a number from 100 to 2^31 - 1 (agents), got 3; write")
    assert not list(Path().iterdir())


def test_a_broken_file_is_located_by_run_and_validate_alike(run_lpm: Lpm) -> None:
    Path("mine.yaml").write_text("model: lpm.worlds.sir:build\nsettings:\n  agent: 5\nrun: {steps: 0}\n")
    ran, validated = run_lpm("run", "mine.yaml"), run_lpm("validate", "mine.yaml")
    assert ran.status == validated.status == 2
    assert ran.err == validated.err
    assert re.search(r"^error mine.yaml:3:3 settings.agent: unknown key `agent`; write `agents`", ran.err, re.MULTILINE)
    assert "2 mistakes; nothing was run" in ran.err
    assert [path.name for path in Path().iterdir()] == ["mine.yaml"]


def test_a_config_that_does_not_exist_is_said_with_those_that_do(run_lpm: Lpm) -> None:
    done = run_lpm("run", "nyc-2021")
    assert done.status == 2
    assert "write `nyc-2020`" in done.err


def test_a_path_without_results_is_said(run_lpm: Lpm) -> None:
    done = run_lpm("show", "nowhere")
    assert done.status == 2
    assert "nowhere: asked for the results of a run, got no such path" in done.err


def test_validate_says_what_a_good_config_asks_for(run_lpm: Lpm) -> None:
    done = run_lpm("validate", "school-influenza-1978")
    assert done.status == 0
    assert "good. lpm.worlds.sir:build, 15 days, 1978-01-21 to 1978-02-04, 200 realization(s)" in done.out
    assert "built and traced with 763 agents" in done.out
    assert not list(Path().iterdir())


def test_an_unforeseen_error_names_its_place_and_shows_no_trace(run_lpm: Lpm, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of a bug")

    monkeypatch.setattr("lpm.commands.validate", broken)
    done = run_lpm("validate")
    assert done.status == 1
    assert re.search(r"^error \S+test_commands.py:\d+ ZeroDivisionError: of a bug", done.err)
    assert "Traceback" not in done.err


def test_the_schema_is_printed_and_written(run_lpm: Lpm) -> None:
    assert json.loads(run_lpm("schema").out) == export_schema()
    assert run_lpm("schema", "--write", "schema.json").status == 0
    assert json.loads(Path("schema.json").read_text()) == export_schema()


def test_a_new_model_runs_and_passes_its_test(run_lpm: Lpm, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_lpm("new", "rumour").status == 0
    assert run_lpm("new", "rumour").status == 2
    monkeypatch.chdir(place / "rumour")
    smaller = ("--agents", "500", "--realizations", "2", "--set", "settings.first_tellers=0.01")
    done = run_lpm("run", "config.yaml", *smaller)
    assert done.status == 0
    assert re.search(r"^agents who heard it +\d", done.out, re.MULTILINE)
    tested = python("import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '.']))")
    assert tested.returncode == 0, tested.stdout


def test_a_run_that_ends_before_the_observations_begin_is_reported_without_them(run_lpm: Lpm) -> None:
    done = run_lpm("run", "nyc-2020", "--agents", "1000", "--steps", "8")
    assert (done.status, done.err) == (0, "")
    assert "observed" not in done.out
