"""Counts by region and age, and mixing between such strata.

Agents stand sorted by region; each age band has a packed mask. A count by region and age is then a population count of
(flags and mask), a thirty-second of the memory traffic of a scatter.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lpm.kernels import bits, ranks, shadows
from lpm.kernels.stages import Indicator


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Columns:
    """What the columns of `Strata.masks` are of.

    Args:
        word: (8, columns) int32, the word of the packed flags that each entry masks.
        region: (columns,) int32, the region of each.
    """

    word: jax.Array
    region: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Strata:
    """A division of the agents by region and age band.

    Args:
        masks: (bands, 8, columns) uint32, the packed members of each band. Each region has columns of its own: the
            words from its first on, laid out in eight rows, 0 for agents of the regions beside it and after the last.
        code: (n,) uint8, region * bands + band of each agent.
        bounds: where each region's agents begin, and the end of the last; static.
        columns: where `bounds` differ between devices that run one program, what they would say; else None.
    """

    masks: jax.Array
    code: jax.Array
    bounds: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    columns: Columns | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(regions, bands)."""
        return len(self.bounds) - 1, self.masks.shape[0]


def strata(region: np.ndarray, band: np.ndarray, regions: int, bands: int) -> Strata:
    """Build strata on the host.

    Args:
        region: (n,) integer, not decreasing.
        band: (n,) integer.
        regions, bands: how many there are; at most 256 strata.
    """
    if np.any(np.diff(region.astype(np.int64)) < 0):
        raise ValueError("strata: agents must be sorted by region; sort them by (region, household) first")
    if regions * bands > 256:
        raise ValueError(f"strata: asked for at most 256, got {regions} regions x {bands} bands; use wider age bands")
    bounds = tuple(int(b) for b in np.searchsorted(region, np.arange(regions + 1)))
    masks = []
    for (low, high), width in zip(itertools.pairwise(bounds), _widths(bounds), strict=True):
        first = low // 32 * 32
        member = np.zeros((bands, 256 * width), bool)
        member[:, low - first : high - first] = band[None, low:high] == np.arange(bands)[:, None]
        packed = np.packbits(member, axis=1, bitorder="little").view("<u4").astype(np.uint32)
        masks.append(packed.reshape(bands, 8, width))
    code = (region.astype(np.int64) * bands + band).astype(np.uint8)
    return Strata(jax.device_put(np.concatenate(masks, axis=2)), jax.device_put(code), bounds)


