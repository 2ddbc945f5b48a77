"""Keyed draws against plain references, and what they may depend on; test_random_statistics.py has their laws."""

import hashlib
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry2x32_p

from lpm.kernels import random

words, bernoulli, categorical = map(jax.jit, (random.words, random.bernoulli, random.categorical))
each_size = pytest.mark.parametrize("n", [1, 31, 32, 33, 1000, 4097])


def threefry_reference(key, counter, rounds):
    """Salmon et al. 2011, section 3.2, on Python's integers."""
    full = 2**32
    schedule = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    x, y = (counter[0] + key[0]) % full, (counter[1] + key[1]) % full
    for r in range(1, rounds + 1):
        turn = [13, 15, 26, 6, 17, 29, 16, 24][(r - 1) % 8]
        x = (x + y) % full
        y = (y << turn) % full | y >> (32 - turn)
        y ^= x
        if r % 4 == 0:
            x = (x + schedule[r // 4 % 3]) % full
            y = (y + schedule[(r // 4 + 1) % 3] + r // 4) % full
    return x, y


def ids(n):
    return jnp.arange(n, dtype=jnp.uint32)


def words_of(key):
    return random.threefry((key.words[0], key.words[1]), (ids(1000), key.step))


# The vectors are those published with the paper's own code, Random123, for 20 and 13 rounds: key, counter, result.
@pytest.mark.parametrize(
    ("rounds", "key", "counter", "result"),
    [
        (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        (20, (0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        (20, (0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
        (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
        (13, (0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0xFD36D048, 0x2D17272C)),
        (13, (0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xBA3E4725, 0xF27D669E)),
    ],
)
def test_threefry_meets_the_published_vectors(rounds, key, counter, result):
    drawn = random.threefry(jnp.array(key, jnp.uint32), jnp.array(counter, jnp.uint32), rounds)
    assert tuple(map(int, drawn)) == result == threefry_reference(key, counter, rounds)


@pytest.mark.parametrize("rounds", [12, 13, 20])
def test_threefry_meets_the_reference_at_any_counter(rounds):
    key, (x, y) = (0x9E3779B9, 0xFFFFFFFE), np.random.default_rng(1).integers(0, 2**32, (2, 33), dtype=np.uint32)
    drawn = random.threefry(jnp.array(key, jnp.uint32), (jnp.asarray(x), jnp.asarray(y)), rounds)
    expected = [threefry_reference(key, (a, b), rounds) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    np.testing.assert_array_equal(np.stack(drawn, 1), expected)


def test_twenty_rounds_are_jax_own_threefry():
    rng = np.random.default_rng(2)
    k, c = rng.integers(0, 2**32, (2, 2), dtype=np.uint32), rng.integers(0, 2**32, (2, 1000), dtype=np.uint32)
    for key in k:
        own = jax.jit(random.threefry, static_argnums=2)((key[0], key[1]), (c[0], c[1]), 20)
        broadcast = [jnp.broadcast_to(half, 1000) for half in key]
        np.testing.assert_array_equal(own, threefry2x32_p.bind(*broadcast, c[0], c[1]))


@each_size
def test_words_are_threefry_of_id_and_step(n):
    key = random.at(random.stream(random.key(5), "infect"), 17)
    first, second = words(key, ids(n))
    assert first.dtype == second.dtype == jnp.uint32
    k = tuple(key.words.tolist())
    for agent in {0, n // 2, n - 1}:
        assert (int(first[agent]), int(second[agent])) == threefry_reference(k, (agent, 17), 13)


def test_keys_are_derived_as_written():
    seed, realization = 2**40 + 3, 7
    of_run = threefry_reference((3, 2**8), (realization, 0x7265616C), 20)
    assert tuple(random.key(seed, realization).words.tolist()) == of_run
    number = sum(byte << 8 * i for i, byte in enumerate(hashlib.sha256(b"infect").digest()[:4]))
    assert random.name_hash("infect") == number
    of_stream = threefry_reference(of_run, (number, 0), 20)
    assert tuple(random.stream(random.key(seed, realization), "infect").words.tolist()) == of_stream
    assert tuple(random.stream(random.key(seed, realization), number).words.tolist()) == of_stream


def test_a_draw_depends_on_no_other_id_and_no_order():
    key = random.at(random.key(1), 3)
    drawn = np.stack(words(key, ids(1000)))
    some = np.random.default_rng(3).permutation(1000)[:97].astype(np.uint32)
    np.testing.assert_array_equal(np.stack(words(key, jnp.asarray(some))), drawn[:, some])


def test_every_part_of_the_key_changes_every_draw():
    base = random.at(random.stream(random.key(1), "a"), 1)
    others = [
        random.at(random.stream(random.key(2), "a"), 1),
        random.at(random.stream(random.key(1 + 2**32), "a"), 1),
        random.at(random.stream(random.key(1, 1), "a"), 1),
        random.at(random.stream(random.key(1), "b"), 1),
        random.at(random.stream(random.stream(random.key(1), "a"), "a"), 1),
        random.at(random.stream(random.key(1), "a"), 2),
    ]
    keys = [base, *others]
    drawn = jax.jit(jax.vmap(words_of))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *keys))
    assert len(np.unique(np.concatenate(drawn))) > 14_000 - 5  # of 14,000 words 0.02 pairs agree by chance


def test_realizations_are_the_same_alone_and_in_a_batch():
    def draw(realization):
        return random.words(random.at(random.stream(random.key(9, realization), "infect"), realization), ids(33))

    together = np.stack(jax.jit(jax.vmap(draw))(jnp.arange(3, dtype=jnp.uint32)), 1)
    np.testing.assert_array_equal(together, [np.stack(jax.jit(draw)(r)) for r in range(3)])


def test_a_seed_outside_64_bits_is_refused():
    random.key(2**64 - 1)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=r"integer in \[0, 2\^64\).*seed=1"):
            random.key(seed)


def test_uniform_takes_the_upper_24_bits_exactly():
    word = np.append(np.random.default_rng(4).integers(0, 2**32, 1000), [0, 255, 256, 2**32 - 1]).astype(np.uint32)
    drawn = jax.jit(random.uniform)(word)
    assert drawn.dtype == jnp.float32
    assert drawn.tolist() == [(w >> 8) / 2**24 for w in word.tolist()]
    assert float(drawn.max()) < 1


def test_thresholds_are_the_exact_floor():
    odd = [0, 1e-45, 1e-30, 2.0**-31, 2.0**-32, 1 - 2.0**-24, 1, -0.5, 1.5, np.inf, -np.inf]
    p = np.append(np.random.default_rng(5).random(1000) ** 4, odd).astype(np.float32)
    limit = jax.jit(random.threshold)(p)
    assert limit.dtype == jnp.uint32
    assert limit.tolist() == [int(Fraction(min(max(float(x), 0), 1)) * 2**31) for x in p]
    assert int(random.threshold(jnp.float32(np.nan))) == 0


def test_an_event_happens_below_its_threshold_and_not_at_it():
    limit = np.random.default_rng(6).integers(1, 2**31, 33, dtype=np.uint32)
    for low in (0, 1):  # the lowest bit of a word plays no part
        below, at = 2 * (limit - 1) + np.uint32(low), 2 * limit + np.uint32(low)
        assert random.happens(below, limit).tolist() == [1] * 33
        assert random.happens(at, limit).tolist() == [0] * 33
    everything = jnp.array([0, 1, 2**31, 2**32 - 1], jnp.uint32)
    assert not random.happens(everything, random.threshold(jnp.float32(0))).any()
    assert random.happens(everything, random.threshold(jnp.float32(1))).all()


@each_size
def test_bernoulli_meets_its_reference_and_never_and_always(n):
    key, p = random.at(random.key(2), 5), np.random.default_rng(7).random(n).astype(np.float32)
    word = np.asarray(words(key, ids(n))[0]).astype(float)
    drawn = bernoulli(key, ids(n), p)
    assert drawn.dtype == jnp.uint8
    np.testing.assert_array_equal(drawn, word // 2 < np.floor(p * 2.0**31))
    assert not bernoulli(key, ids(n), np.zeros(n, np.float32)).any()
    assert bernoulli(key, ids(n), np.ones(n, np.float32)).all()


def test_categories_meet_a_search_in_the_running_sums():
    rng = np.random.default_rng(8)
    word = rng.integers(0, 2**32, 1000, dtype=np.uint32)
    for p in ([1.0], [0.2, 0.5, 0.3], [0, 1, 0], [0.5, 0, 0.5]):
        limits = np.asarray(random.threshold(jnp.asarray(np.cumsum(p)[:-1], jnp.float32)))
        expected = np.searchsorted(limits, word >> 1, side="right")
        drawn = categorical(word, limits)
        assert drawn.dtype == jnp.uint8
        np.testing.assert_array_equal(drawn, expected)
        np.testing.assert_array_equal(categorical(word, np.repeat(limits[:, None], 1000, 1)), expected)
        assert all(p[category] > 0 for category in expected)


def test_each_agent_may_have_its_own_categories():
    word = np.random.default_rng(9).integers(0, 2**32, 33, dtype=np.uint32)
    limits = np.sort(np.random.default_rng(10).integers(0, 2**31, (3, 33), dtype=np.uint32), 0)
    expected = [np.searchsorted(limits[:, i], word[i] >> 1, side="right") for i in range(33)]
    np.testing.assert_array_equal(categorical(word, limits), expected)
