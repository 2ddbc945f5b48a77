"""Counts within households and other groups against loops over members."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm import networks
from lpm.kernels.bits import pack, pack_host
from lpm.kernels.groups import (
    Groups,
    group_counts,
    group_counts_of_two,
    household_counts,
    household_counts_of_two,
    household_sizes,
    households,
    to_members,
)

each_size = pytest.mark.parametrize("n", [1, 31, 32, 33, 1000, 4097])


def some_households(n, largest):
    """Position and size of each agent, households of 1 to `largest` members side by side."""
    rng, sizes, left = np.random.default_rng(n), [], n
    while left:
        sizes.append(min(left, int(rng.integers(1, largest + 1))))
        left -= sizes[-1]
    return np.concatenate([np.arange(s) for s in sizes]), np.concatenate([np.full(s, s) for s in sizes])


def counted_in_households(flags, position):
    counts = np.zeros(len(flags), int)
    for begin, end in itertools.pairwise([*np.flatnonzero(position == 0), len(flags)]):
        counts[begin:end] = flags[begin:end].sum()
    return counts


@jax.jit
def read_households(flags, built):
    return household_counts(pack(flags), built), household_sizes(built)


@each_size
def test_household_counts_meet_a_loop_over_households(n):
    flags = np.random.default_rng(1).integers(0, 2, n).astype(np.uint8)
    for largest in (1, 4, 31):
        position, size = some_households(n, largest)
        built = households(position, size)
        for here in (flags, np.ones(n, np.uint8), np.zeros(n, np.uint8)):
            counts, sizes = read_households(here, built)
            np.testing.assert_array_equal(counts, counted_in_households(here, position))
            np.testing.assert_array_equal(sizes, size)
            assert counts.dtype == sizes.dtype == jnp.uint8


@each_size
def test_two_household_counts_in_one_pass_meet_two_loops(n):
    position, size = some_households(n, 31)
    built = households(position, size)
    one, two = np.random.default_rng(8).integers(0, 2, (2, n)).astype(np.uint8)
    counted = jax.jit(lambda a, b: household_counts_of_two((pack(a), pack(b)), built))
    for first, second in ((one, two), (one, np.ones(n, np.uint8)), (np.zeros(n, np.uint8), two)):
        found = counted(first, second)
        np.testing.assert_array_equal(found[0], counted_in_households(first, position))
        np.testing.assert_array_equal(found[1], counted_in_households(second, position))


def test_household_counts_are_the_same_for_a_batch():
    position, size = some_households(100, 9)
    flags = np.random.default_rng(2).integers(0, 2, (3, 100)).astype(np.uint8)
    counts, _ = jax.vmap(read_households, in_axes=(0, None))(flags, households(position, size))
    np.testing.assert_array_equal(counts, [counted_in_households(row, position) for row in flags])


def test_a_household_of_32_is_refused_with_the_limit_named():
    with pytest.raises(ValueError, match="at most 31 members, got 32"):
        households(np.arange(32), np.full(32, 32))


def groups_of(tables, group, size):
    rows = tuple(jnp.asarray(table, jnp.int32) for table in tables)
    return Groups(rows, jnp.asarray(group, jnp.int32), jnp.asarray(size, jnp.int32))


def some_groups(n, count):
    """Agents in scattered groups of uneven size, a quarter in none, group 0 empty; two padded tables."""
    rng = np.random.default_rng(n)
    group = np.where(rng.random(n) < 0.25, count, rng.integers(1, max(count, 2), n)).clip(max=count)
    members = [np.flatnonzero(group == g) for g in range(count)]
    tables = []
    for part in (members[: count // 2], members[count // 2 :]):
        longest = max((len(m) for m in part), default=0)
        table = np.full((longest, len(part)), n)
        for column, own in enumerate(part):
            table[: len(own), column] = own
        tables.append(table)
    size = np.array([len(m) for m in members])
    return groups_of(tables, group, size), group, members


@jax.jit
def read_groups(flags, values, built):
    return group_counts(pack(flags), built), to_members(values, built)


@each_size
def test_group_counts_meet_a_loop_over_members(n):
    built, group, members = some_groups(n, 7)
    values = np.random.default_rng(3).normal(size=7).astype(np.float32)
    for flags in (np.random.default_rng(4).integers(0, 2, n), np.ones(n), np.zeros(n)):
        counts, given = read_groups(flags.astype(np.uint8), values, built)
        np.testing.assert_array_equal(counts, [flags[own].sum() for own in members])
        np.testing.assert_array_equal(given, np.append(values, 0)[group], err_msg="who is in no group must get 0")
        assert (counts.dtype, given.dtype) == (jnp.int32, jnp.float32)


@each_size
def test_two_counts_in_one_pass_meet_two_loops_over_members(n):
    built, _, members = some_groups(n, 7)
    one, two = np.random.default_rng(7).integers(0, 2, (2, n)).astype(np.uint8)
    counted = jax.jit(lambda a, b: group_counts_of_two((pack(a), pack(b)), built))
    for first, second in ((one, two), (one, np.ones(n, np.uint8)), (np.zeros(n, np.uint8), two)):
        found = counted(first, second)
        np.testing.assert_array_equal(found[0], [first[own].sum() for own in members])
        np.testing.assert_array_equal(found[1], [second[own].sum() for own in members])


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float32])
def test_members_get_their_groups_value_in_its_own_type(dtype):
    built, group, _ = some_groups(33, 5)
    given = to_members(jnp.arange(1, 6).astype(dtype), built)
    assert given.dtype == dtype
    np.testing.assert_array_equal(given, np.array([1, 2, 3, 4, 5, 0])[group])


def test_group_counts_are_the_same_for_a_batch():
    built, group, members = some_groups(100, 6)
    flags = np.random.default_rng(5).integers(0, 2, (3, 100)).astype(np.uint8)
    values = np.arange(18, dtype=np.float32).reshape(3, 6)
    counts, given = jax.vmap(read_groups, in_axes=(0, 0, None))(flags, values, built)
    np.testing.assert_array_equal(counts, [[row[own].sum() for own in members] for row in flags])
    np.testing.assert_array_equal(given, [np.append(row, 0)[group] for row in values])


def test_household_and_group_counts_agree_on_the_same_households():
    position, size = some_households(1000, 5)
    number = np.cumsum(position == 0) - 1
    table = np.full((5, number[-1] + 1), 1000)
    table[position, number] = np.arange(1000)
    scattered = groups_of([table], number, np.bincount(number))
    words = pack_host(np.random.default_rng(6).integers(0, 2, 1000))
    side_by_side = jax.jit(household_counts)(words, households(position, size))
    one_by_one = jax.jit(lambda words, groups: to_members(group_counts(words, groups), groups))(words, scattered)
    np.testing.assert_array_equal(one_by_one, side_by_side)


@pytest.mark.parametrize("members", [32_767, 32_768, 65_535, 65_536, 70_000])
def test_large_groups_are_counted_in_both_sets(members):
    built, _ = networks.groups(np.zeros(members, int), 1)
    every, some = np.ones(members, bool), np.arange(members) % 3 == 0
    one, two = group_counts_of_two((jnp.asarray(pack_host(every)), jnp.asarray(pack_host(some))), built)
    assert (int(one[0]), int(two[0])) == (members, some.sum())
