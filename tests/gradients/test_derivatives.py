"""Derivatives of discrete worlds: they change no bit, agree forwards and backwards, and meet finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm.gradients import check_gradient, jacobian
from lpm.settings import Calendar
from lpm.worlds import city, seir, sir
from lpm.worlds.contacts import Contacts

STEPS = 20
WORLDS = {
    "sir": sir.build(sir.Settings(agents=600, contacts=Contacts(mean_degree=6), transmission=0.06), Calendar(STEPS)),
    "seir": seir.build(seir.Settings(agents=600, contacts=Contacts(mean_degree=6), initial=0.02), Calendar(STEPS)),
    "city": city.build(
        city.Settings(people=city.People(agents=600), importation=(city.Importation(per_day=3e4),)), Calendar(STEPS)
    ),
}


def simulated(world: lpm.World, params: object, rule: str | None) -> dict[str, jax.Array]:
    return lpm.simulate(
        world.model, params, world.state, lpm.key(3), steps=STEPS, observe=world.observables, rule=rule
    )[1]


@pytest.mark.parametrize("name", ["sir", "city", pytest.param("seir", marks=pytest.mark.slow)])
def test_a_run_with_derivatives_counts_the_same(name: str) -> None:
    world = WORLDS[name]
    plain, other = (simulated(world, world.params, rule) for rule in (None, "cavity"))
    for observable, values in plain.items():
        assert values.dtype == jnp.int32
        np.testing.assert_array_equal(np.asarray(values), np.asarray(other[observable]), err_msg=observable)


# Forwards, mean field is held to its equations in test_rules.py.
SLOWLY = [pytest.param(rule, marks=pytest.mark.slow) for rule in ("smooth", "straight_through", "mean_field")]


@pytest.mark.parametrize("rule", ["cavity", *SLOWLY])
def test_forward_and_reverse_derivatives_agree(rule: str) -> None:
    world = WORLDS["sir"]

    def total(transmission: jax.Array) -> jax.Array:
        params = sir.Params(transmission, world.params.infectious_days, world.params.initial)
        return simulated(world, params, rule)["infectious"].sum()

    value = world.params.transmission
    _, forward = jax.jvp(total, (value,), (jnp.float32(1),))
    assert float(forward) != 0
    np.testing.assert_allclose(float(forward), float(jax.grad(total)(value)), rtol=1e-4)


@pytest.mark.slow
def test_the_transmission_of_every_layer_of_the_city_reaches_infections() -> None:
    """Six hundred people, many imported cases: more transmission, more infections."""
    layers = [f"transmission.{layer}" for layer in WORLDS["city"].params.transmission]
    found = jacobian(WORLDS["city"], layers, steps=STEPS, seed=3, observables=["infections"])
    assert (found.derivatives["infections"].sum((0, 2, 3, 4)) > 0).all()


def test_the_cavity_rule_meets_finite_differences_on_a_graph() -> None:
    """Degree 10, 2000 agents, 96 realizations: slopes within 5 % and chance (p = 0.001 each).

    That smoothing does not, `lpm check-gradient` finds in tests/gradients/test_command.py.
    """
    settings = sir.Settings(agents=2000, transmission=0.03, infectious_days=8, initial=0.02)
    world = sir.build(settings, Calendar(60))
    wanted = {"parameters": ["transmission", "infectious_days"], "observables": ["infectious"], "realizations": 96}
    found = check_gradient(world, steps=60, **wanted)
    for each in found.comparisons:
        assert each.error < 0.05, str(found)
        assert abs(each.slope - 1) < 0.05 + 3.3 * each.error, str(found)
        assert each.cosine > 0.98, str(found)
