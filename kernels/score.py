"""The rule `score`: a run's derivative is what was seen, weighted by how much likelier it has become.

    d E[y] = E[(y - b) d log p],        log p = sum over all draws of x log c + (1 - x) log(1 - c)

with x a draw of chance c, b any number that does not depend on the run (Williams 1992, Mach. Learn. 8, theorem 1;
Glynn 1990, Commun. ACM 33). It is exact for every model whose parameters act through chances alone, and its variance
grows with the number of draws. What it weights is known when all runs are done, so `lpm.gradients.jacobian` does it: in
a run the stages carry log p alone, of value 0, and counts carry no derivative. A number of agents that is chosen
(`lpm.kernels.stages.chosen`) has no chance that a parameter could move, and events that move no stage are left out.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from lpm.kernels import ranks

LEAST = 1e-7  # chances of less, or as near to 1, weigh no more than this


def of_events(possible: jax.Array, happens: jax.Array, chance: jax.Array) -> jax.Array:
    """log p of the events of a step, less its value: () float32, 0 with a derivative.

    Args:
        possible: (n,) bool, for whom.
        happens: (n,) uint8, the draws.
        chance: () or (n,) float32.
    """
    within = jnp.clip(chance, LEAST, 1 - LEAST)
    drawn = jnp.where(happens == 1, jnp.log(within), jnp.log1p(-within))
    total = ranks.sum(ranks.present(jnp.where(possible, drawn, 0)).sum())
    return total - lax.stop_gradient(total)


def of_outcomes(possible: jax.Array, drawn: jax.Array, chances: tuple[jax.Array, ...]) -> jax.Array:
    """log p of draws of one of several outcomes, or none, less its value: () float32, 0 with a derivative.

    Args:
        possible: (n,) bool, for whom.
        drawn: (n,) uint8, the outcome's number; their number for none.
        chances: of each, () or (n,) float32.
    """
    none = 1 - sum(chances[1:], start=chances[0])
    logs = (jnp.where(drawn == j, jnp.log(jnp.clip(p, LEAST, 1)), 0) for j, p in enumerate((*chances, none)))
    all_logs = sum(logs, start=jnp.zeros(drawn.shape, jnp.float32))
    total = ranks.sum(ranks.present(jnp.where(possible, all_logs, 0)).sum())
    return total - lax.stop_gradient(total)
