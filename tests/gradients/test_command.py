"""`lpm check-gradient`: the table, what is said of it, and the exit status."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from rich.console import Console

from lpm import check_gradient, cli
from lpm.agreement import compare
from lpm.check_gradient import changes, print_check
from lpm.errors import InputError
from lpm.gradients import GradientCheck

SIR = ("check-gradient", "sir-million", "--set", "settings.initial=0.02", "--steps", "30", "--change", "0.1")
SMALL = (*SIR, "--parameters", "transmission", "--observables", "infectious")


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


Lpm = Callable[..., Done]


@pytest.fixture
def run_lpm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lpm:
    """`lpm ...` within this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LPM_CACHE_DIR", str(tmp_path.parent / "cache"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[2] / ".pytest_cache" / "jax"))
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["lpm", *words])
        try:
            cli.main()
            status = 0
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return run


def test_derivatives_that_hold_end_with_status_zero(run_lpm: Lpm) -> None:
    done = run_lpm(*SMALL, "--agents", "1500", "--realizations", "128")
    assert done.status == 0, done.out
    assert "1,500 agents, 30 days, seed 1" in done.out
    assert "transmission  infectious" in done.out
    assert "rule cavity, 128 realizations" in done.out
    assert "holds  1 of 1: slope within 0.05 of 1" in done.out


def test_derivatives_that_are_off_end_with_status_one(run_lpm: Lpm) -> None:
    done = run_lpm(*SMALL, "--agents", "1500", "--rule", "smooth")
    assert done.status == 1, done.out
    assert "off  1 of 1: wrong by more than that and its errors: the rule 'smooth'" in done.out


def test_a_large_world_is_cut_and_it_is_said(run_lpm: Lpm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_gradient, "ENOUGH", 1500)
    done = run_lpm(*SMALL, "--realizations", "3")
    assert "1,500 agents instead of 1,000,000" in done.out
    assert "1,500 agents, 30 days, seed 1" in done.out


@pytest.mark.slow
def test_the_city_is_checked_by_region_and_age(run_lpm: Lpm) -> None:
    options = ("--agents", "400", "--steps", "6", "--realizations", "3", "--parameters", "transmission.community")
    imported = ("--set", "settings.importation=[{per_day: 400000}]")
    done = run_lpm("check-gradient", "nyc-2020", *options, *imported, "--observables", "infections,deaths")
    assert done.status in (0, 1), done.err
    assert "transmission.community  infections" in done.out
    assert "none  1 of 2: zero both ways" in done.out  # nobody dies in six days


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--parameters", "transmision"), "got 'transmision'; write `transmission`"),
        (("--observables", "infected"), "got 'infected'; write `infectious`"),
        (
            ("--rule", "scor"),
            "--rule: asked for one of cavity, smooth, straight_through, gumbel, mean_field, score, got 'scor'",
        ),
        (("--change", "2"), "--change: asked for a number between 0 and 0.5"),
        (("--realizations", "1"), "got 1 and 30; write realizations=3, steps=30"),
        (("--steps", "0"), "--steps"),
    ],
)
def test_mistakes_end_with_status_two_and_what_to_write(run_lpm: Lpm, words: tuple[str, ...], said: str) -> None:
    done = run_lpm(*SMALL, "--agents", "1500", *words)
    assert done.status == 2
    assert said in done.err.replace("\n", " ")


def test_changes_are_read_for_all_or_by_name() -> None:
    assert changes(None, None) == 0.05
    assert changes("initial=0.3,transmission=0.1", ["initial", "transmission"]) == {"initial": 0.3, "transmission": 0.1}
    with pytest.raises(InputError, match=r"got 'initail=0\.3'"):
        changes("initail=0.3", ["initial"])


def test_a_row_without_numbers_says_why() -> None:
    curve, nothing = np.outer(np.ones(4), np.sin(np.arange(9.0))), np.zeros((4, 9))
    loud = np.outer([1.0, -1.0, 1.0, -1.0], np.ones(9))  # the product of two realizations is negative in the mean
    rows = {
        "right": (curve, curve),
        "no effect": (nothing, nothing),
        "no difference between the runs": (curve, nothing),
        "the derivative is not a number": (curve * np.nan, curve),
        "lost in the noise": (curve, loud),
        "lost in the noise, and zero": (nothing, loud),
    }
    compared = [compare(name, "cases", estimate, reference) for name, (estimate, reference) in rows.items()]
    assert [each.missing for each in compared] == ["", *list(rows)[1:5], "lost in the noise"]
    assert [each.verdict for each in compared] == ["holds", "none", "unsure", "off", "unsure", "unsure"]
    console = Console(file=io.StringIO(), width=120)
    print_check(GradientCheck(tuple(compared), (), "cavity", 4), console)
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert re.search(r"^right +cases +1\.000 +0\.000 +1\.0000 +holds *$", said[2])
    for line, each in zip(said[3:], compared[1:], strict=False):
        assert re.search(rf" – .*{each.verdict} +{each.missing} *$", line), line


def test_a_log_says_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 103.0, 109.0, 118.0])  # of which the first is after compilation
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    console = Console(file=io.StringIO(), width=120)
    with check_gradient._progress(console) as report:
        for done in range(1, 5):
            report(done, 4)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "1 of 4 realizations, compiled",
        "2 of 4 realizations, 6 s left",
        "3 of 4 realizations, 4 s left",
        "4 of 4 realizations, 0 s left",
    ]
