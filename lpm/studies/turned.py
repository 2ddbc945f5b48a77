"""Settings that are turned a little: which parameters of the world follow them, and how."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lpm import config as configs
from lpm.config import Config, build_world
from lpm.entries import named_entries, nearest
from lpm.errors import InputError
from lpm.studies.dials import equal, labelled, small_world
from lpm.studies.draws import Draws
from lpm.studies.scenarios import shifted
from lpm.trial import SMALL, agents_setting
from lpm.world import World

STEP = 0.01  # relative change of a setting that shows which parameters follow it, and how


@dataclasses.dataclass(frozen=True)
class Turned:
    """A setting whose sensitivity is asked for: all numbers at and below a key in proportion, or all dates together.

    Args:
        key: dotted, in the config.
        moves: whether it is dates.
        label: for people.
    """

    key: str
    moves: bool
    label: str


def label_of(key: str, moves: bool, settings: dict[str, Any]) -> str:
    """For people."""
    if moves:
        return f"{labelled(key, True, settings)}, a day later"
    return labelled(key, False, settings) if key in settings else key.removeprefix("settings.")


def wrong(base: Config, turned: Turned, method: str, draws: Draws | None) -> str | None:
    """Why a setting has no sensitivity, or None."""
    usual = small_world(base, ())
    try:
        ends = ends_of(base, turned)
    except InputError as error:
        return f"with {turned.key} changed a little the base has a mistake: {error.problems[0]}"
    unknown = None if ends else _unknown(base, turned.key)
    if unknown:
        return unknown
    if ends is None:
        numbers = "a key with numbers at or below it, not whole and not 0"
        what = "a key with dates at or below it" if turned.moves else numbers
        example = "settings.schedule" if turned.moves else "settings.transmission"
        return f"asked for {what}, got {turned.key}; write for example `{example}`"
    if any(not equal(end.state, usual.state) for end, _ in ends):
        return (
            f"asked for a setting that reaches the parameters alone, got {turned.key}, which changes the state or "
            "networks; take a grid of scenarios for it"
        )
    if all(equal(end.params, usual.params) for end, _ in ends):
        return f"asked for a setting that the world's parameters follow, got {turned.key}; write another"
    if draws is not None and any(draws.hides(usual, end) for end, _ in ends):
        return (
            f"asked for a setting that the fit left alone, got {turned.key}, whose parameters it takes the place of; "
            "write another"
        )
    first = named_entries(usual.params)
    cut = {path for end, _ in ends for path, leaf in named_entries(end.params).items() if not _same(leaf, first[path])}
    followed = usual.cut(sorted(cut))
    if method != "differences" and followed:
        return (
            f"asked for derivatives by a rule, got {turned.key}, which turns {', '.join(followed)}, where a rule would "
            "say zero; write `method: differences` under sensitivities"
        )
    return None


def _unknown(base: Config, key: str) -> str | None:
    """Where a key of settings leads nowhere: which of its names is wrong."""
    value: Any = base.settings
    above, *names = key.split(".")
    for name in names:
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            return None
        fields = {each.name.rstrip("_"): each.name for each in dataclasses.fields(value)}
        if name not in fields:
            asked = f"asked for one of the keys of {above}: {', '.join(fields)}"
            return f"{asked}, got the unknown {name!r}; {nearest(name, tuple(fields))}"
        value, above = getattr(value, fields[name]), f"{above}.{name}"
    return None


def ends_of(base: Config, turned: Turned) -> list[tuple[World, float]] | None:
    """Small worlds beside the base's, with how far away each is; None if the key has nothing to change."""
    if turned.moves:
        found = []
        for days in (1, -1):
            changes = tuple(change.text for change in shifted(base.document.data, turned.key, days))
            if not changes:
                return None
            found.append((small_world(base, changes), float(days)))
        return found
    key, agents = agents_setting(base.settings) or ("", None)
    few = [f"{key}={SMALL}"] if key and (agents is None or agents > SMALL) else []
    small = configs.load(base.path, [*base.overrides, *few])
    ends = []
    for step in (STEP, -STEP):
        settings = scaled(small.settings, turned.key.split(".")[1:], 1 + step)
        if settings == small.settings:
            return None
        ends.append((build_world(dataclasses.replace(small, settings=settings)), step))
    return ends


def scaled(value: Any, path: list[str], factor: float) -> Any:
    """Settings with all real numbers at and below a path multiplied; whole numbers, dates and words stay.

    >>> from lpm.worlds.city import Settings
    >>> scaled(Settings(), ["transmission"], 2.0).transmission.work
    0.44
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in dataclasses.fields(value)]
        wanted = names if not path else [name for name in names if name.rstrip("_") == path[0]]
        return dataclasses.replace(value, **{n: scaled(getattr(value, n), path[1:], factor) for n in wanted})
    if isinstance(value, tuple):
        chosen = range(len(value)) if not path else [int(path[0])] if path[0].isdigit() else []
        return tuple(scaled(each, path[1:], factor) if n in chosen else each for n, each in enumerate(value))
    return value * factor if isinstance(value, float) and not path else value


def _same(one: Any, other: Any) -> bool:
    return np.shape(one) == np.shape(other) and np.array_equal(one, other)
