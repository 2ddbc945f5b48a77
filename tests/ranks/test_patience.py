"""Ranks of fits and studies wait for one that works long, and end with one that is stopped or stuck."""

from pathlib import Path

import pytest

from lpm import distributed
from lpm.errors import InputError
from tests.ranks.launch import on_ranks

PROGRAM = str(Path(__file__).with_name("patient.py"))


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_works_longer_than_the_patience_is_waited_for(victim: int) -> None:
    done = on_ranks(2, "late", str(victim), program=PROGRAM, LPM_PATIENCE="3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(done.stdout.splitlines()) == ["rank 0 has [0, 1]", "rank 1 has [0, 1]"]
    assert not done.stderr


@pytest.mark.parametrize(
    ("what", "victim", "said"),
    [
        ("stopped", 2, "rank 0 heard nothing of rank 2 for 3 s: stopped, or its node is gone"),
        ("stopped", 0, "heard nothing of rank 0 for 3 s: stopped, or its node is gone"),
        ("astray", 1, "all 3 ranks have waited for each other for 3 s"),
    ],
)
def test_a_rank_that_is_lost_is_named_and_ends_the_others(what: str, victim: int, said: str) -> None:
    done = on_ranks(3, what, str(victim), program=PROGRAM, LPM_PATIENCE="3")
    assert done.returncode != 0
    assert said in done.stderr
    assert "go on with --resume" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("given", ["soon", "-5", "0", "nan"])
def test_a_patience_that_is_no_time_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPM_PATIENCE", given)
    with pytest.raises(InputError, match=f"a number above 0, got '{given}'; write LPM_PATIENCE=600"):
        distributed.patience()
