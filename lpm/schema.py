"""What a config file may contain, and the JSON schema of it for editors."""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import Annotated, Any

from lpm.builders import SHIPPED, imported
from lpm.fit_settings import CalibrateSection
from lpm.schema_check import json_schemas, key_of
from lpm.settings import Number, Positive


@dataclasses.dataclass(frozen=True)
class Snapshots:
    """When agents themselves are recorded, and what of them.

    Args:
        every: steps between two snapshots; a multiple of the run's `every`.
        of: names of agents' entries, such as stage.
    """

    every: Positive
    of: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """When the state of a run is saved, to go on from; also at its end and when it is told to stop.

    Args:
        steps: after so many steps.
        minutes: after so many minutes.
        at: days whose morning is kept for good, to branch from: dates or numbers of steps done.
    """

    steps: Positive | None = None
    minutes: Annotated[float, Number(0, None, "minutes")] = 5.0
    at: tuple[datetime.date | int, ...] = ()


@dataclasses.dataclass(frozen=True)
class RunSection:
    """The `run` part of a config.

    Args:
        start: date of the first day.
        end: date of the last day; write it or steps.
        steps: number of days; write it or end.
        seed: of all draws.
        realizations: how many runs, each with its own draws.
        every: record once in so many steps; divides the number of steps.
        snapshots: records of the agents themselves.
        checkpoint: when the state is saved, to go on from.
        out: folder for the results; {name} stands for the config's name.
    """

    start: datetime.date | None = None
    end: datetime.date | None = None
    steps: Annotated[int, Number(1, 1_000_000, "days")] | None = None
    seed: Annotated[int, Number(0, 2**64 - 1)] = 0
    realizations: Positive = 1
    every: Annotated[int, Number(1, None, "days")] = 1
    snapshots: Snapshots | None = None
    checkpoint: Checkpoint = Checkpoint()
    out: str = "runs/{name}"


@dataclasses.dataclass(frozen=True)
class CompareSection:
    """One item of the `compare` part of a config: data drawn beside the result.

    Args:
        variable: the observable that it is compared with.
        file: a CSV file, by its path from the config on, or the name of one that ships with lpm.
        time: column of dates or day numbers.
        column: column of counts.
        by: column of regions, which is also the observable's dim.
        days: days that one count covers.
        label: for pictures and tables.
    """

    variable: str
    file: str
    time: str
    column: str
    by: str | None = None
    days: Positive = 1
    label: str = ""


@dataclasses.dataclass(frozen=True)
class Layout:
    """A config file.

    Args:
        model: the builder, as module:function or file.py:function with a path from the config on.
        settings: the builder's own.
        run: when, how often and where to.
        compare: data drawn beside the result.
        calibrate: what is free, and how to fit it to the data under compare.
        title: one line for tables and pictures.
    """

    model: str
    settings: Any = None
    run: Any = None
    compare: Any = None
    calibrate: Any = None
    title: str = ""


def export_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a config: `model` selects that of `settings`; one of your own takes any.

    >>> export_schema()["required"]
    ['model', 'run']
    """
    shipped = {model: imported(model).settings for model in SHIPPED}
    sections = {"layout": Layout, "run": RunSection, "compare": CompareSection, "calibrate": CalibrateSection}
    schemas, definitions = json_schemas(sections | shipped)
    layout = definitions.pop(_definition(schemas.pop("layout")))
    definitions[_definition(schemas["run"])]["oneOf"] = [
        {"required": ["steps"]},
        {"required": ["end"], "dependentRequired": {"end": ["start"]}},
    ]
    of_models = [
        {"if": {"properties": {"model": {"const": model}}}, "then": {"properties": {"settings": schemas[model]}}}
        for model in shipped
    ]
    fields = layout["properties"]
    fields["model"] |= {"anyOf": [{"enum": list(shipped)}, {"pattern": r"^\S.*:\w+$"}]}
    fields["run"] = schemas["run"]
    fields["compare"] = {"type": "array", "items": schemas["compare"]}
    fields["calibrate"] = schemas["calibrate"]
    for definition in (layout, *definitions.values()):
        _tidied(definition)
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **layout, "title": "A config of lpm"}
    return described | {"required": ["model", "run"], "allOf": of_models, "$defs": dict(sorted(definitions.items()))}


def export_study_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a study's file; dotted keys and their values are the base config's own.

    >>> export_study_schema()["required"]
    ['study']
    """
    from lpm.studies.layout import StudyLayout, StudySection

    schemas, definitions = json_schemas({"layout": StudyLayout, "study": StudySection})
    layout = definitions.pop(_definition(schemas["layout"]))
    for definition in (layout, *definitions.values()):
        _tidied(definition)
    layout["properties"]["study"] = schemas["study"]
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **layout, "title": "A study of lpm"}
    return described | {"$defs": dict(sorted(definitions.items()))}


def _definition(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).removeprefix("#/$defs/")


def _docs(docstring: str) -> dict[str, str]:
    """What the `Args:` of a docstring says, by key.

    >>> import inspect
    >>> _docs(inspect.getdoc(Snapshots))["of"]
    "names of agents' entries, such as stage"
    """
    arguments = docstring.partition("\nArgs:\n")[2]
    docs: dict[str, str] = {}
    for names, text in re.findall(r"^    (\w[\w, ]*): (.*(?:\n {8}.*)*)", arguments, re.MULTILINE):
        docs |= dict.fromkeys(map(key_of, names.split(", ")), " ".join(text.split()).rstrip("."))
    return docs


def _tidied(definition: dict[str, Any]) -> None:
    """Field docs instead of titles that repeat the names; a default that is an object says nothing to an editor."""
    docs = _docs(definition.get("description", ""))
    definition.pop("title", None)
    definition["description"] = definition.get("description", "").partition("\n")[0]
    for name, field in definition.get("properties", {}).items():
        field.pop("title", None)
        if isinstance(field.get("default", ""), dict | list | str | None) and not field.get("enum"):
            field.pop("default", None)
        about, unit = docs.get(name, ""), field.get("description", "")
        field["description"] = about if unit in about else f"{about} [{unit}]"
