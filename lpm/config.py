"""Configs: a YAML file that names a builder, its settings and a run; checked before anything runs.

Every mistake that can be seen is told at once, a line each: `file:line:column field: asked for ..., got ...; write ...`
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import hashlib
import importlib.resources
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lpm import misplaced
from lpm.builders import Builder, imported, raised_at, said, what_it_takes
from lpm.errors import InputError
from lpm.fit_settings import CalibrateSection
from lpm.provenance import checksum, flat
from lpm.schema import Checkpoint, CompareSection, Layout, RunSection, Snapshots
from lpm.schema_check import got, key_of, unknown, validated
from lpm.schema_yaml import Document, override, parse
from lpm.series import Series, misnamed, read_series
from lpm.settings import Calendar
from lpm.world import World

DEFAULT = "nyc-2020"


@dataclasses.dataclass(frozen=True)
class Run:
    """How to run a world: see `RunSection`; here the calendar is worked out and `out` is a path."""

    calendar: Calendar
    seed: int = 0
    realizations: int = 1
    every: int = 1
    snapshots: Snapshots | None = None
    checkpoint: Checkpoint = dataclasses.field(default_factory=Checkpoint)
    out: Path = Path("runs")


@dataclasses.dataclass(frozen=True)
class Config:
    """A config that has been checked.

    Args:
        model: the builder's name, as in the file.
        builder: `build(settings, calendar) -> World`.
        settings: what the builder takes.
        run: when, how often and where to.
        compare: observed data.
        title: one line, may be empty.
        name: the file's name without its ending.
        path: the file.
        text: its YAML as it was given.
        overrides: `key=value`, as they were given.
        document: knows where each value came from, for mistakes seen later.
        calibrate: what is free and how to fit it, if the file says so.
    """

    model: str
    builder: Callable[..., World]
    settings: Any
    run: Run
    compare: tuple[Series, ...]
    title: str
    name: str
    path: Path
    text: str
    overrides: tuple[str, ...] = ()
    document: Document = dataclasses.field(default_factory=lambda: Document(""), repr=False, compare=False)
    calibrate: CalibrateSection | None = None


def shipped(studies: bool = False) -> dict[str, Path]:
    """The configs that come with lpm, or its studies, by name."""
    folder = Path(str(importlib.resources.files("lpm") / "configs"))
    study = re.compile("^study:", re.MULTILINE)
    return {
        file.stem: file
        for file in sorted(folder.glob("*.yaml"))
        if bool(study.search(file.read_text("utf-8"))) == studies
    }


def find(name_or_path: str | Path = DEFAULT) -> Path:
    """The file of a config: one's own by its path, or one that comes with lpm by its name.

    Raises:
        InputError: if there is none.
    """
    path, known = Path(name_or_path), shipped()
    if path.is_file():
        return path
    name = str(name_or_path).removesuffix(".yaml")
    if name in known:
        return known[name]
    near = difflib.get_close_matches(path.stem, known, 1)
    advice = f"write `{near[0]}`, " if near else "write "
    advice += f"a path, or a config that comes with lpm: {', '.join(known) or '(none)'}"
    what = "a folder" if path.is_dir() else "no file and no shipped config of that name"
    raise InputError(f"{name_or_path}:1:1 config: asked for a YAML file, got {what}; {advice}")


def load(path: str | Path = DEFAULT, overrides: Iterable[str] = (), options: Mapping[str, str] | None = None) -> Config:
    """A config, read and checked; nothing is built and nothing written.

    Args:
        path: a file, or the name of a config that comes with lpm.
        overrides: `key=value` each, with a dotted key such as settings.contacts.degree or compare.0.label and a value
            in YAML. They replace what the file says; `run.steps` also replaces its `run.end`, and the other way round.
        options: dotted key -> the option of the command line that an override stands for, to name it in messages.
    Raises:
        InputError: with all problems that were found.
    """
    file, overrides = find(path), tuple(overrides)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{file}:1:1 config: asked for a readable file, got {error.strerror}; write the path of another"
        ) from None
    document = parse(raw, str(file))
    document.options = dict(options or {})
    override(document, overrides)
    _drop_what_is_replaced(document, overrides)
    if document.data is None and not document.problems:
        document.report(
            (),
            "asked for a mapping with the keys model and run, got an empty file; "
            "write for example `model: lpm.worlds.sir:build`",
        )
    data = document.data if isinstance(document.data, dict) else {}
    builder = _builder(document, file.parent) if isinstance(data.get("model"), str) else None
    misplaced.report(document, builder.settings if builder else None)
    layout = None if document.data is None else validated(Layout, document, ())
    settings = _settings(document, builder) if builder else None
    shortened = any(text.partition("=")[0].strip() in ("run.steps", "run.end") for text in overrides)
    run = _run(document, file.stem, shortened) if data else None
    compare = _compare(document, file.parent, run)
    has_calibrate = document.at(("calibrate",)) is not None
    calibrate = validated(CalibrateSection, document, ("calibrate",)) if has_calibrate else None
    if builder and settings is not None and run is not None:
        _check(document, builder, settings, run.calendar)
    if document.problems:
        raise InputError(document.in_order())
    assert layout is not None and builder is not None and run is not None  # noqa: PT018, or there had been a problem
    text = raw.decode("utf-8-sig")
    about = (layout.title, file.stem, file, text, overrides, document)
    return Config(layout.model, builder.build, settings, run, compare, *about, calibrate)


def _drop_what_is_replaced(document: Document, overrides: tuple[str, ...]) -> None:
    """`--set run.steps=10` stands against the file's `end` as well as its `steps`."""
    run, given = document.at(("run",)), {text.partition("=")[0].strip() for text in overrides}
    if isinstance(run, dict) and len(given & {"run.steps", "run.end"}) == 1:
        run.pop("end" if "run.steps" in given else "steps", None)


