"""What a store holds and what a reader gets of it, whole or cut off."""

import dataclasses
import datetime
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
import zarr

import lpm
from lpm import Calendar, Observable, World
from lpm.kernels import random
from lpm.provenance import git_commit
from lpm.runner import run
from lpm.series import Series
from lpm.store import Store, create, locate, records, reopen

START = datetime.date(2020, 2, 28)
REGIONS, BANDS = ("north", "south", "west"), ("young", "old")
AGENTS, STEPS = 60, 21
IDS = np.random.default_rng(5).permutation(AGENTS).astype(np.uint32)


def earn(params, state, key):
    """Some agents win a coin each day; who they are depends on their ids alone."""
    won = random.bernoulli(key, state.fixed["id"], params)
    return state.replace(wealth=state.agents["wealth"] + won.astype(jnp.int16)), {"won": won}


def table(values):
    return values[: AGENTS // 10 * 6].reshape(3, 2, -1).sum(-1, dtype=jnp.int32)


def town() -> World:
    wealth = jnp.zeros(AGENTS, jnp.int16)
    return World(
        model=lpm.chain(earn=earn),
        params=jnp.float32(0.5),
        state=lpm.initial_state({"wealth": wealth}, fixed={"id": jnp.asarray(IDS)}),
        observables=(
            Observable("winners", lambda state, info: table(info["won"]), ("region", "age"), over="sum"),
            Observable("richest", lambda state, info: state.agents["wealth"].max(), (), "coin", "coins of the richest"),
            Observable("luck", lambda state, info: info["won"].mean(dtype=jnp.float32), (), "1", "", "mean"),
        ),
        coords={"region": REGIONS, "age": BANDS},
        scale=0.5,
        title="A town",
        notes=("coins are fair", "nobody pays"),
    )


WEEKLY = Series(
    "winners",
    (datetime.date(2020, 2, 28), datetime.date(2020, 3, 6)),
    np.array([[1.0, 2.0], [3.0, 4.5]]),
    ("north", "west"),
    "region",
    7,
    "winners a week",
    "a newspaper",
)
DAILY = Series("richest", (START, START + datetime.timedelta(1)), np.array([5.0, 6.0]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(
        town(),
        Calendar(STEPS, START),
        tmp_path_factory.mktemp("town"),
        seed=2**63 + 1,
        realizations=3,
        snapshots=("wealth",),
        snapshot_every=7,
        observed=(WEEKLY, DAILY),
        attributes={"config": "model: town.py:build\n# a comment, kept\n"},
    )


@pytest.fixture
def results(store: Path) -> xr.Dataset:
    return lpm.open(store)


def test_dims_and_dtypes_are_those_declared(results: xr.Dataset) -> None:
    dims = ("scenario", "realization", "time")
    assert results["winners"].dims == (*dims, "region", "age")
    assert results["richest"].dims == results["luck"].dims == dims
    assert dict(results["winners"].sizes) == {"scenario": 1, "realization": 3, "time": STEPS, "region": 3, "age": 2}
    assert [results[name].dtype.name for name in ("winners", "richest", "luck")] == ["int32", "int16", "float32"]
    assert tuple(results["region"].values) == REGIONS
    assert tuple(results["age"].values) == BANDS
    assert results["scenario"].values.tolist() == ["baseline"]


def test_variables_come_in_the_order_of_their_declaration(results: xr.Dataset) -> None:
    assert list(results.data_vars) == [
        "winners", "richest", "luck", "observed_richest", "observed_winners", "snapshot_wealth", "time_bounds",
        "committed",
    ]  # fmt: skip


def test_attributes_follow_the_cf_conventions(store: Path, results: xr.Dataset) -> None:
    assert results.attrs["Conventions"] == "CF-1.11"
    expected = {
        "winners": ("winners", "1", "time: sum"),
        "richest": ("coins of the richest", "coin", "time: point"),
        "luck": ("luck", "1", "time: mean"),
        "snapshot_wealth": ("wealth of every agent, in the order of their ids", "1", "snapshot_time: point"),
    }
    for name, (long_name, units, cell_methods) in expected.items():
        assert results[name].attrs == {"long_name": long_name, "units": units, "cell_methods": cell_methods}
    raw = xr.open_zarr(store, consolidated=False, chunks=None, decode_times=False)
    assert raw["time"].attrs["units"] == "days since 2020-02-28"
    assert raw["time"].attrs["calendar"] == "proleptic_gregorian"
    assert raw["time"].attrs["standard_name"] == "time"
    assert raw["time"].attrs["bounds"] == "time_bounds"


def test_dates_are_those_of_the_calendar(results: xr.Dataset) -> None:
    days = np.datetime64(START) + np.arange(STEPS)
    np.testing.assert_array_equal(results["time"].values, days)  # across a 29 February
    np.testing.assert_array_equal(
        results["time_bounds"].values, np.stack([days, days + np.timedelta64(1, "D")], axis=1)
    )


def test_every_is_seen_in_the_bounds_of_time(store: Path, tmp_path: Path) -> None:
    daily = lpm.open(store)
    weekly = lpm.open(
        run(town(), Calendar(STEPS), tmp_path, seed=2**63 + 1, realizations=3, every=7),
    )
    np.testing.assert_array_equal(weekly["time"].values, [0, 7, 14])
    np.testing.assert_array_equal(weekly["time_bounds"].values, [[0, 7], [7, 14], [14, 21]])
    assert weekly["time"].attrs["units"] == "d"
    by_week = {name: daily[name].values.reshape(1, 3, 3, 7, *daily[name].shape[3:]) for name in town_names()}
    np.testing.assert_array_equal(weekly["winners"].values, by_week["winners"].sum(3))
    np.testing.assert_array_equal(weekly["richest"].values, by_week["richest"][:, :, :, -1])
    np.testing.assert_allclose(weekly["luck"].values, by_week["luck"].mean(3), rtol=1e-6)


def town_names() -> list[str]:
    return [observable.name for observable in town().observables]


def test_provenance_is_there_and_true(results: xr.Dataset) -> None:
    about = results.attrs
    assert about["config"] == "model: town.py:build\n# a comment, kept\n"
    assert int(about["seed"]) == 2**63 + 1
    assert (about["agents"], about["scale"], about["title"], about["ranks"]) == (AGENTS, 0.5, "A town", 1)
    assert about["notes"].splitlines() == ["coins are fair", "nobody pays"]
    versions = dict(each.split(" ") for each in about["versions"].split(", "))
    assert versions["python"] == sys.version.split(" ")[0]
    for module in (np, xr, zarr):
        assert versions[module.__name__] == module.__version__
    assert (versions["lpm"], about["source"]) == (lpm.__version__, f"lpm {lpm.__version__}")
    assert Path(sys.argv[0]).name in about["command"]
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(about["created"])
    assert datetime.timedelta(0) <= age + datetime.timedelta(seconds=1) < datetime.timedelta(hours=1)


def test_the_commit_is_that_of_the_checkout(results: xr.Dataset) -> None:
    root = Path(__file__).parents[2]
    assert results.attrs["git_commit"] == git_commit()
    if not (root / ".git").exists():
        pytest.skip("needs a checkout")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True)
    assert git_commit.__wrapped__().removesuffix("+changes") == head.stdout.strip()


def test_any_reader_of_zarr_finds_the_same_values(store: Path, results: xr.Dataset) -> None:
    plain = xr.open_zarr(store, consolidated=False)
    assert set(plain.data_vars) == set(results.data_vars)
    for name in results.data_vars:
        np.testing.assert_array_equal(plain[name].values, results[name].values)
    array = zarr.open_array(store / "winners", mode="r")
    np.testing.assert_array_equal(array[:], results["winners"].values)
    assert array.metadata.dimension_names == results["winners"].dims


def test_results_go_wherever_xarray_takes_them(results: xr.Dataset, tmp_path: Path) -> None:
    north = results["winners"].sel(region="north", age=["old", "young"])
    np.testing.assert_array_equal(north.values, results["winners"].values[:, :, :, 0, ::-1])
    frame = results["winners"].isel(scenario=0, realization=1).sum("age").to_pandas()
    assert list(frame.columns) == list(REGIONS)
    assert len(results["winners"].to_dataframe()) == results["winners"].size
    assert results["winners"].groupby("region").sum().sizes["region"] == 3
    whole = results.load()
    whole.to_zarr(tmp_path / "copy.zarr", consolidated=False)
    xr.testing.assert_equal(xr.open_zarr(tmp_path / "copy.zarr", consolidated=False).load(), whole)
    whole.to_netcdf(tmp_path / "copy.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "copy.nc", engine="scipy") as copy:
        np.testing.assert_array_equal(copy["winners"].values, whole["winners"].values)
        assert [str(region) for region in copy["region"].values] == list(REGIONS)


def test_results_are_read_lazily_without_dask(store: Path) -> None:
    opened = lpm.open(store)
    assert not opened["winners"]._in_memory
    assert opened["winners"].chunks is None  # of dask, which opening with any others would import


def test_the_directory_of_a_run_stands_for_its_store(store: Path, tmp_path: Path) -> None:
    assert locate(store) == locate(store.parent) == store
    assert records(store) == STEPS
    for nothing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(lpm.InputError, match="asked for the results of a run"):
            lpm.open(nothing)


def test_snapshots_are_in_the_order_of_ids(results: xr.Dataset) -> None:
    np.testing.assert_array_equal(results["snapshot_time"].values, np.datetime64(START) + np.array([7, 14, 21]))
    assert results["snapshot_wealth"].dims == ("scenario", "realization", "snapshot_time", "agent")
    world, position = town(), np.argsort(IDS)
    for realization in range(3):
        for number, steps in enumerate((7, 14, 21)):
            key = random.key(2**63 + 1, realization)
            last, _ = lpm.simulate(world.model, world.params, world.state, key, steps=steps)
            expected = np.asarray(last.agents["wealth"])[position]
            np.testing.assert_array_equal(results["snapshot_wealth"].values[0, realization, number], expected)
    assert len(set(map(bytes, results["snapshot_wealth"].values[0, :, -1]))) == 3


def test_observed_series_stand_beside_the_results(results: xr.Dataset) -> None:
    weekly = results["observed_winners"]
    np.testing.assert_array_equal(weekly.values, WEEKLY.values)
    assert weekly.attrs["of"] == "winners"
    assert (weekly.attrs["days"], weekly.attrs["source"], weekly.attrs["units"]) == (7, "a newspaper", "1")
    time, region = weekly.dims
    np.testing.assert_array_equal(results[time].values, np.array(WEEKLY.times, dtype="datetime64[D]"))
    assert tuple(results[region].values) == WEEKLY.regions
    np.testing.assert_array_equal(results["observed_richest"].values, DAILY.values)


def test_a_run_without_snapshots_is_a_few_files(tmp_path: Path) -> None:
    path = run(town(), Calendar(200), tmp_path, realizations=20)
    per_array = [sum(file.is_file() for file in (path / name).rglob("*")) for name in town_names()]
    assert per_array == [2, 2, 2]  # the metadata, and one shard of all realizations


COUNTS = np.arange(24, dtype=np.int32).reshape(3, 8)
WHOLE = {"incidence": COUNTS, "share": COUNTS.astype(np.float32)}


def written(path: Path, committed: tuple[int, ...]) -> Path:
    """A store of 8 records in which each realization came so far."""
    observables = tuple(Observable(name, lambda state, info: jnp.float32(0)) for name in WHOLE)
    shapes = {name: ((), values.dtype) for name, values in WHOLE.items()}
    store = create(path / "results.zarr", observables, shapes, {}, Calendar(8), realizations=3)
    for realization, last in enumerate(committed):
        which = slice(realization, realization + 1)
        store.write(which, 0, {name: values[which, :last] for name, values in WHOLE.items()})
    return store.path


def test_records_that_are_not_committed_are_cut(tmp_path: Path) -> None:
    path = written(tmp_path, (5, 5, 5))
    zarr.open_array(path / "incidence", mode="r+")[:, :, 5:7] = 999  # data comes first; the commit was never reached
    opened = lpm.open(path)
    assert opened.sizes["time"] == 5
    assert opened["time_bounds"].sizes["time"] == 5
    assert opened["incidence"].dtype == np.int32
    np.testing.assert_array_equal(opened["incidence"].values[0], WHOLE["incidence"][:, :5])
    assert records(path) == 8


def test_what_some_realizations_lack_is_missing_there_only(tmp_path: Path) -> None:
    opened = lpm.open(written(tmp_path, (6, 2, 0)))
    assert opened.sizes["time"] == 6
    for name, values in WHOLE.items():
        expected = values[:, :6].astype(float)
        expected[1, 2:] = expected[2] = np.nan
        np.testing.assert_array_equal(opened[name].values[0], expected)
        assert opened[name].attrs["cell_methods"] == "time: point"
    assert opened["committed"].values.tolist() == [[6, 2, 0]]


def test_snapshots_that_some_realization_lacks_are_cut(tmp_path: Path) -> None:
    observables = (Observable("incidence", lambda state, info: jnp.int32(0)),)
    stages = np.arange(15, dtype=np.uint8).reshape(3, 5)
    store = create(
        tmp_path / "a.zarr",
        observables,
        {"incidence": ((), np.dtype(np.int32))},
        {},
        Calendar(8),
        realizations=3,
        snapshots={"stage": ((5,), np.dtype(np.uint8))},
        snapshot_every=2,
    )
    for which, last in ((slice(0, 2), 8), (slice(2, 3), 5)):
        moments = {number: {"stage": stages[which] + np.uint8(number)} for number in range(last // 2)}
        store.write(which, 0, {"incidence": COUNTS[which, :last]}, moments)
    opened = lpm.open(tmp_path / "a.zarr")
    assert opened["snapshot_time"].values.tolist() == [2, 4]
    assert opened["snapshot_stage"].dtype == np.uint8
    np.testing.assert_array_equal(opened["snapshot_stage"].values[0, :, 1], stages + 1)
    store.write(
        slice(2, 3), 5, {"incidence": COUNTS[2:, 5:]}, {2: {"stage": stages[2:] + 2}, 3: {"stage": stages[2:] + 3}}
    )
    assert lpm.open(tmp_path / "a.zarr").sizes["snapshot_time"] == 4


def test_nothing_is_committed_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = reopen(written(tmp_path, (4, 4, 4)))
    array, order = Store.array, []
    monkeypatch.setattr(Store, "array", lambda self, name: (order.append(name), array(self, name))[1])
    store.write(slice(0, 3), 4, {name: values[:, 4:] for name, values in WHOLE.items()})
    assert order[:2] == list(WHOLE)
    assert set(order[2:]) == {"committed"}


def test_writing_again_what_was_committed_takes_nothing_back(tmp_path: Path) -> None:
    path = written(tmp_path, (6, 2, 0))
    reopen(path).write(slice(0, 3), 0, {name: values[:, :4] for name, values in WHOLE.items()})
    assert lpm.open(path)["committed"].values.tolist() == [[6, 4, 4]]


def test_a_store_has_its_name_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        assert not (tmp_path / "results.zarr").exists()
        raise OSError("disk")

    monkeypatch.setattr("lpm.store._arrays", broken)
    with pytest.raises(OSError, match="disk"):
        written(tmp_path, (1, 1, 1))
    assert not list(tmp_path.iterdir())


def test_a_store_in_which_nothing_was_committed_is_empty(tmp_path: Path) -> None:
    opened = lpm.open(written(tmp_path, (0, 0, 0)))
    assert opened["incidence"].sizes["time"] == 0


def test_writing_in_parts_is_writing_at_once(tmp_path: Path) -> None:
    observables = (Observable("incidence", lambda state, info: jnp.int32(0)),)
    shapes = {"incidence": ((), np.dtype(np.int32))}
    store = create(tmp_path / "a.zarr", observables, shapes, {}, Calendar(8), realizations=3, together=2)
    for which in (slice(0, 2), slice(2, 3)):
        for first in range(0, 8, 3):
            store.write(which, first, {"incidence": WHOLE["incidence"][which, first : first + 3]})
    np.testing.assert_array_equal(lpm.open(tmp_path / "a.zarr")["incidence"].values[0], WHOLE["incidence"])


def test_worlds_without_places_have_plain_curves(tmp_path: Path) -> None:
    world = dataclasses.replace(town(), observables=town().observables[1:], coords={})
    opened = lpm.open(run(world, Calendar(4), tmp_path))
    assert set(opened.sizes) == {"scenario", "realization", "time", "bound"}
