"""A user's own model, as far as a config sees it: settings of every kind, a check, a builder that can refuse."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Annotated, Literal

import jax.numpy as jnp

from lpm.model import chain
from lpm.observe import Observable
from lpm.settings import Calendar, Fraction, Mistake, Number, Positive, Rate
from lpm.state import initial_state
from lpm.world import World


@dataclasses.dataclass(frozen=True)
class Closure:
    """Contacts are cut from one day on.

    Args:
        from_: first day.
        factor: what is left of the contacts.
    """

    from_: datetime.date
    factor: Fraction = 0.5


@dataclasses.dataclass(frozen=True)
class Contacts:
    """Who meets whom."""

    kind: Literal["random", "grid"] = "random"
    degree: Annotated[float, Number(0, 100, "contacts")] = 10.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be set."""

    agents: Positive = 100
    contacts: Contacts = dataclasses.field(default_factory=Contacts)
    transmission: Rate = 0.05
    rates: dict[str, Rate] = dataclasses.field(default_factory=dict)
    ages: tuple[float, ...] = (20.0, 65.0)
    span: tuple[float, float] = (0.0, 1.0)
    mixed: bool = False
    closures: tuple[Closure, ...] = ()
    first: datetime.date | int = 0
    share: Fraction | None = None
    place: str = "town"

    def __post_init__(self) -> None:
        if self.place == "nowhere":
            raise ValueError("place: asked for a town, got 'nowhere'; write its name")


def check(settings: Settings, calendar: Calendar) -> list[Mistake]:
    """A closure must fall within the run."""
    return [
        Mistake(
            ("settings", "closures", number, "from"),
            f"asked for a day of the run, got {closure.from_}; write one in it",
        )
        for number, closure in enumerate(settings.closures)
        if calendar.start and not 0 <= calendar.step_of(closure.from_) < calendar.steps
    ]


def build(settings: Settings, calendar: Calendar) -> World:
    """Agents to whom nothing happens, or one of the ways to fail."""
    if settings.place == "refused":
        raise ValueError("no town of that name")
    if settings.place == "faulty":
        raise KeyError("streets")
    if settings.place == "nothing":
        return None  # type: ignore[return-value]
    return World(
        model=chain(),
        params=None,
        state=initial_state(agents={"stage": jnp.zeros(settings.agents, jnp.uint8)}),
        observables=(Observable("admissions", lambda state, info: jnp.zeros(2, jnp.int32), dims=("region",)),),
        coords={"region": ("North", "South")},
    )
