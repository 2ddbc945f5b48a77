"""Parameters: transforms invert, priors are densities, values go where they are sent, mistakes are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.calibration.parameters import (
    Parameter,
    Prior,
    forward,
    inverse,
    located,
    names,
    to_params,
    values,
)
from lpm.calibration.priors import draw_prior, log_prior, prior_deviation, starting_points

CASES = {
    "both": Parameter("x", ("x",), 0.5, 4),
    "low": Parameter("x", ("x",), 0, prior=Prior("lognormal", 2, 1)),
    "high": Parameter("x", ("x",), high=3, prior=Prior("normal", 1, 1)),
    "neither": Parameter("x", ("x",), prior=Prior("normal", 2, 3)),
    "gamma": Parameter("x", ("x",), 0, prior=Prior("gamma", 2, 1)),
    "beta": Parameter("x", ("x",), 1, 5, prior=Prior("beta", 2, 0.5)),
}


@pytest.mark.parametrize("name", CASES)
def test_transforms_invert(name: str) -> None:
    z = np.linspace(-3, 3, 13)
    theta = np.asarray(forward(CASES[name], jnp.asarray(z, jnp.float32)), np.float64)
    assert (np.diff(theta) > 0).all()
    np.testing.assert_allclose(inverse(CASES[name], theta), z, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_draws_follow_the_density(name: str) -> None:
    """Of 20,000 draws in 20 bins: chi squared with 19 degrees of freedom below its 0.999 quantile."""
    parameter = CASES[name]
    drawn = draw_prior([parameter], 20_000, seed=3)[:, 0]
    edges = np.quantile(drawn, np.linspace(0, 1, 21))
    fine = np.linspace(edges[0] - 4, edges[-1] + 4, 40_001)
    density = np.exp(np.asarray(jax.vmap(lambda z: log_prior([parameter], z[None]))(jnp.asarray(fine, jnp.float32))))
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    expected = np.diff(np.interp(edges[1:-1], fine, below / below[-1]), prepend=0, append=1)
    chi_squared = (20_000 * (1 / 20 - expected) ** 2 / expected).sum()
    assert chi_squared < 43.8


def test_starts_lie_in_the_middle_of_the_prior() -> None:
    z = starting_points([CASES["both"], CASES["low"]], 50, seed=1)
    inside = np.quantile(draw_prior([CASES["both"], CASES["low"]], 4000, 0), [0.049, 0.951], axis=0)
    assert ((z >= inside[0]) & (z <= inside[1])).all()
    assert len(np.unique(z[:, 0])) > 40


def test_the_priors_deviation_is_that_of_its_draws() -> None:
    assert prior_deviation([CASES["neither"]]) == pytest.approx([1.0], rel=0.06)


TREE = {"rate": jnp.float32(7), "days": {"latent": jnp.float32(2)}, "contacts": jnp.ones((6, 2), jnp.float32)}


def test_values_go_where_they_are_sent_and_nothing_else_moves() -> None:
    free = [Parameter("rate", ("rate", "days.latent"), 0, 2), Parameter("school", ("contacts.1",), 0, 4, days=(1, 4))]
    after = to_params(free, jnp.array([0.0, 0.0, 50.0]), TREE)
    assert float(after["rate"]) == float(after["days"]["latent"]) == 1
    np.testing.assert_allclose(after["contacts"][:, 1], [1, 2, 2, 2, 4, 4])
    np.testing.assert_allclose(after["contacts"][:, 0], 1)
    assert names(free) == ("rate", "school[day 1]", "school[day 4]")


def test_a_relative_parameter_multiplies() -> None:
    free = [Parameter("all", ("contacts", "rate"), 0, 6, relative=True)]
    after = to_params(free, jnp.zeros(1), TREE)
    np.testing.assert_allclose(after["contacts"], 3)
    assert float(after["rate"]) == 21


def test_each_entry_may_have_its_own_value() -> None:
    free = [Parameter("own", ("contacts",), 0, 2, entries=12)]
    z = np.linspace(-1, 1, 12)
    after = to_params(free, jnp.asarray(z, jnp.float32), TREE)
    np.testing.assert_allclose(np.ravel(after["contacts"]), values(free, z), rtol=1e-6)


def test_to_params_is_differentiable() -> None:
    free = [Parameter("rate", ("rate",), 0, 2)]
    slope = jax.grad(lambda z: to_params(free, z, TREE)["rate"])(jnp.zeros(1, jnp.float32))
    assert float(slope[0]) == pytest.approx(0.5)


def test_a_random_walk_is_drawn_to_its_last_value() -> None:
    free = [Parameter("contacts", ("contacts.0",), 0, 4, days=(0, 2, 4), walk=0.5)]
    steady, moving = (float(log_prior(free, jnp.array(z, jnp.float32))) for z in ((0.3, 0.3, 0.3), (0.3, 0.8, 0.3)))
    assert steady - moving == pytest.approx(1.0, rel=1e-5)
    changes = np.diff(draw_prior(free, 4000, 1), axis=1)
    assert changes.std() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"low": 3, "high": 1}, "low < high, got low 3 and high 1"),
        ({"low": 0}, "two finite bounds with a uniform prior"),
        ({"low": 0, "prior": Prior("lognormal")}, "a mean and a positive deviation"),
        ({"low": 0, "prior": Prior("gamma", -1, 1)}, "mean within the bounds"),
        ({"prior": Prior("lognormal", 1, 1)}, "write `low: 0`"),
        ({"low": 0, "high": 1, "prior": Prior("beta", 0.5, 0.9)}, "write a smaller one"),
        ({"low": 0, "high": 1, "covariate": ((0, 0.5),), "days": (0, 3)}, "write two parameters"),
        ({"low": 0, "high": 1, "covariate": ((0, 1.0), (1, 0.0))}, "a `covariate` above 0, got 0"),
    ],
)
def test_a_mistaken_parameter_is_told(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Parameter("x", ("x",), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "said"),
    [("rat", "write `rate`"), ("days.laten", "write `days.latent`"), ("contacts.2", "position 2 of contacts")],
)
def test_an_unknown_path_names_the_nearest(target: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        located(target, TREE)


def test_a_target_without_time_cannot_change_over_time() -> None:
    with pytest.raises(ValueError, match="whose first axis is no such time"):
        to_params([Parameter("rate", ("rate",), 0, 2, days=(0, 3))], jnp.zeros(2), TREE)


def test_a_covariate_is_raised_to_the_power_of_its_parameter() -> None:
    """On top of what an earlier parameter gives the target; days before the first value are left as they are."""
    tree = {"contacts": jnp.full((5, 2), 3.0)}
    free = [
        Parameter("level", ("contacts.1",), 0, prior=Prior("lognormal", 1, 1), days=(0,)),
        Parameter("response", ("contacts.1",), 0, prior=Prior("lognormal", 1, 1), covariate=((1, 0.5), (3, 2.0))),
    ]
    z = jnp.log(jnp.array([0.8, 1.5]))
    expected = 0.8 * np.array([1, 0.5, 0.5, 2, 2]) ** 1.5
    np.testing.assert_allclose(to_params(free, z, tree)["contacts"][:, 1], expected, rtol=1e-6)
    np.testing.assert_array_equal(to_params(free, z, tree)["contacts"][:, 0], 3)
    slope = jax.jacfwd(lambda z: to_params(free, z, tree)["contacts"][3, 1])(z)
    np.testing.assert_allclose(slope, expected[3] * np.array([1, 1.5 * np.log(2)]), rtol=1e-5)


def test_a_covariate_asks_for_a_target_over_time() -> None:
    parameter = Parameter("response", ("rate",), 0, 2, covariate=((0, 0.5),))
    with pytest.raises(ValueError, match="whose first axis is time, such as `contacts`"):
        to_params([parameter], jnp.zeros(1), TREE)
