"""The neural calibrator: its gradient, what it finds, and what it does with a network that leads nowhere."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import calibration
from lpm.calibration import Parameter, Prior, Problem, Stream, by_region, neural
from lpm.calibration.neural_head import built, point, pulled
from lpm.calibration.neural_training import slope
from lpm.calibration.problem import keys, simulator
from lpm.calibration.task import Budget, Task
from lpm.errors import RunError
from lpm.kernels import contagion, random, strata
from lpm.kernels.hazards import probability
from lpm.kernels.stages import Stages, among, event, move
from lpm.settings import Calendar
from lpm.world import World

REGIONS, STEPS, EVERY = 3, 40, 4
LABELS = ("a", "b", "c")
DAYS = tuple(range(0, STEPS, 10))
LEVELS = np.array([[0.30, 0.45, 0.25, 0.10], [0.20, 0.20, 0.55, 0.40], [0.40, 0.30, 0.15, 0.30]])  # (region, period)


def infect(params: dict, state: lpm.State, key: lpm.Key) -> tuple[lpm.State, dict]:
    """SIR in each region, at a rate for each day and region; an agent is infectious for four days on average."""
    stages, words = state.agents["stage"], random.words(key, state.fixed["id"])
    rate = strata.rates_to_agents(params["rate"][state.step][:, None], state.fixed["regions"])
    layer = contagion.Layer(state.fixed["mixing"], jnp.float32(1))
    ill = contagion.Infectious((1,))
    found = contagion.infections(words[0], stages, (layer,), susceptible=0, infectious=(ill,), susceptibility=rate)
    stages = move(move(stages, event(words[1], probability(jnp.float32(0.25)), among(stages, 1)), 2), found, 1)
    return state.replace(stage=stages), {"infected": strata.count_of(found, state.fixed["regions"])[:, 0]}


INCIDENCE = lpm.Observable("incidence", lambda state, info: info["infected"], ("region",), over="sum")
MODEL = lpm.chain(infect=infect)


def world(agents: int = 4000) -> World:
    """Three regions of equal size, where two in a hundred are infectious."""
    region = np.repeat(np.arange(REGIONS), agents)
    divided = strata.strata(region, np.zeros(len(region), np.int64), REGIONS, 1)
    one = jnp.ones((1, 1), jnp.float32)
    apart = strata.Mixing(divided, one, jnp.eye(REGIONS), jnp.full((REGIONS, 1), jnp.float32(agents)))
    stages = Stages(jnp.asarray((np.arange(len(region)) % 50 == 0).astype(np.uint8)), kinds=3)
    fixed = {"id": jnp.arange(len(region), dtype=jnp.uint32), "regions": divided, "mixing": apart}
    rates = {"rate": jnp.full((STEPS, REGIONS), 0.3)}
    return World(MODEL, rates, lpm.initial_state({"stage": stages}, fixed=fixed), (INCIDENCE,), {"region": LABELS})


def problem(counts: np.ndarray, of: World) -> Problem:
    free = Parameter("rate", ("rate",), 0, prior=Prior("lognormal", 0.35, 0.25), days=DAYS, walk=1.0)
    first = np.arange(0, STEPS, EVERY)
    stream = Stream("incidence", INCIDENCE, first, EVERY, counts, "region", (0, 1, 2), LABELS, likelihood="poisson")
    return Problem(of, Calendar(STEPS), by_region([free], LABELS), (stream,))


def simulated(of: World, levels: np.ndarray, seed: int) -> np.ndarray:
    """One epidemic, (time, region)."""
    rates = {"rate": jnp.asarray(np.repeat(levels, 10, axis=1).T, jnp.float32)}
    _, seen = lpm.simulate(MODEL, rates, of.state, lpm.key(seed), steps=STEPS, observe=(INCIDENCE,))
    return np.asarray(seen["incidence"], np.float64).reshape(-1, EVERY, REGIONS).sum(1)


def inputs_of(counts: np.ndarray) -> np.ndarray:
    """(1, regions, times, 1)"""
    return np.log(counts.T + 1)[None, ..., None]


@pytest.fixture(scope="module")
def observed() -> Problem:
    of = world()
    return problem(simulated(of, LEVELS, 7), of)


def inputs(of: Problem) -> np.ndarray:
    return inputs_of(of.streams[0].values)


def days(of: Problem) -> list[int]:
    return list(of.streams[0].first)


@pytest.mark.slow
def test_rates_of_three_regions_over_time_are_found(observed: Problem) -> None:
    """Within 12 % in the median and 30 % each: one epidemic's own chance is some 5 % to 15 % of such rates."""
    fit = neural([observed], inputs(observed), days(observed), steps=150, realizations=2, rate=0.03, seed=3)
    off = np.abs(fit.values[0].reshape(LEVELS.shape) / LEVELS - 1)
    assert np.median(off) < 0.12
    assert off.max() < 0.3
    assert fit.starts[0].verdict == "converged"
    assert len(fit.starts[0].history) == 150
    begin, end = (
        np.mean([each[0] for each in part]) for part in (fit.starts[0].history[:5], fit.starts[0].history[-5:])
    )
    assert end < 0.2 * begin


