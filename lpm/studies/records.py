"""A study's directory: what it is about, a file for each run, and the store that they are collected in.

`study.json` says all that answers need. A run's file appears as a whole when the run is complete, and no two processes
write one; so runs may be killed, divided among the tasks of an array job, and done again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import shutil
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lpm import store
from lpm.directory import publish, whole
from lpm.errors import InputError
from lpm.provenance import differences
from lpm.settings import Calendar
from lpm.studies.layout import CapacitySection
from lpm.studies.objective import Risk
from lpm.studies.outcomes import Outcome, UnitCost

if TYPE_CHECKING:
    from lpm.studies.plan import Study

FOLDER, ABOUT = "runs", "study.json"
NOT_RUN = "not run yet"
UNTOUCHED = 60.0  # seconds, after which a hidden file is no longer being written
SECONDS = "seconds of the run"  # no observable has a name with blanks


@dataclasses.dataclass(frozen=True)
class Unit:
    """One run: numbers of the scenario and the realization."""

    scenario: int
    realization: int

    @property
    def name(self) -> str:
        """Of its file, without the ending."""
        return f"{self.scenario:04}-{self.realization:05}"


@dataclasses.dataclass(frozen=True)
class Told:
    """A scenario, as answers need it."""

    name: str
    why: str
    changes: tuple[str, ...]
    cost: float
    levers: tuple[str, ...]
    group: str


class Recorded(NamedTuple):
    """An observable once all is recorded: `lpm.observe.Described`."""

    name: str
    dims: tuple[str, ...]
    units: str
    long_name: str
    over: str


@dataclasses.dataclass(frozen=True)
class About:
    """All that answers need beside the runs; see `Study` and `Wanted` for what is not explained here.

    Args:
        start: first day as a text, or None.
        steps: days.
        every: days in a record.
        scale: agents for each real person.
        observables: name, dims, units, long name and `over` of each.
        shapes: name -> shape of a record, and dtype.
        coords: labels of the dims.
        identity: what the runs depend on; they are gone on with only if it is the same.
        attributes: provenance.
        worth, risk: by which policies are judged.
        optimum: what `optimum.json` holds, if a policy was optimised.
        draws: from a fit's posterior, realization r having number r modulo so many; 0 without a fit.
        fit: for people, what the fit says of them.
        observed: series beside the courses (`lpm.studies.observed`).
        slopes: which sensitivities are asked for (`lpm.studies.derivatives`), or None.
    """

    title: str
    scenarios: tuple[Told, ...]
    realizations: int
    outcomes: tuple[Outcome, ...]
    effect: Outcome | None
    capacity: CapacitySection | None
    costs: tuple[UnitCost, ...]
    prices: tuple[tuple[str, float], ...]
    currency: str
    levers: tuple[str, ...]
    start: str | None
    steps: int
    every: int
    scale: float
    observables: tuple[tuple[str, tuple[str, ...], str, str, str], ...]
    shapes: Mapping[str, tuple[tuple[int, ...], str]]
    coords: Mapping[str, tuple[str, ...]]
    identity: Mapping[str, str]
    attributes: Mapping[str, Any]
    worth: float
    risk: Risk
    optimum: Mapping[str, Any] | None
    draws: int = 0
    fit: tuple[str, ...] = ()
    observed: tuple[Mapping[str, Any], ...] = ()
    slopes: Mapping[str, Any] | None = None

    @property
    def calendar(self) -> Calendar:
        """Of all runs."""
        return Calendar(self.steps, None if self.start is None else datetime.date.fromisoformat(self.start))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scenarios, the baseline first."""
        return tuple(each.name for each in self.scenarios)

    @property
    def units(self) -> list[Unit]:
        """All runs, scenario by scenario."""
        return [Unit(s, r) for s in range(len(self.scenarios)) for r in range(self.realizations)]

    def dims(self, variable: str) -> tuple[str, ...]:
        """Of an observable."""
        return next(dims for name, dims, *_ in self.observables if name == variable)

    def long_name(self, variable: str) -> str:
        """Of an observable."""
        return next(text or name for name, _, _, text, _ in self.observables if name == variable)


def told(study: Study) -> tuple[Told, ...]:
    """A study's scenarios as `About` keeps them."""
    return tuple(
        Told(each.name, each.why, each.changes, each.cost, each.levers, each.group) for each in study.scenarios
    )


def begin(path: Path, about: About) -> About:
    """Write what a study is about, or make sure that the directory's study is this one.

    Whichever task is first writes it. Outcomes and costs may be changed later; what the runs depend on may not, and
    realizations may become more, for a realization is the same whatever their number.

    Raises:
        InputError: if the directory holds another study; every difference is named.
    """
    (path / FOLDER).mkdir(parents=True, exist_ok=True)
    try:
        before = read(path)
    except InputError:
        if (path / ABOUT).exists():
            raise
        publish(path / ABOUT, json.dumps(dataclasses.asdict(about), indent=1).encode())
        before = read(path)
    changed = differences(before.identity, about.identity)
    if changed:
        raise InputError(
            [
                f"{path}: asked to go on with the same study, got {each}; write the study as it was, or another --out"
                for each in changed
            ]
        )
    now = dataclasses.replace(
        about, realizations=max(about.realizations, before.realizations), attributes=before.attributes
    )
    if now != before:
        publish(path / ABOUT, json.dumps(dataclasses.asdict(now), indent=1).encode())
    return now


