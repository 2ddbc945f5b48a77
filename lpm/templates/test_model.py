"""What must always hold in the model: run with `python -m pytest`."""

import model
import numpy as np

import lpm


def simulate(settings, seed=1, steps=60):
    world = model.build(settings, lpm.Calendar(steps))
    _, seen = lpm.simulate(
        world.model, world.params, world.state, lpm.key(seed), steps=steps, observe=world.observables
    )
    return {name: np.asarray(values) for name, values in seen.items()}


def test_nobody_hears_a_rumour_that_convinces_nobody():
    assert simulate(model.Settings(convincing=0.0))["newly_aware"].sum() == 0


def test_nobody_hears_it_twice():
    settings = model.Settings(convincing=0.2)
    first_tellers = 10
    assert simulate(settings)["newly_aware"].sum() <= settings.agents - first_tellers


def test_the_same_seed_gives_the_same_numbers():
    one, other = simulate(model.Settings()), simulate(model.Settings())
    assert all((one[name] == other[name]).all() for name in one)
