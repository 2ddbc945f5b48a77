"""A model: named substeps, one after another.

A substep is a plain function `(params, state, key) -> (state, info)`. `chain` makes a model of them. Each draws from a
stream named after it, so that adding, removing or moving one changes no draw of another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from lpm.kernels import random
from lpm.state import State

Substep = Callable[[Any, State, random.Key], tuple[State, dict[str, Any]]]
Start = Callable[[Any, State, random.Key], State]


@dataclasses.dataclass(frozen=True)
class Model:
    """What happens at the start and in each step; hashable, so that it can be a static argument of a jitted function.

    Args:
        substeps: (name, function) pairs, in order.
        start: `(params, state, key) -> state`, done once before the first step (who is infected first), or None.
    """

    substeps: tuple[tuple[str, Substep], ...]
    start: Start | None = None

    def init(self, params: Any, state: State, key: random.Key) -> State:
        """The state at the start of one realization."""
        return state if self.start is None else self.start(params, state, random.stream(key, "start"))

    def step(self, params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
        """One step: every substep in turn, each with its own stream. The infos are merged; two may not share a name."""
        info: dict[str, Any] = {}
        for name, substep in self.substeps:
            fixed = state.fixed
            result = substep(params, state, random.at(random.stream(key, name), state.step))
            if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], State)):
                got = type(result).__name__
                raise TypeError(
                    f"substep {name!r}: asked for (state, info), got {got}; end it with `return state, {{}}`"
                )
            state, found = result
            if state.fixed is not fixed:
                state = dataclasses.replace(state, fixed=fixed)
            twice = info.keys() & found.keys()
            if twice:
                raise ValueError(
                    f"substep {name!r}: its info repeats {sorted(twice)} of an earlier substep; rename one of them"
                )
            info |= found
        return dataclasses.replace(state, step=state.step + 1), info

    def insert(self, *, after: str | None = None, before: str | None = None, **substeps: Substep) -> Model:
        """A model with further substeps after or before the one named, or at the end.

        Raises:
            ValueError: for a name that the model has already, an anchor that it has not, or two anchors.
        """
        names = [name for name, _ in self.substeps]
        if after is not None and before is not None:
            raise ValueError(f"insert: asked for one place, got after={after!r} and before={before!r}; leave one out")
        twice = [name for name in substeps if name in names]
        if twice:
            raise ValueError(f"insert: asked for names that the model ({names}) has not, got {twice}; write others")
        anchor = after if after is not None else before
        if anchor is not None and anchor not in names:
            raise ValueError(f"insert: asked for a place beside {anchor!r}, the model has {names}")
        at = len(names) if anchor is None else names.index(anchor) + (after is not None)
        return chain(self.start, **dict([*self.substeps[:at], *substeps.items(), *self.substeps[at:]]))


def chain(start: Start | None = None, /, **substeps: Substep) -> Model:
    """A model that does the given substeps in this order in each step.

    >>> def grow(params, state, key):
    ...     return state.replace(wealth=state.agents["wealth"] * params), {}
    >>> chain(grow=grow).substeps[0][0]
    'grow'
    """
    hashes = {name: random.name_hash(name) for name in ("start", *substeps)}
    if len(set(hashes.values())) < len(hashes):
        raise ValueError(f"chain: two of the names {sorted(hashes)} give the same stream; rename one")
    return Model(tuple(substeps.items()), start)
