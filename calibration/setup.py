"""From the `calibrate` section of a config to a problem; every mistake is told with its place in the file."""

from __future__ import annotations

import dataclasses
import importlib.resources
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lpm.calibration import observation, parameters, tables
from lpm.calibration.observation import Stream
from lpm.calibration.parameters import Parameter, Prior
from lpm.calibration.problem import Problem, Tree
from lpm.calibration.tables import Counts
from lpm.errors import InputError
from lpm.fit_settings import CovariateSection, DataSection, ParameterSection
from lpm.schema_check import unknown
from lpm.settings import Calendar
from lpm.world import World

if TYPE_CHECKING:
    from lpm.config import Config
    from lpm.schema_yaml import Document


IDLE = {  # settings that a method has no use for
    "levenberg_marquardt": {"members", "assimilations", "points", "coarse_points"},
    "regression": {"members", "assimilations", "starts", "coarse_realizations", "derivatives"},
    "ensemble": {
        *("starts", "iterations", "budget", "derivatives", "points"),
        *("coarse", "coarse_points", "coarse_realizations", "coarse_iterations"),
    },
}


def idle(config: Config) -> list[str]:
    """Settings of the section `calibrate` that its method has no use for, as the file has them."""
    assert config.calibrate is not None
    given = config.document.data["calibrate"]
    return [name for name in given if name in IDLE[config.calibrate.method] and given[name] is not None]


def problem_of(config: Config, world: World) -> Problem:
    """The problem that a config's `calibrate` section poses.

    Args:
        config: with that section.
        world: built from it.
    Raises:
        InputError: with all mistakes, located.
    """
    document = dataclasses.replace(config.document, problems=[])
    if config.calibrate is None:
        document.report(
            (), "asked for a section `calibrate`, got none; write one with `parameters:` (see docs/calibration.md)"
        )
        raise InputError(document.problems)
    streams = _streams(config, world, document)
    tree = Tree(world.params, observation.first_parameters(streams))
    free = _parameters(config, tree, document)
    section = config.calibrate
    cut = world.cut(target for each in free for target in each.targets)
    by_rule = section.method == "levenberg_marquardt" and section.derivatives != "differences"
    if cut and by_rule:
        document.report(
            ("calibrate", "derivatives") if "derivatives" in document.data["calibrate"] else ("calibrate",),
            f"asked for derivatives by the rule {section.derivatives}, got {', '.join(cut)}, which decides by counting "
            "whom it reaches, so that the rule would say zero; write `derivatives: differences`",
            key=True,
        )
    if document.problems:
        raise InputError(document.problems)
    rule = "differences" if section.method == "regression" else section.derivatives  # of profiles of the likelihood
    return Problem(world, config.run.calendar, free, streams, section.epidemic_chance, rule)


def coarse_problem(config: Config, problem: Problem) -> Problem:
    """The same problem with the sample of agents that the section asks for.

    Raises:
        InputError: if the model has no setting of agents, or the sample is no smaller than the whole.
    """
    from lpm.config import build_world, load
    from lpm.trial import agents_setting

    assert config.calibrate is not None
    many, whole = config.calibrate.coarse, problem.world.agents
    key, _ = agents_setting(config.settings) or ("", None)
    document = dataclasses.replace(config.document, problems=[])
    if not key:
        document.report(("calibrate", "coarse"), "asked for a model with a setting of agents, got none; leave it out")
    elif many is None or many >= whole:
        document.report(
            ("calibrate", "coarse"), f"asked for fewer than the {whole:,} agents, got {many:,}; write fewer"
        )
    if document.problems:
        raise InputError(document.problems)
    smaller = load(config.path, [*config.overrides, f"{key}={many}"])
    world = build_world(smaller)
    # An agent of the sample stands for more people, whether its builder knows of them or not.
    world = dataclasses.replace(world, scale=problem.world.scale * world.agents / whole)
    # The data are those of the whole, whose chance is smaller than the sample's.
    share = float(problem.epidemic_chance) * world.agents / whole
    return dataclasses.replace(problem_of(smaller, world), epidemic_chance=share)


def _streams(config: Config, world: World, document: Document) -> tuple[Stream, ...]:
    """The series under `compare` and the tables in files, each with what the section says of it."""
    section = config.calibrate
    assert section is not None
    if not config.compare and not section.data:
        document.report(
            ("calibrate",),
            "asked for data to fit to, got none; write `data:` with a `file`, or `compare:` with at least one series",
            key=True,
        )
    chosen = section.data or tuple(DataSection(series.variable) for series in config.compare)
    found: list[Stream] = []
    for number, item in enumerate(chosen):
        path: tuple[str | int, ...] = ("calibrate", "data", number)
        delay = (item.delay.mean, item.delay.deviation) if item.delay else None
        about: dict[str, Any] = {
            "likelihood": item.likelihood,
            "dispersion": item.dispersion,
            "delay": delay,
            "until": item.until,
            "since": item.since,
        }
        try:
            if item.file is not None:
                table = _table(config, item, path, document)
                if table is not None:
                    name = _name(item, found)
                    found.append(
                        observation.table_stream(
                            world, config.run.calendar, item.variable, table, name=name, label=item.label, **about
                        )
                    )
                continue
            same = [series for series in config.compare if series.variable == item.variable]
            if not same:
                known = [series.variable for series in config.compare]
                message = unknown(item.variable, known, "variable of a series under `compare`")
                document.report((*path, "variable"), f"{message}; or write `file:` with a table of your own")
            for series in same:
                path = ("compare", config.compare.index(series))
                found.append(observation.stream(world, config.run.calendar, series, name=_name(item, found), **about))
        except InputError as error:
            document.problems += error.problems
        except observation.NoneLeft as error:
            document.report(("calibrate", "data", number), str(error))
        except ValueError as error:
            document.report(path, str(error))
    return tuple(found)


