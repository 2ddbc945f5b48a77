"""Realizations side by side or in turn, in chunks of any length, streamed or not: the same bits, compiled once."""

import dataclasses
import importlib
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import World, batch
from lpm.runner import run
from lpm.store import open as opened
from tests.laws.worlds import CALENDAR, WORLDS, simulated, sir_on_a_graph, small_city

runs = importlib.import_module("lpm.runner")


def stored(world: World, folder, **arguments) -> dict[str, np.ndarray]:
    """Every observable of a run, (realization, record, ...)."""
    results = opened(run(world, CALENDAR, folder, seed=1, **arguments))
    return {observable.name: results[observable.name].values[0] for observable in world.observables}


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize(("name", "count"), [("sir_on_a_graph", 3), pytest.param("city", 2, marks=pytest.mark.slow)])
def test_realizations_side_by_side_or_in_turn_have_the_same_bits(name, count, tmp_path, monkeypatch):
    world = WORLDS[name]()
    monkeypatch.setattr(runs, "TOGETHER", 1)
    in_turn = stored(world, tmp_path / "in_turn", realizations=count)
    monkeypatch.setattr(runs, "TOGETHER", 2 * world.agents)  # three: two, then one with an idle place beside it
    assert_same(in_turn, stored(world, tmp_path / "in_pairs", realizations=count))
    first = in_turn[world.observables[0].name]
    assert not np.array_equal(first[0], first[1])
    for realization in range(count):
        seen = simulated(world, realization=realization)
        for variable, values in in_turn.items():
            np.testing.assert_array_equal(values[realization], seen[variable])


def test_a_realization_does_not_depend_on_how_many_there_are(tmp_path, monkeypatch):
    world = sir_on_a_graph()
    monkeypatch.setattr(runs, "TOGETHER", 2 * world.agents)
    most = stored(world, tmp_path / "most", realizations=6)
    assert len({incidence.tobytes() for incidence in most["incidence"]}) == 6
    for count in (1, 2, 3):
        some = stored(world, tmp_path / str(count), realizations=count)
        assert_same(some, {name: values[:count] for name, values in most.items()})


@pytest.mark.parametrize("every", [1, 4])
def test_the_length_of_a_chunk_changes_no_bit(every, tmp_path, monkeypatch):
    world = sir_on_a_graph()
    expected = stored(world, tmp_path / "usual", realizations=2, every=every)
    for chunk in (1, 7, 1000):
        monkeypatch.setattr(runs, "CHUNK", chunk)
        assert_same(expected, stored(world, tmp_path / str(chunk), realizations=2, every=every))


def test_snapshots_hold_every_agent_in_the_order_of_their_ids(tmp_path):
    world = sir_on_a_graph()
    path = run(world, CALENDAR, tmp_path, seed=1, realizations=2, snapshots=("stage",), snapshot_every=10)
    snapshots = opened(path)["snapshot_stage"].values[0]
    order = np.argsort(np.asarray(world.state.fixed["id"]))
    for realization in range(2):
        stages = simulated(world, realization=realization)["stages"]
        np.testing.assert_array_equal(snapshots[realization], stages[9::10, order])


def other_values(world: World) -> World:
    """The same world with other values of all its parameters."""
    return dataclasses.replace(world, params=jax.tree.map(lambda value: value * jnp.float32(0.9), world.params))


@pytest.mark.parametrize("name", ["sir_on_a_graph", "city"])
def test_seeds_realizations_and_parameters_compile_nothing_new(name, tmp_path, monkeypatch, caplog):
    world = WORLDS[name]()
    monkeypatch.setattr(runs, "TOGETHER", 2 * world.agents)
    run(world, CALENDAR, tmp_path / "first", seed=1, realizations=2)
    compiled = batch.advance._cache_size()
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        run(world, CALENDAR, tmp_path / "seed", seed=2**40 + 3, realizations=2)
        run(world, CALENDAR, tmp_path / "more", seed=1, realizations=4)
        world = other_values(world)
        caplog.clear()
        run(world, CALENDAR, tmp_path / "values", seed=1, realizations=2)
    assert batch.advance._cache_size() == compiled
    assert [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()] == []


def test_a_simulation_compiles_once_for_all_seeds_and_parameters(caplog):
    world = small_city()
    simulated(world)
    other = other_values(world)
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        simulated(other, seed=77, realization=5)
    assert [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()] == []


def test_compilations_are_seen_by_the_log(caplog):
    """What the two tests above rely on."""
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        jax.jit(lambda x: x * 3 + 1)(jnp.arange(12347))
    assert any("Compiling" in record.getMessage() for record in caplog.records)


def test_realizations_and_seeds_differ():
    world = sir_on_a_graph()
    seen = [simulated(world, seed=seed, realization=r)["stages"].tobytes() for seed in (1, 2, 2**33) for r in (0, 1)]
    assert len(set(seen)) == 6
    assert simulated(world, seed=2)["stages"].tobytes() == seen[2]
    assert np.array_equal(lpm.key(1).words, lpm.kernels.random.key(1, 0).words)
