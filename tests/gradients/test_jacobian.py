"""Derivatives for few parameters: by differences, by a rule, and what is said of names that do not exist."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import gradients
from lpm.errors import InputError
from lpm.gradients import check_gradient, jacobian
from lpm.kernels import random
from lpm.settings import Calendar
from lpm.worlds import sir
from lpm.worlds.contacts import Contacts

STEPS = 15
WORLD = sir.build(sir.Settings(agents=800, contacts=Contacts(mean_degree=8), initial=0.05), Calendar(STEPS))


def infectious(params: Any, realization: int) -> np.ndarray:
    key = random.key(3, realization)
    seen = lpm.simulate(WORLD.model, params, WORLD.state, key, steps=STEPS, observe=WORLD.observables)[1]
    return np.asarray(seen["infectious"], np.float64)


def moved(factor: float) -> Any:
    rate = WORLD.params.transmission * jnp.float32(factor)
    return sir.Params(rate, WORLD.params.infectious_days, WORLD.params.initial)


@pytest.mark.parametrize("order", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_differences_are_those_of_runs_with_the_same_draws(order: Any) -> None:
    found = jacobian(
        WORLD,
        ["infectious_days", "transmission"],
        steps=STEPS,
        realizations=2,
        seed=3,
        method="differences",
        change={"transmission": 0.2},
        order=order,
    )
    for realization in range(2):
        near = (infectious(moved(1.2), realization) - infectious(moved(0.8), realization)) / 0.4
        far = (infectious(moved(1.4), realization) - infectious(moved(0.6), realization)) / 0.8
        wanted = near if order == 2 else (4 * near - far) / 3
        np.testing.assert_allclose(found.derivatives["infectious"][realization, 1], wanted, rtol=1e-5, atol=1e-3)
        np.testing.assert_array_equal(found.values["infectious"][realization], infectious(WORLD.params, realization))


@pytest.mark.slow  # tests/gradients/test_derivatives.py holds a rule to differences
def test_a_rule_and_differences_see_the_same_runs_and_nearly_the_same_derivative() -> None:
    """24 realizations, seed 3: within four standard errors (p = 1e-4) and the 5 % that a rule may be off."""
    both = {"steps": STEPS, "realizations": 24, "seed": 3, "observables": ["infectious"]}
    rule = jacobian(WORLD, ["transmission"], **both)
    differences = jacobian(WORLD, ["transmission"], method="differences", change=0.1, **both)
    np.testing.assert_array_equal(rule.values["infectious"], differences.values["infectious"])
    one, other = (each.derivatives["infectious"].sum((1, 2)) for each in (rule, differences))
    error = (one - other).std(ddof=1) / 24**0.5
    assert abs(one.mean() - other.mean()) < 4 * error + 0.05 * other.mean()
    assert error < 0.1 * other.mean()


@pytest.mark.slow
def test_directions_in_turn_give_what_they_give_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = jacobian(WORLD, steps=STEPS, seed=3, observables=["infectious"])
    monkeypatch.setattr(gradients, "MANY", 1)
    in_turn = jacobian(WORLD, steps=STEPS, seed=3, observables=["infectious", "recovered"])
    np.testing.assert_allclose(
        in_turn.derivatives["infectious"], at_once.derivatives["infectious"], rtol=1e-4, atol=1e-2
    )
    np.testing.assert_array_equal(in_turn.values["infectious"], at_once.values["infectious"])


def test_positions_of_an_entry_add_up_to_the_entry_and_directions_may_be_given() -> None:
    """Wealth that grows in three classes at rates of their own: y = 4 sum_k (1 + r_k)^t."""

    def grow(params: Any, state: Any, key: Any) -> Any:
        rates = jnp.tile(params["growth"], 4)
        return state.replace(wealth=state.agents["wealth"] * (1 + rates)), {}

    total = lpm.Observable("total", lambda state, info: state.agents["wealth"].sum())
    params = {"growth": jnp.array([0.1, 0.2, 0.3], jnp.float32)}
    world = lpm.world.World(lpm.chain(grow=grow), params, lpm.initial_state({"wealth": jnp.ones(12)}), (total,))
    names = ["growth", "growth.0", "growth.1", "growth.2"]
    found = jacobian(world, names, steps=3).derivatives["total"][0]
    rates, days = np.array([0.1, 0.2, 0.3])[:, None], np.arange(1, 4)
    np.testing.assert_allclose(found[1:], 4 * rates * days * (1 + rates) ** (days - 1), rtol=1e-5)
    np.testing.assert_allclose(found[1:].sum(0), found[0], rtol=1e-5)
    given = jacobian(world, {"second": {"growth": jnp.array([0, 1, 0], jnp.float32)}}, steps=3).derivatives["total"][0]
    np.testing.assert_allclose(0.2 * given[0], found[2], rtol=1e-5)
    near = jacobian(world, names, steps=3, method="differences", change=0.1, order=4).derivatives["total"][0]
    np.testing.assert_allclose(near, found, rtol=1e-4)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (["transmision"], "got 'transmision'; write `transmission`"),
        (["days"], "asked for some of transmission, infectious_days, initial, got 'days'; write"),
        (["initial.3"], r"asked for position 3 of initial, got the shape \(\)"),
    ],
)
def test_unknown_parameters_are_answered_with_the_nearest(parameters: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        jacobian(WORLD, parameters, steps=STEPS)


def test_mistakes_are_said_before_anything_runs() -> None:
    with pytest.raises(InputError, match="got 'infected'; write `infectious`"):
        jacobian(WORLD, steps=STEPS, observables=["infected"])
    with pytest.raises(InputError, match="got 'cavitiy'; write `cavity`"):
        jacobian(WORLD, steps=STEPS, method="cavitiy")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="write realizations=3"):
        check_gradient(WORLD, steps=STEPS, realizations=2)
    zero = jax.tree.map(jnp.zeros_like, WORLD.params)
    still = lpm.world.World(WORLD.model, zero, WORLD.state, WORLD.observables)
    with pytest.raises(InputError, match="got initial, which is zero"):
        jacobian(still, ["initial"], steps=STEPS)


@pytest.mark.slow
def test_a_cut_chain_is_found() -> None:
    """A rate whose derivative is dropped on the way: differences are not zero, the estimate is."""

    def dropped(params: Any, state: Any, key: Any) -> Any:
        still = jax.tree.map(jax.lax.stop_gradient, params)
        return sir.infect_and_recover(still, state, key)

    cut = lpm.world.World(lpm.chain(sir.first_cases, infect=dropped), WORLD.params, WORLD.state, WORLD.observables[2:3])
    found = check_gradient(cut, steps=STEPS, parameters=["transmission", "initial"], realizations=6)
    rate, initial = found.comparisons
    assert (rate.parameter, rate.verdict) == ("transmission", "cut")
    assert initial.verdict != "cut"
    assert not found.holds


def test_a_change_that_is_rounded_away_is_told() -> None:
    """Five per cent of 40 agents are two, of 4 none."""
    few = sir.Params(WORLD.params.transmission, WORLD.params.infectious_days, jnp.float32(0.005))
    world = lpm.world.World(WORLD.model, few, WORLD.state, WORLD.observables)
    found = check_gradient(world, steps=STEPS, parameters=["initial"], realizations=3)
    assert found.warnings == ("the change of initial changed nothing: it may be rounded; give it a larger `change`",)
