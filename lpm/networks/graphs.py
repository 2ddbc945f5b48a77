"""Random graphs as lists of edges, the same for the same seed."""

from __future__ import annotations

import math

import numpy as np

from lpm.errors import InputError
from lpm.networks.edges import Edges, check_agents, clashing, edges_of_keys, pair_keys, repeated

ROUNDS = 200  # how often clashing edges are drawn again before giving up; sparse graphs need two or three
CHUNK = 1 << 20  # edges drawn at a time, which keeps temporaries in cache


def erdos_renyi(n: int, mean_degree: float, seed: int) -> Edges:
    """Every pair meets with the same probability, p = mean_degree / (n - 1), whatever the others do.

    The pairs that do not meet are leapt over, by gaps of the geometric distribution.

    Args:
        n: how many agents.
        mean_degree: expected number of neighbours, in [0, n - 1].
        seed: not negative.

    Source: Batagelj and Brandes (2005), Efficient generation of large random networks, Phys. Rev. E 71, 036113,
    algorithm 1.

    >>> bool(9 < erdos_renyi(1000, 10, seed=1).degrees().mean() < 11)
    True
    """
    check_agents("erdos_renyi", n)
    if not 0 <= mean_degree <= n - 1:
        asked = f"erdos_renyi: asked for a mean_degree between 0 and n - 1 = {n - 1}"
        raise InputError(f"{asked}, got {mean_degree}; lower it or take more agents")
    rng = generator(seed)
    pairs = n * (n - 1) // 2
    expected = mean_degree * n / 2
    if expected == 0:
        return Edges(n, np.empty(0, np.int32), np.empty(0, np.int32))
    chunk = int(min(CHUNK, expected + 5 * math.sqrt(expected) + 10))
    last = -1
    sources, targets = [], []
    while last < pairs:
        pair = last + np.cumsum(rng.geometric(mean_degree / (n - 1), chunk))
        last = int(pair[-1])
        if last >= pairs:
            pair = pair[: np.searchsorted(pair, pairs)]
        lower, upper = pair_ends(pair)
        sources.append(lower.astype(np.int32))
        targets.append(upper.astype(np.int32))
    return Edges(n, np.concatenate(sources), np.concatenate(targets))


