"""Results on disk: one zarr group that any reader of zarr opens, written while the run goes on.

Every observable is an array with the dims (scenario, realization, time, ...). The time axis has its full length from
the start; the array `committed` says how many records of each realization are complete. Data and snapshots are written
first, then the commit, each file by a rename, so that a reader never takes an unwritten record for data and a killed
run leaves a store that opens. A store is made under another name, so that one with its own name has all its arrays.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr

from lpm.directory import sync
from lpm.errors import InputError
from lpm.observe import Described
from lpm.series import Series
from lpm.settings import Calendar

if TYPE_CHECKING:
    import xarray as xr

NAME = "results.zarr"
FILL = {"i": -1, "u": 0, "f": math.nan}
CELL_METHODS = {"sum": "time: sum", "last": "time: point", "mean": "time: mean"}
SHARD_BYTES = 64_000_000  # of an agent snapshot at most in a file: few files, each written once


@dataclasses.dataclass(frozen=True)
class Store:
    """An open store that is being written by this process.

    Args:
        path: of the zarr group.
        group: the zarr group itself.
        records: length of the time axis.
    """

    path: Path
    group: zarr.Group
    records: int
    _arrays: dict[str, zarr.Array] = dataclasses.field(default_factory=dict, repr=False)  # looking one up reads a file

    def write(
        self,
        realizations: slice,
        first: int,
        seen: Mapping[str, np.ndarray],
        snapshots: Mapping[int, Mapping[str, np.ndarray]] | None = None,
        scenario: int = 0,
    ) -> None:
        """Write some records and commit them; what was committed before stays so.

        Args:
            realizations: which, contiguous.
            first: number of the first record.
            seen: for each observable (realizations, records, ...).
            snapshots: of the same records, number -> entry -> (realizations, agents, ...), agents in the order of ids.
            scenario: which.
        """
        last = first
        for name, values in seen.items():
            last = first + values.shape[1]
            self.array(name)[scenario, realizations, first:last] = values
        for number, entries in (snapshots or {}).items():
            for name, values in entries.items():
                self.write_snapshot(realizations, number, name, values, scenario=scenario)
        committed = self.committed(scenario)[realizations]
        self.array("committed")[scenario, realizations] = np.maximum(committed, last)

    def write_snapshot(
        self, realizations: slice, number: int, name: str, values: np.ndarray, first: int = 0, scenario: int = 0
    ) -> None:
        """Write a snapshot of some agents; it counts when the records up to it are committed.

        Args:
            values: (realizations, agents, ...), of agents in the order of ids.
            first: place of the first of them among all; a multiple of the agents in a file if several processes write.
        """
        array, last = self.array(f"snapshot_{name}"), first + values.shape[1]
        for realization, each in zip(range(realizations.start, realizations.stop), values, strict=True):
            array[scenario, realization, number, first:last] = each

    def agents_in_file(self, name: str) -> int:
        """How many agents' snapshots share a file."""
        return int(self.array(f"snapshot_{name}").chunks[3])

    def committed(self, scenario: int = 0) -> np.ndarray:
        """How many records of each realization are complete."""
        return np.asarray(self.array("committed")[scenario])

    def copy(self, parent: Store, records: int, snapshots: int) -> None:
        """Take over the first records and snapshots of another store with the same realizations, and commit them."""
        for name in str(self.group.attrs["observables"]).split():
            self.array(name)[:, :, :records] = parent.array(name)[:, :, :records]
        for name in sorted(self.group.array_keys()):
            for number in range(snapshots if name.startswith("snapshot_") and name != "snapshot_time" else 0):
                for realization in range(self.array(name).shape[1]):
                    self.array(name)[:, realization, number] = parent.array(name)[:, realization, number]
        self.array("committed")[:] = records

    def note(self, name: str, line: str) -> None:
        """Add a line to one of the store's attributes."""
        before = str(self.group.attrs.get(name, ""))
        self.group.attrs[name] = f"{before}\n{line}".lstrip()

    def flush(self, since: float) -> None:
        """Have the files written since then (seconds, as `time.time`), and their names, reach the disk."""
        fresh = [path for path in self.path.rglob("*") if path.stat().st_mtime >= since]
        with ThreadPoolExecutor(min(16, len(fresh) + 1)) as several:  # a disk takes many in the time of a few
            list(several.map(sync, fresh))

    def array(self, name: str) -> zarr.Array:
        """One of the group's arrays."""
        if name not in self._arrays:
            with zarr.config.set({"array.write_empty_chunks": True}):  # to ask whether a chunk is empty takes as long
                found = self.group[name]  # as to compress it
            assert isinstance(found, zarr.Array)
            self._arrays[name] = found
        return self._arrays[name]


