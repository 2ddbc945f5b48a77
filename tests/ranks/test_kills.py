"""Ranks killed at any moment, one or all of them: the run goes on to the same bits, on any number of ranks."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import lpm
from lpm.config import build_world, load
from tests.ranks.launch import ROOT, TOO_LONG, command, surroundings
from tests.restart.test_kills import CONFIG, EVERY, kill_often, read

RANKS = (1, 2, 3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """The results of one process that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "sir.yaml").write_text(CONFIG)
    config = load(folder / "sir.yaml")
    path = lpm.run(
        build_world(config), config.run.calendar, folder / "out", seed=3, realizations=2,
        snapshots=("stage",), snapshot_every=EVERY,
    )  # fmt: skip
    return lpm.open(path).load()


def processes(out: Path) -> list[int]:
    """Of the ranks that began last, from their logs; those of ranks that are not there yet are left out."""
    found = [re.findall(r"process (\d+)", log.read_text()) for log in sorted((out / "logs").glob("rank-*.txt"))]
    return [int(each[-1]) for each in found if each]


def alive(process: int) -> bool:
    try:
        return "python" in Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return False


def killed(out: Path, count: int, delay: float, victim: int | None, whole: xr.Dataset) -> bool:
    """Begin or go on with the run on so many ranks and kill one, or with None all of them. False if it ended before.

    Meanwhile its results are read again and again.
    """
    words = ["lpm", "run", str(out.parent / "sir.yaml"), "--out", str(out), "--resume"]
    log = out.parent / "log"
    with open(log, "w") as said, subprocess.Popen(
        command(count, *words), env=surroundings(LPM_PATIENCE="20"), stdout=said, stderr=said, cwd=ROOT,
        stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        begun, moment, shot = time.monotonic(), None, False
        while process.poll() is None:
            assert time.monotonic() < begun + TOO_LONG, log.read_text()
            if moment is None and "seed 3" in log.read_text():
                moment = time.monotonic() + delay
            if moment is not None and not shot and time.monotonic() > moment:
                own = [process.pid] if count == 1 else [each for each in processes(out) if alive(each)]
                for each in own if victim is None else own[victim : victim + 1]:
                    os.kill(each, signal.SIGKILL)
                    shot = True
            read(out, whole)
            time.sleep(0.1)
    assert process.returncode == 0 or shot, log.read_text()
    return process.returncode != 0


def kill_ranks(kills: int, seed: int, folder: Path, whole: xr.Dataset) -> None:
    def kill(out: Path, draw: np.random.Generator) -> bool:
        victim = None if draw.random() < 0.5 else int(draw.integers(2))
        return killed(out, int(draw.choice(RANKS[1:])), 6 * draw.random(), victim, whole)

    def end(out: Path, draw: np.random.Generator) -> bool:
        return killed(out, int(draw.choice(RANKS)), np.inf, None, whole)

    kill_often(kills, seed, folder, whole, kill, end)


@pytest.mark.slow  # a rank that is lost is tried in test_faults.py, runs that are killed in tests/restart
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc, which Linux has")
def test_ranks_killed_at_random_moments_go_on_to_the_same_bits(tmp_path: Path, whole: xr.Dataset) -> None:
    kill_ranks(2, 1, tmp_path, whole)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc, which Linux has")
@pytest.mark.parametrize("seed", [2, 3, 4, 5, 6])
def test_fifty_times_killed_ranks_go_on_to_the_same_bits(seed: int, tmp_path: Path, whole: xr.Dataset) -> None:
    kill_ranks(10, seed, tmp_path, whole)
