"""One-shot sensitivities: by how many percent each outcome of the baseline changes for one percent of a setting.

    e = (d y / d log theta) / y,        of dates (d y / d day) / y

with the derivatives of whole courses in all settings at once (`lpm.gradients.jacobian`), means over the realizations in
numerator and denominator. They are kept beside the runs as courses, so that outcomes may be changed later.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lpm import config as configs
from lpm.config import Config, build_world, described
from lpm.directory import publish
from lpm.gradients import Jacobian, jacobian
from lpm.schema_yaml import Document
from lpm.studies import sensitivity
from lpm.studies.dials import ratios, small_world
from lpm.studies.draws import Draws
from lpm.studies.layout import SensitivitiesSection
from lpm.studies.outcomes import Outcome
from lpm.studies.scenarios import Path as Place
from lpm.studies.turned import Turned, ends_of, label_of, wrong
from lpm.trial import agents_setting
from lpm.world import World

if TYPE_CHECKING:
    import xarray as xr

    from lpm.studies.records import About

NAME, FAILED = "sensitivities.npz", "sensitivities.failed"
CHANGE, DAYS = 0.05, 1.0  # of differences between runs: relative, and of dates
NOT_RUN = "they were not computed yet"


@dataclasses.dataclass(frozen=True, eq=False)
class Slopes:
    """What sensitivities are asked for.

    Args:
        base: the baseline's config.
        turned: the settings.
        method: `differences`, or a rule of `lpm.simulate`.
        realizations: of each draw from a fit, or in all.
        agents: instead of the base's.
        draws: from a fit, if there is one.
    """

    base: Config
    turned: tuple[Turned, ...]
    method: Literal["differences", "cavity"]
    realizations: int
    agents: int | None
    draws: Draws | None

    @property
    def asked(self) -> str:
        """A checksum of all that they depend on."""
        about = sorted(self.draws.about.items()) if self.draws else []
        fields = (self.turned, self.method, self.realizations, self.agents, about)
        return hashlib.sha256(repr((fields, self.base.text, self.base.overrides)).encode()).hexdigest()[:12]

    @property
    def about(self) -> dict[str, Any]:
        """As `About` keeps it."""
        return {
            "asked": self.asked,
            "settings": [each.label for each in self.turned],
            "dates": [each.moves for each in self.turned],
            "method": self.method,
            "realizations": self.realizations * (self.draws.count if self.draws else 1),
            "agents": self.agents or 0,
        }


def asked(document: Document, section: SensitivitiesSection | None, base: Config, draws: Draws | None) -> Slopes | None:
    """What the section asks for, each setting tried in a small world; None without one, or if something is wrong."""
    here: Place = ("study", "sensitivities")
    if section is None:
        return None
    before, settings = len(document.problems), described(base)
    names: list[Turned] = []
    for word, keys in (("over", section.over), ("shift", section.shift)):
        for number, key in enumerate(keys):
            moves = word == "shift"
            label = label_of(key, moves, settings)
            problem = wrong(base, Turned(key, moves, label), section.method, draws)
            if problem or label in [each.label for each in names]:
                document.report((*here, word, number), problem or f"got {key} twice; write it once")
            names.append(Turned(key, moves, label))
    if not names:
        document.report(here, "asked for settings, got none; write `over: [settings.transmission]`", key=True)
    if section.agents is not None and not (agents_setting(base.settings) or ("",))[0]:
        document.report(
            (*here, "agents"), "asked for a number of agents, got a base without that setting; leave it out"
        )
    if len(document.problems) > before:
        return None
    return Slopes(base, tuple(names), section.method, section.realizations, section.agents, draws)


def directions(slopes: Slopes, world: World) -> dict[str, Any]:
    """What a hundredfold of one percent, or a day, of each setting changes of the world's parameters.

    Raises:
        InputError: if a setting changes how many parameters there are.
    """
    times = ratios(small_world(slopes.base, ()).params, world.params)
    found = {}
    for setting in slopes.turned:
        ends = ends_of(slopes.base, setting)
        assert ends is not None  # or `asked` had refused it
        (up, far), (down, near) = ends

        def along(a: Any, b: Any, ratio: Any, apart: float = far - near) -> jax.Array:
            return jnp.asarray((np.asarray(a, np.float64) - np.asarray(b, np.float64)) / apart * ratio, jnp.float32)

        found[setting.label] = jax.tree.map(along, up.params, down.params, times)
    return found


def compute(slopes: Slopes, progress: Callable[[int, int], None] = lambda done, total: None) -> dict[str, np.ndarray]:
    """Courses of all observables of the base, and their derivatives, in agents.

    Returns:
        "value NAME" (realizations, steps) and "slope NAME" (realizations, settings, steps), float64, all places
        together.
    """
    base = slopes.base
    if slopes.agents is not None:
        key, _ = agents_setting(base.settings) or ("", None)
        base = configs.load(base.path, [*base.overrides, f"{key}={slopes.agents}"])
    world = build_world(base)
    along = directions(slopes, world)
    count = slopes.draws.count if slopes.draws else 1
    change = {each.label: DAYS if each.moves else CHANGE for each in slopes.turned}
    parts: list[Jacobian] = []
    for draw in range(count):
        own = slopes.draws.at(world, draw) if slopes.draws else world

        def told(done: int, total: int, before: int = draw * slopes.realizations) -> None:
            progress(before + done, count * total)

        parts.append(
            jacobian(
                own, along, steps=base.run.calendar.steps, realizations=slopes.realizations, seed=base.run.seed,
                method=slopes.method, change=change, progress=told,
            )
        )  # fmt: skip
    found = {}
    for name in parts[0].values:
        value = np.concatenate([each.values[name] for each in parts]).astype(np.float64) / float(world.scale)
        slope = np.concatenate([each.derivatives[name] for each in parts]).astype(np.float64) / float(world.scale)
        found[f"value {name}"] = value.reshape(*value.shape[:2], -1).sum(-1)
        found[f"slope {name}"] = slope.reshape(*slope.shape[:3], -1).sum(-1)
    return found


def find(path: Path, slopes: Slopes, progress: Callable[[int, int], None]) -> None:
    """Compute what is asked for, unless it is there already, and keep it.

    Raises:
        InputError: if a setting changes how many parameters there are.
    """
    if kept(path, slopes.asked) is not None:
        return
    found = compute(slopes, progress)
    part = path / f".{NAME}"
    np.savez(part, asked=np.array(slopes.asked), **found)  # type: ignore[arg-type]
    part.replace(path / NAME)
    (path / FAILED).unlink(missing_ok=True)


def failed(path: Path, why: str) -> None:
    """Keep why they could not be computed."""
    publish(path / FAILED, f"{why}\n".encode())


def kept(path: Path, wanted: str) -> dict[str, np.ndarray] | None:
    """What was computed for the same question; None if nothing was."""
    try:
        with np.load(path / NAME, allow_pickle=False) as found:
            return {name: found[name] for name in found.files} if str(found["asked"]) == wanted else None
    except (OSError, ValueError, KeyError, EOFError):
        return None


def add(dataset: xr.Dataset, path: Path, about: About) -> xr.Dataset:
    """Answers with elasticity_X (elasticity_setting, of_estimate) of each outcome, if they are asked for.

    In percent of the outcome for one percent of the setting, or for a day; with intervals of 95 % over the
    realizations. NaN of what the baseline does not observe.
    """
    if about.slopes is None:
        return dataset
    found = kept(path, about.slopes["asked"])
    if found is None:
        file = path / FAILED
        why = file.read_text("utf-8").strip() if file.is_file() else NOT_RUN
        return dataset.assign_attrs(sensitivities_missing=why)
    dates = np.where(about.slopes["dates"], 100.0, 1.0)
    blank = np.full((len(dates), 3), np.nan)
    for outcome in about.outcomes:
        there = f"value {outcome.variable}" in found
        values = elasticities(outcome, found, about) * dates[:, None] if there else blank
        dataset[f"elasticity_{outcome.id}"] = (("elasticity_setting", "of_estimate"), values)
    return dataset.assign_coords(
        elasticity_setting=np.array(about.slopes["settings"], dtype=object),
        of_estimate=np.array(sensitivity.ESTIMATE, dtype=object),
    )


def elasticities(outcome: Outcome, found: dict[str, np.ndarray], about: About) -> np.ndarray:
    """Relative change of an outcome for a relative change of 1, or a day, and its interval: (settings, 3)."""
    value, slope = (_recorded(found[f"{kind} {outcome.variable}"], outcome, about) for kind in ("value", "slope"))
    if outcome.kind == "peak":  # on the day of the peak: a first-order change does not move it
        day = value.argmax(-1)
        value, slope = value.max(-1), np.take_along_axis(slope, day[:, None, None], -1)[..., 0]
    else:
        value, slope = value.sum(-1), slope.sum(-1)

    return ratio_of_means(slope, value)


def ratio_of_means(slope: np.ndarray, value: np.ndarray) -> np.ndarray:
    """mean slope / mean value and its interval of 95 %, (settings, 3): the jackknife's error and Student's quantile.

    Args:
        slope: (realizations, settings).
        value: (realizations,).

    >>> ratio_of_means(np.array([[2.0], [4.0], [6.0]]), np.array([1.0, 2.0, 3.0])).round(3)
    array([[2., 2., 2.]])
    """
    from scipy.stats import t as student

    count, total = len(value), value.sum()
    if not total or count < 2:
        return np.full((slope.shape[1], 3), np.nan)
    found = slope.sum(0) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        without = (slope.sum(0) - slope) / (total - value)[:, None]
    error = np.sqrt((count - 1) / count * ((without - found) ** 2).sum(0)) * student.ppf(0.975, count - 1)
    return np.stack([found, found - error, found + error], axis=1)


def _recorded(course: np.ndarray, outcome: Outcome, about: About) -> np.ndarray:
    """Courses by step as those of records, last axis."""
    each = course.reshape(*course.shape[:-1], -1, about.every)
    over = next(over for name, *_, over in about.observables if name == outcome.variable)
    return each[..., -1] if over == "last" else each.sum(-1) if over == "sum" else each.mean(-1)
