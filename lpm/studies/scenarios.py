"""The scenarios of a study: named ones, combinations of levers, grids and Latin hypercubes, as changes of a config."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lpm.studies.layout import HypercubeSection, ScenarioSection, SobolSection, StudySection

Path = tuple[str | int, ...]
BETWEEN = " + "  # names of levers


@dataclasses.dataclass(frozen=True)
class Change:
    """One value that a scenario changes.

    Args:
        key: dotted, in the config.
        value: as YAML holds it.
        origin: where the study's file says so.
    """

    key: str
    value: Any
    origin: Path

    @property
    def text(self) -> str:
        """As `--set` takes it."""
        return f"{self.key}={json.dumps(self.value, ensure_ascii=False)}"


@dataclasses.dataclass(frozen=True)
class Draft:
    """A scenario before its config was loaded.

    Args:
        name: of the scenario.
        changes: in the order in which they are made.
        origin: where the study's file speaks of it.
        why: for people.
        cost: amount as the file has it, and where; None without.
        levers: those that are on.
    """

    name: str
    changes: tuple[Change, ...]
    origin: Path
    why: str = ""
    costs: tuple[tuple[Any, Path], ...] = ()
    levers: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The word of the study that it comes from; "" for the baseline."""
        return str(self.origin[1]) if len(self.origin) > 1 else ""


def drafts(section: StudySection, data: Any) -> list[Draft]:
    """All scenarios but the baseline, in the order of the file.

    Args:
        section: the study.
        data: the base config's values, in which dates are shifted.
    """
    found = [_named(name, each, ("study", "scenarios", name), data) for name, each in section.scenarios.items()]
    found += _combinations(section.levers, data)
    found += _grid(section.grid)
    if section.latin_hypercube is not None:
        found += _hypercube(section.latin_hypercube)
    if section.sobol is not None:
        found += _sobol(section.sobol)
    return found


def _named(name: str, section: ScenarioSection, origin: Path, data: Any) -> Draft:
    changes = [change for key, days in section.shift.items() for change in shifted(data, key, days, origin)]
    changes += [Change(key, value, (*origin, "set", key)) for key, value in section.set.items()]
    costs = () if section.cost is None else ((section.cost, (*origin, "cost")),)
    return Draft(name, tuple(changes), origin, section.why, costs)


def shifted(data: Any, key: str, days: int, origin: Path = ()) -> Iterator[Change]:
    """Every date at or below a dotted key, moved by so many days; numbers of days under `from` and `to` as well.

    >>> [change.text for change in shifted({"a": [{"from": "2020-03-01", "contacts": 0.5}]}, "a", -7)]
    ['a.0.from="2020-02-23"']
    """
    value = data
    for part in key.split("."):
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    for path, leaf in _leaves(value, (key,)):
        is_day = isinstance(leaf, int) and not isinstance(leaf, bool) and path[-1].rpartition(".")[2] in ("from", "to")
        if is_day:
            moved: Any = leaf + days
        elif isinstance(leaf, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", leaf):
            try:
                moved = (datetime.date.fromisoformat(leaf) + datetime.timedelta(days)).isoformat()
            except (ValueError, OverflowError):
                continue  # no date; the config's own check says so
        else:
            continue
        yield Change(".".join(path), moved, (*origin, "shift", key))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict | list):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(each, (*path, str(name)))
    else:
        yield path, value


def _combinations(levers: Mapping[str, ScenarioSection], data: Any) -> list[Draft]:
    """Every set of levers but the empty one, which is the baseline."""
    alone = {name: _named(name, each, ("study", "levers", name), data) for name, each in levers.items()}
    found = []
    for size in range(1, len(alone) + 1):
        for names in itertools.combinations(alone, size):
            parts = [alone[name] for name in names]
            changes = tuple(change for part in parts for change in part.changes)
            why = parts[0].why if size == 1 else ""
            costs = tuple(cost for part in parts for cost in part.costs)
            found.append(Draft(BETWEEN.join(names), changes, parts[-1].origin, why, costs, names))
    return found