def with_columns(strata: Strata, n: int, columns: int) -> Strata:
    """The same division for a program of several devices, on the host.

    Args:
        strata: of this device's agents.
        n: places for agents, at least as many as there are.
        columns: of masks, at least as many as it has.
    """
    word, region = [], []
    for number, (low, width) in enumerate(zip(strata.bounds[:-1], _widths(strata.bounds), strict=True)):
        word.append(low // 32 + np.arange(8 * width).reshape(8, width))
        region.append(np.full(width, number))
    more = columns - strata.masks.shape[2]
    laid = np.pad(np.concatenate(word, axis=1), ((0, 0), (0, more)))
    found = Columns(
        jnp.asarray(np.minimum(laid, bits.words_for(n) - 1), jnp.int32),
        jnp.asarray(np.pad(np.concatenate(region), (0, more)), jnp.int32),
    )
    masks = jnp.pad(strata.masks, ((0, 0), (0, 0), (0, more)))
    code = jnp.pad(strata.code, (0, n - len(strata.code)), mode="edge")
    return Strata(masks, code, (0,) * len(strata.bounds), found)


def count(words: jax.Array, strata: Strata) -> jax.Array:
    """How many flagged agents each stratum has, on all ranks: (regions, bands) int32, exact."""
    widths = _widths(strata.bounds)
    if strata.columns is not None:
        laid = bits.settle(bits.taken(words, strata.columns.word))
    else:
        padded = jnp.pad(words, (0, 8))
        parts = [
            padded[low // 32 : low // 32 + 8 * width].reshape(8, width)
            for low, width in zip(strata.bounds[:-1], widths, strict=True)
        ]
        laid = bits.settle(jnp.concatenate(parts, axis=1))
    # Written out, the sum of eight is a loop that is vectorised; `sum` would make an inner loop of it, which is not.
    hits = lax.population_count(laid[None, 0] & strata.masks[:, 0])
    for row in range(1, 8):
        hits = hits + lax.population_count(laid[None, row] & strata.masks[:, row])
    hits = bits.settle(hits)
    if strata.columns is not None:
        return ranks.sum(_by_region(hits, strata).astype(jnp.int32))
    ends = np.cumsum((0, *widths))
    rows = [hits[:, begin:end].sum(1, dtype=jnp.uint32) for begin, end in itertools.pairwise(ends)]
    return ranks.sum(jnp.stack(rows).astype(jnp.int32))


def _by_region(values: jax.Array, strata: Strata) -> jax.Array:
    """What the columns of each region add up to: (bands, columns) to (regions, bands)."""
    assert strata.columns is not None
    region, none = strata.columns.region, jnp.zeros((), values.dtype)
    found = [jnp.where(region == r, values, none).sum(1, dtype=values.dtype) for r in range(strata.shape[0])]
    return jnp.stack(found)


def _widths(bounds: tuple[int, ...]) -> list[int]:
    """Columns of each region: an eighth of the words that its agents touch, rounded up."""
    return [-(-(high - low // 32 * 32) // 256) if low < high else 0 for low, high in itertools.pairwise(bounds)]


def spread(values: jax.Array, strata: Strata) -> jax.Array:
    """Each agent gets its stratum's value: (regions, bands) to (n,), the same dtype."""
    found = bits.taken(bits.settle(values.reshape(-1)), strata.code.astype(jnp.int32))
    return ranks.present(found)  # of nobody nothing, or this were not the transpose of the sums


def choose(table: jax.Array, index: jax.Array) -> jax.Array:
    """The entry of a short table for each agent, by comparisons: on a CPU these are vectorised, and lookups are not.

    Args:
        table: (entries,), at most some tens.
        index: (n,) integer below the number of entries.
    """
    chosen = jnp.broadcast_to(table[0], index.shape)
    for entry in range(1, table.shape[0]):
        chosen = jnp.where(index == entry, table[entry], chosen)
    return chosen


def sums(values: jax.Array, strata: Strata) -> jax.Array:
    """The sum of a real value over each stratum, on all ranks: (n,) float32 to (regions, bands) float32."""
    return ranks.sum(_own_sums(values, strata))


def _own_sums(values: jax.Array, strata: Strata) -> jax.Array:
    if strata.columns is not None:
        return _by_region(_column_sums(values, strata), strata)
    rows = []
    for region, (low, high) in enumerate(zip(strata.bounds[:-1], strata.bounds[1:], strict=True)):
        first = region * strata.shape[1]
        band = jnp.arange(first, first + strata.shape[1]).astype(jnp.uint8)[:, None, None]
        # In rows of 512, which are summed lane by lane first: a loop that is vectorised.
        fill = (0, -(high - low) % 512)
        code = jnp.pad(strata.code[low:high], fill).reshape(1, -1, 512)
        value = jnp.pad(values[low:high], fill).reshape(1, -1, 512)
        rows.append(bits.fused_sum(jnp.where(code == band, value, 0), 1).sum(1))
    return jnp.stack(rows)


def _column_sums(values: jax.Array, strata: Strata) -> jax.Array:
    """The sum over the agents of each column: (n,) float32 to (bands, columns) float32."""
    assert strata.columns is not None
    bands, _, columns = strata.masks.shape
    rows = jnp.pad(values, (0, 32 * bits.words_for(values.shape[0]) - values.shape[0])).reshape(-1, 32)
    laid = bits.taken(rows, strata.columns.word.T).reshape(1, columns, 256)
    bit = jnp.arange(32, dtype=jnp.uint32)[None, None, None]
    member = (strata.masks.transpose(0, 2, 1)[..., None] >> bit) & 1
    return bits.fused_sum(jnp.where(member.reshape(bands, columns, 256) == 1, laid, 0), 2)


def rates_to_agents(rates: jax.Array, strata: Strata) -> jax.Array:
    """As `spread`, with a derivative: (regions, bands) float32 to (n,) float32."""
    return shadows.linear(lambda r: spread(r, strata), lambda v: _own_sums(v, strata), rates, strata.code.shape)


def mix(matrix: jax.Array, values: jax.Array) -> jax.Array:
    """A small matrix applied along the first axis, result_i = sum_j matrix_ij values_j, summed in a fixed order.

    A library product may add in another order when it is batched, and a last bit would then turn an event; this one
    adds j = 0, 1, ... in turn.

    Args:
        matrix: (rows, columns) float32, at most some tens each way.
        values: (columns, ...) float32.

    Returns:
        (rows, ...) float32.
    """
    total = jnp.zeros((matrix.shape[0], *values.shape[1:]), values.dtype)
    for j in range(matrix.shape[1]):
        column = matrix[:, j].reshape(-1, *(1,) * (values.ndim - 1))
        total = total + column * values[j][None]
    return total


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mixing:
    """Contacts between strata, in proportion to how many there are: everybody meets everybody, a little.

    Args:
        strata: the division.
        ages: (bands, bands) float32, relative contact rate of a band (row) with a band (column).
        regions: (regions, regions) float32, the share of a region's contacts (row) that fall in each region.
        population: (regions, bands) float32, living agents at the start, at least 1 each.
    """

    strata: Strata
    ages: jax.Array
    regions: jax.Array
    population: jax.Array


def pressure(words: jax.Array, mixing: Mixing) -> jax.Array:
    """The mean prevalence that each stratum meets, (regions, bands) float32.

    x_{r,a} = sum_{r'} W_{r,r'} sum_{a'} M_{a,a'} I_{r',a'} / N_{r',a'}
    """
    return meet(count(words, mixing.strata).astype(jnp.float32), mixing)


def meet(infectious: jax.Array, mixing: Mixing) -> jax.Array:
    """As `pressure`, from numbers of infectious agents, (regions, bands) float32."""
    prevalence = infectious / mixing.population
    return mix(mixing.regions, mix(mixing.ages, prevalence.T).T)


def met_by_agents(infectious: jax.Array, mixing: Mixing) -> jax.Array:
    """What each agent meets, from how infectious each agent is: (n,) float32 to (n,) float32, linear.

    y = C S x, with S the sums over strata and C the contacts between them, spread to agents; the transpose is S^T C^T
    in turn.
    """
    divided = mixing.strata

    def forward(_: object, x: jax.Array) -> jax.Array:
        return spread(meet(sums(x, divided), mixing), divided)

    def transpose(_: object, y: jax.Array) -> jax.Array:
        back = mix(mixing.regions.T, mix(mixing.ages.T, sums(y, divided).T).T)
        return spread(back / mixing.population, divided)

    return jax.lax.custom_linear_solve(lambda x: x, infectious, forward, transpose)


def count_of(indicator: Indicator, strata: Strata) -> jax.Array:
    """How many agents of each stratum say yes: (regions, bands) int32; with a derivative, the same as float32."""
    numbers = count(bits.pack(indicator.value), strata)
    if indicator.shadow is None:
        return numbers
    return _counted(numbers, indicator.shadow.mass, strata)


@jax.custom_jvp
def _counted(numbers: jax.Array, rows: tuple[jax.Array, ...], strata: Strata) -> jax.Array:
    return numbers.astype(jnp.float32)


@_counted.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    numbers, _, divided = primals
    total = functools.reduce(jnp.add, tangents[1])
    found = shadows.linear(lambda v: sums(v, divided), lambda r: spread(ranks.sum(r), divided), total, numbers.shape)
    return numbers.astype(jnp.float32), found
