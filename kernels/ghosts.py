"""How ghosts infect: the cavity rule.

A ghost (`lpm.kernels.shadows`) is an agent that is in stage r and would be in stage k. Towards a contact it differs by the hazard
h_k - h_r for as long as both last, and so a contact that escaped infection gains, for each unit of the ghost's mass,

    Q = 1 - exp(-(h_k - h_r))

of being infected. Two things keep ghosts from multiplying where an epidemic does not:

1. *A contact is infected once.* The share of its contacts that a ghost has not infected yet falls by the factor 1 - Q in each step. That
   share times the mass is the ghost's `outgoing`, one number for each layer.
2. *A ghost does not infect whom it was infected by.* Of the s contacts who could be infected, one is where it came from if that one could be
   infected itself; a new ghost starts with the outgoing share 1 - 1/s on that layer.

On a tree both are exact but for the second, which spreads over all contacts what belongs to one. In a group everybody meets everybody: s
counts the other members who could be infected.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lpm.kernels import shadows
from lpm.kernels.shadows import Flow, Rows

Hazards = tuple[jax.Array, ...]  # of each class of infectious stages, () or (n,) float32, per contact and step


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Used:
    """How ghosts use up their contacts in a step.

    Args:
        hazards: for each layer that has contacts to use up.
        classes: the stages of each class of infectious stages, static.
    """

    hazards: tuple[Hazards, ...]
    classes: tuple[tuple[int, ...], ...] = dataclasses.field(metadata={"static": True})

    def apply(self, outgoing: tuple[Rows, ...], value: jax.Array) -> tuple[Rows, ...]:
        """What is left of outgoing shares after a step.

        Args:
            outgoing: by layer and stage.
            value: (n,) uint8, the agents' own stages in the step.
        """

        def tangent(constants, layers, _):
            hazards, value = constants
            return tuple(_left(rows, value, self.classes, each) for rows, each in zip(layers, hazards, strict=True))

        return shadows.carried(tangent)(outgoing, (), (self.hazards, value))


def _own_class(value: jax.Array, classes: tuple[tuple[int, ...], ...]) -> tuple[jax.Array, ...]:
    return tuple(sum((value == k for k in kinds[1:]), start=value == kinds[0]) for kinds in classes)


def jumps(value: jax.Array, classes: tuple[tuple[int, ...], ...], hazards: Hazards) -> tuple[jax.Array, ...]:
    """Q = 1 - exp(-(h_k - h_r)) of ghosts in each class of stages, and, last, in stages that do not infect: (n,) float32 each."""
    within = _own_class(value, classes)

    def of(own_hazard):
        return [-jnp.expm1(own_hazard - h) for h in (*hazards, jnp.float32(0))]

    found = of(jnp.float32(0))
    for inside, hazard in zip(within, hazards, strict=True):
        found = [jnp.where(inside, q, other) for q, other in zip(of(hazard), found, strict=True)]
    return tuple(found)


def _left(rows: Rows, value: jax.Array, classes: tuple[tuple[int, ...], ...], hazards: Hazards) -> Rows:
    *infectious, others = jumps(value, classes, hazards)
    of_kind = {k: q for kinds, q in zip(classes, infectious, strict=True) for k in kinds}
    used = [row * of_kind.get(k, others) for k, row in enumerate(rows)]
    total = sum(used)
    # What ghosts lose, the agent's own stage takes back, so that the rows go on summing to zero.
    return tuple(row - lost + jnp.where(value == k, total, 0) for k, (row, lost) in enumerate(zip(rows, used, strict=True)))


def emitted(rows: Rows, value: jax.Array, classes: tuple[tuple[int, ...], ...], hazards: Hazards) -> jax.Array:
    """sum_k outgoing_k Q_k of each agent, (n,) float32, linear in the rows."""
    *infectious, others = jumps(value, classes, hazards)
    # The rows sum to zero, which spares reading those of stages that do not infect.
    parts = [sum(rows[k] for k in kinds) * (q - others) for kinds, q in zip(classes, infectious, strict=True)]
    return sum(parts[1:], start=parts[0])


@dataclasses.dataclass(frozen=True)
class Contacts:
    """What the rule needs to know of one layer with contacts; all functions are linear.

    Args:
        hazards: see `Hazards`.
        others: sums of an (n,) float32 over each agent's contacts.
        number: (n,) float32, how many contacts escaped infection and could still have it.
    """

    hazards: Hazards
    others: Any
    number: Any


def infected(
    flow: Flow,
    outgoing: tuple[Rows, ...],
    mass: Rows,
    *,
    happens: jax.Array,
    chance: jax.Array,
    hazard: jax.Array,
    susceptibility: jax.Array | None,
    layers: Any,
) -> Flow:
    raise NotImplementedError
