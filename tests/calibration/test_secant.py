"""A Jacobian mended by the steps that were tried."""

import numpy as np
import pytest

from lpm.calibration import marquardt


def test_a_mended_jacobian_tells_the_step_and_nothing_across_it() -> None:
    generator = np.random.default_rng(4)
    root, old = generator.normal(size=(5, 5)), generator.normal(size=(9, 5))
    metric, step, change = root @ root.T + np.eye(5), generator.normal(size=5), generator.normal(size=9)
    new = marquardt.secant(old, metric, step, change)
    assert new @ step == pytest.approx(change)
    across = generator.normal(size=5)
    across -= step * (step @ metric @ across) / (step @ metric @ step)
    assert new @ across == pytest.approx(old @ across)


def test_steps_in_all_directions_make_a_linear_map_known() -> None:
    generator = np.random.default_rng(5)
    truth, found = generator.normal(size=(9, 5)), np.zeros((9, 5))
    for _ in range(200):
        step = generator.normal(size=5)
        found = marquardt.secant(found, np.eye(5), step, truth @ step)
    assert found == pytest.approx(truth, abs=1e-4)