def nudged_and_direction(weights: Any, seed: int) -> tuple[Any, Any]:
    """Weights somewhat away from the first ones, and a random direction in them."""
    generator = np.random.default_rng(seed)
    nudged = jax.tree.map(lambda x: x + jnp.asarray(generator.normal(0, 0.1, x.shape), jnp.float32), weights)
    return nudged, jax.tree.map(lambda x: jnp.asarray(generator.normal(0, 1, x.shape), jnp.float32), nudged)


def along(gradient: Any, direction: Any) -> float:
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    return sum(float((g * d).sum()) for g, d in pairs)


def moved(weights: Any, direction: Any, step: float) -> Any:
    return jax.tree.map(lambda x, d: x + jnp.float32(step) * d, weights, direction)


def test_parameters_pull_back_to_weights_as_differences_say(observed: Problem) -> None:
    """(dz/dw)^T c along a direction, for a random c: without chance, so to the rounding of float32 differences."""
    head, first = built([observed], inputs(observed), np.array(days(observed)), 0, 8, 5, 1)
    seen = head.seen(inputs(observed)[0])
    nudged, direction = nudged_and_direction(first[0], 2)
    c = np.random.default_rng(4).normal(size=LEVELS.size)
    h = 0.003
    difference = c @ (point(head, moved(nudged, direction, h), seen) - point(head, moved(nudged, direction, -h), seen))
    found = along(pulled(head, nudged, seen, jnp.asarray(c, jnp.float32)), direction)
    assert found == pytest.approx(difference / (2 * h), rel=3e-3)


@pytest.mark.slow
def test_the_gradient_of_the_weights_is_that_of_finite_differences(observed: Problem) -> None:
    """Along a random direction in the weights, under the same 32 realizations of 120,000 agents: within 10 %.

    The scatter of such a ratio is some 2 %. With a tenth of the agents the rule "cavity" is 10 % to 20 % too large, as
    it is wherever few are infectious (docs/gradients.md).
    """
    large = problem(10 * observed.streams[0].values, world(40_000))
    head, first = built([large], inputs(large), np.array(days(large)), 0, 8, 5, 1)
    seen = head.seen(inputs(large)[0])
    nudged, direction = nudged_and_direction(first[0], 3)
    task = Task(large, simulator(large), Budget(), 16, 1, lambda _: None)
    h, found, expected = 0.02, 0.0, 0.0
    for batch in range(1, 3):
        seeds = keys(1, 16 * batch, 16)
        _, by_z, fixed, dispersions = slope(task, point(head, nudged, seen), seeds, None, (1.0,))
        found += along(pulled(head, nudged, seen, jnp.asarray(by_z, jnp.float32)), direction)

        def value(step: float, seeds=seeds, fixed=fixed, dispersions=dispersions) -> float:
            return slope(task, point(head, moved(nudged, direction, step), seen), seeds, fixed, dispersions)[0]

        expected += (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h)
    assert found == pytest.approx(expected, rel=0.1)


