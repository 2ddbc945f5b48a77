"""From the `calibrate` section of a config to a problem; every mistake is told with its place in the file."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from lpm.calibration import observation, parameters
from lpm.calibration.observation import Stream
from lpm.calibration.parameters import Parameter, Prior
from lpm.calibration.problem import Problem, Tree
from lpm.errors import InputError
from lpm.fit_settings import CalibrateSection, DataSection, ParameterSection
from lpm.schema_check import unknown
from lpm.settings import Calendar
from lpm.world import World

if TYPE_CHECKING:
    from lpm.config import Config
    from lpm.schema_yaml import Document


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
    free = _parameters(config.calibrate, config.run.calendar, tree, document)
    if document.problems:
        raise InputError(document.problems)
    return Problem(world, config.run.calendar, free, streams, config.calibrate.epidemic_chance)


def _streams(config: Config, world: World, document: Document) -> tuple[Stream, ...]:
    """The series under `compare`, each with what the section says of it."""
    section = config.calibrate
    assert section is not None
    if not config.compare:
        document.report(
            ("calibrate",), "asked for data to fit to, got none; write `compare:` with at least one series", key=True
        )
    chosen = section.data or tuple(DataSection(series.variable) for series in config.compare)
    found: list[Stream] = []
    for number, item in enumerate(chosen):
        path = ("calibrate", "data", number)
        same = [series for series in config.compare if series.variable == item.variable]
        if not same:
            known = [series.variable for series in config.compare]
            document.report((*path, "variable"), unknown(item.variable, known, "variable of a series under `compare`"))
        for series in same:
            delay = (item.delay.mean, item.delay.deviation) if item.delay else None
            taken = sum(each.observable.name == item.variable for each in found)
            name = item.variable + (f"_{taken + 1}" if taken else "")
            try:
                found.append(
                    observation.stream(
                        world,
                        config.run.calendar,
                        series,
                        likelihood=item.likelihood,
                        dispersion=item.dispersion,
                        delay=delay,
                        until=item.until,
                        name=name,
                    )
                )
            except ValueError as error:
                document.report(("compare", config.compare.index(series)), str(error))
    return tuple(found)


def _parameters(section: CalibrateSection, calendar: Calendar, tree: Tree, document: Document) -> tuple[Parameter, ...]:
    """The free parameters, each checked against the world."""
    found: list[Parameter] = []
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
            parameter = _parameter(item, tuple(targets), calendar)
            size = parameter.size
            jax.eval_shape(lambda z, p=parameter: parameters.to_params([p], z, tree), jnp.zeros(size, jnp.float32))
            found.append(parameter)
        except ValueError as error:
            document.report(path, str(error).removeprefix(f"parameter {item.name}: "))
    return tuple(found)


def _parameter(item: ParameterSection, targets: tuple[str, ...], calendar: Calendar) -> Parameter:
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
    )
