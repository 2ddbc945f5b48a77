"""A stage left by hazards against a loop over agents, and its times against the distribution that they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lpm.kernels import random
from lpm.kernels.dwell import dwell
from lpm.kernels.hazards import gamma_hazards
from lpm.kernels.stages import Stages

P = 1e-4
KINDS, FIRST, TARGET = 8, 2, 7


def step_one_by_one(value, word, hazards, target):
    after, left = [], []
    for v, w in zip(value.tolist(), word.tolist(), strict=True):
        inside = FIRST <= v < FIRST + len(hazards)
        leaves = inside and w // 2 < int(float(hazards[v - FIRST]) * 2**31)
        left.append(int(leaves))
        after.append(target if leaves else min(v + 1, FIRST + len(hazards) - 1) if inside else v)
    return after, left


@pytest.mark.parametrize("n", [1, 31, 33, 1000])
@pytest.mark.parametrize("target", [TARGET, FIRST])
@pytest.mark.parametrize("steps", [1, 4])
def test_a_step_meets_a_loop_over_agents(n, target, steps):
    rng = np.random.default_rng(n)
    value, word = rng.integers(0, KINDS, n).astype(np.uint8), rng.integers(0, 2**32, n, dtype=np.uint32)
    hazards = np.float32([0.0, 0.3, 1.0, 0.6])[-steps:]
    after, left = jax.jit(dwell, static_argnums=(3, 4))(Stages(value, KINDS), word, hazards, FIRST, target)
    expected_after, expected_left = step_one_by_one(value, word, hazards, target)
    assert (after.value.dtype, left.value.dtype) == (jnp.uint8, jnp.uint8)
    np.testing.assert_array_equal(after.value, expected_after)
    np.testing.assert_array_equal(left.value, expected_left)


@pytest.mark.parametrize(("mean", "deviation"), [(5.0, 2.0), (4.0, 4.0), (3.0, 0.7)])
def test_times_in_a_stage_are_those_of_the_gamma_distribution(mean, deviation):
    """Chi-squared over the steps before the last number, p = 1e-4, fixed seed."""
    n, steps = 100_000, 12
    hazards = gamma_hazards(jnp.float32(mean), jnp.float32(deviation), steps)
    ids = jnp.arange(n, dtype=jnp.uint32)

    def step(stages, t):
        after, left = dwell(stages, random.words(random.at(random.key(8), t), ids)[0], hazards, 1, 0)
        return after, left.value.sum(dtype=jnp.int32)

    entered = Stages(jnp.ones(n, jnp.uint8), steps + 1)
    left = np.asarray(jax.lax.scan(step, entered, jnp.arange(steps))[1])
    law = scipy.stats.gamma((mean / deviation) ** 2, scale=deviation**2 / mean)
    expected = n * np.diff(law.cdf(np.arange(steps + 1)))
    left, expected = np.append(left, n - left.sum()), np.append(expected, n - expected.sum())
    often = expected > 5
    left, expected = (np.append(each[often], each[~often].sum()) for each in (left, expected))
    if expected[-1] < 5:
        left, expected = (np.append(each[:-2], each[-2:].sum()) for each in (left, expected))
    assert scipy.stats.chisquare(left, expected).pvalue > P


def test_permuted_agents_leave_alike():
    rng = np.random.default_rng(6)
    value, order = rng.integers(0, KINDS, 1003).astype(np.uint8), rng.permutation(1003)
    hazards = jnp.float32([0.1, 0.4, 0.5])

    @jax.jit
    def step(ids, value):
        return dwell(Stages(value, KINDS), random.words(random.key(5), ids)[0], hazards, FIRST, TARGET)[0].value

    ids = np.arange(1003, dtype=np.uint32)
    np.testing.assert_array_equal(np.asarray(step(ids, value))[order], step(ids[order], value[order]))


def test_a_stage_that_does_not_fit_is_refused():
    stages, word = Stages(jnp.zeros(33, jnp.uint8), 5), jnp.zeros(33, jnp.uint32)
    with pytest.raises(ValueError, match=r"dwell: asked for stage 6 of Stages\(kinds=5\)"):
        dwell(stages, word, jnp.ones(4), 3, 0)
