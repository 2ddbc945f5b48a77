"""A run that fails or is stopped says so, and keeps what it had committed."""

import dataclasses
import importlib

import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import Calendar, InputError, Observable, RunError, World
from lpm.kernels import random
from lpm.runner import CHUNK, Interrupted, run
from lpm.store import open as opened
from tests.laws.worlds import CALENDAR, STEPS, sir_on_a_graph

runs = importlib.import_module("lpm.runner")

RECORDS = 3 * CHUNK + 2
NEVER = 10**6


def grow(params, state, key):
    """Wealth grows at random, the price follows; at given steps one of them is lost."""
    won = random.bernoulli(key, state.fixed["id"], jnp.float32(0.5))
    wealth = state.agents["wealth"] + won.astype(jnp.float32)
    lost = params["sign"] / params["nothing"]  # 0 / 0, 1 / 0 or -1 / 0
    wealth = wealth.at[17].set(jnp.where(state.step == params["wealth"], lost, wealth[17]))
    price = jnp.where(state.step == params["price"], lost, 1 + won.mean(dtype=jnp.float32))
    return state.replace(wealth=wealth, price=price), {"won": won.sum(dtype=jnp.int32)}


def hidden(state, info):
    """A number that says nothing of the fault."""
    return info["won"]


def spread(state, info):
    """A result that may be broken while the state is not."""
    return jnp.where(info["won"] >= 0, jnp.float32(1), jnp.float32(0)) / (state.env["broken_at"] - state.step).astype(
        jnp.float32
    )


def economy(wealth=NEVER, price=NEVER, spread_at=NEVER, value=np.nan) -> World:
    sign = jnp.sign(jnp.nan_to_num(jnp.float32(value)))
    params = {"wealth": jnp.int32(wealth), "price": jnp.int32(price), "sign": sign, "nothing": jnp.float32(0)}
    env = {"price": jnp.float32(0), "broken_at": jnp.int32(spread_at + 1)}
    state = lpm.initial_state({"wealth": jnp.zeros(50)}, env)
    observables = (Observable("won", hidden, over="sum"), Observable("spread", spread))
    return World(lpm.chain(grow=grow), params, state, observables)


@pytest.mark.parametrize(
    ("entry", "at", "value"),
    [
        ("wealth", 0, np.nan),
        ("price", CHUNK - 1, np.nan),
        ("price", CHUNK, -np.inf),
        ("wealth", 2 * CHUNK + 3, np.inf),
        ("wealth", RECORDS - 1, np.nan),
        ("spread_at", CHUNK + 1, np.nan),
    ],
)
def test_a_number_that_is_not_finite_stops_the_run_within_a_chunk(entry, at, value, tmp_path):
    chunks = []
    world = economy(**{entry: at}, value=value)
    name = entry.removesuffix("_at")
    with pytest.raises(RunError, match=rf"^record {at}: not a finite number in {name};"):
        run(world, Calendar(RECORDS), tmp_path / "broken", seed=4, realizations=2, progress=chunks.append)
    assert len(chunks) == at // CHUNK
    kept = opened(tmp_path / "broken")
    assert (kept["committed"].values == at).all()
    assert kept.sizes["time"] == at
    healthy = opened(run(economy(), Calendar(RECORDS), tmp_path / "healthy", seed=4, realizations=2))
    np.testing.assert_array_equal(kept["won"].values, healthy["won"].values[:, :, :at])


def test_a_parameter_that_is_not_a_number_is_refused_before_the_run(tmp_path):
    world = dataclasses.replace(economy(), params={**economy().params, "sign": jnp.float32(np.nan)})
    with pytest.raises(InputError, match=r"^params sign: asked for numbers, got a NaN"):
        run(world, Calendar(RECORDS), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_observable_that_is_no_number_is_refused_before_the_run(tmp_path):
    world = dataclasses.replace(economy(), observables=(Observable("rich", lambda state, info: info["won"] > 3),))
    with pytest.raises(InputError, match="observable rich: asked for numbers, its function returned bool"):
        run(world, Calendar(RECORDS), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_record_of_several_steps_with_a_fault_within_is_not_committed(tmp_path):
    with pytest.raises(RunError, match=r"^record 2: not a finite number in wealth;"):
        run(economy(wealth=9), Calendar(24), tmp_path, every=4)
    assert opened(tmp_path).sizes["time"] == 2


def stop_after(chunks: int):
    """A user who presses Ctrl-C after so many chunks."""
    left = [chunks]

    def progress(_):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("chunks", [1, 3])
def test_a_stopped_run_keeps_what_it_committed(chunks, tmp_path):
    world = sir_on_a_graph()
    with pytest.raises(Interrupted, match="lpm show") as stopped:
        run(world, CALENDAR, tmp_path / "stopped", seed=1, realizations=2, progress=stop_after(chunks))
    assert f"{2 * chunks * CHUNK} of {2 * STEPS} steps" in str(stopped.value)
    kept = opened(tmp_path / "stopped")
    whole = opened(run(world, CALENDAR, tmp_path / "whole", seed=1, realizations=2))
    assert kept.sizes["time"] == chunks * CHUNK
    for observable in world.observables:
        expected = whole[observable.name].values[:, :, : chunks * CHUNK]
        np.testing.assert_array_equal(kept[observable.name].values, expected)


def test_a_run_stopped_between_realizations_keeps_the_whole_ones(tmp_path, monkeypatch):
    world = sir_on_a_graph()
    monkeypatch.setattr(runs, "TOGETHER", 1)
    with pytest.raises(Interrupted):
        run(world, CALENDAR, tmp_path / "stopped", seed=1, realizations=3, progress=stop_after(STEPS // CHUNK + 2))
    kept = opened(tmp_path / "stopped")
    assert kept["committed"].values.tolist() == [[STEPS, 2 * CHUNK, 0]]
    whole = opened(run(world, CALENDAR, tmp_path / "whole", seed=1, realizations=3))
    incidence, expected = kept["incidence"].values[0], whole["incidence"].values[0]
    np.testing.assert_array_equal(incidence[0], expected[0])
    np.testing.assert_array_equal(incidence[1, : 2 * CHUNK], expected[1, : 2 * CHUNK])
    assert np.isnan(incidence[1, 2 * CHUNK :]).all()
    assert np.isnan(incidence[2]).all()


def test_progress_counts_up_to_the_end(tmp_path):
    seen = []
    run(sir_on_a_graph(), CALENDAR, tmp_path, realizations=2, progress=seen.append)
    assert [progress.done for progress in seen] == [2 * CHUNK * (i + 1) for i in range(STEPS // CHUNK)]
    assert seen[-1].done == seen[-1].total
    assert seen[-1].left == 0
