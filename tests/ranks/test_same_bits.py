"""A run has the same bits on any number of ranks, whichever way flags travel, and its derivatives the same numbers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import lpm
from tests.laws.worlds import CALENDAR, WORLDS
from tests.ranks.launch import PROGRAM, ROOT, TOO_LONG, on_ranks, surroundings
from tests.ranks.program import DIFFERENTIATED, PLAN, SNAPSHOTS, branch, differentiated


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The runs of one process, each when it is asked for."""
    folder = tmp_path_factory.mktemp("alone")

    class Runs(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            how = {"seed": 5, "realizations": 2, "checkpoints": PLAN, **SNAPSHOTS}
            self[name] = lpm.run(WORLDS[name](), CALENDAR, folder / name, **how).parent
            return self[name]

    return Runs()


def same(one: Path, other: Path) -> None:
    """All that two runs stored."""
    expected, found = lpm.open(one).load(), lpm.open(other).load()
    assert set(found.data_vars) == set(expected.data_vars)
    for name in expected.data_vars:
        np.testing.assert_array_equal(found[name].values, expected[name].values, err_msg=str(name))
    xr.testing.assert_equal(found.drop_vars("observables", errors="ignore"), expected)


TWO, THREE = ("sir_on_a_graph", "city"), ("seir_small_world", "sir_well_mixed", "city")


def divided(count: int, halo: str, worlds: tuple[str, ...], out: Path) -> Path:
    """The runs of several ranks."""
    done = on_ranks(count, "simulate", str(out), halo, *worlds)
    assert done.returncode == 0, done.stderr
    moved = json.loads((out / "moved.json").read_text())
    assert {name for name, lines in moved.items() if lines} == set(worlds) - {"sir_well_mixed"}
    assert all(line.startswith((halo, "groups")) for lines in moved.values() for line in lines)
    return out


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two ranks."""
    return divided(2, "gathered", TWO, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("world", TWO)
def test_two_ranks_have_the_results_of_one(world: str, alone: dict[str, Path], two: Path) -> None:
    same(alone[world], two / world)
    assert lpm.open(alone[world]).attrs["agents"] == lpm.open(two / world).attrs["agents"]


@pytest.mark.slow  # three ranks go on from a checkpoint of one below
@pytest.mark.parametrize("ranks", [3, 4])
def test_more_ranks_have_the_results_of_one(ranks: int, alone: dict[str, Path], tmp_path: Path) -> None:
    divided(ranks, "halo", THREE, tmp_path)
    for world in THREE:
        same(alone[world], tmp_path / world)


def test_a_checkpoint_of_two_ranks_goes_on_on_one(alone: dict[str, Path], two: Path, tmp_path: Path) -> None:
    branch(tmp_path / "on", str(two / "city"))
    same(alone["city"], tmp_path / "on")


def test_a_checkpoint_of_one_rank_goes_on_on_three(alone: dict[str, Path], tmp_path: Path) -> None:
    done = on_ranks(3, "branch", str(tmp_path / "on"), str(alone["city"]))
    assert done.returncode == 0, done.stderr
    same(alone["city"], tmp_path / "on")


@pytest.mark.parametrize(
    ("ranks", "halo", "worlds"),
    [
        (2, "halo", ("sir_on_a_graph",)),
        pytest.param(2, "gathered", ("sir_on_a_graph", "sir_well_mixed", "city"), marks=pytest.mark.slow),
        pytest.param(3, "halo", THREE, marks=pytest.mark.slow),
    ],
)
def test_ranks_under_one_program_have_the_results_of_one(
    ranks: int, halo: str, worlds: tuple[str, ...], alone: dict[str, Path], tmp_path: Path
) -> None:
    done = on_ranks(ranks, "simulate", str(tmp_path), halo, *worlds, LPM_ENGINE="jax")
    assert done.returncode == 0, done.stderr
    for world in worlds:
        same(alone[world], tmp_path / world)


def on_devices(count: int, out: Path, *words: str) -> None:
    """What one process does on so many devices."""
    environment = surroundings(LPM_ENGINE="jax", XLA_FLAGS=f"--xla_force_host_platform_device_count={count}")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "spread_out", str(out), *words], env=environment, capture_output=True, text=True,
        timeout=TOO_LONG, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("count", "halo", "worlds"),
    [
        pytest.param(3, "halo", ("seir_small_world",), marks=pytest.mark.slow),  # ranks under one program are quicker
        pytest.param(3, "halo", ("d:sir_on_a_graph",), marks=pytest.mark.slow),
        pytest.param(4, "halo", ("city", "sir_on_a_graph", "d:town"), marks=pytest.mark.slow),
        pytest.param(2, "gathered", ("sir_well_mixed", "seir_small_world", "d:city"), marks=pytest.mark.slow),
    ],
)
def test_devices_of_one_process_have_the_results_of_one(
    count: int, halo: str, worlds: tuple[str, ...], alone: dict[str, Path], tmp_path: Path
) -> None:
    on_devices(count, tmp_path, halo, *worlds)
    for world in worlds:
        if world.startswith("d:"):
            close(world[2:], tmp_path)
        else:
            same(alone[world], tmp_path / world)
            if len(worlds) > 2:
                same(alone[world], tmp_path / f"{world}-on")


@pytest.mark.parametrize(
    ("name", "halo"),
    [
        ("sir_on_a_graph", "halo"),
        pytest.param("town", "gathered", marks=pytest.mark.slow),
        pytest.param("city", "halo", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("engine", ["mpi", pytest.param("jax", marks=pytest.mark.slow)])
def test_derivatives_are_those_of_one_process(name: str, halo: str, engine: str, tmp_path: Path) -> None:
    done = on_ranks(2, "differentiate", str(tmp_path), halo, name, LPM_ENGINE=engine)
    assert done.returncode == 0, done.stderr
    close(name, tmp_path)


def close(name: str, folder: Path) -> None:
    """Derivatives that ranks found are those of one process to the rounding of sums."""
    expected = differentiated(DIFFERENTIATED[name]())
    assert name == "city" or np.all(expected["reverse"] != 0)
    with np.load(folder / f"{name}.npz") as found:
        assert found["value"] == expected["value"]
        for way in ("forward", "reverse"):
            size = np.abs(expected[way]).max()
            np.testing.assert_allclose(found[way], expected[way], rtol=1e-3, atol=1e-5 * size, err_msg=f"{name} {way}")
