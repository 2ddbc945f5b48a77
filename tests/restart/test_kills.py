"""A run killed at any moment goes on to the same bits, and a reader never sees what is not there yet."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import lpm
from lpm import store
from lpm.config import build_world, load

ROOT = Path(__file__).parents[2]
STEPS, EVERY = 640, 80
CONFIG = f"""
model: lpm.worlds.sir:build
settings: {{agents: 2000, contacts: {{kind: erdos_renyi, mean_degree: 4}}, transmission: 0.02, infectious_days: 60}}
run:
  {{steps: {STEPS}, seed: 3, realizations: 2, snapshots: {{every: {EVERY}, of: [stage]}}, checkpoint: {{steps: 40}}}}
"""
RUN = "from lpm.cli import main; main()"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """The results of the run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "sir.yaml").write_text(CONFIG)
    config = load(folder / "sir.yaml")
    path = lpm.run(
        build_world(config),
        config.run.calendar,
        folder / "out",
        seed=3,
        realizations=2,
        snapshots=("stage",),
        snapshot_every=EVERY,
    )
    return lpm.open(path).load()


def read(out: Path, whole: xr.Dataset) -> None:
    """What can be read at this moment is the beginning of the whole run."""
    if not (out / store.NAME).exists():
        return
    seen = lpm.open(out).load()
    steps = seen.sizes["time"]
    for name in ("incidence", "susceptible", "infectious", "recovered"):
        np.testing.assert_array_equal(seen[name].values, whole[name].values[:, :, :steps])
    moments = seen.sizes["snapshot_time"]
    assert moments == steps // EVERY
    np.testing.assert_array_equal(seen["snapshot_stage"].values, whole["snapshot_stage"].values[:, :, :moments])


def killed(out: Path, delay: float, whole: xr.Dataset, mark: str = "seed 3") -> bool:
    """Begin or go on with the run; kill it so many seconds after it printed the mark. False if it ended before.

    Meanwhile its results are read again and again.
    """
    own = {"LPM_CACHE_DIR": str(ROOT / ".pytest_cache" / "lpm"), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    words = [sys.executable, "-c", RUN, "run", str(out.parent / "sir.yaml"), "--out", str(out), "--resume"]
    log = out.parent / "log"
    with open(log, "w") as said, subprocess.Popen(words, env=os.environ | own, stdout=said, stderr=said) as process:
        moment = None
        try:
            while process.poll() is None and (moment is None or time.monotonic() < moment):
                if moment is None and mark in log.read_text():
                    moment = time.monotonic() + delay
                read(out, whole)
                time.sleep(0.1)
        finally:
            process.kill()
    assert process.returncode in (0, -signal.SIGKILL), log.read_text()
    return process.returncode != 0


def kill_often(
    kills: int,
    seed: int,
    folder: Path,
    whole: xr.Dataset,
    kill: Callable[[Path, np.random.Generator], bool],
    end: Callable[[Path, np.random.Generator], bool],
) -> None:
    """Kill so many times at random moments; each time that a run gets to its end, compare it and begin another.

    Args:
        kill, end: begin or go on with the run in a directory and kill it, or do not; False if it ended before.
    """
    draw = np.random.default_rng(seed)
    number, done = 0, 0
    while done < kills:
        number += 1
        out = folder / str(number) / "out"
        out.parent.mkdir()
        (out.parent / "sir.yaml").write_text(CONFIG)
        ended = False
        while not ended and done < kills:
            ended = not kill(out, draw)
            done += not ended
        if not ended:
            assert not end(out, draw)
        results = lpm.open(out).load()
        assert results.sizes["time"] == STEPS
        for name in whole.variables:
            np.testing.assert_array_equal(results[name].values, whole[name].values)


def kill_one_process(kills: int, seed: int, folder: Path, whole: xr.Dataset) -> None:
    def kill(out: Path, draw: np.random.Generator) -> bool:
        if draw.random() < 0.2:  # before or while the world is built
            return killed(out, 2 * draw.random(), whole, "")
        return killed(out, 0.7 * draw.random(), whole)

    kill_often(kills, seed, folder, whole, kill, lambda out, _: killed(out, np.inf, whole))


def test_a_run_killed_at_random_moments_goes_on_to_the_same_bits(tmp_path: Path, whole: xr.Dataset) -> None:
    kill_one_process(3, 1, tmp_path, whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4, 5, 6])
def test_fifty_killed_runs_go_on_to_the_same_bits(seed: int, tmp_path: Path, whole: xr.Dataset) -> None:
    kill_one_process(10, seed, tmp_path, whole)
