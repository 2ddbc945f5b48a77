"""The flow meets a posterior that is known and bent, and the draws of NUTS."""

import numpy as np
import pytest

from lpm import calibration
from lpm.calibration import flow
from tests.calibration import growth

BEND = 0.4


def banana(u: np.ndarray) -> tuple[float, np.ndarray]:
    """x standard normal, y normal about b (x^2 - 1) with deviation 1/2."""
    x, y = u
    apart = y - BEND * (x**2 - 1)
    return -0.5 * x**2 - 2 * apart**2, np.array([-x + 8 * apart * BEND * x, -4 * apart])


def test_the_flow_begins_as_the_standard_normal() -> None:
    e = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    u, log_q = flow.pushed(flow.first(3, 4), e)
    np.testing.assert_allclose(u, e, atol=1e-5)
    np.testing.assert_allclose(log_q, -0.5 * (e**2).sum(1) - 1.5 * np.log(2 * np.pi), rtol=1e-5)


def test_the_density_of_the_flow_is_that_of_its_draws() -> None:
    """log q by the determinant of the whole Jacobian, for layers with weights of any kind."""
    import jax

    rng = np.random.default_rng(1)
    layers = [
        {name: value + 0.2 * rng.normal(size=value.shape).astype(np.float32) for name, value in layer.items()}
        for layer in flow.first(3, 4)
    ]
    e = rng.normal(size=(5, 3)).astype(np.float32)
    _, log_q = flow.pushed(layers, e)
    whole = jax.vmap(jax.jacobian(lambda one: flow.pushed(layers, one[None])[0][0]))(e)
    normal = -0.5 * (e**2).sum(1) - 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(log_q, normal - np.linalg.slogdet(np.asarray(whole))[1], rtol=1e-4, atol=1e-4)


def test_a_banana_is_met() -> None:
    """Moments within 4 standard errors of as many independent draws as the weights are worth; p < 1e-3 in all."""
    found = flow.fitted(banana, 2, steps=300, seed=1)
    u, _, efficiency = flow.resampled(found, banana, 2000, seed=1)
    assert efficiency > 0.6  # the normal with the banana's moments has less than half of that
    x, y = u.T
    worth = 2 * 2000 * efficiency
    apart = 2 * (y - BEND * (x**2 - 1))  # standard normal
    for seen, mean, deviation in (
        (x, 0, 1),
        (x**2, 1, 2**0.5),
        (apart, 0, 1),
        (apart**2, 1, 2**0.5),
        (x * apart, 0, 1),
    ):
        assert abs(seen.mean() - mean) < 4 * deviation * (1 / 2000 + 1 / worth) ** 0.5


def test_one_skewed_parameter_is_met() -> None:
    """log of a gamma variable with shape 2, where there is nothing to couple."""
    shape = 2.0

    def density(u: np.ndarray) -> tuple[float, np.ndarray]:
        return float(shape * u[0] - np.exp(u[0])), np.array([shape - np.exp(u[0])])

    found = flow.fitted(density, 1, steps=150)
    u, _, efficiency = flow.resampled(found, density, 2000)
    assert efficiency > 0.85
    assert np.exp(u).mean() == pytest.approx(shape, abs=4 * (shape / 1000) ** 0.5)


@pytest.mark.slow
def test_the_flow_and_nuts_say_the_same() -> None:
    fit = calibration.fit(growth.problem(), realizations=2, starts=1)
    by_nuts = calibration.sample(fit, draws=400, warmup=50, chains=2)
    by_flow = flow.sample(fit, draws=800, steps=60)
    assert by_flow.method == "flow"
    assert by_flow.efficiency > 0.7
    spread = by_nuts.z.reshape(-1, 2).std(0)
    apart = (by_flow.z.reshape(-1, 2).mean(0) - by_nuts.z.reshape(-1, 2).mean(0)) / spread
    assert (np.abs(apart) < 0.25).all()
    np.testing.assert_allclose(by_flow.intervals(), by_nuts.intervals(), rtol=0.1)