def pair_ends(pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two ends, the lower first, of pairs numbered along the triangle (0, 1), (0, 2), (1, 2), (0, 3), ...

    >>> pair_ends(np.array([0, 1, 2, 3]))
    (array([0, 0, 1, 0]), array([1, 2, 2, 3]))
    """
    upper = ((1 + np.sqrt(1 + 8.0 * pair)) / 2).astype(np.int64)
    upper -= upper * (upper - 1) // 2 > pair  # the root may be rounded up to a whole number, but never down across one
    return pair - upper * (upper - 1) // 2, upper


def small_world(n: int, degree: int, rewire: float, seed: int) -> Edges:
    """A ring where each agent meets its `degree` nearest, some edges then led to agents anywhere (Watts-Strogatz).

    Each edge (i, i + k), k = 1 ... degree / 2, keeps i and changes its other end with probability `rewire`, to an agent
    drawn evenly from those who are not i or already its neighbours. All edges are rewired at once rather than in turn.

    Args:
        n: how many agents.
        degree: even, in [2, n - 1].
        rewire: probability, in [0, 1].
        seed: not negative.

    Raises:
        InputError: for arguments out of range, or if the graph is so dense that no free agents are found.

    Source: Watts and Strogatz (1998), Collective dynamics of 'small-world' networks, Nature 393, 440-442, figure 1.

    >>> small_world(6, 2, rewire=0.0, seed=1).degrees()
    array([2, 2, 2, 2, 2, 2])
    """
    check_agents("small_world", n)
    if degree % 2 or not 2 <= degree <= n - 1:
        raise InputError(
            f"small_world: asked for an even degree from 2 to {n - 1}, got {degree}; write {near_even(degree, n)}"
        )
    if n > 2**30:
        raise InputError(f"small_world: asked for at most {2**30} agents, got {n}; take fewer")
    if not 0 <= rewire <= 1:
        raise InputError(
            f"small_world: asked for rewire between 0 and 1, got {rewire}; write a probability such as 0.1"
        )
    rng = generator(seed)
    source = np.repeat(np.arange(n, dtype=np.uint64), degree // 2)
    target = (source + np.tile(np.arange(1, degree // 2 + 1, dtype=np.uint64), n)) % np.uint64(n)
    chosen = rng.random(len(source)) < rewire
    # Two low bits say which end stays: 0 none (not rewired), 1 the smaller, 2 the larger. Sorted, an edge of the ring
    # stands before its rewired duplicates, so that it is they who are drawn again.
    keys = pair_keys(source[~chosen], target[~chosen]) << np.uint64(2)
    redraw = source[chosen]
    for _ in range(ROUNDS):
        drawn = rng.integers(0, n - 1, len(redraw), dtype=np.uint64)
        drawn += drawn >= redraw  # nobody meets itself
        stays = np.where(redraw < drawn, np.uint64(1), np.uint64(2))
        keys = np.sort(np.concatenate([keys, pair_keys(redraw, drawn) << np.uint64(2) | stays]))
        clash = repeated(keys >> np.uint64(2))
        if not clash.any():
            return edges_of_keys(n, keys >> np.uint64(2))
        lost = keys[clash]
        smaller, larger = lost >> np.uint64(34), lost >> np.uint64(2) & np.uint64(2**32 - 1)
        redraw = np.where(lost & np.uint64(3) == np.uint64(1), smaller, larger)
        keys = keys[~clash]
    raise InputError(
        f"small_world: asked to rewire {n} agents of degree {degree}, found no free agents; take a lower degree"
    )


def given_degrees(degrees: np.ndarray, seed: int) -> Edges:
    """A graph with the given degrees, else random: loose ends are joined in pairs (the erased configuration model).

    Self loops and duplicates are dropped; `dropped` counts them. They are few if no degree nears the square root of n.

    Args:
        degrees: (n,) integer, each in [0, n - 1], their sum even.
        seed: not negative.

    Source: Newman (2018), Networks, 2nd ed., section 12.1; erased as in van der Hofstad (2017), Random graphs and
    complex networks, vol. 1, section 7.3.

    >>> edges = given_degrees(np.full(1000, 4), seed=1)
    >>> len(edges.source) + edges.dropped
    2000
    """
    degrees = checked_degrees("given_degrees", degrees)
    keys, bad = joined(loose_ends(degrees), generator(seed))
    return edges_of_keys(len(degrees), keys[~bad], dropped=int(bad.sum()))


def regular(n: int, degree: int, seed: int) -> Edges:
    """Every agent has exactly `degree` neighbours, else random.

    Loose ends are joined as in `given_degrees`; self loops and duplicates are cut again, with as many good edges, and
    joined anew until none is left.

    Args:
        n: how many agents.
        degree: in [0, n - 1]; n * degree must be even.
        seed: not negative.

    Raises:
        InputError: for arguments out of range, or if the graph is too dense to be found at random.

    Source: McKay and Wormald (1990), Uniform generation of random regular graphs of moderate degree, J. Algorithms 11,
    52-67, for the switching of bad pairs; here at random, hence only nearly uniform.

    >>> regular(6, 3, seed=1).degrees()
    array([3, 3, 3, 3, 3, 3])
    """
    check_agents("regular", n)
    if degree == n - 1:
        return complete(n)
    rng = generator(seed)
    keys, bad = joined(loose_ends(checked_degrees("regular", np.full(n, degree))), rng)
    for _ in range(ROUNDS):
        cut = np.flatnonzero(bad)
        if not len(cut):
            return edges_of_keys(n, keys)
        cut = np.union1d(cut, rng.integers(0, len(keys), len(cut) + 1))
        keys[cut], _ = joined(np.concatenate(np.divmod(keys[cut], np.uint64(2**32))), rng)
        keys.sort()
        bad = clashing(keys)
    raise InputError(
        f"regular: asked for {n} agents of degree {degree}, found no such graph; take a degree below n / 3"
    )


def heavy_tailed_degrees(n: int, mean: float, exponent: float, largest: int, seed: int) -> np.ndarray:
    """Degrees of a power law with a given mean.

    P(k) ~ (k + shift)^-exponent, k = 1 ... largest

    The shift is found such that the mean is `mean`. If the sum is odd, one degree is changed by 1, so that
    `given_degrees` takes it.

    Args:
        n: how many agents.
        mean: in (1, (largest + 1) / 2).
        exponent: positive, of the tail; 2 to 3 for many contact networks.
        largest: the largest degree, in [2, n - 1].
        seed: not negative.

    Returns:
        (n,) int32.

    Source: Mandelbrot (1953), An informational theory of the statistical structure of language, for the shifted law.

    >>> bool(7.8 < heavy_tailed_degrees(100_000, mean=8, exponent=2.5, largest=300, seed=1).mean() < 8.2)
    True
    """
    check_agents("heavy_tailed_degrees", n)
    if not 2 <= largest <= n - 1:
        raise InputError(
            f"heavy_tailed_degrees: asked for largest from 2 to {n - 1}, got {largest}; write a degree in between"
        )
    if not 1 < mean < (largest + 1) / 2:
        asked = f"heavy_tailed_degrees: asked for a mean between 1 and (largest + 1) / 2 = {(largest + 1) / 2}"
        raise InputError(f"{asked}, got {mean}; change mean or largest")
    if not 0 < exponent <= 20:
        raise InputError(
            f"heavy_tailed_degrees: asked for an exponent between 0 and 20, got {exponent}; write one such as 2.5"
        )
    k = np.arange(1, largest + 1)

    def probabilities(log_shift: float) -> np.ndarray:
        weights = np.exp(-exponent * (np.log(k - 1 + math.exp(log_shift)) - log_shift))
        return weights / weights.sum()

    low, high = -700.0, 40.0  # of log(1 + shift); the mean increases with it
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if probabilities(middle) @ k < mean else (low, middle)
    rng = generator(seed)
    cumulative = np.cumsum(probabilities(low))
    degrees = (1 + np.searchsorted(cumulative / cumulative[-1], rng.random(n), side="right")).astype(np.int32)
    if degrees.sum(dtype=np.int64) % 2:
        agent = rng.integers(n)
        degrees[agent] += 1 if degrees[agent] < largest else -1
    return degrees


def complete(n: int) -> Edges:
    """Everybody meets everybody, at most 5,000 agents; for more use `lpm.kernels.strata.mix`.

    >>> complete(4).degrees()
    array([3, 3, 3, 3])
    """
    check_agents("complete", n)
    if n > 5000:
        raise InputError(f"complete: asked for at most 5000 agents, got {n}; use a mixing matrix, which needs no edges")
    source, target = np.triu_indices(n, 1)
    return Edges(n, source, target)


def generator(seed: int) -> np.random.Generator:
    """The stream of random numbers of a seed."""
    if seed < 0:
        raise InputError(f"seed: asked for a whole number not below 0, got {seed}; write one such as 1")
    return np.random.Generator(np.random.Philox(seed))


def checked_degrees(where: str, degrees: np.ndarray) -> np.ndarray:
    """The degrees, if a graph could have them."""
    degrees = np.asarray(degrees)
    n = len(degrees)
    check_agents(where, n)
    if degrees.dtype.kind not in "iu":
        raise InputError(f"{where}: asked for whole degrees, got {degrees.dtype}; write degrees.astype(int)")
    if degrees.min() < 0 or degrees.max() > n - 1:
        got = f"got {degrees.min()} to {degrees.max()}"
        raise InputError(
            f"{where}: asked for degrees between 0 and n - 1 = {n - 1}, {got}; write degrees.clip(0, n - 1)"
        )
    if (total := int(degrees.sum(dtype=np.int64))) % 2:
        raise InputError(
            f"{where}: asked for degrees of an even sum (an edge has two ends), got {total}; change one by 1"
        )
    return degrees


def near_even(degree: int, n: int) -> int:
    """The even degree that a ring of n may have, next to the one asked for."""
    return max(2, min(degree, n - 1) // 2 * 2)


def loose_ends(degrees: np.ndarray) -> np.ndarray:
    """Each agent as often as its degree says."""
    return np.repeat(np.arange(len(degrees), dtype=np.uint32), degrees)


def joined(ends: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Loose ends joined at random: sorted keys, and which are self loops or duplicates."""
    rng.shuffle(ends)
    half = len(ends) // 2
    keys = np.sort(pair_keys(ends[:half], ends[half:]))
    return keys, clashing(keys)
