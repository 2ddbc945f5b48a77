"""The children of Hagelloch, 1861: each met their siblings, their school class and the village.

188 children fell ill with measles; the line list says when each one's prodrome began, and in which family and class.
Rates of families, of each class and of the village stand side by side (as in Neal & Roberts 2004, Biostatistics 5).
Nobody is known but those who fell ill, so that all here are susceptible.
"""

from __future__ import annotations

import csv
import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm import Observable, State, chain, initial_state
from lpm.errors import InputError
from lpm.kernels import contagion, hazards, random, strata
from lpm.kernels.course import Course, Stage, entered, leave_probabilities, progress
from lpm.kernels.stages import Indicator, Stages, among, move
from lpm.networks import groups
from lpm.settings import Calendar, Days, Number, Rate
from lpm.world import World

CLASSES = ("0", "1", "2")  # not yet at school, first class, second class
Deviation = Annotated[float, Number(0, None, "days")]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be set.

    Args:
        children: the line list, by its name in the folder that LPM_DATA_DIR names, or its path.
        first: ids of the children who are infectious on the first day.
        family, first_class, second_class: rate of a child who meets the others of the group at random, 1/day.
        village: rate of an infectious child for all others together, 1/day.
        latent_days, latent_deviation: from infection to infectiousness, taken to begin with the prodrome.
        infectious_days, infectious_deviation: of infectiousness; it ends some three days after the rash.
    """

    children: str = "measles_hagelloch_1861_linelist.csv"
    first: tuple[int, ...] = (184, 173)
    family: Rate = 0.5
    first_class: Rate = 1.0
    second_class: Rate = 0.3
    village: Rate = 0.2
    latent_days: Days = 9.0
    latent_deviation: Deviation = 2.0
    infectious_days: Days = 7.0
    infectious_deviation: Deviation = 2.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params:
    """What can be calibrated: all () float32, but `classes`, (2,)."""

    family: jax.Array
    classes: jax.Array
    village: jax.Array
    latent_days: jax.Array
    infectious_days: jax.Array


def first_cases(params: Params, state: State, key: random.Key) -> State:
    """The first children, who are known."""
    first = Indicator(state.fixed["first"])
    return state.replace(stage=move(state.agents["stage"], first, state.fixed["course"].first("infectious")))


def fall_ill(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """The exposed become infectious, the infectious recover."""
    course, before = state.fixed["course"], state.agents["stage"]
    leave = leave_probabilities(course, {"exposed": params.latent_days, "infectious": params.infectious_days})
    after = progress(before, random.words(key, state.fixed["id"]), leave, None, course)
    return state.replace(stage=after), {"fell_ill": entered(before, after, course, "infectious")}


def infect(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """In families, classes and the village."""
    course, stages, fixed = state.fixed["course"], state.agents["stage"], state.fixed
    infected = contagion.infections(
        random.words(key, fixed["id"])[0],
        stages,
        (
            contagion.Layer(fixed["families"], jnp.broadcast_to(params.family, fixed["families"].size.shape)),
            contagion.Layer(fixed["classes"], params.classes[fixed["class_of"]]),
            contagion.Layer(fixed["village"], params.village),
        ),
        susceptible=course.first("susceptible"),
        infectious=(contagion.Infectious(course.kinds("infectious")),),
    )
    return state.replace(stage=move(stages, infected, course.first("exposed"))), {"infected": infected}


def by_class(event: str, long_name: str) -> Observable:
    """Events of a day by class."""
    return Observable(
        event,
        lambda state, info: strata.count_of(info[event], state.fixed["by_class"])[:, 0],
        ("class",),
        long_name=long_name,
        over="sum",
    )


def infectious(state: State, info: dict[str, Any]) -> jax.Array:
    """Infectious children by class."""
    course = state.fixed["course"]
    return strata.count_of(among(state.agents["stage"], *course.kinds("infectious")), state.fixed["by_class"])[:, 0]


OBSERVABLES = (
    by_class("fell_ill", "prodromes"),
    by_class("infected", "new infections"),
    Observable("infectious", infectious, ("class",), long_name="infectious children"),
)


def build(settings: Settings, calendar: Calendar) -> World:
    """The village."""
    rows = sorted(_rows(settings.children), key=lambda row: (row["class"], int(row["family_ID"]), int(row["case_ID"])))
    school = np.array([CLASSES.index(row["class"]) for row in rows])
    _, family = np.unique([int(row["family_ID"]) for row in rows], return_inverse=True)
    families, _ = groups(family, int(family.max()) + 1)
    classes, renumber = groups(school - 1, 2)
    course = Course(
        (
            Stage("susceptible"),
            Stage("exposed", hazards.phases(settings.latent_days, settings.latent_deviation), ("infectious",)),
            Stage(
                "infectious", hazards.phases(settings.infectious_days, settings.infectious_deviation), ("recovered",)
            ),
            Stage("recovered"),
        )
    )
    everybody = strata.strata(np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64), 1, 1)
    one = jnp.ones((1, 1), jnp.float32)
    fixed = {
        "id": jnp.array([int(row["case_ID"]) for row in rows], jnp.uint32),
        "first": jnp.array([int(row["case_ID"]) in settings.first for row in rows], jnp.uint8),
        "course": course,
        "families": families,
        "classes": classes,
        "class_of": jnp.asarray(np.argsort(renumber), jnp.int32),
        "village": strata.Mixing(everybody, one, one, one * len(rows)),
        "by_class": strata.strata(school, np.zeros(len(rows), np.int64), len(CLASSES), 1),
    }
    rates = settings.family, (settings.first_class, settings.second_class), settings.village
    times = settings.latent_days, settings.infectious_days
    return World(
        model=chain(first_cases, fall_ill=fall_ill, infect=infect),
        params=Params(*(jnp.asarray(value, jnp.float32) for value in (*rates, *times))),
        state=initial_state({"stage": Stages(jnp.zeros(len(rows), jnp.uint8), kinds=course.size)}, fixed=fixed),
        observables=OBSERVABLES,
        coords={"class": CLASSES},
        title="Measles in Hagelloch, 1861",
        notes=("Only children who fell ill are in the village: nobody who escaped is known.",),
    )


def _rows(name: str) -> list[dict[str, str]]:
    path = Path(os.environ.get("LPM_DATA_DIR", ".")) / name
    if not path.is_file():
        raise InputError(f"children: asked for the line list {name}, got no such file; name its folder in LPM_DATA_DIR")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
