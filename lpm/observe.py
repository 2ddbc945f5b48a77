"""Observables: what to look at, declared once, before the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import jax

from lpm.state import State


@dataclasses.dataclass(frozen=True)
class Observable:
    """A number, or a small table of numbers, that is recorded while the simulation runs.

    Args:
        name: a valid Python name; the variable's name in the store.
        function: `(state, info) -> array`, with the state after a step and that step's events.
        dims: names of the array's axes, such as ("region", "age"); () for a number.
        units: as in CF conventions; "1" for a count.
        long_name: a phrase for axes and tables.
        over: how a recorded value stands for the steps since the last one: "sum" for events (incidence), "last" for a
            stock (prevalence), "mean".
    """

    name: str
    function: Callable[[State, dict[str, Any]], jax.Array]
    dims: tuple[str, ...] = ()
    units: str = "1"
    long_name: str = ""
    over: Literal["sum", "last", "mean"] = "last"

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"observable: asked for a name like `incidence`, got {self.name!r}")
        if self.over not in ("sum", "last", "mean"):
            raise ValueError(f"observable {self.name}: `over` is one of 'sum', 'last', 'mean', got {self.over!r}")


class Described(Protocol):
    """What a store needs to know of an observable: all but its function."""

    @property
    def name(self) -> str: ...
    @property
    def dims(self) -> tuple[str, ...]: ...
    @property
    def units(self) -> str: ...
    @property
    def long_name(self) -> str: ...
    @property
    def over(self) -> str: ...


def checked(observe: Iterable[Observable]) -> tuple[Observable, ...]:
    """Observables as a tuple, with different names."""
    observables = tuple(observe)
    names = [observable.name for observable in observables]
    if len(set(names)) < len(names):
        raise ValueError(f"observe: names must differ, got {names}")
    return observables