def create(
    path: Path,
    observables: Sequence[Described],
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    coords: Mapping[str, tuple[str, ...]],
    calendar: Calendar,
    *,
    every: int = 1,
    realizations: int = 1,
    together: int = 1,
    scenarios: tuple[str, ...] = ("baseline",),
    snapshots: Mapping[str, tuple[tuple[int, ...], np.dtype]] | None = None,
    snapshot_every: int = 0,
    observed: tuple[Series, ...] = (),
    attributes: Mapping[str, Any] | None = None,
) -> Store:
    """Make an empty store with all its arrays and metadata.

    Args:
        path: of the new zarr group; must not exist. It appears when all its arrays are there.
        observables: what will be written.
        shapes: of one record of each observable, and its dtype.
        coords: labels of the observables' dims.
        calendar: steps and start.
        every: steps in a record.
        realizations: how many.
        together: how many are written at once; they share files.
        scenarios: names.
        snapshots: entry's name -> shape of one snapshot (agents first) and dtype.
        snapshot_every: steps between snapshots.
        observed: data that results will be compared with, stored beside them as observed_...
        attributes: provenance, added to the group's attributes.
    Raises:
        OSError: if it cannot be written; nothing is left of it then.
    """
    path, part = Path(path), Path(path).with_name(f"{Path(path).name}.part")
    shutil.rmtree(part, ignore_errors=True)
    declared = {"Conventions": "CF-1.11", "observables": " ".join(observable.name for observable in observables)}
    try:
        group = zarr.create_group(part, zarr_format=3, attributes=declared | dict(attributes or {}))
        _arrays(group, observables, shapes, coords, calendar, every, realizations, together, scenarios)
        if snapshots:
            _snapshot_arrays(group, snapshots, calendar, snapshot_every, len(scenarios), realizations)
        for number, series in enumerate(observed):
            _observed(group, series, number, calendar)
        part.rename(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return reopen(path)


def reopen(path: Path, mode: Literal["r", "r+"] = "r+", first: bool = True) -> Store:
    """An existing store; the first to write on it removes what a killed process left half written."""
    for left in path.rglob("*.partial") if mode == "r+" and first else ():
        left.unlink(missing_ok=True)
    group = zarr.open_group(path, mode=mode, use_consolidated=False)
    records = group["time"].shape[0]  # type: ignore[union-attr]
    return Store(path, group, records)


def _arrays(
    group: zarr.Group,
    observables: Sequence[Described],
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    coords: Mapping[str, tuple[str, ...]],
    calendar: Calendar,
    every: int,
    realizations: int,
    together: int,
    scenarios: tuple[str, ...],
) -> None:
    """Labels, times, what is committed, and the observables."""
    records = calendar.steps // every
    _labels(group, "scenario", scenarios)
    for dim, labels in coords.items():
        _labels(group, dim, labels)
    _numbers(group, "realization", np.arange(realizations, dtype=np.int32), {"long_name": "realization", "units": "1"})
    starts = np.arange(records, dtype=np.int32) * every
    _numbers(group, "time", starts, _time_attributes(calendar, "first day of the record") | {"bounds": "time_bounds"})
    bounds = np.stack([starts, starts + every], axis=1)
    _numbers(group, "time_bounds", bounds, {}, ("time", "bound"))
    committed = np.zeros((len(scenarios), realizations), np.int32)
    _numbers(
        group, "committed", committed, {"long_name": "records complete", "units": "1"}, ("scenario", "realization")
    )
    for observable in observables:
        shape, dtype = shapes[observable.name]
        group.create_array(
            observable.name,
            shape=(len(scenarios), realizations, records, *shape),
            chunks=(1, 1, records, *shape),
            shards=(1, together, records, *shape),
            dtype=dtype,
            fill_value=FILL[np.dtype(dtype).kind],
            dimension_names=("scenario", "realization", "time", *observable.dims),
            attributes={
                "long_name": observable.long_name or observable.name.replace("_", " "),
                "units": observable.units,
                "cell_methods": CELL_METHODS[observable.over],
            },
        )


def _observed(group: zarr.Group, series: Series, number: int, calendar: Calendar) -> None:
    """Observed counts on a time axis of their own: observed_admissions (observed_time_0, region)."""
    time = f"observed_time_{number}"
    _numbers(group, time, series.steps(calendar), _time_attributes(calendar, "first day of the observation"))
    dims: tuple[str, ...] = (time,)
    if series.by is not None:
        dims = (time, f"observed_{series.by}_{number}")
        _labels(group, f"observed_{series.by}_{number}", series.regions)
    attributes = {
        "long_name": series.label or series.variable,
        "units": "1",
        "source": series.source,
        "days": series.days,
        "of": series.variable,
    }
    name = f"observed_{series.variable}"
    _numbers(group, name if name not in group else f"{name}_{number}", series.values, attributes, dims)


def _snapshot_arrays(
    group: zarr.Group,
    snapshots: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    calendar: Calendar,
    every: int,
    scenarios: int,
    realizations: int,
) -> None:
    moments = np.arange(1, calendar.steps // every + 1, dtype=np.int32) * every
    _numbers(group, "snapshot_time", moments, _time_attributes(calendar, "moment of the snapshot"))
    for name, (shape, dtype) in snapshots.items():
        most = max(1, SHARD_BYTES // (np.dtype(dtype).itemsize * math.prod(shape[1:]) or 1))
        agents = -(-shape[0] // -(-shape[0] // most))  # as few files as can be, and as many agents in each
        group.create_array(
            f"snapshot_{name}",
            shape=(scenarios, realizations, len(moments), *shape),
            chunks=(1, 1, 1, agents, *shape[1:]),
            dtype=dtype,
            fill_value=FILL.get(np.dtype(dtype).kind, 0),
            dimension_names=(
                "scenario",
                "realization",
                "snapshot_time",
                "agent",
                *(f"{name}_{i}" for i in range(1, len(shape))),
            ),
            attributes={
                "long_name": f"{name} of every agent, in the order of their ids",
                "units": "1",
                "cell_methods": "snapshot_time: point",
            },
        )


def _time_attributes(calendar: Calendar, long_name: str) -> dict[str, Any]:
    if calendar.start is None:
        return {"long_name": f"{long_name}, counted from 0", "units": "d", "axis": "T"}
    units = f"days since {calendar.start.isoformat()}"
    return {
        "long_name": long_name,
        "standard_name": "time",
        "units": units,
        "calendar": "proleptic_gregorian",
        "axis": "T",
    }


def _labels(group: zarr.Group, dim: str, labels: tuple[str, ...]) -> None:
    made = group.create_array(
        dim,
        shape=(len(labels),),
        dtype=str,
        chunks=(len(labels),),
        dimension_names=(dim,),
        attributes={"long_name": dim},
    )
    made[:] = np.array(labels, dtype=object)


def _numbers(
    group: zarr.Group, name: str, values: np.ndarray, attributes: dict[str, Any], dims: tuple[str, ...] = ()
) -> None:
    group.create_array(name, data=values, chunks=values.shape, dimension_names=dims or (name,), attributes=attributes)


def locate(path: str | Path) -> Path:
    """The zarr group in what a user points at: the group itself, or the directory of a run.

    Raises:
        InputError: if there is none.
    """
    path = Path(path)
    for candidate in (path, path / NAME):
        if (candidate / "zarr.json").is_file():
            return candidate
    found = "a path without them" if path.exists() else "no such path"
    raise InputError(f"{path}: asked for the results of a run, got {found}; write what `lpm run` printed")


def open(path: str | Path) -> xr.Dataset:
    """The results of a run, cut at what is committed.

    Records that no realization has reached are left out, and snapshots that some realization has not. If realizations
    differ in how far they came, what is missing of some is NaN. Dates are decoded, labels are plain strings, and
    variables come in the order of their declaration.

    Args:
        path: the directory that `lpm run` printed, or the zarr group in it.

    Returns:
        an xarray Dataset with the dims (scenario, realization, time, ...), read lazily.

    Raises:
        InputError: if there are no results there.
    """
    import xarray as xr  # which a run that only writes need not wait for

    dataset = xr.open_zarr(locate(path), consolidated=False, chunks=None)
    dataset = dataset[_in_order(dataset)]
    for name, labels in dataset.coords.items():
        if labels.dtype.kind == "T":  # numpy's StringDType, which few readers take yet
            dataset[name] = (labels.dims, labels.values.astype(object), labels.attrs)
    committed = dataset["committed"].load()
    most, least = int(committed.max()), int(committed.min())
    if "snapshot_time" in dataset.sizes:
        last = dataset["time_bounds"].values[least - 1, 1]
        reached = int((dataset["snapshot_time"].values <= last).sum()) if least else 0
        dataset = dataset.isel(snapshot_time=slice(0, reached))
    dataset = dataset.isel(time=slice(0, most))
    if least < most:
        record = xr.DataArray(np.arange(most), dims="time")
        for name, variable in dataset.data_vars.items():
            if {"scenario", "realization", "time"} <= set(variable.dims):
                attributes = variable.attrs
                dataset[name] = variable.where(record < committed)
                dataset[name].attrs = attributes
    return dataset


def _in_order(dataset: xr.Dataset) -> list[str]:
    """The variables' names: observables as declared, then observed data, snapshots and what describes the records."""
    observables = [name for name in dataset.attrs.get("observables", "").split() if name in dataset]
    rest = sorted(set(map(str, dataset.data_vars)) - set(observables))
    last = [name for name in ("time_bounds", "committed") if name in rest]
    return [*observables, *(name for name in rest if name not in last), *last]


def finished(path: str | Path) -> bool:
    """Whether there are results, and every realization is complete."""
    try:
        found = reopen(locate(path), mode="r")
    except InputError:
        return False
    return bool(np.all(np.asarray(found.array("committed")[:]) == found.records))


def records(path: str | Path) -> int:
    """How many records a realization will have when the run is finished."""
    return reopen(locate(path), mode="r").records
