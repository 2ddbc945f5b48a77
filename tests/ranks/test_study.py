"""The ranks of a study share out its runs, or the agents of each, and its answers are those of one process."""

from pathlib import Path

import pytest
import xarray as xr

from tests.ranks.launch import in_this_process, on_ranks
from tests.studies import town


@pytest.mark.parametrize("how", ["shared", pytest.param("split", marks=pytest.mark.slow)])
def test_a_study_on_two_ranks_has_the_answers_of_one_process(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they share it out."""
    study = town.write(tmp_path)
    words = ("study", str(study), "--agents", "600", "--realizations", "1", "--out")
    in_this_process(monkeypatch, *words, str(tmp_path / "1"))
    done = on_ranks(2, "lpm", *words, str(tmp_path / "2"), *(["--split"] if how == "split" else []))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("averted") >= 1
    assert ("each rank built its own part" in done.stdout) == (how == "split")
    one, two = (xr.open_zarr(tmp_path / name / "results.zarr", consolidated=False).load() for name in "12")
    xr.testing.assert_equal(*(each.drop_vars("failures", errors="ignore") for each in (one, two)))
    assert (two["committed"] > 0).all()


@pytest.mark.slow
def test_a_scenario_with_other_agents_is_told_in_a_divided_study(tmp_path: Path) -> None:
    """The others are done; nobody waits."""
    more = town.STUDY.replace(
        "five days earlier: {shift", "more: {set: {settings.people.agents: 700}}\n    less: {shift"
    )
    study = town.write(tmp_path, more)
    words = ("lpm", "study", str(study), "--agents", "600", "--realizations", "1", "--split")
    done = on_ranks(2, *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert said.count("1 of 5 runs failed") == 1
    assert "more, realization 0: more: asked for the baseline's 600 agents on the same ranks, got 700" in said
