"""People are neither made nor lost, and nobody is infected by nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import World
from lpm.worlds.schedule import LAYERS
from tests.laws.worlds import FIRST_CASES, WORLDS, infections, same, simulated, sir_on_a_graph, small_city


@pytest.mark.parametrize("name", WORLDS)
def test_people_are_conserved(name):
    world = WORLDS[name]()
    tally = simulated(world)["tally"]
    assert (tally.sum(1) == world.agents).all()
    assert (tally.sum(0) > 0).all(), "a stage that nobody visits checks nothing"


@pytest.mark.parametrize("name", WORLDS)
def test_every_infection_takes_one_susceptible(name):
    world = WORLDS[name]()
    seen = simulated(world)
    at_first = world.agents - (0 if name == "city" else FIRST_CASES)
    susceptible = np.array([at_first, *seen["tally"][:, 0]])
    assert infections(world, seen).sum() > 100
    np.testing.assert_array_equal(-np.diff(susceptible), infections(world, seen))


@pytest.mark.parametrize("name", ["sir_on_a_graph", "sir_well_mixed", "seir_small_world"])
def test_stocks_count_those_in_their_stage(name):
    world = WORLDS[name]()
    seen = simulated(world)
    if name == "seir_small_world":
        course = world.state.fixed["course"]
        kinds = {stage.name: course.kinds(stage.name) for stage in course.stages}
    else:
        kinds = {"susceptible": (0,), "infectious": (1,), "recovered": (2,)}
    for stage, numbers in kinds.items():
        np.testing.assert_array_equal(seen[stage], seen["tally"][:, list(numbers)].sum(1))
    assert (np.diff(seen["recovered"]) >= 0).all()


def test_events_and_stocks_of_the_city_agree():
    world = small_city()
    seen, course = simulated(world), world.state.fixed["course"]

    def present(*stages):
        return seen["tally"][:, list(course.kinds(*stages))].sum(1)

    total = {name: values.sum((1, 2)) for name, values in seen.items() if values.ndim == 3}
    np.testing.assert_array_equal(total["deaths"].cumsum(), present("dead"))
    np.testing.assert_array_equal(total["critical"], present("critical"))
    np.testing.assert_array_equal(total["hospitalised"], present("hospitalised", "critical"))
    np.testing.assert_array_equal(total["infectious"], present("presymptomatic", "symptomatic", "asymptomatic"))
    before = np.concatenate([np.zeros((1, world.agents), np.uint8), seen["stages"][:-1]])
    for event, stage in (("onsets", "symptomatic"), ("admissions", "hospitalised")):
        entered = np.isin(seen["stages"], course.kinds(stage)) & ~np.isin(before, course.kinds(stage))
        np.testing.assert_array_equal(total[event], entered.sum(1))
        assert entered.sum() > 50


def test_counts_by_region_and_age_are_of_the_right_people():
    world = small_city()
    seen, fixed = simulated(world), world.state.fixed
    bounds, band = fixed["community"].strata.bounds, np.asarray(fixed["band"])
    region = np.searchsorted(bounds, np.arange(world.agents), side="right") - 1
    critical = np.isin(seen["stages"], fixed["course"].kinds("critical"))
    for day in (20, 39):
        expected = np.zeros((5, 9), int)
        np.add.at(expected, (region[critical[day]], band[critical[day]]), 1)
        np.testing.assert_array_equal(seen["critical"][day], expected)


@pytest.mark.parametrize("name", ["sir_on_a_graph", "sir_well_mixed", "seir_small_world"])
def test_zero_transmission_no_spread(name):
    world = WORLDS[name]()
    still = dataclasses.replace(world, params=dataclasses.replace(world.params, transmission=jnp.float32(0)))
    seen = simulated(still)
    assert seen["incidence"].sum() == 0
    assert (seen["tally"][:, 0] == world.agents - FIRST_CASES).all()
    assert seen["recovered"][-1] > 0


def with_rates(world: World, transmission: float, importation: float) -> World:
    """The city with all transmission and importation times a factor."""
    params = dataclasses.replace(
        world.params,
        transmission={name: rate * transmission for name, rate in world.params.transmission.items()},
        importation=world.params.importation * importation,
    )
    return dataclasses.replace(world, params=params)


@pytest.mark.parametrize("transmission", [0.0, 1.0])
def test_without_importation_nobody_in_the_city_is_infected(transmission):
    seen = simulated(with_rates(small_city(), transmission, 0.0))
    assert (seen["stages"] == 0).all()


def test_without_transmission_the_city_has_only_imported_cases():
    """20 a day for 40 days, fewer as susceptibles are used up and since children are less susceptible."""
    imported = simulated(with_rates(small_city(), 0.0, 1.0))["infections"].sum()
    assert 500 < imported < 900
    assert simulated(small_city())["infections"].sum() > 2 * imported


def layer_absent(world: World, layer: str) -> World:
    """The city without a layer: its members live alone, belong to no group, or meet nobody."""
    fixed, n = dict(world.state.fixed), world.agents
    if layer == "household":
        alone = dataclasses.replace(
            fixed["households"],
            start=jnp.tile(jnp.arange(32, dtype=jnp.int8), (fixed["households"].start.shape[0], 1)),
            size=jnp.ones_like(fixed["households"].size),
        )
        fixed["households"] = alone
    elif layer == "community":
        fixed["community"] = dataclasses.replace(fixed["community"], ages=jnp.zeros_like(fixed["community"].ages))
    else:
        gone = np.asarray(fixed["place_kind"]) == ("school", "work").index(layer)
        places, first, rows = fixed["places"], 0, []
        for row in places.rows:
            rows.append(jnp.asarray(np.where(gone[first : first + row.shape[1]], n, row).astype(np.int32)))
            first += row.shape[1]
        group = np.asarray(places.group)
        group = np.where(np.append(gone, True)[group], len(gone), group).astype(np.int32)
        fixed["places"] = dataclasses.replace(places, rows=tuple(rows), group=jnp.asarray(group))
    return dataclasses.replace(world, state=dataclasses.replace(world.state, fixed=fixed))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_without_contacts_is_a_layer_that_is_absent(layer):
    world = small_city()
    contacts = world.params.contacts.at[:, LAYERS.index(layer)].set(0)
    closed = dataclasses.replace(world, params=dataclasses.replace(world.params, contacts=contacts))
    assert same(simulated(closed), simulated(layer_absent(world, layer)))
    assert not same(simulated(closed), simulated(world))


def test_a_model_without_substeps_changes_nothing():
    world = sir_on_a_graph()
    state, _ = lpm.simulate(lpm.chain(), None, world.state, lpm.key(1), steps=3)
    assert int(state.step) == 3
    before, after = jax.tree.leaves(world.state.agents), jax.tree.leaves(state.agents)
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