def _builder(document: Document, folder: Path) -> Builder | None:
    try:
        return imported(document.data["model"], folder)
    except InputError as error:
        document.report(("model",), str(error))
        return None


def _settings(document: Document, builder: Builder) -> Any:
    try:
        return _section(builder.settings, document, "settings")
    except Exception as error:  # of a settings class of the user's own
        _report_raised(document, builder.file, error)
        return None


def _check(document: Document, builder: Builder, settings: Any, calendar: Calendar) -> None:
    """Mistakes that only the world's own check can see, put in their places."""
    if builder.check is None:
        return
    try:
        for mistake in builder.check(settings, calendar):
            _report_world(document, mistake.path, mistake.message)
    except Exception as error:
        _report_raised(document, builder.file, error)


def _report_world(document: Document, path: tuple[str | int, ...], message: str) -> None:
    """A world's mistake: its path may or may not begin with `settings`, and a field `from_` is the key `from`."""
    keys = tuple(key_of(part) if isinstance(part, str) else part for part in path)
    document.report(keys if keys[:1] == ("settings",) else ("settings", *keys), message)


def _report_raised(document: Document, file: str, error: Exception) -> None:
    """What a builder raised: a ValueError speaks of the settings, anything else is a fault of the builder."""
    if isinstance(error, InputError):
        for problem in error.problems:
            document.report(("settings",), problem)
    elif isinstance(error, ValueError):
        document.report(
            ("settings",), f"asked for settings that make a world, got {error} ({raised_at(error, file)}); write others"
        )
    else:
        document.report(
            ("model",),
            f"asked for a builder that ends well, got {said(error)} {raised_at(error, file)}; mend it there"
            f"{what_it_takes(error)}",
        )


