"""Models that a user writes from the primitives are differentiable as they are: the page's market, the template."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import networks
from lpm.entries import named_entries
from lpm.gradients import check_gradient, jacobian
from lpm.kernels import contagion, random
from lpm.kernels.choices import branch, competing_risks, passes
from lpm.kernels.dwell import dwell
from lpm.kernels.hazards import gamma_hazards
from lpm.kernels.stages import Stages, among, amount, chosen, event, move, number
from lpm.world import World

ROOT = Path(__file__).parents[2]


def market() -> World:
    """The example of docs/model.md."""
    page = (ROOT / "docs" / "model.md").read_text("utf-8")
    (code,) = (block for block in re.findall("```python\n(.*?)```", page, re.DOTALL) if "FACTORY" in block)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/model.md", "exec"), names)
    return names["world"]


def template() -> World:
    """What `lpm new` writes."""
    spec = importlib.util.spec_from_file_location("rumour", ROOT / "lpm" / "templates" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    settings = module.Settings(agents=1000, convincing=0.08, first_tellers=0.05)
    return module.build(settings, lpm.Calendar(20))


def both_modes_agree(world: World, steps: int) -> None:
    """Forwards and backwards, of a smooth function of all observables; and the bits are those of a plain run."""

    def seen(params: Any, rule: Any) -> dict[str, jax.Array]:
        start = (world.model, params, world.state, lpm.key(2))
        return lpm.simulate(*start, steps=steps, observe=world.observables, rule=rule)[1]

    def loss(params: Any) -> jax.Array:
        each = seen(params, "cavity").values()
        return sum(((value / world.agents) ** 2 / steps).sum() for value in each)  # type: ignore[return-value]

    for name, value in seen(world.params, None).items():
        np.testing.assert_array_equal(value, seen(world.params, "cavity")[name])
    backwards = jax.jit(jax.grad(loss))(world.params)
    forwards = jax.jit(lambda d: jax.jvp(loss, (world.params,), (d,))[1])
    for path, gradient in named_entries(backwards).items():
        direction = jax.tree.unflatten(
            jax.tree.structure(world.params),
            [jnp.ones_like(v) * jnp.float32(k == path) for k, v in named_entries(world.params).items()],
        )
        assert np.asarray(gradient).any(), path
        np.testing.assert_allclose(gradient.sum(), forwards(direction), rtol=1e-3, atol=1e-5, err_msg=path)


def test_the_market_of_the_page_holds_against_differences() -> None:
    """40 realizations, seed 1: slopes within 4 standard errors and the 1 % of the differences' own error (p = 1e-4)."""
    world = market()
    found = check_gradient(world, steps=20, realizations=40, seed=1, change=0.1)
    assert len(found.comparisons) == 16
    for each in found.comparisons:
        assert abs(each.slope - 1) < 4 * each.error + 0.01 or each.verdict == "unsure", str(found)
    assert found.counted().get("holds", 0) >= 8, str(found)


@pytest.mark.slow
def test_the_market_of_the_page_differentiates_in_both_modes() -> None:
    both_modes_agree(market(), 12)


@pytest.mark.slow  # made of what lpm.worlds.sir is made of, which test_derivatives.py takes in both modes
def test_the_template_differentiates_in_both_modes() -> None:
    both_modes_agree(template(), 12)


def work(params: Any, state: Any, key: Any) -> Any:
    """Who works earns; everybody finds work and loses it by chance."""
    job, (first, second) = state.agents["job"], random.words(key, state.fixed["id"])
    found = event(first, params["finding"], among(job, 0))
    job = move(move(job, found, 1), event(second, params["losing"], among(job, 1)), 0)
    savings = state.agents["savings"] * (1 + params["interest"]) + params["wage"] * amount(among(job, 1))
    return state.replace(job=job, savings=savings, jobs=state.agents["jobs"] + found.value), {}


EARNING = {"finding": 0.3, "losing": 0.1, "interest": 0.02, "wage": 1.5}


