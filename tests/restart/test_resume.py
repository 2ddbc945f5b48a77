"""A run that was stopped goes on to the bits of the run that was not; another run is refused by name."""

import dataclasses
import hashlib
import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
import zarr

import lpm
from lpm import Calendar, InputError, Observable, World, checkpoint
from lpm.batch import Engine, Pauses, Saved
from lpm.checkpoint import Plan
from lpm.kernels import random
from lpm.runner import CHUNK, Interrupted, run
from tests.laws.worlds import CALENDAR, STEPS, sir_on_a_graph, small_city

runs = importlib.import_module("lpm.runner")
OFTEN = Plan(steps=7)


def stop_after(chunks: int):
    """A user who stops the run at once after so many chunks, without time to save."""
    left = [chunks]

    def progress(_):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    return progress


def same(one: Path, other: Path) -> None:
    """Both stores hold the same, the whole of it."""
    first, second = lpm.open(one).load(), lpm.open(other).load()
    xr.testing.assert_identical(first.drop_attrs(), second.drop_attrs())


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def steps_saved(folder: Path) -> list[tuple[int, int]]:
    """Realization and step of each checkpoint, newest first."""
    return [(about.first, about.step) for _, about in checkpoint.found(folder / "checkpoints")]


@pytest.mark.parametrize("build", [sir_on_a_graph, small_city])
@pytest.mark.parametrize(("every", "chunks"), [(1, 2), (4, 3)])
def test_a_stopped_run_goes_on_to_the_same_bits(build, every, chunks, tmp_path):
    world = build()
    how = dict(seed=1, realizations=2, every=every, snapshots=("stage",), snapshot_every=4)
    with pytest.raises(Interrupted, match="resumed=True"):
        run(world, CALENDAR, tmp_path / "a", **how, checkpoints=OFTEN, progress=stop_after(chunks))
    assert steps_saved(tmp_path / "a")
    said = []
    run(world, CALENDAR, tmp_path / "a", **how, checkpoints=OFTEN, resumed=True, say=said.append)
    assert "goes on from step" in said[0]
    same(tmp_path / "a", run(world, CALENDAR, tmp_path / "b", **how))


def test_realizations_in_turn_go_on_where_each_stands(tmp_path, monkeypatch):
    world = sir_on_a_graph()
    monkeypatch.setattr(runs, "TOGETHER", 2 * world.agents)  # three: two, then one with an idle place beside it
    with pytest.raises(Interrupted):
        run(world, CALENDAR, tmp_path / "a", realizations=3, checkpoints=OFTEN, progress=stop_after(10))
    assert lpm.open(tmp_path / "a")["committed"].values.tolist()[0][:2] == [STEPS, STEPS]
    assert steps_saved(tmp_path / "a")[0][0] == 2
    chunks = []
    run(world, CALENDAR, tmp_path / "a", realizations=3, checkpoints=OFTEN, resumed=True, progress=chunks.append)
    assert chunks[0].done > 2 * STEPS
    same(tmp_path / "a", run(world, CALENDAR, tmp_path / "b", realizations=3))


def test_many_stops_and_goings_on_change_no_bit(tmp_path):
    world, stops = sir_on_a_graph(), 0
    while True:
        try:
            run(world, CALENDAR, tmp_path / "a", resumed=True, checkpoints=Plan(steps=3), progress=stop_after(2))
            break
        except Interrupted:
            stops += 1
    assert stops > 3
    same(tmp_path / "a", run(world, CALENDAR, tmp_path / "b"))


