"""Events of every kind carry the derivative of what is expected of them.

Agents here do not meet, so what is expected after some steps is a product of small matrices, and its derivative is had
from central differences of that in float64. Each agent's derivative is one draw: means over agents lie within 4
standard errors (p = 1e-4 each), with fixed seeds, and standard errors are small enough to tell.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import lpm
from lpm.entries import named_entries
from lpm.gradients import jacobian
from lpm.kernels import random, shadows
from lpm.kernels.choices import branch, categorical, choose, competing_risks, outcome, passes
from lpm.kernels.dwell import dwell
from lpm.kernels.hazards import gamma_hazards
from lpm.kernels.stages import Stages, among, amount, event, move, number
from lpm.world import World

EXACT = (
    "cavity",
    "mean_field",
    *(pytest.param(rule, marks=pytest.mark.slow) for rule in ("smooth", "straight_through")),
)
STEPS = 6
Matrix = np.ndarray


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


@dataclasses.dataclass(frozen=True)
class Case:
    """A primitive, the matrix of its chances from stage to stage, and its parameters.

    Args:
        params: float by name.
        step: `(params, stages, word) -> stages`.
        matrix: `(params in float64) -> (kinds, kinds)`, the chance to go from the row's stage to the column's.
        kinds: how many stages there are.
    """

    params: dict[str, float]
    step: Callable[..., Stages]
    matrix: Callable[[dict[str, float]], Matrix]
    kinds: int = 4


def _event(p: Any, stages: Stages, word: jax.Array) -> Stages:
    return move(stages, event(word, p["chance"], among(stages, 0, 1)), 2)


def _event_matrix(p: dict[str, float]) -> Matrix:
    m = np.eye(4)
    for k in (0, 1):
        m[k] = (1 - p["chance"]) * np.eye(4)[k] + p["chance"] * np.eye(4)[2]
    return m


def _categorical(p: Any, stages: Stages, word: jax.Array) -> Stages:
    drawn = categorical(word, jnp.stack([p["first"], p["second"], p["third"]]), among(stages, 0))
    return branch(stages, drawn, (1, 2, None))


def _categorical_matrix(p: dict[str, float]) -> Matrix:
    m = np.eye(4)
    m[0] = [1 - p["first"] - p["second"], p["first"], p["second"], 0]
    return m


def _risks(p: Any, stages: Stages, word: jax.Array) -> Stages:
    return branch(stages, competing_risks(word, jnp.stack([p["death"], p["recovery"]]), among(stages, 0)), (3, 1))


def _risks_matrix(p: dict[str, float]) -> Matrix:
    m, total = np.eye(4), p["death"] + p["recovery"]
    happens = 1 - np.exp(-total)
    m[0] = [1 - happens, happens * p["recovery"] / total, 0, happens * p["death"] / total]
    return m


def _choose(p: Any, stages: Stages, word: jax.Array) -> Stages:
    utilities = jnp.stack([p["good"], p["bad"], jnp.float32(0.5)])
    return branch(stages, choose(word, utilities, p["temperature"], among(stages, 0)), (1, 2, None))


def _choose_matrix(p: dict[str, float]) -> Matrix:
    m = np.eye(4)
    good, bad, stay = softmax(np.array([p["good"], p["bad"], 0.5]) / p["temperature"])
    m[0] = [stay, good, bad, 0]
    return m


def _passes(p: Any, stages: Stages, word: jax.Array) -> Stages:
    return move(stages, passes(word, p["value"], p["threshold"], p["temperature"], among(stages, 0)), 1)


def _passes_matrix(p: dict[str, float]) -> Matrix:
    m, chance = np.eye(4), 1 / (1 + np.exp(-(p["value"] - p["threshold"]) / p["temperature"]))
    m[0] = [1 - chance, chance, 0, 0]
    return m


def _dwell(p: Any, stages: Stages, word: jax.Array) -> Stages:
    return dwell(stages, word, gamma_hazards(p["mean"], p["deviation"], 5), 0, 5)[0]


def _dwell_matrix(p: dict[str, float]) -> Matrix:
    law = scipy.stats.gamma((p["mean"] / p["deviation"]) ** 2, scale=p["deviation"] ** 2 / p["mean"])
    left = law.sf(np.arange(6))
    m = np.eye(6)
    for t, hazard in enumerate(1 - left[1:] / left[:-1]):
        m[t] = 0
        m[t, 5], m[t, min(t + 1, 4)] = hazard, 1 - hazard
    return m


def _by_stage(p: Any, stages: Stages, word: jax.Array) -> Stages:
    wealth = jnp.arange(4, dtype=jnp.float32)
    poor = passes(word, p["wish"] - wealth, 0.0, p["temperature"], among(stages, 0, 1, 2), by=stages)
    stages = move(stages, poor, 3)
    rows = jnp.stack([p["rise"] * wealth, jnp.exp(-wealth), 0 * wealth])
    return branch(
        stages,
        choose(random.threefry((word, word), (word, word))[0], rows, 1.0, among(stages, 1, 3), by=stages),
        (0, 2, None),
    )


def _by_stage_matrix(p: dict[str, float]) -> Matrix:
    first, second = np.eye(4), np.eye(4)
    for k in (0, 1, 2):
        chance = 1 / (1 + np.exp(-(p["wish"] - k) / p["temperature"]))
        first[k] = (1 - chance) * np.eye(4)[k] + chance * np.eye(4)[3]
    for k in (1, 3):
        up, down, stay = softmax(np.array([p["rise"] * k, np.exp(-k), 0.0]))
        second[k] = up * np.eye(4)[0] + down * np.eye(4)[2] + stay * np.eye(4)[k]
    return first @ second


CASES = {
    "event": Case({"chance": 0.2}, _event, _event_matrix),
    "categorical": Case({"first": 0.2, "second": 0.1, "third": 0.3}, _categorical, _categorical_matrix),
    "competing_risks": Case({"death": 0.05, "recovery": 0.3}, _risks, _risks_matrix),
    "choose": Case({"good": 0.3, "bad": -0.2, "temperature": 0.8}, _choose, _choose_matrix),
    "passes": Case({"value": 1.0, "threshold": 1.5, "temperature": 0.4}, _passes, _passes_matrix),
    "by_stage": Case({"wish": 0.5, "temperature": 1.2, "rise": -0.4}, _by_stage, _by_stage_matrix),
    "dwell": Case({"mean": 3.5, "deviation": 1.5}, _dwell, _dwell_matrix, 6),
}
BACK = 0.3  # chance to begin again, so that ghosts pass through every primitive too


def world(name: str, agents: int) -> World:
    """Everybody begins in stage 0; each step is the primitive, then everybody in the last stages may begin again."""
    case = CASES[name]
    ends = tuple(range(1, case.kinds)) if case.kinds == 4 else (5,)

    def act(params: Any, state: Any, key: Any) -> Any:
        first, second = random.words(key, state.fixed["id"])
        stages = case.step(params, state.agents["stage"], first)
        again = event(second, jnp.float32(BACK), among(stages, *ends))
        return state.replace(stage=move(stages, again, 0)), {}

    each = tuple(
        lpm.Observable(f"in_{k}", lambda state, info, k=k: amount(among(state.agents["stage"], k)))
        for k in range(case.kinds)
    )
    state = lpm.initial_state({"stage": Stages(jnp.zeros(agents, jnp.uint8), case.kinds)})
    return World(lpm.chain(act=act), {k: jnp.float32(v) for k, v in case.params.items()}, state, each)


def expected(name: str, params: dict[str, float]) -> np.ndarray:
    """Chances of the stages after each step, (steps, kinds), float64."""
    case = CASES[name]
    again = np.eye(case.kinds)
    for k in range(1, case.kinds) if case.kinds == 4 else (5,):
        again[k] = (1 - BACK) * again[k] + BACK * np.eye(case.kinds)[0]
    step, row, rows = case.matrix(params) @ again, np.eye(case.kinds)[0], []
    for _ in range(STEPS):
        row = row @ step
        rows.append(row)
    return np.array(rows)


def expected_derivative(name: str, parameter: str) -> np.ndarray:
    params, h = CASES[name].params, 1e-5
    up, down = (expected(name, {**params, parameter: params[parameter] + sign * h}) for sign in (1, -1))
    return (up - down) / (2 * h)


@functools.cache
def derivatives(name: str, rule: str, agents: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Of each agent: its stages and their derivatives, (steps, kinds, agents)."""
    made = world(name, agents)

    def stages(params: Any) -> jax.Array:
        start = (made.model, params, made.state, lpm.key(7))
        seen = lpm.simulate(*start, steps=STEPS, observe=made.observables, rule=rule)[1]
        return jnp.stack([seen[each.name] for each in made.observables], axis=1)

    ones = dict(zip(made.params, jnp.eye(len(made.params)), strict=True))
    value, found = jax.jit(jax.vmap(lambda d: jax.jvp(stages, (made.params,), (d,))))(ones)
    return np.asarray(value[0]), {each: np.asarray(found[n], float) for n, each in enumerate(made.params)}


