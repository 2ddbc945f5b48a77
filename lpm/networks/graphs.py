"""Random graphs as lists of edges, the same for the same seed, on any number of ranks."""

from __future__ import annotations

import math

import numpy as np

from lpm.errors import InputError
from lpm.networks.chunks import check_seed, chunks_for, counted, drawn, edges_of, generator, touching
from lpm.networks.edges import Edges, check_agents, clashing, pair_keys, repeated
from lpm.networks.pairing import checked_degrees, joined, rejoined

ROUNDS = 200  # how often clashing edges are drawn again before giving up; sparse graphs need two or three


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
    check_seed(seed)
    pairs, chance = n * (n - 1) // 2, mean_degree / max(n - 1, 1)
    chunks = chunks_for(pairs * chance)

    def draw(chunk: int) -> np.ndarray:
        last, end = pairs * chunk // chunks - 1, pairs * (chunk + 1) // chunks
        if chance == 0:
            return np.empty(0, np.uint64)
        rng, keys = generator(seed, chunk), []
        while last < end:
            expected = (end - last) * chance
            gaps = rng.geometric(chance, int(expected + 5 * math.sqrt(expected) + 10))
            pair = last + np.cumsum(gaps)
            last = int(pair[-1])
            keys.append(pair_keys(*pair_ends(pair[: np.searchsorted(pair, end)])))
        return np.concatenate(keys)

    return edges_of(n, drawn(n, chunks, draw))


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
    check_seed(seed)
    chunks = chunks_for(n * degree / 2)

    # Two low bits say which end stays: 0 none (not rewired), 1 the smaller, 2 the larger. Sorted, an edge of the ring
    # stands before its rewired duplicates, so that it is they who are drawn again.
    def draw(chunk: int) -> np.ndarray:
        rng, some = generator(seed, chunk), np.arange(n * chunk // chunks, n * (chunk + 1) // chunks, dtype=np.uint64)
        source = np.repeat(some, degree // 2)
        target = (source + np.tile(np.arange(1, degree // 2 + 1, dtype=np.uint64), len(some))) % np.uint64(n)
        chosen = rng.random(len(source)) < rewire
        ring = pair_keys(source[~chosen], target[~chosen]) << np.uint64(2)
        return np.concatenate([ring, rewired(source[chosen], n, rng)])

    keys = np.sort(drawn(n, chunks, draw, low=2))
    for attempt in range(ROUNDS):
        clash = repeated(keys >> np.uint64(2))
        lost = counted(keys[clash], low=2)
        if not len(lost):
            return edges_of(n, keys >> np.uint64(2))
        smaller, larger = lost >> np.uint64(34), lost >> np.uint64(2) & np.uint64(2**32 - 1)
        stays = np.where(lost & np.uint64(3) == np.uint64(1), smaller, larger)
        again = rewired(stays, n, generator(seed, chunks + attempt))
        keys = np.sort(np.concatenate([keys[~clash], touching(again, low=2)]))
    raise InputError(
        f"small_world: asked to rewire {n} agents of degree {degree}, found no free agents; take a lower degree"
    )


def rewired(source: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Edges from these agents to agents anywhere but themselves, as keys with two more bits."""
    target = rng.integers(0, n - 1, len(source), dtype=np.uint64)
    target += target >= source
    stays = np.where(source < target, np.uint64(1), np.uint64(2))
    return pair_keys(source, target) << np.uint64(2) | stays


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
    keys = joined(degrees, seed)
    bad = clashing(keys)
    return edges_of(len(degrees), keys[~bad], dropped=len(counted(keys[bad])))


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
    keys = joined(checked_degrees("regular", np.full(n, degree)), seed)
    for attempt in range(ROUNDS):
        bad = clashing(keys)
        if not len(counted(keys[bad])):
            return edges_of(n, keys)
        keys = rejoined(keys, bad, generator(seed, 0, attempt))
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


def near_even(degree: int, n: int) -> int:
    """The even degree that a ring of n may have, next to the one asked for."""
    return max(2, min(degree, n - 1) // 2 * 2)