def earners(agents: int, act: Any = work) -> World:
    state = lpm.initial_state(
        {
            "job": Stages(jnp.zeros(agents, jnp.uint8), 2),
            "savings": jnp.full(agents, 2.0, jnp.float32),
            "jobs": jnp.zeros(agents, jnp.uint8),
        }
    )
    params = {name: jnp.float32(value) for name, value in EARNING.items()}
    observables = (
        lpm.Observable("savings", lambda state, info: state.agents["savings"].sum()),
        lpm.Observable("employed", lambda state, info: number(among(state.agents["job"], 1))),
    )
    return World(lpm.chain(act=act), params, state, observables)


def expected_savings(finding: float, losing: float, interest: float, wage: float, steps: int) -> np.ndarray:
    at_work, savings, curve = 0.0, 2.0, []
    for _ in range(steps):
        at_work = at_work * (1 - losing) + (1 - at_work) * finding
        savings = savings * (1 + interest) + wage * at_work
        curve.append(savings)
    return np.array(curve)


def test_savings_carry_the_derivative_of_what_is_expected_of_them() -> None:
    """48 realizations of 1,000 agents, seed 3: within 4 standard errors (p = 1e-4) of the recursion's differences."""
    found = jacobian(earners(1000), steps=10, realizations=48, seed=3, observables=["savings"])
    for n, name in enumerate(found.parameters):
        up, down = (expected_savings(**{**EARNING, name: EARNING[name] * (1 + h)}, steps=10) for h in (1e-4, -1e-4))
        wanted = 1000 * (up - down) / 2e-4
        draws = found.derivatives["savings"][:, n].astype(float)
        error = draws.std(0, ddof=1) / 48**0.5
        assert (np.abs(draws.mean(0) - wanted) <= 4 * error + 1e-4 * np.abs(wanted)).all(), name
        assert (error < 0.05 * np.abs(wanted).max()).all(), name


def test_a_model_with_floats_and_integers_differentiates_in_both_modes() -> None:
    both_modes_agree(earners(300), 8)


def work_while_poor(params: Any, state: Any, key: Any) -> Any:
    """As `work`, but only who has few savings looks for work: a float that acts back on events."""
    job, (first, second) = state.agents["job"], random.words(key, state.fixed["id"])
    found = passes(first, 4 - state.agents["savings"], 0.0, 1.0, among(job, 0))
    job = move(move(job, found, 1), event(second, params["losing"], among(job, 1)), 0)
    return state.replace(job=job, savings=state.agents["savings"] - 1 + params["wage"] * amount(among(job, 1))), {}


def work_while_new(params: Any, state: Any, key: Any) -> Any:
    """As `work`, but who has had jobs finds one more easily: integers that act back on events."""
    job, (first, second) = state.agents["job"], random.words(key, state.fixed["id"])
    easier = params["finding"] * (1 + state.agents["jobs"].astype(jnp.float32))
    found = event(first, easier, among(job, 0))
    job = move(move(job, found, 1), event(second, params["losing"], among(job, 1)), 0)
    return state.replace(job=job, jobs=state.agents["jobs"] + found.value), {}


@pytest.mark.parametrize("act", [work_while_poor, work_while_new])
def test_what_acts_back_on_events_from_outside_the_stages_is_found_off(act: Any) -> None:
    found = check_gradient(
        earners(1000, act), steps=25, parameters=["losing"], observables=["employed"], realizations=24, change=0.1
    )
    assert found.comparisons[0].verdict == "off", str(found)
    assert found.warnings[-1].startswith("jobs of the agents: integers carry no derivative.")


