"""The epidemic of a ghost in a group, as numbers in a table: what `lpm.kernels.families` looks up.

    python -m lpm.kernels.chains        # computes the table anew (some minutes) and writes it beside this file

In a group of s susceptible, e latent and i infectious agents, with a latent period that is exponential, an infectious
one of k exponential phases (i_1 agents in the first, ..., i_k in the last), h the hazard of a given contact, time in
infectious periods, l of which a latent period lasts, the sum of exp(-r t) over all infections to come is in the mean

    (r + h s i + e / l + k i) M(s, e, i_1, ..., i_k)
        = h s i (1 + M(s - 1, e + 1, ...)) + e / l M(s, e - 1, i_1 + 1, ...)
          + k sum_j i_j M(s, e, ..., i_j - 1, i_{j+1} + 1, ...)

(the jump chain of Bailey 1975, The Mathematical Theory of Infectious Diseases, section 6.3, discounted; how much phases
matter: Anderson & Watson 1980, Biometrika 67), and their number E is M at r = 0. Ghosts are linear: a root infects W1
of each contact in its life, a member of its family W2, beginning with the share v of its contacts. What is left of a
ghost's contacts falls at a rate c, so that it infects h F(c) of each,

    F(c) = (1 - (1 + c / k)^-k) / c

With m contacts, R = h m, D the infections of the family for each of the root's:

    E = W1 m (1 + D),    W2 m = D / (1 + D),    M = A1 / (1 - A2 / (1 + l r)),
    A1 = R F(c1 + r),    A2 = v R F(c2 + r),    h F(c1) = W1,    v h F(c2) = W2

D and v are those for which the largest error of M / E is least, over rates about the growth of an epidemic in which
everybody infects two others, (1 + r) (1 + l r) = 2.
"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

TABLE = Path(__file__).with_name("chains.npy")
PHASES = (1, 2, 4)  # k
LARGEST = 256  # members that could be infected; in larger groups contacts hardly compete
SIZES = np.unique(np.concatenate([np.arange(1, 33), np.geomspace(32, LARGEST, 13).round()]).astype(int))
LOW, HIGH, PER_DOUBLING = -6, 6, 8
STRENGTH = 2.0 ** np.arange(LOW, HIGH + 0.01, 1 / PER_DOUBLING)  # R
LATENT = np.array([0, 0.1, 0.2, 0.3, 0.45, 0.65, 1, 1.5, 2.5, 5])  # l
FOLLOWED = 16  # members of the largest group that is followed through latent periods; larger ones are slowed as it is
FOUR_PHASES = (
    16  # members of the largest group that is followed through four phases; what larger ones do goes with 1 / k
)
RATES = np.array([0.25, 0.75, 1.5, 3])  # r, times the growth
SHARES = 2.0 ** np.arange(-0.5, 2.76, 0.125)  # v


@functools.lru_cache
def table() -> np.ndarray:
    """The table: four numbers in each of its own (see `unpacked`).

    Returns:
        (phases, latent periods, LARGEST + 1 members, strengths) uint32.
    """
    found = np.load(TABLE)
    return np.ascontiguousarray(found[:, :, np.searchsorted(SIZES, np.arange(LARGEST + 1)).clip(0, len(SIZES) - 1)])


def unpacked(packed: jax.Array) -> tuple[jax.Array, ...]:
    """W1 / 2 P, with P the probability of infecting a given one, m W2 and v, float32, from 11, 11 and 10 bits."""
    parts = (packed & 2047, (packed >> 11) & 2047, packed >> 22)
    return tuple(
        part.astype(jnp.float32) * jnp.float32(1 / one) for part, one in zip(parts, (2047, 2047, 128), strict=True)
    )


def packed(by_root: Any, by_member: Any, share: Any, of: Any = jnp) -> Any:
    """As they stand in the table: (...) uint32, by the functions of numpy or of JAX."""
    parts = zip((2047 * by_root, 2047 * by_member, 128 * share), (2047, 2047, 1023), strict=True)
    first, second, third = (of.rint(part).clip(0, most).astype(of.uint32) for part, most in parts)
    return first | second << 11 | third << 22


def expected(m: int, strength: float, k: int) -> float:
    """E, infections among m susceptible agents by one infectious agent whose hazards to them add up to R.

    >>> [round(expected(11, 2.83, k), 1) for k in PHASES]
    [6.4, 7.6, 8.4]
    """
    return float(_discounted(m, np.array([strength / m]), np.zeros(1), k)[0])


def computed(sizes: np.ndarray = SIZES) -> np.ndarray:
    """The rows of the table for some sizes, in growing order: (phases, latent periods, sizes, strengths) uint32."""
    latent, rows = LATENT[:, None], []
    growth = (np.sqrt((1 - latent) ** 2 + 8 * latent) - 1 - latent) / np.maximum(2 * latent, 1e-9)
    growth = np.where(latent == 0, 1, growth)
    rates = growth * RATES[:, None, None]
    slower: dict[int, np.ndarray] = {}
    for m in sizes:
        told: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # of each k, E and the logarithm of M / E
        for k in PHASES:
            if m > FOUR_PHASES and k > 2:
                (more, later), (fewer, sooner) = told[1], told[2]
                told[k] = tuple(
                    two + (one - two) * (1 / k - 1 / 2) / (1 - 1 / 2) for one, two in ((more, fewer), (later, sooner))
                )
                continue
            number = _discounted(m, STRENGTH / m, np.zeros((1, 1, 1)), k)
            at_once = np.log(_discounted(m, STRENGTH / m, rates, k) / number)
            if m <= FOLLOWED:
                logarithm = np.log(_discounted_if_latent(m, STRENGTH / m, latent, rates, k) / number)
                slower[k] = logarithm / at_once
            told[k] = number[0, 0], slower[k] * at_once
        of_phases = []
        for k, (number, logarithm) in told.items():
            d, v = _solved(m, k, latent, rates, number, np.exp(logarithm))
            infects = 1 - (1 + STRENGTH / (m * k)) ** -k
            of_phases.append(packed(number / (m * (1 + d)) / (2 * infects), d / (1 + d), v, np))
        rows.append(np.stack(of_phases))
    return np.stack(rows, 2)


def _discounted(m: int, h: np.ndarray, rate: np.ndarray, k: int) -> np.ndarray:
    """M(m, 0, 1, 0, ...) without a latent period."""
    if k == 1:
        found = np.zeros((m + 2, *np.broadcast_shapes(h.shape, rate.shape)))  # M(s, i) for i = 0, 1, ...
        for s in range(1, m + 1):
            more = np.zeros_like(found)
            for i in range(1, m + 2 - s):
                more[i] = (h * s * (1 + found[i + 1]) + more[i - 1]) / (rate / i + h * s + 1)
            found = more
        return found[1]
    return _followed(m, h, None, rate, k)


def _discounted_if_latent(m: int, h: np.ndarray, latent: np.ndarray, rate: np.ndarray, k: int) -> np.ndarray:
    """M(m, 0, 1, 0, ...)."""
    return _followed(m, h, 1 / np.maximum(latent, 1e-6), rate, k)


def _followed(m: int, h: np.ndarray, ends: np.ndarray | None, rate: np.ndarray, k: int) -> np.ndarray:
    """The same by states (e, i_1, ..., i_k), for s = 1, 2, ... in turn; without a latent period if `ends` is None."""
    found: dict[tuple[int, ...], np.ndarray | float] = {}
    for s in range(1, m + 1):
        more: dict[tuple[int, ...], np.ndarray | float] = {}
        for state in _states(m + 1 - s, k, ends is not None):
            e, *phases = state
            i = sum(phases)
            begun = (e + 1, *phases) if ends is not None else (e, phases[0] + 1, *phases[1:])
            gains: np.ndarray | float = h * s * i * (1 + found.get(begun, 0.0)) if i else 0.0
            if e and ends is not None:
                gains = gains + e * ends * more.get((e - 1, phases[0] + 1, *phases[1:]), 0.0)
            for j, number in enumerate(phases):
                if number:
                    after = list(phases)
                    after[j] -= 1
                    if j + 1 < k:
                        after[j + 1] += 1
                    gains = gains + k * number * more.get((e, *after), 0.0)
            leaving = rate + h * s * i + k * i + (0 if ends is None else e * ends)
            more[state] = gains / leaving
        found = more
    return np.asarray(found[(0, 1, *[0] * (k - 1))])


@functools.lru_cache(maxsize=8)
def _states(most: int, k: int, latent: bool) -> list[tuple[int, ...]]:
    """(e, i_1, ..., i_k) of one agent or more, at most so many, each after those that it turns into."""
    each = [
        state
        for state in itertools.product(range(most + 1 if latent else 1), *[range(most + 1)] * k)
        if 0 < sum(state) <= most
    ]
    return sorted(each, key=lambda state: (state[0], sum((k - j) * i for j, i in enumerate(state[1:]))))


def _left_at(y: np.ndarray, k: int) -> np.ndarray:
    """The c of F(c) = y, for y from 0 to 1."""
    if k == 1:
        return np.asarray(1 / y - 1)
    y = np.minimum(y, 1 - 1e-9)
    c = (1 + np.sqrt(1 + 8 * y)) / (2 * y) - 2  # of two phases, which use up less than more do
    for _ in range(0 if k == 2 else 8):  # Newton's, downhill all the way
        kept = np.exp(-k * np.log1p(c / k))
        c = np.maximum(c - (1 - kept - y * c) / (kept / (1 + c / k) - y), 1e-9)
    return np.asarray(c)


def _infects(c: np.ndarray, k: int) -> np.ndarray:
    """F(c)."""
    c = np.maximum(c, 1e-9)
    return np.asarray(-np.expm1(-k * np.log1p(c / k)) / c)


def _solved(
    m: int, k: int, latent: np.ndarray, rates: np.ndarray, number: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """D and v, each (latent periods, strengths)."""
    best, per_root, found_by = np.full(share.shape[1:], np.inf), np.zeros(share.shape[1:]), np.ones(share.shape[1:])
    least = np.maximum(number / STRENGTH - 1, 0)  # of D: a root infects no more than R
    for d in least + 0.01 * 1.09 ** np.arange(70)[:, None] if m > 1 else ():
        root = STRENGTH * _infects(_left_at(number / (STRENGTH * (1 + d)), k) + rates, k) / (share * number)
        for v in SHARES:
            wanted = d / ((1 + d) * v * STRENGTH)
            used = _left_at(np.minimum(wanted, 1), k)
            family = v * STRENGTH * _infects(used + rates, k) / (1 + latent * rates)
            # Where several do as well, the one that leaves most to the root: what it infects itself is nearly right.
            error = np.abs(root / (1 - family) - 1).max(0) + 0.001 * abs(np.log2(v)) + 0.006 * d
            error = np.where(wanted > 1, np.inf, error)
            better = error < best
            best, per_root, found_by = (
                np.where(better, new, old) for new, old in ((error, best), (d, per_root), (v, found_by))
            )
    return per_root, found_by


if __name__ == "__main__":
    np.save(TABLE, computed())
