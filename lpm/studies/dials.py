"""The dials of a policy: settings that are turned within bounds, and the parameters that a position of them means.

A dial is a number of the config, or days by which dates are moved. A policy between whole days is a mixture of those
on the days around it, so that its parameters, and what follows from them, change steadily with every dial.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lpm import config as configs
from lpm.config import Config
from lpm.studies.scenarios import Change, shifted
from lpm.trial import SMALL, agents_setting
from lpm.world import World
from lpm.worlds.schedule import LAYERS, check_schedule, contact_table
from lpm.worlds.schedule import Change as Entry

NEAR = 1e-9  # days, within which a day is whole


@dataclasses.dataclass(frozen=True)
class Dial:
    """Something that can be turned.

    Args:
        key: dotted, in the config.
        low, high: bounds; of days, if dates are moved.
        moves: whether it moves the dates at and below the key by days, instead of setting its value.
        now: where the base has it.
        label: for people.
    """

    key: str
    low: float
    high: float
    moves: bool
    now: float
    label: str = ""

    @property
    def unit(self) -> float:
        """The base's position between 0 (`low`) and 1 (`high`)."""
        return (self.now - self.low) / (self.high - self.low)


@dataclasses.dataclass(frozen=True)
class Dials:
    """A base and what is turned of it.

    Args:
        base: its config.
        dials: at least one.
    """

    base: Config
    dials: tuple[Dial, ...]

    @property
    def start(self) -> np.ndarray:
        """Where the base is, (dials,) between 0 and 1."""
        return np.array([dial.unit for dial in self.dials])

    def values(self, x: np.ndarray) -> list[float]:
        """Positions between 0 and 1 as values and days."""
        return [dial.low + (dial.high - dial.low) * float(u) for dial, u in zip(self.dials, x, strict=True)]

    def whole(self, x: np.ndarray) -> tuple[float, ...]:
        """The same with whole days, and values of three digits."""
        values = zip(self.dials, self.values(x), strict=True)
        return tuple(round(value) if dial.moves else float(f"{value:.3g}") for dial, value in values)

    def changes(self, x: np.ndarray) -> tuple[Change, ...]:
        """The changes of the config that a position means, in whole days and three digits."""
        return _changes(self, self.whole(x))

    def rounded(self, x: np.ndarray) -> np.ndarray:
        """The position that `changes` says."""
        values = zip(self.dials, self.whole(x), strict=True)
        return np.array([(value - dial.low) / (dial.high - dial.low) for dial, value in values])

    def params(self, x: np.ndarray) -> Any:
        """The parameters of the world at a position, a pytree of numpy arrays.

        Between whole days: sum_k w_k params(corner k), the corners and weights being those of the simplex of whole days
        that holds the point (Kuhn 1960), so that a single date between two days counts as a weighted mean of both.
        """
        parts = [(weight, _params(self, corner)) for corner, weight in self.corners(x)]
        return jax.tree.map(lambda *leaves: sum(w * leaf for (w, _), leaf in zip(parts, leaves, strict=True)), *(
            params for _, params in parts
        ))  # fmt: skip

    def corners(self, x: np.ndarray) -> list[tuple[tuple[float, ...], float]]:
        """Points with whole days and their weights, which add up to 1.

        >>> both = Dials(None, (Dial("a", 0, 10, True, 0), Dial("b", 0, 1, False, 0)))
        >>> [(corner, round(weight, 6)) for corner, weight in both.corners(np.array([0.23, 0.5]))]
        [((2, 0.5), 0.7), ((3, 0.5), 0.3)]
        """
        values = self.values(x)
        days = [math.floor(v + NEAR) if dial.moves else v for dial, v in zip(self.dials, values, strict=True)]
        parts = [max(v - whole, 0.0) for v, whole in zip(values, days, strict=True)]
        corner, found, before = list(days), [], 1.0
        for place in sorted((place for place, part in enumerate(parts) if part > NEAR), key=lambda p: -parts[p]):
            found.append((tuple(corner), before - parts[place]))
            corner[place] += 1
            before = parts[place]
        return [*found, (tuple(corner), before)]


def labelled(key: str, moves: bool, settings: Mapping[str, Any]) -> str:
    """What people call a dial: of an entry of a list, with the words and dates beside it.

    >>> labelled("settings.schedule.0.contacts", False, {"settings.schedule.0.layer": "school"})
    'contacts (school)'
    """
    day = {"from": "first day", "to": "last day"}.get(key.rpartition(".")[2]) if moves else None
    entry = key if moves and day is None else key.rpartition(".")[0]
    last = day or ("dates" if moves else key.rpartition(".")[2])
    beside = [
        str(value)
        for name, value in settings.items()
        if name.rpartition(".")[0] == entry and isinstance(value, str | datetime.date) and not name.endswith(".why")
    ]
    if entry.rpartition(".")[2].isdigit() and beside:
        return f"{last} ({', '.join(beside[:2])})"
    return f"dates of {key.rpartition('.')[2]}" if moves else key.removeprefix("settings.")