def disease(course: str) -> World:
    """On a graph of degree 10: infected agents die or recover by competing risks, or after a gamma time."""
    contacts, ids = networks.graph(networks.erdos_renyi(2000, 10, seed=4))
    last = 7 if course == "dwell" else 3

    def start(params: Any, state: Any, key: Any) -> Any:
        first = chosen(key, state.fixed["id"], params["initial"] * 2000, among(state.agents["stage"], 0))
        return state.replace(stage=move(state.agents["stage"], first, 1))

    def act(params: Any, state: Any, key: Any) -> Any:
        stage, (first, second) = state.agents["stage"], random.words(key, state.fixed["id"])
        infects = tuple(range(1, 7)) if course == "dwell" else (1,)
        infected = contagion.infections(
            first,
            stage,
            (contagion.Layer(state.fixed["contacts"], params["transmission"]),),
            susceptible=0,
            infectious=(contagion.Infectious(infects),),
        )
        if course == "dwell":
            ended, _ = dwell(stage, second, gamma_hazards(params["mean"], params["deviation"], 6), 1, last)
        else:
            risks = competing_risks(second, jnp.stack([params["death"], params["recovery"]]), among(stage, 1))
            ended = branch(stage, risks, (2, 3))
        return state.replace(stage=move(ended, infected, 1)), {}

    params = {"transmission": 0.04, "initial": 0.05}
    params |= {"mean": 6.0, "deviation": 3.0} if course == "dwell" else {"death": 0.05, "recovery": 0.1}
    observables = tuple(
        lpm.Observable(name, lambda state, info, k=k: number(among(state.agents["stage"], k)))
        for name, k in (("escaped", 0), ("ended", last))
    )
    return World(
        lpm.chain(start, act=act),
        {name: jnp.float32(value) for name, value in params.items()},
        lpm.initial_state(
            {"stage": Stages(jnp.zeros(2000, jnp.uint8), last + 1)},
            fixed={"id": jnp.asarray(ids, jnp.uint32), "contacts": contacts},
        ),
        observables,
    )


@pytest.mark.slow  # the derivative of competing risks alone is held in test_primitives.py
@pytest.mark.parametrize("course", ["competing_risks", "dwell"])
def test_outcomes_of_a_disease_hold_against_differences(course: str) -> None:
    """96 realizations, seed 2: slopes within 5 % and 4 standard errors (p = 1e-4), cosines as near."""
    found = check_gradient(disease(course), steps=40, realizations=96, seed=2, change={"initial": 0.2})
    for each in found.comparisons:
        assert abs(each.slope - 1) < 0.05 + 4 * each.error, str(found)
        assert each.cosine > 0.98, str(found)
    assert np.median([each.error for each in found.comparisons]) < 0.05, str(found)


def test_a_derivative_that_grows_after_the_end_is_warned_of() -> None:
    """A value that has come to rest, and a derivative that doubles with each step; and one that rests too."""

    def grow(params: Any, state: Any, key: Any) -> Any:
        return state.replace(hidden=2 * (state.env["hidden"] + params["rate"]), shown=state.env["shown"] / 2), {}

    def value(state: Any, info: Any) -> jax.Array:
        hidden = state.env["hidden"]
        return state.env["shown"] + hidden - jax.lax.stop_gradient(hidden)

    state = lpm.initial_state({}, env={"hidden": jnp.float32(0), "shown": jnp.float32(1000)})
    seen = (lpm.Observable("growing", value), lpm.Observable("resting", lambda state, info: state.env["shown"]))
    world = World(lpm.chain(grow=grow), {"rate": jnp.float32(1)}, state, seen)
    found = check_gradient(world, steps=24, realizations=3)
    assert "d growing / d rate still grows when the value has come to rest: do not trust it" in found.warnings
    assert not any("d resting" in warning for warning in found.warnings)
    assert "d growing / d rate still grows" in str(found)


def test_moves_that_are_found_in_another_order_are_the_same_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal sets of moves may print differently; the search for channels that a model needs ends all the same."""

    def act(params: Any, state: Any, key: Any) -> Any:
        stage, (first, second) = state.agents["stage"], random.words(key, state.fixed["id"])
        stage = branch(stage, competing_risks(first, params, among(stage, 2, 3, 4)), (0, 1))
        stage = move(stage, event(second, jnp.float32(0.5), among(stage, 0)), 1)
        onward = competing_risks(first, jnp.append(params, params[0]), among(stage, 1))
        return state.replace(stage=branch(stage, onward, (2, 3, 4))), {}

    searched: list[int] = []
    shapes = jax.eval_shape

    def counted(*words: Any, **more: Any) -> Any:
        searched.append(1)
        assert len(searched) < 6, "the search does not end"
        return shapes(*words, **more)

    monkeypatch.setattr(jax, "eval_shape", counted)
    state = lpm.initial_state({"stage": Stages(jnp.zeros(9, jnp.uint8), 5)})
    lpm.simulate(lpm.chain(act=act), jnp.array([0.1, 0.2], jnp.float32), state, lpm.key(1), steps=1, rule="cavity")
