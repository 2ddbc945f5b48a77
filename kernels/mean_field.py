"""The rule `mean_field`: the derivative of what would be expected if contacts were independent of each other.

Beside each agent's drawn stage goes the probability P_{i,k} that it is in stage k, by the equations of the
individual-based mean field (Van Mieghem, Omic & Kooij 2009, IEEE/ACM Trans. Netw. 17, equation 8; for stages that
follow one another: Youssef & Scoglio 2011, J. Theor. Biol. 283)

    P_{i,k} <- P_{i,k} + sum_r P_{i,r} p_{i,r -> k} - P_{i,k} sum_r p_{i,k -> r}

with p the chance of an event, that of an infection from the P of the contacts. Observed values stay those of the
discrete run; their derivative is that of the sum of P. It has no noise of events, and is right where everybody meets
everybody. On sparse networks it is not: P forgets that who infected an agent cannot be infected by it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

Rows = tuple[jax.Array, ...]
Move = tuple[tuple[int, ...], tuple[int, ...], jax.Array, jax.Array | None]


def certain(value: jax.Array, kinds: int) -> Rows:
    """Probabilities of agents whose stages are known: for each stage (n,) float32, 0 or 1.

    >>> certain(jnp.array([0, 1, 1], jnp.uint8), 2)[1]
    Array([0., 1., 1.], dtype=float32)
    """
    return tuple((value == k).astype(jnp.float32) for k in range(kinds))


def sent(probabilities: Rows, event: jax.Array, target: int) -> Rows:
    """Probabilities after those with the event, (n,) uint8, went to the target stage for certain."""
    return tuple(jnp.where(event == 1, jnp.float32(k == target), row) for k, row in enumerate(probabilities))


def progressed(probabilities: Rows, moves: list[Move]) -> tuple[Rows, dict[int, jax.Array]]:
    """Probabilities after a step of a course, and of having come into each stage that others lead to.

    Args:
        probabilities: for each phase, (n,) float32.
        moves: for each stage that is left: its phases, the first phases of the one or two that follow, the chance to
            leave a phase, () float32, and that of taking the first of two, (n,) float32, or None.
    """
    after, arrived = list(probabilities), dict[int, jax.Array]()
    for kinds, targets, leave, first in moves:
        for k in kinds:
            leaving = leave * probabilities[k]
            after[k] = after[k] - leaving
            if k != kinds[-1]:
                after[k + 1] = after[k + 1] + leaving
                continue
            parts = (leaving,) if first is None else (leaving * first, leaving * (1 - first))
            for target, part in zip(targets, parts, strict=True):
                after[target] = after[target] + part
                arrived[target] = arrived[target] + part if target in arrived else part
    return tuple(after), arrived
