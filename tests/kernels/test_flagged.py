"""The flagged agents one after another: each is asked once, nobody else is, and answers come to whom they belong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.kernels import bits, contagion, flagged, graph, random
from lpm.kernels.stages import Stages
from lpm.networks import erdos_renyi
from lpm.networks import graph as tables


@pytest.mark.parametrize("n", [1, 32, 33, 70_001])
def test_answers_are_those_of_asking_everybody(n):
    rng = np.random.default_rng(n)
    bounds = [0, *sorted(rng.integers(0, n + 1, 3).tolist()), n]
    answer = rng.integers(0, 2, (4, n)).astype(np.uint8)
    which = np.searchsorted(bounds[1:], np.arange(n), side="right")

    @jax.jit
    def ask(flags, answer):
        found = flagged.listed(bits.pack(flags))
        yes = flagged.decided(found, bounds, lambda which, agents: answer[which, agents], 256)
        return found.number, bits.unpack(yes, n)

    for share in (0.0, 0.002, 0.3, 1.0):
        flags = (rng.random(n) < share).astype(np.uint8)
        number, yes = ask(flags, answer)
        assert int(number) == flags.sum()
        np.testing.assert_array_equal(yes, flags & answer[which, np.arange(n)])


def test_flags_are_found_by_their_number_across_empty_words():
    flags = np.zeros(20_000, np.uint8)
    flags[[3, 4, 4_095, 4_096, 19_999]] = 1
    found = flagged.listed(bits.pack(jnp.asarray(flags)))
    seen = []

    def ask(which, agents):
        jax.debug.callback(lambda a: seen.append(np.asarray(a)), agents, ordered=True)
        return jnp.ones(agents.shape, jnp.uint8)

    flagged.decided(found, (0, 20_000), ask, 256).block_until_ready()
    jax.effects_barrier()
    assert seen[0][:5].tolist() == [3, 4, 4_095, 4_096, 19_999]
    assert len(seen) == 1


@pytest.mark.parametrize("by_agent", [pytest.param(False, marks=pytest.mark.slow), True])
def test_few_are_asked_and_the_infected_are_the_same(by_agent):
    n = 5_003
    network, _ = tables(erdos_renyi(n, 6.0, seed=3), by_agent=by_agent)
    rng = np.random.default_rng(1)
    who = jnp.asarray(rng.random(n) < 0.7, jnp.uint8)
    draw = random.drawn(random.key(5), jnp.arange(n, dtype=jnp.uint32))
    few = jax.jit(lambda words, table, network: graph.infected(draw, who, words, table, network))
    for rate in (0.0, 0.03, 0.5, 40.0):
        table = random.threshold(1 - jnp.exp(-rate * jnp.arange(network.most + 1, dtype=jnp.float32)))
        for infectious in (0.0, 0.001, 0.2, 1.0):
            words = bits.pack(jnp.asarray(rng.random(n) < infectious, jnp.uint8))
            limits = table[graph.neighbour_counts(words, network).astype(jnp.int32)]
            expected = random.happens(draw(slice(None)), limits) & who
            np.testing.assert_array_equal(few(words, table, network), expected)
            assert rate in (0.0, 0.03) or infectious in (0.0, 0.001) or int(expected.sum()) > 100


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("outside", [None, 0.02])
def test_contagion_in_a_large_world_is_that_of_a_small_one(drawn, outside, monkeypatch):
    n = 4_000
    network, _ = tables(erdos_renyi(n, 8.0, seed=2))
    stages = Stages(jnp.asarray(np.random.default_rng(4).integers(0, 3, n), jnp.uint8), kinds=3)
    draw = random.drawn(random.key(9), jnp.arange(n, dtype=jnp.uint32))
    word = draw if drawn else draw(slice(None))
    outside = None if outside is None else jnp.float32(outside)

    def infected(stages, network):
        layers = (contagion.Layer(network, jnp.float32(0.05)),)
        infectious = (contagion.Infectious((1,)),)
        return contagion.infections(word, stages, layers, susceptible=0, infectious=infectious, outside=outside).value

    asked = []
    monkeypatch.setattr(graph, "infected", lambda *given, all=graph.infected: asked.append(1) or all(*given))
    expected = jax.jit(infected)(stages, network)
    assert not asked
    monkeypatch.setattr(contagion, "MANY", n)
    np.testing.assert_array_equal(jax.jit(lambda *given: infected(*given))(stages, network), expected)
    assert asked
    assert 0 < int(expected.sum()) < n


@pytest.mark.slow
def test_nobody_is_missed_if_thresholds_do_not_grow():
    """A table that rounding, or a model of its own, has made fall with the number of infectious neighbours."""
    network, _ = tables(erdos_renyi(3_000, 4.0, seed=1))
    everybody = jnp.ones(3_000, jnp.uint8)
    table = random.threshold(jnp.linspace(0.9, 0.1, network.most + 1).at[0].set(0.95))
    draw = random.drawn(random.key(1), jnp.arange(3_000, dtype=jnp.uint32))
    words = bits.pack(everybody)
    expected = random.happens(draw(slice(None)), table[graph.neighbour_counts(words, network).astype(jnp.int32)])
    few = jax.jit(lambda network: graph.infected(draw, everybody, words, table, network))
    np.testing.assert_array_equal(few(network), expected)


@pytest.mark.parametrize("n", [1, 32, 77])
def test_unpacking_undoes_packing(n):
    flags = jnp.asarray(np.random.default_rng(n).integers(0, 2, n), jnp.uint8)
    np.testing.assert_array_equal(bits.unpack(bits.pack(flags), n), flags)
