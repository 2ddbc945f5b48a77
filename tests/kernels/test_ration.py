"""An exact number is served, the same whatever the order of agents, and more for more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.kernels import random, ration

served = jax.jit(ration.served)


def reference(words: tuple[np.ndarray, np.ndarray], asking: np.ndarray, count: int) -> np.ndarray:
    """By sorting: the count smallest of both words together."""
    who = np.flatnonzero(asking)
    order = np.lexsort((words[1][who], words[0][who]))
    chosen = np.zeros(len(asking), np.uint8)
    chosen[who[order][: max(count, 0)]] = 1
    return chosen


def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = random.words(random.key(4), jnp.arange(n, dtype=jnp.uint32))
    return np.asarray(first), np.asarray(second)


@pytest.mark.parametrize("n", [1, 33, 20_001])
def test_the_smallest_words_are_served_exactly_as_many_as_there_is(n: int) -> None:
    words, asking = drawn(n), (np.random.default_rng(1).random(n) < 0.6).astype(np.uint8)
    asked = int(asking.sum())
    for count in sorted({0, 1, 2, n // 7, asked // 2, max(asked - 1, 0), asked, asked + 3}):
        found = np.asarray(served(words, asking, jnp.int32(count)))
        np.testing.assert_array_equal(found, reference(words, asking, count))
        assert found.sum() == min(count, asked)


@pytest.mark.parametrize("values", [[0], [0xFFFFFFFF], [7, 8], [0, 1, 0xFFFFFFFE, 0xFFFFFFFF]])
def test_equal_words_are_told_apart_by_the_second(values: list[int]) -> None:
    n = 500
    first = np.random.default_rng(2).choice(np.array(values, np.uint32), n)
    words, asking = (first, drawn(n)[0]), np.ones(n, np.uint8)
    for count in (0, 1, 77, 250, 499, 500, 600):
        np.testing.assert_array_equal(served(words, asking, jnp.int32(count)), reference(words, asking, count))


def test_nobody_who_did_not_ask_is_served() -> None:
    words = drawn(400)
    assert not np.asarray(served(words, np.zeros(400, np.uint8), jnp.int32(10))).any()


def test_order_of_agents_changes_nothing() -> None:
    words, order = drawn(3000), np.random.default_rng(3).permutation(3000)
    asking = np.ones(3000, np.uint8)
    one = np.asarray(served(words, asking, jnp.int32(411)))
    other = np.asarray(served((words[0][order], words[1][order]), asking, jnp.int32(411)))
    np.testing.assert_array_equal(one[order], other)


def test_more_serve_the_same_and_others() -> None:
    words, asking = drawn(1000), np.ones(1000, np.uint8)
    few, many = (np.asarray(served(words, asking, jnp.int32(count))) for count in (100, 101))
    assert (many - few).sum() == 1
    assert (many >= few).all()
