"""The rules that follow no ghosts: mean field and score, each against what it is by definition."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import networks
from lpm.errors import InputError
from lpm.gradients import jacobian
from lpm.kernels import random
from lpm.kernels.stages import Stages, among, event, move, number
from lpm.settings import Calendar
from lpm.world import World
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts

STEPS = 20
SETTINGS = sir.Settings(agents=300, contacts=Contacts(mean_degree=6, seed=8), transmission=0.06, initial=0.1)


def mean_field_epidemic(transmission: float, days: float, initial: float) -> np.ndarray:
    """Expected infectious agents by the individual-based equations, (steps,), in numpy."""
    edges = networks.erdos_renyi(300, 6, seed=8)
    contact = np.zeros((300, 300))
    contact[edges.source, edges.target] = contact[edges.target, edges.source] = 1
    susceptible, infectious, curve = np.full(300, 1 - initial), np.full(300, initial), []
    for _ in range(STEPS):
        infected = susceptible * (1 - np.exp(-transmission * contact @ infectious))
        susceptible, infectious = susceptible - infected, infectious + infected - infectious / days
        curve.append(infectious.sum())
    return np.array(curve)


def test_mean_field_is_the_derivative_of_its_equations() -> None:
    world = sir.build(SETTINGS, Calendar(STEPS))
    found = jacobian(world, steps=STEPS, observables=["infectious"], method="mean_field").derivatives["infectious"][0]
    values = np.array([0.06, 10.0, 0.1])
    for which, value in enumerate(values):
        up, down = (mean_field_epidemic(*(values + h * value * (np.arange(3) == which))) for h in (1e-4, -1e-4))
        np.testing.assert_allclose(found[which], (up - down) / 2e-4, rtol=1e-3, atol=1e-3)


def once(agents: int) -> World:
    """Each agent is infected once with the chance that is the parameter; nothing else happens."""

    def infect(params: Any, state: Any, key: Any) -> Any:
        word = random.words(key, state.fixed["id"])[0]
        infected = event(word, params["chance"], among(state.agents["stage"], 0))
        return state.replace(stage=move(state.agents["stage"], infected, 1)), {}

    infectious = lpm.Observable("infected", lambda state, info: number(among(state.agents["stage"], 1)))
    first = lpm.initial_state(
        {"stage": Stages(jnp.zeros(agents, jnp.uint8), 2)}, fixed={"id": jnp.arange(agents, dtype=jnp.uint32)}
    )
    return World(lpm.chain(infect=infect), {"chance": jnp.float32(0.2)}, first, (infectious,))


def test_score_weights_a_run_with_how_much_likelier_it_has_become() -> None:
    """One step of 50 agents: log p = x log c + (50 - x) log (1 - c)."""
    found = jacobian(once(50), steps=1, realizations=6, method="score")
    x = found.values["infected"][:, 0].astype(float)
    likelier = x - (50 - x) * 0.2 / 0.8  # c d log p / dc
    above = x - (x.sum() - x) / 5
    np.testing.assert_allclose(found.derivatives["infected"][:, 0, 0], above * likelier, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("parameter", ["transmission", "infectious_days"])
def test_score_is_right_where_no_rule_of_ghosts_is(parameter: str) -> None:
    """A small world, 400 realizations, seed 5: within four standard errors of differences (p = 1e-4)."""
    contacts = Contacts(kind="small_world", mean_degree=6, seed=9)
    settings = sir.Settings(agents=200, contacts=contacts, transmission=0.1, infectious_days=4, initial=0.05)
    world = sir.build(settings, Calendar(10))
    both = {"steps": 10, "realizations": 400, "seed": 5, "observables": ["infectious"]}
    score, differences = (
        jacobian(world, [parameter], method=method, **both).derivatives["infectious"][:, 0, -1]
        for method in ("score", "differences")
    )
    error = np.hypot(score.std(ddof=1), differences.std(ddof=1)) / 20
    assert abs(score.mean() - differences.mean()) < 4 * error
    assert error < 0.25 * abs(differences.mean())


def test_score_is_asked_for_where_it_can_be_had() -> None:
    world = sir.build(SETTINGS, Calendar(STEPS))
    with pytest.raises(ValueError, match=r"write lpm\.gradients\.jacobian\(world, \.\.\., method='score'\)"):
        lpm.simulate(
            world.model, world.params, world.state, lpm.key(1), steps=2, observe=world.observables, rule="score"
        )
    with pytest.raises(InputError, match="write realizations=2"):
        jacobian(world, steps=STEPS, method="score")


@pytest.mark.parametrize("rule", ["mean_field", "score"])
def test_what_is_seen_is_the_discrete_run(rule: Any) -> None:
    world = sir.build(SETTINGS, Calendar(STEPS))
    found = jacobian(world, ["transmission"], steps=STEPS, realizations=2, seed=4, method=rule)
    plain = lpm.simulate(
        world.model, world.params, world.state, random.key(4, 1), steps=STEPS, observe=world.observables
    )[1]
    for name, values in plain.items():
        np.testing.assert_array_equal(found.values[name][1], np.asarray(values))
    assert jax.tree.all(jax.tree.map(lambda x: bool(np.isfinite(x).all()), found.derivatives))
