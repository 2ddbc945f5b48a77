"""What no single scenario's config shows to be wrong with a study."""

from __future__ import annotations

from collections.abc import Mapping

from lpm.schema_yaml import Document
from lpm.studies.layout import MOST_LEVERS, StudySection
from lpm.studies.scenarios import Draft


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
    cube = section.latin_hypercube
    for key, (low, high) in cube.over.items() if cube else ():
        if not low < high:
            asked = f"asked for a lowest and a higher value, got {low:g} and {high:g}; write `{key}: [{high:g}, ...]`"
            document.report(("study", "latin_hypercube", "over", key), asked)
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
