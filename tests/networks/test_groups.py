"""Households and groups against plain counting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.errors import InputError
from lpm.kernels import bits
from lpm.kernels.groups import group_counts, household_counts, to_members
from lpm.networks import groups, households


def random_groups(n, n_groups, seed):
    rng = np.random.default_rng(seed)
    weight = rng.pareto(1.5, n_groups) + 0.1
    ids = rng.choice(n_groups, n, p=weight / weight.sum())
    ids[rng.random(n) < 0.3] = -1
    return ids


@pytest.mark.parametrize(("n", "n_groups"), [(2000, 120), (70, 100), (33, 1)])
def test_group_counts_are_those_of_bincount(n, n_groups):
    ids = random_groups(n, n_groups, seed=n)
    flags = np.random.default_rng(1).random(n) < 0.3
    built, renumber = groups(ids, n_groups)
    counts = jax.jit(group_counts)(jnp.asarray(bits.pack_host(flags)), built)
    expected = np.bincount(ids[flags & (ids >= 0)], minlength=n_groups)
    np.testing.assert_array_equal(np.asarray(counts)[renumber], expected)
    np.testing.assert_array_equal(np.asarray(built.size)[renumber], np.bincount(ids[ids >= 0], minlength=n_groups))
    np.testing.assert_array_equal(to_members(counts, built), np.where(ids >= 0, expected[ids], 0))


def test_groups_are_renumbered_one_to_one():
    built, renumber = groups(random_groups(2000, 150, seed=1), 150)
    np.testing.assert_array_equal(np.sort(renumber), np.arange(150))
    assert np.all(np.diff([row.shape[0] for row in built.rows]) > 0)


@pytest.mark.parametrize(("ids", "n_groups"), [([-1, -1], 0), ([-1, -1], 3), ([0], 1)])
def test_groups_may_be_empty(ids, n_groups):
    built, renumber = groups(np.array(ids), n_groups)
    counts = group_counts(jnp.asarray(bits.pack_host(np.ones(len(ids), bool))), built)
    np.testing.assert_array_equal(
        np.asarray(counts)[renumber], np.bincount(np.array(ids) + 1, minlength=n_groups + 1)[1:]
    )


def test_padding_and_tables_stay_few():
    rng = np.random.default_rng(3)
    size = np.minimum(2 * rng.pareto(1.3, 20_000) + 1, 2000).astype(int)
    built, _ = groups(rng.permutation(np.repeat(np.arange(20_000), size)), 20_000)
    assert sum(row.size for row in built.rows) <= 1.15 * size.sum()
    assert len(built.rows) <= 25


def test_household_counts_are_those_of_bincount():
    size = np.random.default_rng(1).integers(1, 32, 500)
    ids = np.repeat(np.random.default_rng(2).permutation(500), size)
    flags = np.random.default_rng(3).random(len(ids)) < 0.3
    counts = household_counts(jnp.asarray(bits.pack_host(flags)), households(ids))
    np.testing.assert_array_equal(counts, np.bincount(ids, weights=flags)[ids])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: households(np.array([0, 1, 0])), "household 0 at agent 0 and again at 2; sort"),
        (lambda: households(np.array([5, 0, 5, 0])), "household 0 at agent 1 and again at 3 and 1 more"),
        (
            lambda: households(np.repeat([3, 4], [2, 32])),
            r"at most 31 members, got 32 in household 4 \(agents 2 to 33\)",
        ),
        (lambda: households(np.array([0, -1])), "got -1 for agent 1"),
        (lambda: households(np.array([0.0])), "float64"),
        (lambda: groups(np.array([0, 3]), 3), "got 0 to 3"),
        (lambda: groups(np.array([-2]), 3), "got -2 to -2"),
        (lambda: groups(np.array(["a"]), 3), "return_inverse"),
    ],
)
def test_mistakes_are_refused_in_words(call, said):
    with pytest.raises(InputError, match=said):
        call()
