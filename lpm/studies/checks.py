"""What no single scenario's config shows to be wrong with a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lpm import batch
from lpm import config as configs
from lpm.config import Config
from lpm.errors import InputError
from lpm.observe import Observable
from lpm.schema_yaml import Document
from lpm.studies.layout import MOST_LEVERS, StudySection
from lpm.studies.scenarios import Draft
from lpm.trial import SMALL, agents_setting
from lpm.world import World


class Further(NamedTuple):
    """An observable that some scenarios have and the base has not, and its records."""

    observable: Observable
    shape: tuple[int, ...]
    dtype: np.dtype


def check_drafts(document: Document, section: StudySection, drawn: list[Draft]) -> None:
    """What no single scenario's config shows: names, keys that must not differ, levers that contradict."""
    names = [draft.name for draft in drawn]
    for draft in drawn[1:]:
        if names.count(draft.name) > 1:
            document.report(draft.origin, f"got the name {draft.name!r} twice; write another one", key=True)
        for change in draft.changes:
            if not change.key.startswith("settings."):
                document.report(
                    change.origin,
                    f"asked for a key under settings, so that scenarios can be compared, got {change.key}; "
                    "write it as `set` under `study`, for all scenarios",
                    key=True,
                )
    if len(drawn) == 1:
        document.report(("study",), "asked for something to compare with the base, got no scenario; write `scenarios:`")
    if len(section.levers) > MOST_LEVERS:
        message = f"asked for at most {MOST_LEVERS} levers, got {len(section.levers)}; write fewer"
        document.report(("study", "levers"), f"{message}, or `scenarios:` with the combinations you want")
    pools = (("scenarios", section.scenarios), ("levers", section.levers))
    for kind, pool in pools:
        for name, each in pool.items():
            _check_shifts(document, ("study", kind, name), each.shift, drawn)
    _check_levers(document, drawn)
    for word, ranges in (("latin_hypercube", section.latin_hypercube), ("sobol", section.sobol)):
        for key, (low, high) in ranges.over.items() if ranges else ():
            if not low < high:
                asked = f"asked for a lowest and a higher value, got {low:g} and {high:g}"
                document.report(("study", word, "over", key), f"{asked}; write `{key}: [{high:g}, ...]`")
    for key, values in section.grid.items():
        if not values:
            document.report(("study", "grid", key), f"asked for values, got an empty list; write `{key}: [0.5, 1.0]`")


def _check_shifts(
    document: Document, origin: tuple[str | int, ...], shift: Mapping[str, int], drawn: list[Draft]
) -> None:
    for key in shift:
        place = (*origin, "shift", key)
        if not any(change.origin == place for draft in drawn for change in draft.changes):
            document.report(
                place, f"asked for a key of the base with dates below it, got {key}; write `settings.schedule`", True
            )


def _check_levers(document: Document, drawn: list[Draft]) -> None:
    """Two levers that change one value could not both be on."""
    pairs = [draft for draft in drawn if len(draft.levers) == 2]
    for draft in pairs:
        first, second = ([c for c in draft.changes if c.origin[2] == lever] for lever in draft.levers)
        for change in second:
            if any(_within(change.key, each.key) or _within(each.key, change.key) for each in first):
                document.report(
                    change.origin,
                    f"asked for levers that change different values, got {change.key}, which {draft.levers[0]} "
                    "changes too; write each value in one lever",
                    key=True,
                )


def _within(key: str, other: str) -> bool:
    return key == other or key.startswith(f"{other}.")


def small_worlds(document: Document, chosen: list[Config | None], drawn: list[Draft]) -> list[World | None]:
    """Each scenario that has a config, built small: all must observe what the base does, in the same places."""
    found: list[World | None] = []
    for config, draft in zip(chosen, drawn, strict=True):
        try:
            world = None if config is None else _small(config)
        except InputError as error:
            for problem in error.problems:
                document.report(draft.origin, f"its world cannot be built: {problem}", key=True)
            world = None
        found.append(world)
        base = found[0]
        if world is None or base is None:
            continue
        mine, others = ({each.name for each in w.observables} for w in (world, base))
        if others - mine:
            document.report(
                draft.origin,
                f"asked for the observables of the base, got none of {', '.join(sorted(others - mine))}; write changes "
                "that keep them",
                key=True,
            )
        if world.coords != base.coords:
            document.report(
                draft.origin,
                f"asked for the labels of the base ({base.coords}), got {world.coords}; write changes that keep them",
                key=True,
            )
    return found


def further(worlds: list[World], every: int) -> tuple[Further, ...]:
    """What scenarios observe beside what the base does, such as the doses of a vaccine: where it is absent it is 0."""
    known = {each.name for each in worlds[0].observables}
    found: dict[str, Further] = {}
    for world in worlds[1:]:
        new = [each for each in world.observables if each.name not in known and each.name not in found]
        shapes = batch.Engine(world, 0, 1, every).shapes() if new else {}
        found |= {each.name: Further(each, *shapes[each.name]) for each in new}
    return tuple(found.values())


def _small(config: Config) -> World:
    key, agents = agents_setting(config.settings) or ("", 0)
    if agents is not None and agents <= SMALL:
        return configs.build_world(config)
    try:
        small = configs.load(config.path, [*config.overrides, f"{key}={SMALL}"])
    except InputError:
        small = config
    return configs.build_world(small)