def _grid(grid: Mapping[str, tuple[Any, ...]]) -> list[Draft]:
    """Every combination of the values, named after what they change."""
    if not grid:
        return []
    short = dict(zip(grid, shortened(tuple(grid)), strict=True))
    found = []
    for numbers in itertools.product(*(range(len(values)) for values in grid.values())):
        changes = tuple(
            Change(key, grid[key][number], ("study", "grid", key, number))
            for key, number in zip(grid, numbers, strict=True)
        )
        name = ", ".join(f"{short[change.key]}={_value(change.value)}" for change in changes)
        found.append(Draft(name, changes, ("study", "grid")))
    return found


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def shortened(keys: tuple[str, ...]) -> list[str]:
    """The last words of dotted keys, as many as tell them apart; never a number alone.

    >>> shortened(("settings.schedule.1.contacts", "settings.schedule.2.contacts", "settings.own_region"))
    ['1.contacts', '2.contacts', 'own_region']
    """
    words = [key.split(".") for key in keys]
    found = []
    for own in words:
        length = next(
            n
            for n in range(1 + own[-1].isdigit(), len(own) + 1)
            if n == len(own) or [w[-n:] for w in words].count(own[-n:]) == 1
        )
        found.append(".".join(own[-length:]))
    return found


def _hypercube(section: HypercubeSection) -> list[Draft]:
    """Scenarios named draw 1, draw 2, ..."""
    unit = latin_hypercube(section.draws, len(section.over), section.seed)
    found = []
    for number, row in enumerate(unit):
        changes = _within(section.over, row, "latin_hypercube")
        short = zip(shortened(tuple(section.over)), changes, strict=True)
        why = ", ".join(f"{key}={change.value:g}" for key, change in short)
        found.append(Draft(f"draw {number + 1}", changes, ("study", "latin_hypercube"), why))
    return found


def _within(over: Mapping[str, tuple[float, float]], row: np.ndarray, word: str) -> tuple[Change, ...]:
    """Shares of the ways between lowest and highest values as changes."""
    return tuple(
        Change(key, float(f"{low + (high - low) * share:.6g}"), ("study", word, "over", key))
        for (key, (low, high)), share in zip(over.items(), row, strict=True)
    )


def _sobol(section: SobolSection) -> list[Draft]:
    """Row by row: A, B, and A with each setting in turn as B has it (Saltelli et al. 2010, table 2)."""
    settings = len(section.over)
    unit = latin_hypercube(section.draws, 2 * settings, section.seed)
    found = []
    for number, row in enumerate(unit):
        a, b = row[:settings], row[settings:]
        points = {"A": a, "B": b}
        for place, name in enumerate(shortened(tuple(section.over))):
            points[f"A with {name} of B"] = np.where(np.arange(settings) == place, b, a)
        found += [
            Draft(f"sobol {number + 1} {name}", _within(section.over, point, "sobol"), ("study", "sobol"))
            for name, point in points.items()
        ]
    return found


def latin_hypercube(draws: int, dims: int, seed: int) -> np.ndarray:
    """Points in the unit cube with one in each of `draws` slices along each axis, (draws, dims) float64.

    x_{ij} = (pi_j(i) + u_{ij}) / draws, with a random order pi_j for each axis and u uniform in [0, 1)

    McKay, Beckman and Conover (1979), Technometrics 21, 239-245.

    >>> sorted((latin_hypercube(4, 2, 1)[:, 0] * 4).astype(int).tolist())
    [0, 1, 2, 3]
    """
    generator = np.random.default_rng(seed)
    order = np.stack([generator.permutation(draws) for _ in range(dims)], axis=1) if dims else np.zeros((draws, 0))
    return (order + generator.random((draws, dims))) / draws
