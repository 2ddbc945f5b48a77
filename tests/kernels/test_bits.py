"""Packed flags against a plain loop over bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.kernels import bits, random
from lpm.kernels.bits import evenly, lookup, pack, pack_host, settle, total, words_for

each_size = pytest.mark.parametrize("n", [1, 31, 32, 33, 1000, 4097])


def packed_one_by_one(flags):
    words = [0] * (-(-len(flags) // 32) + 1)
    for agent, flag in enumerate(flags):
        words[agent // 32] |= int(flag) << (agent % 32)
    return np.array(words, np.uint32)


def some_flags(n, kind):
    if kind == "random":
        return np.random.default_rng(n).integers(0, 2, n).astype(np.uint8)
    return np.full(n, kind == "all", np.uint8)


@jax.jit
def pack_and_read(flags, agents):
    words = pack(flags)
    return words, lookup(words, agents), total(words)


@each_size
def test_packed_flags_meet_a_plain_loop(n):
    everybody = jnp.arange(n + 1, dtype=jnp.int32)
    for kind in ("none", "all", "random"):
        flags = some_flags(n, kind)
        words, read, number = pack_and_read(flags, everybody)
        np.testing.assert_array_equal(words, packed_one_by_one(flags))
        np.testing.assert_array_equal(read, np.append(flags, 0), err_msg="agent number n must read as 0")
        assert int(number) == flags.sum()
        assert (words.dtype, read.dtype, number.dtype) == (jnp.uint32, jnp.uint32, jnp.int32)
        assert words.shape == (words_for(n),)


@each_size
def test_the_host_packs_as_the_device_does(n):
    rows = np.stack([some_flags(n, kind) for kind in ("none", "all", "random")])
    packed = pack_host(rows)
    assert packed.dtype == np.uint32
    np.testing.assert_array_equal(packed, [packed_one_by_one(row) for row in rows])
    np.testing.assert_array_equal(pack_host(rows.astype(bool)), packed)


def test_packing_and_lookup_are_the_same_for_a_batch():
    rows = np.random.default_rng(1).integers(0, 2, (3, 33)).astype(np.uint8)
    agents = np.random.default_rng(2).integers(0, 34, (4, 5)).astype(np.int32)
    words, read, number = jax.vmap(pack_and_read, in_axes=(0, None))(rows, agents)
    np.testing.assert_array_equal(words, [packed_one_by_one(row) for row in rows])
    np.testing.assert_array_equal(read, [np.append(row, 0)[agents] for row in rows])
    np.testing.assert_array_equal(number, rows.sum(1))


@pytest.mark.parametrize("n", [1, 32, 100])
def test_flags_need_one_word_in_32_and_one_for_nobody(n):
    assert words_for(n) == int(np.ceil(n / 32)) + 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.int32, np.float32])
def test_settling_changes_no_bit(dtype):
    values = np.random.default_rng(3).integers(0, 200, (3, 7)).astype(dtype)
    if dtype == np.float32:
        values[0, :3] = np.nan, np.inf, -0.0  # whatever stands first decides the hidden condition
    for row in (values, values[1]):
        settled = np.asarray(jax.jit(settle)(row))
        assert settled.dtype == row.dtype
        assert settled.tobytes() == row.tobytes()
    assert np.asarray(jax.vmap(settle)(values)).tobytes() == values.tobytes()


def test_settling_has_the_derivative_of_the_identity():
    x, direction = jnp.arange(4, dtype=jnp.float32), jnp.ones(4, jnp.float32)
    _, tangent = jax.jvp(settle, (x,), (direction,))
    gradient = jax.grad(lambda x: (settle(x) ** 2).sum())(x)
    np.testing.assert_array_equal(tangent, direction)
    np.testing.assert_array_equal(gradient, 2 * x)


@pytest.mark.parametrize("n", [1, 5, 767, 768, 769, 2000, 2304])
def test_what_is_said_of_each_agent_does_not_depend_on_how_the_agents_are_divided(n, monkeypatch):
    monkeypatch.setattr(bits, "_cores", lambda: 3)  # blocks of 768
    stages, table = some_flags(n, "random"), jnp.array([7, 9], jnp.uint8)

    def seen(part):
        return table[stages[part].astype(jnp.int32)] + jnp.arange(n, dtype=jnp.uint32)[part].astype(jnp.uint8)

    expected = np.array([7, 9], np.uint8)[stages] + np.arange(n).astype(np.uint8)
    np.testing.assert_array_equal(jax.jit(lambda: evenly(seen, n))(), expected)
    batch = jax.jit(jax.vmap(lambda shift: evenly(lambda part: seen(part) + shift, n)))(jnp.arange(2, dtype=jnp.uint8))
    np.testing.assert_array_equal(batch, np.stack([expected, expected + np.uint8(1)]))


@pytest.mark.parametrize("n", [1001, 1537])
def test_draws_and_samples_do_not_depend_on_the_number_of_cores(n, monkeypatch):
    ids, key = jnp.arange(n, dtype=jnp.uint32), random.key(4)
    found = []
    for cores in (1, 2, 3):
        monkeypatch.setattr(bits, "_cores", lambda cores=cores: cores)
        found.append((random.bernoulli(key, ids, jnp.float32(0.3)), random.chosen(key, ids, n, 100)))
    for drawn, chosen in found[1:]:
        np.testing.assert_array_equal(drawn, found[0][0])
        np.testing.assert_array_equal(chosen, found[0][1])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32, jnp.uint32, jnp.int8, jnp.uint8])
@pytest.mark.parametrize("turn", [0, 1, 2**32 - 1])
def test_what_is_computed_anew_is_the_same(dtype, turn):
    value = jnp.asarray([0, 1, 2, 100], dtype)
    found = jax.jit(bits.anew)(value, jnp.full((2, 2), turn, jnp.uint32))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, value)


def test_a_loop_over_steps_does_not_store_the_places_of_lookups():
    n, edges = 4096, 65_536
    agents = jnp.asarray(np.random.default_rng(1).integers(0, n, (16, edges // 16)), jnp.int32)
    words = pack(jnp.asarray(some_flags(n, "random")))

    def steps(agents, words):
        def step(words, _):
            return words + lookup(words, agents).sum(0).max(), None

        return jax.lax.scan(step, words, length=9)[0]

    stored = jax.jit(steps).lower(agents, words).compile().memory_analysis().temp_size_in_bytes
    assert stored < 4 * edges


def test_a_stored_tangent_is_linear_and_has_a_transpose():
    turn = jnp.asarray([3, 4], jnp.uint8)

    def stored(value):
        return 2 * bits.settle_tangent(value, turn)

    value = jnp.asarray([1.0, -2.5])
    np.testing.assert_array_equal(jax.jit(stored)(value), 2 * value)
    (back,) = jax.linear_transpose(stored, value)(jnp.ones(2))
    np.testing.assert_array_equal(back, [2.0, 2.0])