def read(path: str | Path) -> About:
    """What the study in a directory is about.

    Raises:
        InputError: if there is none.
    """
    file = Path(path) / ABOUT
    try:
        found = json.loads(file.read_text("utf-8"))
        return About(
            **found
            | {
                "scenarios": tuple(
                    Told(**each | {"changes": tuple(each["changes"]), "levers": tuple(each["levers"])})
                    for each in found["scenarios"]
                ),
                "outcomes": tuple(Outcome(**each) for each in found["outcomes"]),
                "effect": found["effect"] and Outcome(**found["effect"]),
                "capacity": found["capacity"] and CapacitySection(**found["capacity"]),
                "costs": tuple(UnitCost(**each | {"outcome": Outcome(**each["outcome"])}) for each in found["costs"]),
                "prices": tuple((layer, amount) for layer, amount in found["prices"]),
                "levers": tuple(found["levers"]),
                "observables": tuple((name, tuple(dims), *rest) for name, dims, *rest in found["observables"]),
                "shapes": {name: (tuple(shape), dtype) for name, (shape, dtype) in found["shapes"].items()},
                "coords": {dim: tuple(labels) for dim, labels in found["coords"].items()},
                "risk": Risk(**found["risk"]),
                "fit": tuple(found.get("fit", ())),
                "observed": tuple(found.get("observed", ())),
            }
        )
    except OSError:
        raise InputError(
            f"{path}: asked for the directory of a study, got one without {ABOUT}; write the --out of `lpm study`"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{file}: asked for what `lpm study` wrote, got something else ({type(error).__name__}: {error}); "
            "run the study in another --out"
        ) from None


def write_run(path: Path, unit: Unit, records: Mapping[str, np.ndarray], seconds: float) -> None:
    """Keep a run's records, (records, ...) for each observable; an earlier failure of the run is forgotten."""
    file = path / FOLDER / f"{unit.name}.npz"
    arrays: dict[str, Any] = {SECONDS: np.float64(seconds), **records}
    with whole(file) as part, part.open("wb") as opened:
        np.savez(opened, **arrays)
    file.with_suffix(".failed").unlink(missing_ok=True)


def read_run(path: Path, unit: Unit) -> dict[str, np.ndarray] | None:
    """A run's records; None if it is not complete, or its file is damaged."""
    try:
        with (path / FOLDER / f"{unit.name}.npz").open("rb") as file, np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files if name != SECONDS}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def complete(path: Path, unit: Unit) -> bool:
    """Whether a run's file is there, as a whole."""
    return zipfile.is_zipfile(path / FOLDER / f"{unit.name}.npz")


def write_failure(path: Path, unit: Unit, reason: str) -> None:
    """Keep why a run failed."""
    publish(path / FOLDER / f"{unit.name}.failed", f"{reason}\n".encode())


def missing(path: Path, about: About) -> list[tuple[Unit, str]]:
    """The runs that are not complete, and why: what failed them, or that they were not run yet."""
    found = []
    for unit in about.units:
        if not complete(path, unit):
            failed = path / FOLDER / f"{unit.name}.failed"
            found.append((unit, failed.read_text("utf-8").strip() if failed.is_file() else NOT_RUN))
    return found


def collect(path: Path, about: About) -> Path:
    """Join the runs in one zarr store with a scenario axis; one run at a time is in memory.

    Returns:
        its path, for `lpm.open`, which shows what is missing as NaN.
    """
    target, fresh, old = path / store.NAME, path / ".collected.zarr", path / ".before.zarr"
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    made = store.create(
        fresh,
        [Recorded(*each) for each in about.observables],
        {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in about.shapes.items()},
        about.coords,
        about.calendar,
        every=about.every,
        realizations=about.realizations,
        scenarios=about.names,
        attributes=about.attributes,
    )
    for unit in about.units:
        records = read_run(path, unit)
        if records is not None:
            which = slice(unit.realization, unit.realization + 1)
            made.write(which, 0, {name: each[None] for name, each in records.items()}, scenario=unit.scenario)
        elif complete(path, unit):
            (path / FOLDER / f"{unit.name}.npz").unlink()
            write_failure(path, unit, "its file was damaged and has been removed")
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    if not missing(path, about):
        _tidy(path)
    return target


def _tidy(path: Path) -> None:
    """Remove hidden files that nobody has touched for a while: who wrote them was killed."""
    for left in (*path.glob(f".{ABOUT}.*"), *(path / FOLDER).glob(".[0-9]*-[0-9]*.*")):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > UNTOUCHED:
                left.unlink()
