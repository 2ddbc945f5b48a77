"""`lpm validate`: a world built small and a step of it traced, so that a model's mistakes show without a run."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from jax.tree_util import keystr

from lpm import traced
from lpm.builders import raised_at, what_it_takes
from lpm.config import Config, build_world, load
from lpm.distributed import by_itself
from lpm.engine import frame, without_fixed
from lpm.errors import InputError
from lpm.kernels import random
from lpm.state import State
from lpm.world import World

SMALL = 1_000  # agents: enough for every region and age, and built at once


def tried(config: Config) -> World:
    """Build a config's world and trace its model, and return the world that this was done with.

    A world of more than `SMALL` agents is built with so many, if its settings say how many there are. Tracing follows
    shapes and dtypes through the model's start, its substeps and its observables, and computes nothing.

    Args:
        config: from `load`.
    Raises:
        InputError: if the builder refuses the settings or fails, if the world lacks what `compare` or `snapshots` name,
            if a substep or an observable fails, or if a step changes the shape or dtype of an entry of the state.

    >>> from lpm.config import load
    >>> tried(load("sir-million")).agents
    1000
    """
    world = _small_world(config)
    check_steps(config, world)
    return world


def check_own(config: Config, world: World) -> None:
    """`check_steps` of a world that is to be run, if its model is a file of the user's own and in one process."""
    if config.model.rpartition(":")[0].endswith(".py") and by_itself():
        check_steps(config, world)


def check_steps(config: Config, world: World) -> None:
    """Trace a step of a config's world.

    Raises:
        InputError: if a substep or an observable fails, or if a step changes the shape or dtype of an entry of the
            state.
    """
    document = dataclasses.replace(config.document, problems=[])
    try:
        problems = _traced(world)
    except Exception as error:
        text, *_ = str(error).strip().splitlines() or ["no text"]
        file = str(getattr(config.builder, "__globals__", {}).get("__file__", ""))
        problems = [
            traced.advice(error, file)
            or f"asked for a model whose steps can be traced (with {world.agents:,} agents), got "
            f"{type(error).__name__} ({text}) {raised_at(error, file)}; mend it there{what_it_takes(error)}"
        ]
    for problem in problems:
        document.report(("model",), problem)
    if document.problems:
        raise InputError(document.problems)


def agents_setting(settings: Any) -> tuple[str, int | None] | None:
    """Where settings say how many agents there are, such as `settings.people.agents`, and how many; None if nowhere."""
    for name, value in [("", settings), *vars(settings).items()]:
        if dataclasses.is_dataclass(value) and hasattr(value, "agents"):
            return ".".join(part for part in ("settings", name, "agents") if part), value.agents
    return None


def _small_world(config: Config) -> World:
    """The world with few agents; as the settings say where they have few already, or where so few are refused."""
    key, agents = agents_setting(config.settings) or ("", 0)
    if agents is not None and agents <= SMALL:
        return build_world(config)
    try:
        small = load(config.path, [*config.overrides, f"{key}={SMALL}"])
    except InputError:
        return build_world(config)
    try:
        return build_world(small)
    except InputError as error:
        if error.__cause__ is None:  # the builder went well, and what it made is wrong whatever its size
            raise
        return build_world(config)


def _traced(world: World) -> list[str]:
    """What a step does not leave as it was, and which observables have not the axes that they declare."""

    def start(params: Any) -> State:
        return without_fixed(world.model.init(params, world.state, random.key(0)))

    def record(params: Any, moving: State) -> tuple[State, dict[str, jax.Array]]:
        return frame(world.model, world.observables, 1, params, moving, world.state.fixed, random.key(0))

    before = jax.eval_shape(start, world.params)
    after, seen = jax.eval_shape(record, world.params, before)
    was, became = _kinds(before), _kinds(after)
    problems = [
        f"asked for steps that leave each entry of the state its dtype and shape, got {name} as {kind} before a step "
        f"and {became.get(name, 'nothing')} after it; write it back as it was, with `.astype` if it is the dtype"
        for name, kind in was.items()
        if became.get(name) != kind
    ]
    for observable in world.observables:
        shape = seen[observable.name].shape
        asked = tuple(len(world.coords[dim]) for dim in observable.dims)
        if shape != asked:
            problems.append(
                f"observable {observable.name}: its dims {observable.dims} ask for an array of shape {asked}, "
                f"got {shape} from its function; write other `dims`, or other labels in the world's `coords`"
            )
    return problems


def _kinds(state: State) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {keystr(path, simple=True, separator="."): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}
