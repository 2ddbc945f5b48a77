"""The state of a simulation: what changes for each agent, what changes for all, and what never changes."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lpm.kernels.stages import Stages


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """Everything that a step reads and writes, a pytree.

    Args:
        step: () int32, steps done.
        agents: what changes for each agent: a dict of (n, ...) arrays or `Stages`.
        env: what changes and belongs to no agent: a dict of small arrays.
        fixed: what never changes during a run: a dict with the agents' ids and attributes, networks and tables. A step
            may read it and must not replace it; realizations share it.
    """

    step: jax.Array
    agents: dict[str, Any]
    env: dict[str, Any]
    fixed: dict[str, Any]

    def replace(self, **changes: Any) -> State:
        """A copy with some of the agents' or the environment's entries changed, by name.

        >>> initial_state(agents={"wealth": jnp.ones(2)}).replace(wealth=jnp.zeros(2)).agents["wealth"]
        Array([0., 0.], dtype=float32)
        """
        agents, env = dict(self.agents), dict(self.env)
        for name, value in changes.items():
            if name in agents:
                agents[name] = value
            elif name in env:
                env[name] = value
            else:
                known = sorted([*agents, *env])
                raise KeyError(
                    f"state has no entry {name!r} to replace; it has {known}; "
                    "give new entries to lpm.initial_state(...)"
                )
        return dataclasses.replace(self, agents=agents, env=env)


def initial_state(
    agents: dict[str, Any], env: dict[str, Any] | None = None, fixed: dict[str, Any] | None = None
) -> State:
    """The state before the first step.

    Args:
        agents, env, fixed: see `State`. If `fixed` has no `"id"`, agents get the ids 0, 1, ...

    >>> int(initial_state(agents={"wealth": jnp.ones(3)}).fixed["id"][2])
    2
    """
    fixed = dict(fixed or {})
    both = agents.keys() & (env or {}).keys()
    if both:
        raise ValueError(
            f"state: an entry belongs to the agents or to the environment, got {sorted(both)} in both; rename one"
        )
    lengths = {name: jax.tree.leaves(value)[0].shape[0] for name, value in agents.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"agents: asked for one length, got {lengths}; every entry needs one row for each agent")
    if "id" not in fixed and lengths:
        fixed["id"] = jnp.arange(next(iter(lengths.values())), dtype=jnp.uint32)
    return State(jnp.int32(0), dict(agents), dict(env or {}), fixed)


def integer_arrays(state: State) -> list[str]:
    """The agents' entries that no derivative passes through, `Stages` apart.

    >>> integer_arrays(initial_state({"wealth": jnp.ones(3), "age": jnp.zeros(3, jnp.uint8)}))
    ['age']
    """
    arrays = {name: each for name, each in state.agents.items() if not isinstance(each, Stages)}
    return [
        name
        for name, each in arrays.items()
        if any(not jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(each))
    ]