def test_the_last_two_checkpoints_are_kept_and_those_to_branch_from(tmp_path):
    run(sir_on_a_graph(), CALENDAR, tmp_path, checkpoints=Plan(steps=10, at=(5, 15)))
    assert steps_saved(tmp_path) == [(0, STEPS), (0, 30), (0, 15), (0, 5)]
    assert not list(tmp_path.rglob("*.part"))


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run of 40 steps stopped after 32 or so."""
    folder = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        run(sir_on_a_graph(), CALENDAR, folder, seed=5, checkpoints=Plan(steps=CHUNK), progress=stop_after(4))
    assert len(steps_saved(folder)) == 2
    return folder


@pytest.mark.parametrize("file", ["agents-0.npz", "env.npz", "about.json"])
def test_a_damaged_checkpoint_is_passed_over(file, stopped, tmp_path):
    (newest, _), (_, before) = checkpoint.found(stopped / "checkpoints")
    data = bytearray((newest / file).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4] = b"\0\1\2\3"
    (newest / file).write_bytes(data)
    said = []
    run(sir_on_a_graph(), CALENDAR, stopped, seed=5, resumed=True, say=said.append)
    assert any(f"goes on from step {before.step} " in line for line in said)
    same(stopped, run(sir_on_a_graph(), CALENDAR, tmp_path / "whole", seed=5))


def test_a_checkpoint_that_is_ahead_of_the_store_is_passed_over(stopped, tmp_path):
    lost = next(checkpoint.found(stopped / "checkpoints"))[1].step - 3
    for observable in sir_on_a_graph().observables:
        zarr.open_array(stopped / "results.zarr" / observable.name, mode="r+")[:, :, lost:] = -1
    zarr.open_array(stopped / "results.zarr" / "committed", mode="r+")[:] = lost
    run(sir_on_a_graph(), CALENDAR, stopped, seed=5, resumed=True)
    same(stopped, run(sir_on_a_graph(), CALENDAR, tmp_path / "whole", seed=5))


def test_without_a_checkpoint_the_run_begins_anew_and_says_so(stopped, tmp_path):
    shutil.rmtree(stopped / "checkpoints")
    said = []
    run(sir_on_a_graph(), CALENDAR, stopped, seed=5, resumed=True, say=said.append)
    assert "no checkpoint" in said[0]
    same(stopped, run(sir_on_a_graph(), CALENDAR, tmp_path / "whole", seed=5))


def test_a_directory_without_a_store_is_begun(tmp_path):
    (tmp_path / "a" / "results.zarr.part").mkdir(parents=True)  # killed while the store was made
    said = []
    run(sir_on_a_graph(), CALENDAR, tmp_path / "a", resumed=True, say=said.append)
    assert "begins anew" in said[0]
    same(tmp_path / "a", run(sir_on_a_graph(), CALENDAR, tmp_path / "b"))
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"results.zarr", "checkpoints"}


def test_a_finished_run_is_left_as_it_is(tmp_path):
    run(sir_on_a_graph(), CALENDAR, tmp_path)
    before, said = contents(tmp_path), []
    run(sir_on_a_graph(), CALENDAR, tmp_path, resumed=True, say=said.append)
    assert "finished" in said[0]
    assert contents(tmp_path) == before


def test_another_run_is_refused_with_each_difference(stopped, monkeypatch):
    before = contents(stopped)
    other = lpm.worlds.sir.build(lpm.worlds.sir.Settings(701), CALENDAR)
    with pytest.raises(InputError) as refused:
        run(other, CALENDAR, stopped, seed=6, realizations=2, settings={"model": "mine"}, resumed=True)
    for difference in (
        "run.seed: was 5, is 6",
        "agents: was 700, is 701",
        "run.realizations: was 1, is 2",
        "model: was not set, is mine",
    ):
        assert any(difference in problem for problem in refused.value.problems)
    assert len(refused.value.problems) == 4
    monkeypatch.setattr(lpm, "__version__", "99")
    with pytest.raises(InputError, match=r"lpm: was \S+, is 99"):
        run(sir_on_a_graph(), CALENDAR, stopped, seed=5, resumed=True)
    assert contents(stopped) == before


def test_a_longer_run_is_refused_with_the_command_for_it(stopped):
    with pytest.raises(InputError, match=r"lpm branch \S+ --set run.steps=50 --out"):
        run(sir_on_a_graph(), Calendar(50), stopped, seed=5, resumed=True)


def test_another_network_or_parameter_is_refused_by_name(stopped):
    world = sir_on_a_graph()
    params = dataclasses.replace(world.params, transmission=jnp.float32(0.11))
    with pytest.raises(InputError, match=r"world params\.transmission: was"):
        run(dataclasses.replace(world, params=params), CALENDAR, stopped, seed=5, resumed=True)


def test_two_processes_do_not_share_a_directory(tmp_path):
    def another(_):
        with pytest.raises(InputError, match="a run is under way"):
            run(sir_on_a_graph(), CALENDAR, tmp_path, resumed=True)

    run(sir_on_a_graph(), CALENDAR, tmp_path, progress=another)


def walk(params, state, key):
    """A row of numbers for each agent, and numbers that belong to nobody."""
    drawn = random.uniform(random.words(key, state.fixed["id"])[0])
    place = state.agents["place"].at[:, 0].add(drawn)
    return state.replace(place=place, total=state.env["total"] + jnp.bfloat16(1), clock=state.env["clock"] + 1), {}


def walkers(ids: np.ndarray) -> World:
    state = lpm.initial_state(
        {"place": jnp.zeros((len(ids), 2))},
        {"total": jnp.bfloat16(0), "clock": jnp.zeros((2, 1), jnp.int32)},
        {"id": jnp.asarray(ids)},
    )
    far = Observable("far", lambda state, info: state.agents["place"].max())
    return World(lpm.chain(walk=walk), jnp.float32(0), state, (far,))


def saved(world: World, begin: int = 0, moving=None) -> Iterator[Saved]:
    pauses = Pauses(save=lambda record: record in (8, 16))
    chunks = Engine(world, 1, 2, 1).chunks(0, 16, (), 0, begin=begin, moving=moving, pauses=pauses)
    return (item for item in chunks if isinstance(item, Saved))


def test_a_checkpoint_does_not_depend_on_the_order_of_agents_in_memory(tmp_path):
    """Ids with gaps, entries of several axes, two realizations, a type that files do not know."""
    ids = np.array([3, 0, 9, 4, 11, 1], np.uint32)
    one, other = walkers(ids), walkers(np.sort(ids))
    about = checkpoint.About(0, 2, 8, False, "", "", {})
    early, late = (jax.device_get(item.state) for item in saved(one))
    checkpoint.save(tmp_path, about, early, 6)
    read = checkpoint.read(tmp_path / about.name, about.parts)
    engine = Engine(other, 1, 2, 1)
    assert checkpoint.misfits(read, engine.shape()) == []
    moving = checkpoint.restored(read, engine.shape(), engine.by_id)
    again = [jax.device_get(item.state) for item in saved(other, 8, moving)]
    for expected, found in zip((early, late), again, strict=True):
        assert set(expected) == set(found) == {"step", "agents.place", "env.total", "env.clock"}
        for name in expected:
            np.testing.assert_array_equal(expected[name], found[name])
    assert not np.array_equal(early["agents.place"], late["agents.place"])


def test_what_each_rank_wrote_is_read_once(tmp_path, monkeypatch):
    """And together it is the whole, or nothing where one is damaged."""
    stage = np.arange(12, dtype=np.uint8).reshape(2, 6)
    np.savez(tmp_path / "env.npz", step=np.int32(3))
    for rank, own in enumerate(np.array([[0, 3, 4], [1, 2, 5]])):
        np.savez(tmp_path / f"agents-{rank}.npz", **{"agents.stage": stage[:, own], "rows": own})
    read, names = checkpoint._part, []
    monkeypatch.setattr(checkpoint, "_part", lambda path, number: names.append(number) or read(path, number))
    found = checkpoint.read(tmp_path, 2)
    np.testing.assert_array_equal(found["agents.stage"], stage)
    assert found["step"] == 3
    assert names == [0, 1]
    (tmp_path / "agents-1.npz").write_bytes((tmp_path / "agents-1.npz").read_bytes()[:200])
    assert checkpoint.read(tmp_path, 2) is None
