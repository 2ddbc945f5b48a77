"""Keys of a config that stand in the wrong place, and units of time, which a config does not have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from lpm.schema import Layout, RunSection
from lpm.schema_check import fields_of, key_of
from lpm.schema_yaml import Document

UNITS = ("unit", "units", "time_unit", "time_units", "step_unit", "timestep", "time_step", "dt")


def report(document: Document, settings: type | None) -> None:
    """Report keys at the top of a config that belong under `settings` or `run`, and units of time; and take them out.

    Args:
        document: of a config.
        settings: what the config's builder takes; None if it has none that is known.

    >>> from lpm.schema_yaml import override, parse
    >>> document = parse(b"model: lpm.worlds.sir:build", "a.yaml")
    >>> override(document, ["seed=3"])
    >>> report(document, None)
    >>> document.problems
    ['--set seed=3 seed: unknown key `seed`; write --set run.seed=3']
    """
    data = document.data if isinstance(document.data, dict) else {}
    top = [field.name for field in dataclasses.fields(Layout)]
    for name in [each for each in data if each not in top]:
        homes = [*_homes(name, settings, "settings"), *_homes(name, RunSection, "run")]
        homes.sort(key=lambda home: home.count("."))
        if not homes:
            continue
        given = document.overrides.get((name,))
        if given is None:
            write = " or ".join(f"it under `{home.rpartition('.')[0]}`" for home in homes) + ", indented"
        else:
            write = " or ".join(f"--set {home}{given.removeprefix(name)}" for home in homes)
        document.report((name,), f"unknown key `{name}`; write {write}", key=True)
        del data[name]
    run = data.get("run")
    run = run if isinstance(run, dict) else {}
    for name in [each for each in UNITS if each in run]:
        del run[name]
        document.report(
            ("run", name),
            f"unknown key `{name}`; remove it: the unit of time is the day. `steps` and `every` "
            "count days (`every: 7` records once a week), `start` and `end` are dates, and rates are per day",
            key=True,
        )


def _homes(name: str, annotation: Any, path: str) -> Iterator[str]:
    """Dotted paths of the fields of this name, in an annotation and in the dataclasses that it holds."""
    for field, inner in fields_of(annotation):
        here = f"{path}.{key_of(field)}"
        if key_of(field) == name:
            yield here
        yield from _homes(name, inner, here)