def _name(item: DataSection, found: list[Stream]) -> str:
    """The one given, or the variable's, numbered if it is taken."""
    name, taken = item.name or item.variable, {each.name for each in found}
    number = 2
    while name in taken:
        name, number = f"{item.name or item.variable}_{number}", number + 1
    return name


def _table(config: Config, item: DataSection, path: tuple[str | int, ...], document: Document) -> Counts | None:
    """The counts of a file, or None after reporting what is missing."""
    assert item.file is not None
    if item.time is None:
        document.report(path, "asked for `time` with a `file`, got none; write the name of its column")
        return None
    file = _file(config, item.file, path, document)
    if file is None:
        return None
    return tables.read_counts(
        file,
        time=item.time,
        column=item.column,
        by=(item.by,) if isinstance(item.by, str) else item.by,
        where=item.where,
        every=item.every,
        labelled=item.labelled,
    )


def _file(config: Config, name: str, path: tuple[str | int, ...], document: Document) -> Path | None:
    """The file of that name, or None after reporting where it was looked for."""
    folders = [config.path.parent, Path(str(importlib.resources.files("lpm") / "data"))]
    folders += [Path(os.environ["LPM_DATA_DIR"])] if os.environ.get("LPM_DATA_DIR") else []
    file = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if file is None:
        document.report(
            (*path, "file"),
            f"asked for a CSV or parquet file, got {name!r}, which is in none of {', '.join(map(str, folders))}; "
            "write its path from the config's folder on, or name its folder in the environment variable LPM_DATA_DIR",
        )
    return file


def _parameters(config: Config, tree: Tree, document: Document) -> tuple[Parameter, ...]:
    """The free parameters, each checked against the world."""
    section, calendar, found = config.calibrate, config.run.calendar, list[Parameter]()
    assert section is not None
    if not section.parameters:
        document.report(("calibrate", "parameters"), "asked for free parameters, got none; write at least one")
    for number, item in enumerate(section.parameters):
        path = ("calibrate", "parameters", number)
        targets = (item.target,) if isinstance(item.target, str) else item.target or (item.name,)
        before = len(document.problems)
        for target in targets:
            try:
                parameters.located(target, tree)
            except ValueError as error:
                document.report((*path, "target" if item.target else "name"), str(error))
        if item.name in [each.name for each in found]:
            document.report((*path, "name"), f"asked for different names, got {item.name!r} twice; write another")
        if len(document.problems) > before:
            continue
        try:
            covariate = _covariate(config, item.covariate, (*path, "covariate"), document)
            if covariate is None:
                continue
            parameter = _parameter(item, tuple(targets), calendar, covariate)
            size = parameter.size
            jax.eval_shape(lambda z, p=parameter: parameters.to_params([p], z, tree), jnp.zeros(size, jnp.float32))
            found.append(parameter)
        except InputError as error:
            document.problems += error.problems
        except ValueError as error:
            document.report(path, str(error).removeprefix(f"parameter {item.name}: "))
    return tuple(found)


def _covariate(
    config: Config, section: CovariateSection | None, path: tuple[str | int, ...], document: Document
) -> tuple[tuple[int, float], ...] | None:
    """(step, value) of a parameter's series, () if it has none; None after reporting that its file is missing."""
    if section is None:
        return ()
    file = _file(config, section.file, (*path, "file"), document)
    if file is None:
        return None
    table, calendar = tables.read_counts(file, time=section.time, column=section.column), config.run.calendar
    last = math.inf if section.until is None else calendar.step_of(section.until)
    steps = (calendar.step_of(day) for day in table.times)
    return tuple((step, float(x)) for step, x in zip(steps, table.values[:, 0], strict=True) if step <= last)


def _parameter(
    item: ParameterSection, targets: tuple[str, ...], calendar: Calendar, covariate: tuple[tuple[int, float], ...]
) -> Parameter:
    prior = item.prior
    days = tuple(calendar.step_of(day) for day in item.from_)
    if any(not 0 <= day < calendar.steps for day in days) or list(days) != sorted(set(days)):
        raise ValueError(f"asked for days within the run, ascending, under `from`, got {list(map(str, item.from_))}")
    return Parameter(
        item.name,
        targets,
        -math.inf if item.low is None else item.low,
        math.inf if item.high is None else item.high,
        Prior(
            prior.shape,
            math.nan if prior.mean is None else prior.mean,
            math.nan if prior.deviation is None else prior.deviation,
        )
        if prior
        else Prior(),
        days=days,
        walk=math.inf if item.walk is None else item.walk,
        relative=item.relative,
        start=(item.start,) if isinstance(item.start, float | int) else item.start,
        covariate=covariate,
    )
