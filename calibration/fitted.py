"""A fit put to use: a world with its estimate, or one whose realizations each take a draw from the posterior."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm.calibration import parameters, results
from lpm.calibration.parameters import Parameter
from lpm.errors import InputError
from lpm.kernels import random
from lpm.model import Substep, chain
from lpm.provenance import checksum
from lpm.settings import Calendar
from lpm.state import State
from lpm.world import World

OBSERVATION = "observation."  # targets that are of the data's making, not of the world's


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """What is used of a fit.

    Args:
        folder: that `lpm calibrate` wrote.
        parameters: what was free; those of the observation model too.
        z: (size,) the estimate.
        draws: (draws, size) from the posterior.
        last: the last day whose data the fit has seen; None if it does not say.
        dispersions: of each stream's likelihood, by name.
    """

    folder: Path
    parameters: tuple[Parameter, ...]
    z: np.ndarray
    draws: np.ndarray
    last: datetime.date | int | None = None
    dispersions: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def of_the_world(self) -> tuple[Parameter, ...]:
        """The parameters with targets in the world."""
        return tuple(each for each in self.parameters if not each.targets[0].startswith(OBSERVATION))

    def part(self, z: np.ndarray) -> np.ndarray:
        """The entries of z, (..., size), that belong to those."""
        kept = parameters.slices(self.parameters)
        chosen = [part for each, part in zip(self.parameters, kept, strict=True) if each in self.of_the_world]
        return np.concatenate([z[..., part] for part in chosen], axis=-1) if chosen else z[..., :0]


def read(folder: str | Path, calendar: Calendar) -> Fitted:
    """A fit from the directory that `lpm calibrate` wrote, its days counted from the start of a run.

    Args:
        folder: with fit.json and fit.zarr.
        calendar: of the run that will use it.
    Raises:
        InputError: if there is no such fit, if it was written before fits could be used, or if one has dates and the
            other has not.
    """
    path = Path(folder) / results.FIT
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else "a file that is no JSON"
        raise InputError(f"{path}: asked for a fit, got {what}; write a directory that `lpm calibrate` wrote") from None
    if "free" not in said:
        raise InputError(f"{path}: asked for a fit that says what was free, got an older one; fit again")
    try:
        free = tuple(results.parameter_of(each, calendar) for each in said["free"])
    except InputError:
        raise InputError(f"{path}: asked for a run with a start date, as the fit had one; write `run.start`") from None
    dispersions = {each["name"]: each["dispersion"] for each in said["streams"]}
    z = np.array(said["z"], np.float64)
    draws = results.read_draws(Path(folder), [each["name"] for each in said["parameters"]])
    return Fitted(Path(folder), free, z, draws, results.day_of(said.get("last_day")), dispersions)


def at_estimate(world: World, fitted: Fitted) -> World:
    """The world with the fit's estimate for what was free.

    Raises:
        InputError: if the world has no such parameters.
    """
    return at(world, fitted, fitted.z)


def at(world: World, fitted: Fitted, z: np.ndarray) -> World:
    """The world with what was free as z, (size,), has it.

    Raises:
        InputError: if the world has no such parameters.
    """
    return dataclasses.replace(world, params=_params(world, fitted, z))


def some(fitted: Fitted, count: int) -> np.ndarray:
    """So many draws, spread evenly over those that the fit kept: (count, size).

    Raises:
        InputError: if the fit kept fewer.
    """
    if not 1 <= count <= len(fitted.draws):
        raise InputError(
            f"--draws: asked for at most the {len(fitted.draws):,} draws in {fitted.folder}, got {count:,}; write "
            "fewer, or fit again with more `draws` under `calibrate`"
        )
    return fitted.draws[np.linspace(0, len(fitted.draws), count, endpoint=False).astype(int)]


def with_draws(world: World, fitted: Fitted, count: int, seed: int, realizations: int) -> World:
    """A world whose realization r takes draw r modulo `count`, spread evenly over those that the fit kept.

    Each realization looks its draw up by its key when it starts, and carries the number in its state's `draw`.

    Args:
        world: of the same model as the fit's.
        fitted: from `read`.
        count: how many draws.
        seed: of the run.
        realizations: of the run.
    Raises:
        InputError: if the fit kept fewer draws, or the world has no such parameters.
    """
    chosen = some(fitted, count)
    if "draw" in world.state.env:
        raise InputError("--draws: asked for a world without an entry `draw` of its own, got one; rename it")
    leaves = [_params(world, fitted, z) for z in chosen]
    stacked = jax.tree.map(lambda *each: jnp.stack(each), *leaves)
    starts = jax.vmap(lambda r: random.stream(random.key(seed, r), "start").words)(jnp.arange(realizations))
    state = dataclasses.replace(world.state, env=world.state.env | {"draw": jnp.int32(-1)})
    substeps = {name: functools.partial(_with_own, substep) for name, substep in world.model.substeps}
    model = chain(functools.partial(_begun, world.model.start), **substeps)
    return dataclasses.replace(world, model=model, params={"draws": stacked, "starts": starts}, state=state)


def _params(world: World, fitted: Fitted, z: np.ndarray) -> Any:
    try:
        return parameters.to_params(fitted.of_the_world, jnp.asarray(fitted.part(z), jnp.float32), world.params)
    except ValueError as error:
        raise InputError(f"{fitted.folder}: a fit of another model, or of a longer run: {error}") from None


def _own(params: Any, draw: jax.Array) -> Any:
    return jax.tree.map(lambda values: values[draw], params["draws"])


def _begun(start: Any, params: Any, state: State, key: random.Key) -> State:
    """Find the realization's draw, then do the model's own start."""
    realization = jnp.argmax(jnp.all(params["starts"] == key.words[None], axis=1))
    count = jax.tree.leaves(params["draws"])[0].shape[0]
    state = state.replace(draw=(realization % count).astype(jnp.int32))
    return state if start is None else start(_own(params, state.env["draw"]), state, key)


def _with_own(substep: Substep, params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    return substep(_own(params, state.env["draw"]), state, key)


def sentences(fitted: Fitted, calendar: Calendar, draws: int | None) -> list[str]:
    """What to tell a user of a run with a fit's parameters."""
    names, values = parameters.names(fitted.parameters), parameters.values(fitted.parameters, fitted.z)
    listed = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))
    said = [f"From {fitted.folder}: " + (f"{draws:,} draws from the posterior about {listed}" if draws else listed)]
    left = [each.name for each in fitted.parameters if each not in fitted.of_the_world]
    if left:
        said.append(f"not of the world but of its data, and left out of the run: {', '.join(left)}")
    if fitted.last is not None and calendar.step_of(fitted.last) < calendar.steps - 1:
        day = fitted.last if isinstance(fitted.last, datetime.date) else f"day {fitted.last}"
        said.append(f"the fit has seen data up to {day}; what comes later is a forecast")
    return said


def used(
    world: World, folder: str | Path, calendar: Calendar, draws: int | None, seed: int, realizations: int
) -> tuple[World, dict[str, str], Sequence[str]]:
    """A world for `lpm run --from-fit`, what to remember of it beside the results, and what to tell the user."""
    fitted = read(folder, calendar)
    world = with_draws(world, fitted, draws, seed, realizations) if draws else at_estimate(world, fitted)
    return world, remembered(fitted, draws), sentences(fitted, calendar, draws)


def remembered(fitted: Fitted, draws: int | None) -> dict[str, str]:
    """What to remember of a fit beside the results of its use."""
    seen = checksum(np.concatenate([fitted.z[None], fitted.draws]))
    folder = str(fitted.folder.resolve())
    return {"from_fit": folder, "from_fit_draws": str(draws or ""), "from_fit_checksum": seen}