@pytest.mark.parametrize("name", CASES)
def test_stages_are_as_frequent_as_expected(name: str) -> None:
    value, _ = derivatives(name, "cavity", 20_000)
    share = expected(name, CASES[name].params)
    assert (np.abs(value.mean(-1) - share) <= 4 * np.sqrt(share * (1 - share) / 20_000) + 1e-12).all()


@pytest.mark.parametrize("rule", EXACT)
@pytest.mark.parametrize("name", CASES)
def test_the_derivative_is_that_of_the_expectation(name: str, rule: str) -> None:
    _, found = derivatives(name, rule, 20_000)
    for parameter, each in found.items():
        wanted = expected_derivative(name, parameter)
        error = each.std(-1, ddof=1) / 20_000**0.5
        scale = np.abs(wanted).max() if np.abs(wanted).max() > 1e-9 else 1.0
        assert (np.abs(each.mean(-1) - wanted) <= 4 * error + 2e-4 * scale).all(), (parameter, each.mean(-1), wanted)
        assert error.max() < 0.06 * scale, (parameter, error / scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_score_has_the_derivative_of_the_expectation(name: str) -> None:
    """2,000 realizations of one agent's stage are 8 agents' in 250 runs: within 4 standard errors."""
    made = world(name, 8)
    totals = tuple(
        dataclasses.replace(each, function=lambda state, info, k=k: number(among(state.agents["stage"], k)))
        for k, each in enumerate(made.observables)
    )
    found = jacobian(
        dataclasses.replace(made, observables=totals), steps=STEPS, realizations=400, method="score", seed=9
    )
    for n, parameter in enumerate(found.parameters):
        wanted = expected_derivative(name, parameter) * CASES[name].params[parameter] * 8
        for k, each in enumerate(totals):
            draws = found.derivatives[each.name][:, n].astype(float)
            error = draws.std(0, ddof=1) / 20
            assert (np.abs(draws.mean(0) - wanted[:, k]) <= 4.5 * error + 1e-6).all(), (parameter, k)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_gumbel_has_the_right_sign_and_size(name: str) -> None:
    """A relaxed draw is biased: within a factor of three where the derivative is greatest."""
    _, found = derivatives(name, "gumbel", 20_000)
    for parameter, each in found.items():
        wanted = expected_derivative(name, parameter)
        assert np.isfinite(each).all()
        if not wanted.any():
            continue
        at = np.unravel_index(np.abs(wanted).argmax(), wanted.shape)
        assert 1 / 3 < each.mean(-1)[at] / wanted[at] < 3, parameter


@pytest.mark.parametrize(
    "rule",
    [
        "cavity",
        *(
            pytest.param(rule, marks=pytest.mark.slow)
            for rule in ("mean_field", "smooth", "straight_through", "gumbel")
        ),
    ],
)
@pytest.mark.parametrize("name", CASES)
def test_bits_are_those_of_a_plain_run_and_both_modes_agree(name: str, rule: str) -> None:
    made = world(name, 501)

    def seen(params: Any, rule: Any) -> dict[str, jax.Array]:
        start = (made.model, params, made.state, lpm.key(5))
        return lpm.simulate(*start, steps=STEPS, observe=made.observables, rule=rule)[1]

    weights = np.random.default_rng(1).normal(size=(CASES[name].kinds, STEPS, 501))

    def loss(params: Any) -> jax.Array:
        return sum(
            ((value * jnp.float32(w)).sum() for value, w in zip(seen(params, rule).values(), weights, strict=True)),
            start=jnp.float32(0),
        )

    for one, other in zip(*(seen(made.params, each).values() for each in (None, rule)), strict=True):
        np.testing.assert_array_equal(one, other)
    forwards = jax.jit(lambda d: jax.jvp(loss, (made.params,), (d,))[1])
    backwards = jax.jit(jax.grad(loss))(made.params)
    for parameter, gradient in named_entries(backwards).items():
        direction = {each: jnp.float32(each == parameter) for each in made.params}
        np.testing.assert_allclose(gradient, forwards(direction), rtol=2e-3, atol=2e-2)


def test_one_outcome_is_an_event() -> None:
    """Of one outcome, draws and derivatives are those of `event`, by every rule."""
    word = random.words(random.key(2), jnp.arange(999, dtype=jnp.uint32))[0]
    value = jnp.asarray(np.random.default_rng(3).integers(0, 3, 999), jnp.uint8)

    def either(chance: jax.Array, rule: str, alone: bool) -> jax.Array:
        stages = Stages(value, 3, shadows.zeros(value, 3, rule))
        who = among(stages, 0, 2)
        if alone:
            stages = move(stages, event(word, chance, who), 1)
        else:
            stages = branch(stages, categorical(word, chance[None], who), (1,))
        return jnp.stack([amount(among(stages, k)) for k in range(3)])

    for rule in ("cavity", "smooth", "straight_through", "gumbel", "mean_field"):
        one, other = (
            jax.jvp(lambda c, rule=rule, alone=alone: either(c, rule, alone), (jnp.float32(0.3),), (jnp.float32(1),))
            for alone in (True, False)
        )
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_allclose(one[1], other[1], rtol=1e-5, atol=1e-6)
        assert np.asarray(one[1]).any()


def test_an_outcome_alone_is_an_event_that_may_be_counted() -> None:
    """The counts of outcomes have the derivatives of their chances: n dp_j, within 4 standard errors."""
    n = 50_000
    word = random.words(random.key(4), jnp.arange(n, dtype=jnp.uint32))[0]

    def counts(chances: jax.Array) -> jax.Array:
        value = jnp.zeros(n, jnp.uint8)
        drawn = categorical(word, chances, among(Stages(value, 3, shadows.zeros(value, 3, "cavity")), 0))
        return jnp.stack([number(outcome(drawn, j)) for j in range(2)])

    chances, changes = np.array([0.2, 0.3]), np.array([1.0, -0.4])
    values, tangents = jax.jvp(counts, (jnp.float32(chances),), (jnp.float32(changes),))
    assert values.dtype == jnp.float32
    # Those without an outcome weigh q_j dp / (1 - p), those with one dq_j; chance is in how many there are of each.
    p, dp = chances.sum(), changes.sum()
    shares = chances / p
    apart = shares * dp / (1 - p) - (changes - shares * dp) / p
    errors = 4 * np.abs(apart) * np.sqrt(n * p * (1 - p))
    assert (np.abs(np.asarray(tangents) - changes * n) < errors).all()
