"""Stages and moves against plain comparisons."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.kernels import random, shadows
from lpm.kernels.choices import categorical
from lpm.kernels.random import threshold
from lpm.kernels.stages import Indicator, Stages, among, event, move, number

KINDS = 6
each_size = pytest.mark.parametrize("n", [1, 31, 32, 33, 1000])


def some_stages(n):
    return np.random.default_rng(n).integers(0, KINDS, n).astype(np.uint8)


@pytest.mark.parametrize("kinds", [(), (0,), (5,), (1, 2, 3), (3, 2, 1, 1), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)])
def test_who_is_among_stages_meets_plain_membership(kinds):
    value = some_stages(33)
    found = jax.jit(lambda stages: among(stages, *kinds))(Stages(value, KINDS)).value
    assert found.dtype == jnp.uint8
    np.testing.assert_array_equal(found, np.isin(value, kinds))


def test_stages_at_the_ends_of_a_byte_are_told_apart():
    value = jnp.array([0, 1, 254, 255], jnp.uint8)
    np.testing.assert_array_equal(among(Stages(value, 256), 254, 255).value, [0, 0, 1, 1])
    np.testing.assert_array_equal(among(Stages(value, 256), 0, 255).value, [1, 0, 0, 1])


@pytest.mark.parametrize("kind", [-1, KINDS, KINDS + 1, np.int64(KINDS), 300])
def test_a_stage_that_does_not_exist_is_refused(kind):
    stages = Stages(some_stages(33), KINDS)
    everybody = Indicator(jnp.ones(33, jnp.uint8))
    with pytest.raises(ValueError, match=rf"^among: asked for stage {kind} of Stages\(kinds=6\).* 0 to 5; write"):
        jax.jit(lambda stages: among(stages, 1, kind))(stages)
    with pytest.raises(ValueError, match=rf"^move: asked for stage {kind} of Stages\(kinds=6\).* 0 to 5; write"):
        jax.jit(lambda stages: move(stages, everybody, kind))(stages)


def test_the_highest_stage_can_be_entered():
    everybody = Indicator(jnp.ones(33, jnp.uint8))
    after = move(Stages(some_stages(33), KINDS), everybody, KINDS - 1)
    assert int(number(among(after, KINDS - 1))) == 33


@jax.jit
def step(stages, word, limit, may):
    moved = event(word, limit, Indicator(may))
    return moved, move(stages, moved, 4), number(moved)


def step_one_by_one(value, word, limit, may):
    happened = [int(m and w // 2 < l) for w, l, m in zip(word, limit, may, strict=True)]
    return happened, [4 if h else v for h, v in zip(happened, value, strict=True)]


@each_size
def test_a_move_meets_a_loop_over_agents(n):
    rng = np.random.default_rng(n)
    value, may = some_stages(n), rng.integers(0, 2, n).astype(np.uint8)
    word = rng.integers(0, 2**32, n, dtype=np.uint32)
    for p in (np.zeros(n), np.ones(n), rng.random(n)):
        limit = np.asarray(threshold(jnp.asarray(p, jnp.float32)))
        moved, after, count = step(Stages(value, KINDS), word, limit, may)
        happened, expected = step_one_by_one(value.tolist(), word.tolist(), limit.tolist(), may.tolist())
        np.testing.assert_array_equal(moved.value, happened)
        np.testing.assert_array_equal(after.value, expected)
        assert (moved.value.dtype, after.value.dtype, count.dtype) == (jnp.uint8, jnp.uint8, jnp.int32)
        assert int(count) == sum(happened)
        assert after.kinds == KINDS


def test_a_move_is_the_same_for_a_batch():
    rng = np.random.default_rng(1)
    value, may = rng.integers(0, KINDS, (3, 33)).astype(np.uint8), rng.integers(0, 2, (3, 33)).astype(np.uint8)
    word = rng.integers(0, 2**32, (3, 33), dtype=np.uint32)
    limit = threshold(jnp.float32(0.5))
    _, after, count = jax.vmap(step, in_axes=(0, 0, None, 0))(Stages(value, KINDS), word, limit, may)
    for k in range(3):
        happened, expected = step_one_by_one(value[k].tolist(), word[k].tolist(), [int(limit)] * 33, may[k].tolist())
        np.testing.assert_array_equal(after.value[k], expected)
        assert int(count[k]) == sum(happened)


def test_nobody_moves_whom_the_event_is_closed_to():
    word = jnp.zeros(33, jnp.uint32)  # the lowest word: any event with a probability above 0 happens
    nobody = jnp.zeros(33, jnp.uint8)
    moved, after, count = step(Stages(some_stages(33), KINDS), word, threshold(jnp.float32(1)), nobody)
    assert not moved.value.any()
    assert int(count) == 0
    np.testing.assert_array_equal(after.value, some_stages(33))


@pytest.mark.parametrize("rule", [None, "cavity"])
def test_a_chance_may_be_a_number(rule):
    """The same event as of the array, in its value and as part of what has a derivative."""
    stages = Stages(jnp.zeros(1000, jnp.uint8), 2)
    if rule:
        stages = dataclasses.replace(stages, shadow=shadows.zeros(stages.value, 2, rule))
    word = random.words(random.key(1), jnp.arange(1000, dtype=jnp.uint32))[0]
    one, other = (event(word, chance, among(stages, 0)) for chance in (0.25, jnp.float32(0.25)))
    np.testing.assert_array_equal(one.value, other.value)
    assert 200 < int(one.value.sum()) < 300
    assert (one.shadow is None) == (rule is None)


def test_an_event_among_those_who_have_another_has_no_derivative_and_says_so():
    ids = jnp.arange(8, dtype=jnp.uint32)
    word, other = random.words(random.key(1), ids)
    plain_stages = Stages(jnp.zeros(8, jnp.uint8), 3)
    both = event(other, 0.5, event(word, 0.5, among(plain_stages, 0)))
    assert 0 < int(both.value.sum()) < 8
    carrying = dataclasses.replace(plain_stages, shadow=shadows.zeros(plain_stages.value, 3, "cavity"))
    first = event(word, 0.5, among(carrying, 0))
    with pytest.raises(ValueError, match=r"^event: asked for who can have it by their stages.*`categorical`"):
        event(other, 0.5, first)
    with pytest.raises(ValueError, match=r"^categorical: asked for who can have it by their stages"):
        categorical(other, jnp.array([0.5], jnp.float32), first)


@pytest.mark.parametrize("who", [False, jnp.ones(3, jnp.uint8)])
def test_who_can_have_an_event_is_an_indicator(who) -> None:
    """Compared with a number, an indicator is a plain False."""
    with pytest.raises(
        TypeError, match=r"event: asked for who can have it as an Indicator.*write among\(stages, KIND\)"
    ):
        event(jnp.zeros(3, jnp.uint32), 0.5, who)