def build_world(config: Config) -> World:
    """The world of a config, checked against what the config wants of it.

    Raises:
        InputError: if the builder refuses the settings or fails, or the world lacks what `compare` or `snapshots` name.
    """
    document = dataclasses.replace(config.document, problems=[])
    try:
        world = config.builder(config.settings, config.run.calendar)
    except Exception as error:
        _report_raised(document, str(getattr(config.builder, "__globals__", {}).get("__file__", "")), error)
        raise InputError(document.problems) from error
    if isinstance(world, World):
        _check_world(document, config, world)
    else:
        document.report(
            ("model",),
            f"asked for a builder that returns an lpm.world.World, got a {type(world).__name__}; "
            "write `return World(...)`",
        )
    if document.problems:
        raise InputError(document.in_order())
    return world


def described(config: Config) -> dict[str, Any]:
    """What shapes a config's numbers by dotted key, defaults included; a model of the user's own by its text too."""
    found: dict[str, Any] = {"model": config.model}
    source, _, _ = config.model.rpartition(":")
    if source.endswith(".py"):
        found["model.text"] = hashlib.sha256((config.path.parent / source).read_bytes()).hexdigest()[:12]
    compared = [
        {"variable": series.variable, "source": series.source, "label": series.label, "counts": checksum(series.values)}
        for series in config.compare
    ]
    return found | dict(flat(config.settings, "settings")) | dict(flat(compared, "compare"))


def _check_world(document: Document, config: Config, world: World) -> None:
    """That what is to be compared or recorded exists, and that data and world know the same regions."""
    observables = {observable.name: observable for observable in world.observables}
    for number, series in enumerate(config.compare):
        observable = observables.get(series.variable)
        if observable is None:
            document.report(("compare", number, "variable"), unknown(series.variable, observables, "variable"))
        elif series.by is not None and series.by not in observable.dims:
            document.report(("compare", number, "by"), unknown(series.by, observable.dims, f"dim of {series.variable}"))
        elif series.by is not None:
            for region in series.regions:
                if region not in world.coords[series.by]:
                    message = unknown(region, world.coords[series.by], f"{series.by} in the data")
                    document.report(("compare", number, "file"), message)
    if config.run.snapshots:
        for number, name in enumerate(config.run.snapshots.of):
            if name not in world.state.agents:
                document.report(
                    ("run", "snapshots", "of", number), unknown(name, world.state.agents, "entry of the agents")
                )


def _section(annotation: Any, document: Document, name: str) -> Any:
    """A section that may be left out or left empty."""
    if document.at((name,)) is None:
        document.data[name] = {}
    return validated(annotation, document, (name,))


def _run(document: Document, name: str, shortened: bool) -> Run | None:
    """The run section with its fields checked against each other."""
    section = _section(RunSection, document, "run")
    if section is None:
        return None
    before, start, end, steps = len(document.problems), section.start, section.end, section.steps
    if (end is None) == (steps is None):
        asked = "nothing" if end is None else f"both (end {end}, steps {steps})"
        document.report(("run",), f"asked for either `steps` or `end`, got {asked}; write for example `steps: 100`")
    elif end is not None and start is None:
        document.report(
            ("run", "end"),
            f"asked for a `start` with an end, got only {end}; write `start:` with a date, "
            "or `steps:` instead of `end`",
        )
    elif end is not None and end < start:
        document.report(
            ("run", "end"),
            f"asked for a last day from {start} (start) on, got {end}; write a later one, or an earlier start",
        )
    else:
        steps = steps if end is None else (end - start).days + 1
        if start is not None and steps > (datetime.date.max - start).days:
            document.report(
                ("run", "steps"),
                f"asked for a run that ends by the year 9999, got {steps} days from {start}; write fewer steps",
            )
        if steps % section.every:
            near = max(divisor for divisor in range(1, min(section.every, steps) + 1) if steps % divisor == 0)
            document.report(
                ("run", "every"),
                f"asked for a divisor of the run's {steps} steps, got {section.every}; "
                f"write for example `every: {near}`",
            )
    if section.snapshots and section.snapshots.every % section.every:
        near = section.every * max(1, round(section.snapshots.every / section.every))
        document.report(
            ("run", "snapshots", "every"),
            f"asked for a multiple of the run's `every` ({section.every}), got {section.snapshots.every}; "
            f"write for example `every: {near}`",
        )
    if section.snapshots and not section.snapshots.of:
        document.report(
            ("run", "snapshots", "of"),
            "asked for names of agents' entries, got an empty list; write for example `of: [stage]`",
        )
    out = section.out.replace("{name}", name)
    if re.search("[{}]", out) or not out.strip() or "\0" in out:
        document.report(
            ("run", "out"),
            f"asked for a folder, in which only {{name}} stands for something, got {got(section.out)}; "
            f"write `out: runs/{{name}}`",
        )
    if len(document.problems) > before:
        return None
    assert steps is not None
    calendar = Calendar(steps, start, shortened)
    for number, day in enumerate(section.checkpoint.at):
        _check_moment(document, ("run", "checkpoint", "at", number), day, calendar, section.every)
    if len(document.problems) > before:
        return None
    return Run(
        calendar, section.seed, section.realizations, section.every, section.snapshots, section.checkpoint, Path(out)
    )


