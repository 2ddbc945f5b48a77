"""The ranks of a study share its runs out, and its answers are those of one process."""

from pathlib import Path

import xarray as xr

from tests.ranks.launch import on_ranks
from tests.studies import town


def test_a_study_on_two_ranks_has_the_answers_of_one_process(tmp_path: Path) -> None:
    study = town.write(tmp_path)
    words = ("lpm", "study", str(study), "--agents", "600", "--realizations", "1", "--out")
    for count in (1, 2):
        done = on_ranks(count, *words, str(tmp_path / str(count)))
        assert done.returncode == 0, done.stdout + done.stderr
        assert (done.stdout + done.stderr).count("averted") >= 1
    stores = [xr.open_zarr(tmp_path / name / "results.zarr", consolidated=False).load() for name in "12"]
    xr.testing.assert_equal(*(each.drop_vars("failures", errors="ignore") for each in stores))
    assert (stores[1]["committed"] > 0).all()