def _changes(dials: Dials, values: tuple[float, ...]) -> tuple[Change, ...]:
    """Of the base's config, for whole days and values."""
    data, found = dials.base.document.data, []
    for dial, value in zip(dials.dials, values, strict=True):
        if dial.moves:
            found += list(shifted(data, dial.key, int(value)))
        else:
            found.append(Change(dial.key, value, ()))
    return tuple(found)


@functools.lru_cache(maxsize=512)
def _built(path: Any, text: str, builder: Any, overrides: tuple[str, ...]) -> World:
    """`text` and `builder` tell apart what a file was before and after it was edited."""
    return configs.build_world(configs.load(path, overrides))


def small_world(base: Config, changes: tuple[str, ...]) -> World:
    """The base with changes, built with few agents; made once for each set of changes."""
    key, agents = agents_setting(base.settings) or ("", None)
    few = (f"{key}={SMALL}",) if key and (agents is None or agents > SMALL) else ()
    return _built(base.path, base.text, base.builder, (*base.overrides, *changes, *few))


def _params(dials: Dials, corner: tuple[float, ...]) -> Any:
    changes = _changes(dials, corner)
    usual = jax.tree.map(np.asarray, small_world(dials.base, ()).params)
    contacts = _contacts(dials.base, changes, usual)
    if contacts is not None:
        return dataclasses.replace(usual, contacts=contacts)
    return jax.tree.map(np.asarray, small_world(dials.base, tuple(change.text for change in changes)).params)


def _contacts(base: Config, changes: tuple[Change, ...], usual: Any) -> np.ndarray | None:
    """The contacts that a changed schedule means, without building a world; None if there is more to be changed.

    Worlds take a hundred times as long to build as this takes, and searches ask for thousands.
    """
    schedule, calendar = getattr(base.settings, "schedule", None), base.run.calendar
    if not isinstance(schedule, tuple) or not all(isinstance(each, Entry) for each in schedule):
        return None  # a model of one's own may mean something else by the word
    if not hasattr(usual, "contacts") or not np.array_equal(contact_table(schedule, calendar), usual.contacts):
        return None
    entries = list(schedule)
    for change in changes:
        match = re.fullmatch(r"settings\.schedule\.(\d+)\.(from|to|contacts)", change.key)
        if match is None or int(match[1]) >= len(entries):
            return None
        value = datetime.date.fromisoformat(change.value) if isinstance(change.value, str) else change.value
        field = "from_" if match[2] == "from" else match[2]
        entries[int(match[1])] = dataclasses.replace(entries[int(match[1])], **{field: value})
    if check_schedule(tuple(entries), calendar, ()):
        return None
    return contact_table(tuple(entries), calendar)


def equal(one: Any, other: Any) -> bool:
    """Whether two pytrees have the same numbers."""
    mine, its = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(mine) == len(its) and all(
        np.shape(a) == np.shape(b) and np.array_equal(a, b) for a, b in zip(mine, its, strict=True)
    )


def ratios(small: Any, large: Any) -> Any:
    """What parameters of a small world are to be multiplied with in a large one: 1 unless they count agents."""

    def ratio(few: Any, many: Any) -> np.ndarray:
        few, many = np.asarray(few, np.float64), np.asarray(many, np.float64)
        found = np.divide(many, few, out=np.ones_like(few), where=few != 0)
        return np.where(np.abs(found - 1) < 1e-4, 1.0, found)

    return jax.tree.map(ratio, small, large)


def closed_days(params: Any, layer: str) -> float:
    """Days without the contacts of a layer, added up: sum over days of 1 - contacts where that is positive.

    Contacts are those of the schedule and of orders, on whose days it is not known whether a trigger is on; it counts
    as on.

    >>> import types
    >>> closed_days(types.SimpleNamespace(contacts=np.array([[1.0, 0.25, 1.0, 1.0], [1.0, 0.5, 1.2, 1.0]])), "school")
    1.25
    """
    contacts = np.asarray(params.contacts, np.float64)[:, LAYERS.index(layer)]
    orders = getattr(params, "interventions", {}).get("orders")
    if orders is not None:
        effect = np.asarray(orders["compliance"]) * (np.asarray(orders["effect"])[:, LAYERS.index(layer)] - 1)
        contacts = contacts * (1 + np.asarray(orders["days"], np.float64) * effect[:, None]).prod(axis=0)
    return float(np.maximum(1 - contacts, 0).sum())
