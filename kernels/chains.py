"""The epidemic of a ghost in a group, as numbers in a table: what `lpm.kernels.families` looks up.

    python -m lpm.kernels.chains        # computes the table anew (a minute) and writes it beside this file

In a group of s susceptible, e latent and i infectious agents, with latent and infectious periods that are exponential,
a the odds of infecting a given one before recovery, time in infectious periods, l of which a latent period lasts, the
sum of exp(-r t) over all infections to come is in the mean

    (r + a s i + e / l + i) M(s, e, i) = a s i (1 + M(s - 1, e + 1, i)) + e / l M(s, e - 1, i + 1) + i M(s, e, i - 1)

(the jump chain of Bailey 1975, The Mathematical Theory of Infectious Diseases, section 6.3, discounted), and their
number E is M at r = 0. Ghosts are linear: a root infects W1 of each contact in its life, a member of its family W2,
beginning with the share v of its contacts. With m contacts, R = a m, D the infections of the family for each of the
root's:

    E = W1 m (1 + D),    W2 m = D / (1 + D),    M = A1 / (1 - A2 / (1 + l r)),
    A1 = R / (a / W1 + r),    A2 = v R / (v a / W2 + r)

D and v are those for which the largest error of M / E is least, over rates about the growth of an epidemic in which
everybody infects two others, (1 + r) (1 + l r) = 2.
"""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

TABLE = Path(__file__).with_name("chains.npy")
LARGEST = 256  # members that could be infected; in larger groups contacts hardly compete
SIZES = np.unique(np.concatenate([np.arange(1, 33), np.geomspace(32, LARGEST, 13).round()]).astype(int))
LOW, HIGH, PER_DOUBLING = -6, 6, 8
STRENGTH = 2.0 ** np.arange(LOW, HIGH + 0.01, 1 / PER_DOUBLING)  # R
LATENT = np.array([0, 0.1, 0.2, 0.3, 0.45, 0.65, 1, 1.5, 2.5, 5])  # l
FOLLOWED = 16  # members of the largest group that is followed through latent periods; larger ones are slowed as it is
RATES = np.array([0.25, 0.75, 1.5, 3])  # r, times the growth
SHARES = 2.0 ** np.arange(-0.5, 2.76, 0.125)  # v


@functools.lru_cache
def table() -> np.ndarray:
    """The table: four numbers in each of its own (see `unpacked`).

    Returns:
        (latent periods, LARGEST + 1 members, strengths) uint32.
    """
    found = np.load(TABLE)
    return np.ascontiguousarray(found[:, np.searchsorted(SIZES, np.arange(LARGEST + 1)).clip(0, len(SIZES) - 1)])


def unpacked(packed: jax.Array) -> tuple[jax.Array, ...]:
    """W1 (1 + a) / 2 a, m W2 and v, float32, from 11, 11 and 10 bits of entries of the table."""
    parts = (packed & 2047, (packed >> 11) & 2047, packed >> 22)
    return tuple(
        part.astype(jnp.float32) * jnp.float32(1 / one) for part, one in zip(parts, (2047, 2047, 128), strict=True)
    )


def computed(sizes: np.ndarray = SIZES) -> np.ndarray:
    """The rows of the table for some sizes, in growing order: (latent periods, sizes, strengths) uint32."""
    latent, rows = LATENT[:, None], []
    growth = (np.sqrt((1 - latent) ** 2 + 8 * latent) - 1 - latent) / np.maximum(2 * latent, 1e-9)
    growth = np.where(latent == 0, 1, growth)
    rates = growth * RATES[:, None, None]
    for m in sizes:
        number = _discounted(m, STRENGTH / m, np.zeros(1))
        at_once = _discounted(m, STRENGTH / m, rates) / number
        if m <= FOLLOWED:
            share = _discounted_if_latent(m, STRENGTH / m, latent, rates) / number
            slower = np.log(share) / np.log(at_once)
        else:
            share = at_once**slower
        d, v = _solved(m, latent, rates, number, share)
        by_root = number / (STRENGTH * (1 + d)) * (1 + STRENGTH / m) / 2
        parts = zip((2047 * by_root, 2047 * d / (1 + d), 128 * v), (2047, 2047, 1023), strict=True)
        first, second, third = (np.rint(part).clip(0, most).astype(np.uint32) for part, most in parts)
        rows.append(first | second << 11 | third << 22)
    return np.stack(rows, 1)


def _discounted(m: int, a: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """M(m, 0, 1) without a latent period."""
    found = np.zeros((m + 2, *np.broadcast_shapes(a.shape, rate.shape)))  # M(s, i) for i = 0, 1, ...
    for s in range(1, m + 1):
        more = np.zeros_like(found)
        for i in range(1, m + 2 - s):
            more[i] = (a * s * (1 + found[i + 1]) + more[i - 1]) / (rate / i + a * s + 1)
        found = more
    return found[1]


def _discounted_if_latent(m: int, a: np.ndarray, latent: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """M(m, 0, 1)."""
    ends = 1 / np.maximum(latent, 1e-6)
    found = np.zeros((m + 2, m + 2, *np.broadcast_shapes(a.shape, rate.shape)))  # M(s, e, i) for e, i = 0, 1, ...
    for s in range(1, m + 1):
        more = np.zeros_like(found)
        for together in range(1, m + 2 - s):
            for e in range(together + 1):
                i = together - e
                gains = a * s * i * (1 + found[e + 1, i]) if i else 0
                gains = gains + (e * ends * more[e - 1, i + 1] if e else 0) + (i * more[e, i - 1] if i else 0)
                more[e, i] = gains / (rate + a * s * i + e * ends + i)
        found = more
    return found[0, 1]


def _solved(
    m: int, latent: np.ndarray, rates: np.ndarray, number: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """D and v, each (latent periods, strengths)."""
    best, per_root, found_by = np.full(share.shape[1:], np.inf), np.zeros(share.shape[1:]), np.ones(share.shape[1:])
    least = np.maximum(number / STRENGTH - 1, 0)  # of D: a root infects no more than R
    for d in least + 0.01 * 1.09 ** np.arange(70)[:, None] if m > 1 else ():
        root = STRENGTH / (STRENGTH * (1 + d) / number + rates) / (share * number)
        for v in SHARES:
            family = v * STRENGTH / (v * STRENGTH * (1 + d) / d + rates) / (1 + latent * rates)
            # Where several do as well, the one that leaves most to the root: what it infects itself is nearly right.
            error = np.abs(root / (1 - family) - 1).max(0) + 0.001 * abs(np.log2(v)) + 0.006 * d
            better = error < best
            best, per_root, found_by = (
                np.where(better, new, old) for new, old in ((error, best), (d, per_root), (v, found_by))
            )
    return per_root, found_by


if __name__ == "__main__":
    np.save(TABLE, computed())
