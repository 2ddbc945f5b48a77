"""Events of several outcomes against loops over agents, and against their chances.

The chi-squared tests have fixed seeds; each would fail by chance with p = 1e-4.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lpm.kernels import random
from lpm.kernels.choices import branch, categorical, choose, competing_risks, outcome, passes
from lpm.kernels.stages import Indicator, Stages, among, number

P = 1e-4
MANY = 200_000
each_size = pytest.mark.parametrize("n", [1, 31, 33, 1000])


def words(n, seed=3):
    return random.words(random.key(seed), jnp.arange(n, dtype=jnp.uint32))[0]


def some(n):
    rng = np.random.default_rng(n)
    return rng.integers(0, 3, n).astype(np.uint8), rng.integers(0, 2**32, n, dtype=np.uint32), rng


def drawn_one_by_one(value, word, limits, kind):
    """Each agent alone: the first outcome whose cumulative limit is above its word; `limits` is (outcomes, n)."""
    none = len(limits)
    return [
        next((j for j in range(none) if w // 2 < limits[j][i]), none) if v == kind else none
        for i, (v, w) in enumerate(zip(value.tolist(), word.tolist(), strict=True))
    ]


def limits_of(chances, n):
    """Cumulative float32 chances as integers out of 2^31, in numpy."""
    total = np.zeros(n, np.float32)
    found = []
    for chance in chances:
        total = total + np.broadcast_to(chance, n).astype(np.float32)
        found.append((np.clip(total, 0, 1).astype(float) * 2**31).astype(np.int64).tolist())
    return found


@each_size
def test_a_categorical_draw_meets_a_loop_over_agents(n):
    value, word, rng = some(n)
    own = rng.dirichlet([1, 1, 1, 1], n).T[:3].astype(np.float32)
    for chances in (own, np.array([0.2, 0.5, 0.1], np.float32), np.array([0, 0, 0], np.float32), np.float32([0, 1, 0])):
        found = jax.jit(lambda w, c: categorical(w, c, among(Stages(jnp.asarray(value), 3), 1)))(word, chances)
        assert found.value.dtype == jnp.uint8
        np.testing.assert_array_equal(found.value, drawn_one_by_one(value, word, limits_of(chances, n), 1))
        for j in range(3):
            np.testing.assert_array_equal(outcome(found, j).value, np.asarray(found.value) == j)


@each_size
def test_everybody_goes_where_the_outcome_leads(n):
    value, word, rng = some(n)
    stages = Stages(jnp.asarray(value), 5)
    found = categorical(word, jnp.asarray(rng.dirichlet([1, 1, 1, 1])[:3], jnp.float32), among(stages, 0, 2))
    after = branch(stages, found, (3, None, 4)).value
    assert after.dtype == jnp.uint8
    expected = [{0: 3, 2: 4}.get(j, v) for v, j in zip(value.tolist(), np.asarray(found.value).tolist(), strict=True)]
    np.testing.assert_array_equal(after, expected)


def meets(found, chances):
    """Chi-squared of how many had each outcome, or none."""
    observed = np.bincount(np.asarray(found), minlength=len(chances))
    assert not observed[np.asarray(chances) == 0].any()
    possible = np.asarray(chances) > 0
    expected = np.asarray(chances)[possible] / np.sum(chances) * len(found)
    assert scipy.stats.chisquare(observed[possible], expected).pvalue > P, (observed, expected)


EVERYBODY = Indicator(jnp.ones(MANY, jnp.uint8))


def test_outcomes_are_as_frequent_as_their_chances():
    chances = np.array([0.1, 0.001, 0.4, 0, 0.2])
    meets(categorical(words(MANY), jnp.float32(chances), EVERYBODY).value, [*chances, 1 - chances.sum()])


def test_competing_risks_come_first_in_proportion_to_their_rates():
    rates = np.array([0.3, 0.05, 0.8])
    happens = 1 - np.exp(-rates.sum())
    found = competing_risks(words(MANY), jnp.float32(rates), EVERYBODY)
    meets(found.value, [*(happens * rates / rates.sum()), 1 - happens])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_a_choice_is_that_of_the_greatest_utility_with_gumbel_noise(temperature):
    utilities = np.array([0.2, 1.0, 0.7, -3.0])
    noisy = utilities[:, None] + temperature * np.random.default_rng(1).gumbel(size=(4, MANY))
    law = np.exp(utilities / temperature) / np.exp(utilities / temperature).sum()
    meets(noisy.argmax(0), law)  # the reference is the law
    found = choose(words(MANY), jnp.float32(utilities), temperature, EVERYBODY).value
    meets(found, law)


def test_a_low_temperature_takes_the_best_of_each_agent():
    utilities = np.random.default_rng(2).normal(size=(5, 1000)).astype(np.float32)
    utilities[:, :3] = np.float32([[1e6, -1e6, 0]] * 5)  # all alike: any will do
    found = np.asarray(choose(words(1000), jnp.asarray(utilities), 1e-7, Indicator(jnp.ones(1000, jnp.uint8))).value)
    np.testing.assert_array_equal(found[3:], utilities.argmax(0)[3:])
    assert (found < 5).all(), "somebody chose nothing"


def test_each_agent_may_have_a_temperature_of_its_own():
    temperature = jnp.where(jnp.arange(MANY) % 2 == 0, jnp.float32(1e-6), jnp.float32(1.0))
    found = np.asarray(choose(words(MANY), jnp.array([0.0, 1.0], jnp.float32), temperature, EVERYBODY).value)
    assert (found[::2] == 1).all()
    meets(found[1::2], [1 / (1 + np.e), np.e / (1 + np.e)])


def test_a_threshold_is_passed_with_logistic_noise():
    value = np.array([-1.0, 0.0, 0.5, 2.0, 60.0, -60.0])
    own = jnp.tile(jnp.float32(value), MANY // 6 + 1)[:MANY]
    found = np.asarray(passes(words(MANY), own, 0.5, 0.7, EVERYBODY).value)
    for k, chance in enumerate(1 / (1 + np.exp(-(value - 0.5) / 0.7))):
        if min(chance, 1 - chance) < 1e-30:
            assert (found[k::6] == round(chance)).all()
        else:
            meets(found[k::6], [1 - chance, chance])


def test_permuted_agents_draw_the_same():
    """Bits, for a number of agents that fills no vector: each sees its own word, utilities and temperature alone."""
    n = 1003
    rng = np.random.default_rng(4)
    order, ids = rng.permutation(n), np.arange(n, dtype=np.uint32)
    utilities, value = rng.normal(size=(4, n)).astype(np.float32), rng.integers(0, 3, n).astype(np.uint8)

    @jax.jit
    def step(ids, utilities, value):
        word = random.words(random.key(5), ids)
        stages = Stages(value, 8)
        stages = branch(stages, choose(word[0], utilities, 0.3, among(stages, 0, 1)), (3, 4, None, 5))
        stages = branch(stages, competing_risks(word[1], jnp.exp(utilities), among(stages, 2, 3)), (6, 0, 1, 7))
        return stages.value

    np.testing.assert_array_equal(
        np.asarray(step(ids, utilities, value))[order], step(ids[order], utilities[:, order], value[order])
    )


def test_draws_are_the_same_for_a_batch():
    value, _, rng = some(33)
    word = jnp.asarray(rng.integers(0, 2**32, (3, 33), dtype=np.uint32))
    utilities = jnp.asarray(rng.normal(size=(3, 4, 33)), jnp.float32)

    def step(word, utilities):
        stages = Stages(jnp.asarray(value), 6)
        return branch(stages, choose(word, utilities, 1.0, among(stages, 1)), (2, 3, 4, 5)).value

    together = jax.vmap(step)(word, utilities)
    for k in range(3):
        np.testing.assert_array_equal(together[k], step(word[k], utilities[k]))


def test_chances_of_more_than_one_are_cut_off():
    found = categorical(words(MANY), jnp.array([0.7, 0.6, 0.5], jnp.float32), EVERYBODY)
    meets(found.value, [0.7, 0.3, 0, 0])
    assert int(number(outcome(found, 2))) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s, w: categorical(w, jnp.ones((33, 3)), among(s, 0)), r"shape \(outcomes,\) or \(outcomes, 33\)"),
        (lambda s, w: choose(w, jnp.ones(3), 0.0, among(s, 0)), "choose: asked for a temperature above 0, got 0.0"),
        (lambda s, w: passes(w, jnp.float32(1), 0.0, -1, among(s, 0)), "passes: asked for a temperature above 0"),
        (lambda s, w: branch(s, choose(w, jnp.ones(3), 1.0, among(s, 0)), (1, 2)), "a target of each of 3 outcomes"),
        (lambda s, w: branch(s, choose(w, jnp.ones(2), 1.0, among(s, 0)), (1, 3)), "branch: asked for stage 3"),
        (lambda s, w: outcome(choose(w, jnp.ones(2), 1.0, among(s, 0)), 2), "asked for number 2 of 2 outcomes"),
    ],
)
def test_mistakes_are_answered_with_what_to_write(call, said):
    with pytest.raises(ValueError, match=said):
        call(Stages(jnp.zeros(33, jnp.uint8), 3), words(33))