def fragile(params: dict, state: lpm.State, key: lpm.Key) -> tuple[lpm.State, dict]:
    """Counts without chance, not finite where a rate passes 0.4."""
    rate = params["rate"][state.step]
    return state, {"infected": jnp.where(rate > 0.4, jnp.nan, rate * 100)}


@pytest.fixture(scope="module")
def calm(observed: Problem) -> Problem:
    """Four days of a hundred times the rate, without chance: what is not about epidemics compiles sooner with it."""

    def hundredfold(params: dict, state: lpm.State, key: lpm.Key) -> tuple[lpm.State, dict]:
        return state, {"infected": 100 * params["rate"][state.step]}

    counts = np.round(100 * np.repeat(LEVELS, 10, axis=1).T.reshape(-1, EVERY, REGIONS).sum(1))
    return problem(counts, dataclasses.replace(observed.world, model=lpm.chain(hundredfold=hundredfold)))


def test_a_start_that_is_not_finite_is_named_dropped_and_counted(observed: Problem) -> None:
    """Data ask for rates where counts are not finite; every start is led there, and the error says what happened."""
    breaks = dataclasses.replace(observed.world, model=lpm.chain(fragile=fragile))
    bad = problem(np.full((STEPS // EVERY, REGIONS), 400.0), breaks)
    said: list[str] = []
    with pytest.raises(RunError, match=r"2 starts that were all dropped .*incidence are not finite"):
        neural([bad], inputs(observed), days(bad), starts=2, realizations=2, rate=0.2, progress=said.append)
    assert sum("dropped at step" in line for line in said) == 2


def test_the_other_start_goes_on(calm: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two starts one begins with weights that are not finite: it is dropped and counted, the other is kept."""
    from lpm.calibration import network

    first = network.start

    def second_is_nan(*args: int) -> tuple:
        structure, weights = first(*args)
        if args[-1] == 1:
            weights = jax.tree.map(lambda x: x * jnp.float32(jnp.nan), weights)
        return structure, weights

    monkeypatch.setattr(network, "start", second_is_nan)
    fit = neural([calm], inputs(calm), days(calm), starts=2, steps=3, realizations=2)
    assert fit.dropped == 1
    assert fit.starts[1].reason
    assert np.isfinite(fit.z).all()


@pytest.mark.slow
def test_the_network_without_training_gives_what_it_was_trained_to(observed: Problem) -> None:
    """And what is not known may be left out of the inputs; the same seed gives the same weights."""
    partly = inputs(observed)
    partly[:, :, -3:] = np.nan
    one, two = (neural([observed], partly, days(observed), steps=6, realizations=2, seed=4) for _ in range(2))
    assert np.array_equal(one.z, two.z)
    assert np.array_equal(one.of(partly[0]), one.z[0])
    on = neural([observed, observed], np.concatenate([partly] * 2), days(observed), steps=2, after=one, realizations=2)
    assert on.z.shape == (2, observed.size)
    (counts,) = calibration.expected(observed, one.z[0], realizations=2)
    assert counts.shape == (2, STEPS // EVERY, REGIONS)


def test_shared_parameters_come_after_those_of_regions(calm: Problem) -> None:
    reporting = Parameter("reporting", ("observation.incidence.reporting",), 0, 1)
    both = dataclasses.replace(calm, parameters=(*calm.parameters, reporting))
    fit = neural([both], inputs(calm), days(calm), shared=1, steps=3, realizations=2)
    assert fit.z.shape == (1, REGIONS * len(DAYS) + 1)
    assert fit.z[0, -1] > 0  # from one half towards all, since the data were fully reported


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[0], "windows, regions, times, channels"),
        (lambda x: np.full_like(x, np.inf), "infinite"),
        (lambda x: np.full_like(x, np.nan), "channel 0 is not known"),
        (lambda x: np.concatenate([x, x], 1), "by_region"),
    ],
)
def test_inputs_that_do_not_fit_are_named(observed: Problem, change: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        neural([observed], change(inputs(observed)), days(observed), steps=1)  # type: ignore[operator]
