"""A branch is its parent until it leaves it, and a run of its own from then on."""

import dataclasses
import importlib
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import lpm
from lpm import Calendar, InputError, Observable, World
from lpm.checkpoint import Plan
from lpm.runner import Interrupted, run
from tests.laws.worlds import CALENDAR, STEPS, sir_on_a_graph

runs = importlib.import_module("lpm.runner")
AT = 12
HOW = dict(seed=5, realizations=3, snapshots=("stage",), snapshot_every=4)


@pytest.fixture(scope="module", params=[False, True], ids=["together", "in_turn"])
def parent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that kept its state after 12 steps; realizations side by side or two by two."""
    folder = tmp_path_factory.mktemp("parent") / "run"
    together = runs.TOGETHER
    runs.TOGETHER = 2 * 700 if request.param else together
    try:
        run(sir_on_a_graph(), CALENDAR, folder, **HOW, checkpoints=Plan(at=(AT,)))
        yield folder
    finally:
        runs.TOGETHER = together


def faster() -> World:
    world = sir_on_a_graph()
    return dataclasses.replace(world, params=dataclasses.replace(world.params, transmission=jnp.float32(0.4)))


def test_a_branch_without_a_change_is_its_parent(parent, tmp_path):
    xr.testing.assert_equal(
        lpm.open(run(sir_on_a_graph(), CALENDAR, tmp_path / "a", **HOW, parent=parent, at=AT)), lpm.open(parent)
    )


def test_a_branch_equals_its_parent_until_it_leaves(parent, tmp_path):
    run(faster(), CALENDAR, tmp_path / "a", **HOW, parent=parent, at=AT, settings={"transmission": 0.4})
    mine, its = lpm.open(tmp_path / "a").load(), lpm.open(parent).load()
    assert mine.sizes == its.sizes
    for name in ("incidence", "susceptible", "infectious"):
        before, after = slice(0, AT), slice(AT, STEPS)
        np.testing.assert_array_equal(mine[name].values[:, :, before], its[name].values[:, :, before])
        different = (mine[name].values[:, :, after] != its[name].values[:, :, after]).any(-1)
        assert different.all()
    moments = AT // 4
    np.testing.assert_array_equal(
        mine["snapshot_stage"].values[:, :, :moments], its["snapshot_stage"].values[:, :, :moments]
    )
    assert mine.attrs["branched_from"] == str(parent)
    assert mine.attrs["branched_at_step"] == AT
    assert mine.attrs["branched_changes"] == "transmission: was not set, is 0.4"


def test_a_longer_branch_is_the_longer_run(parent, tmp_path):
    longer = Calendar(STEPS + 8)
    branched = lpm.open(run(sir_on_a_graph(), longer, tmp_path / "a", **HOW, parent=parent, at=AT))
    xr.testing.assert_equal(branched, lpm.open(run(sir_on_a_graph(), longer, tmp_path / "b", **HOW)))


def test_a_branch_that_is_stopped_goes_on(parent, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run(faster(), CALENDAR, tmp_path / "a", **HOW, parent=parent, at=AT, progress=stop)
    run(faster(), CALENDAR, tmp_path / "a", **HOW, resumed=True)
    xr.testing.assert_equal(
        lpm.open(tmp_path / "a"), lpm.open(run(faster(), CALENDAR, tmp_path / "b", **HOW, parent=parent, at=AT))
    )


def seeds(world: World) -> World:
    return world


def another_observable(world: World) -> World:
    return dataclasses.replace(world, observables=(Observable("more", lambda state, info: jnp.int32(0)),))


def another_entry(world: World) -> World:
    state = dataclasses.replace(world.state, env={"price": jnp.float32(1)})
    return dataclasses.replace(world, state=state)


def other_ids(world: World) -> World:
    state = dataclasses.replace(world.state, fixed=world.state.fixed | {"id": world.state.fixed["id"] + jnp.uint32(1)})
    return dataclasses.replace(world, state=state)


@pytest.mark.parametrize(
    ("change", "how", "calendar", "at", "message"),
    [
        (seeds, {"realizations": 2}, CALENDAR, AT, "got run.realizations: was 3, is 2"),
        (seeds, {"every": 2}, CALENDAR, AT, "got run.every: was 1, is 2"),
        (seeds, {}, CALENDAR, AT + 1, f"after step {AT + 1}, got none; its checkpoints are of the steps {AT}"),
        (seeds, {}, Calendar(AT), AT, f"goes on after step {AT}, got run.steps={AT}"),
        (another_observable, {}, CALENDAR, AT, "asked for its records of more, got none"),
        (another_entry, {}, CALENDAR, AT, "got state env.price: was not there"),
        (other_ids, {}, CALENDAR, AT, "got agents: other ids"),
    ],
)
def test_a_branch_that_cannot_be_is_refused_and_leaves_nothing(change, how, calendar, at, message, parent, tmp_path):
    with pytest.raises(InputError, match=message):
        run(change(sir_on_a_graph()), calendar, tmp_path / "a", **HOW | how, parent=parent, at=at)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_another_seed_gives_another_future(tmp_path, parent):
    run(sir_on_a_graph(), CALENDAR, tmp_path / "a", **HOW | {"seed": 6}, parent=parent, at=AT)
    mine, its = lpm.open(tmp_path / "a")["incidence"].values, lpm.open(parent)["incidence"].values
    np.testing.assert_array_equal(mine[:, :, :AT], its[:, :, :AT])
    assert (mine[:, :, AT:] != its[:, :, AT:]).any(-1).all()
    assert json.loads(lpm.open(tmp_path / "a").attrs["identity"])["run.seed"] == "6"