def _check_moment(
    document: Document, path: tuple[str | int, ...], day: datetime.date | int, calendar: Calendar, every: int
) -> None:
    """That a day to keep the state of lies within the run and between two records."""
    if calendar.start is None and not isinstance(day, int):
        document.report(path, f"asked for a number of steps, as the run has no start date, got {got(day)}; write `30`")
        return
    step = calendar.step_of(day)
    if not 0 < step <= calendar.steps or step % every:
        which = "" if isinstance(day, int) else f", {step} days after the start"
        document.report(
            path,
            f"asked for a number of days done from {every} to {calendar.steps}, a multiple of `every` ({every}), "
            f"got {got(day)}{which}; write for example `{every}`",
        )


def _compare(document: Document, folder: Path, run: Run | None) -> tuple[Series, ...]:
    """The data that the config names, read and checked."""
    items = document.at(("compare",))
    if items is None:
        return ()
    if not isinstance(items, list):
        validated(tuple[CompareSection, ...], document, ("compare",))
        return ()
    series = []
    for number in range(len(items)):
        path = ("compare", number)
        item = validated(CompareSection, document, path)
        if item is None:
            continue
        try:
            file = _data_file(item.file, folder)
        except (FileNotFoundError, ValueError):
            document.report(
                (*path, "file"),
                f"asked for a CSV file, got {item.file!r}, which is no file in {folder} and none that ships; "
                f"{_nearest_data(item.file)}",
            )
            continue
        try:
            read = {field.name: getattr(item, field.name) for field in dataclasses.fields(item) if field.name != "file"}
            mistaken = misnamed(file, time=item.time, column=item.column, by=item.by)
            for word, message in mistaken.items():
                document.report((*path, word), message)
            if mistaken:
                continue
            found = read_series(file, **read)
        except InputError as error:
            document.problems += error.problems
            continue
        if run and run.calendar.start is None and not isinstance(found.times[0], int):
            document.report(
                (*path, "time"),
                f"asked for day numbers, as the run has no start date, got dates from {found.times[0]} on; "
                "write `start:` under `run`",
            )
        series.append(found)
    return tuple(series)


def _data_file(name: str, folder: Path) -> Path:
    """A data file beside the config, or one of the package's."""
    shipped_file = Path(str(importlib.resources.files("lpm") / "data")) / name
    for file in (folder / name, shipped_file):
        if file.is_file():
            return file
    raise FileNotFoundError(name)


def _nearest_data(name: str) -> str:
    known = [file.name for file in Path(str(importlib.resources.files("lpm") / "data")).glob("*.csv")]
    near = difflib.get_close_matches(name, known, 1)
    return f"write `{near[0]}`" if near else "write a path from the config's folder on"
