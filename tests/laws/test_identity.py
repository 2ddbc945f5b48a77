"""Draws belong to agents, substeps and days: not to positions, to neighbours in the code or to what comes later."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import Observable, World, networks
from lpm.kernels import random
from lpm.worlds import city
from lpm.worlds.schedule import LAYERS, Change
from tests.laws.worlds import CALENDAR, CITY, IMPORTED, STEPS, WORLDS, same, simulated, sir_on_a_graph, small_city


def by_id(world: World) -> np.ndarray:
    """Everybody's stage on each day, (steps, agents), in the order of the ids."""
    return simulated(world)["stages"][:, np.argsort(np.asarray(world.state.fixed["id"]))]


def aggregates(world: World) -> dict[str, np.ndarray]:
    seen = simulated(world)
    return {name: values for name, values in seen.items() if name != "stages"}


def standing(world: World, edges: networks.Edges, position: np.ndarray) -> World:
    """The world on a graph of ids, where agent `id` stands at `position[id]`."""
    graph = networks.graph(
        networks.Edges(edges.n_agents, position[edges.source], position[edges.target]), keep_order=True
    )
    fixed = {**world.state.fixed, "contacts": graph, "id": jnp.asarray(np.argsort(position).astype(np.uint32))}
    return dataclasses.replace(world, state=dataclasses.replace(world.state, fixed=fixed))


def test_agents_permuted_with_their_ids_give_the_same_bits_on_a_graph():
    world = sir_on_a_graph()
    edges = networks.erdos_renyi(world.agents, 6, seed=3)
    natural = standing(world, edges, np.arange(world.agents))
    shuffled = standing(world, edges, np.random.default_rng(1).permutation(world.agents))
    assert not np.array_equal(natural.state.fixed["id"], shuffled.state.fixed["id"])
    for other in (shuffled, world):  # the builder has an order of its own
        assert np.array_equal(by_id(natural), by_id(other))
        assert same(aggregates(natural), aggregates(other))


def test_ids_decide_the_draws():
    world = sir_on_a_graph()
    other = world.state.fixed["id"][::-1]
    relabelled = dataclasses.replace(
        world, state=dataclasses.replace(world.state, fixed=world.state.fixed | {"id": other})
    )
    assert not same(simulated(world), simulated(relabelled))


def shuffled_population(who, rng: np.random.Generator):
    """The same people: households in another order within their region, members within their household."""
    household = np.cumsum(who.position == 0) - 1
    order = np.lexsort((rng.random(len(who)), rng.random(household[-1] + 1)[household], who.region))
    places = rng.permutation(len(who.place_kind)).astype(np.int32)  # groups may be numbered in any way, too
    renumbered = np.empty_like(who.place_kind)
    renumbered[places] = who.place_kind
    first = np.flatnonzero(np.diff(household[order], prepend=-1))
    position = np.arange(len(who)) - np.repeat(first, np.diff(first, append=len(who)))
    return dataclasses.replace(
        who,
        ids=who.ids[order],
        age=who.age[order],
        region=who.region[order],
        size=who.size[order],
        position=position.astype(np.uint8),
        place=np.append(places, np.int32(-1))[who.place[order]],
        place_kind=renumbered,
    )


def test_households_permuted_within_their_region_give_the_same_bits(monkeypatch):
    world = small_city()
    shuffled = shuffled_population(city.population(CITY.people), np.random.default_rng(1))
    monkeypatch.setattr(city, "population", lambda people: shuffled)
    other = city.build(CITY, CALENDAR)
    assert not np.array_equal(world.state.fixed["id"], other.state.fixed["id"])
    assert np.array_equal(by_id(world), by_id(other))
    assert same(aggregates(world), aggregates(other))


def draw(name):
    """A substep that draws a word for each agent and does nothing else."""

    def substep(params, state, key):
        return state, {name: random.words(key, state.fixed["id"])[0]}

    return substep


DRAWS = {name: draw(name) for name in ("ageing", "births", "moves")}
SEEN = {name: Observable(name, lambda state, info, name=name: info[name]) for name in DRAWS}


def drawn(names) -> dict[str, np.ndarray]:
    state = lpm.initial_state({"wealth": jnp.ones(33)})
    model = lpm.chain(**{name: DRAWS[name] for name in names})
    return lpm.simulate(model, None, state, lpm.key(5), steps=3, observe=[SEEN[name] for name in names])[1]


def test_substeps_added_removed_or_reordered_change_no_others_draws():
    alone = {name: np.asarray(drawn([name])[name]) for name in DRAWS}
    assert len({words.tobytes() for words in alone.values()}) == 3
    for several in (2, 3):
        for names in itertools.permutations(DRAWS, several):
            for name, words in drawn(names).items():
                np.testing.assert_array_equal(words, alone[name])


def moods(params, state, key):
    """An unrelated substep: it draws, and changes an entry of its own."""
    happy = random.bernoulli(key, state.fixed["id"], jnp.float32(0.3))
    return state.replace(mood=state.agents["mood"] + happy), {"happy": happy}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("sir_on_a_graph", {"before": "infect_and_recover"}),
        ("seir_small_world", {"before": "infect"}),
        ("city", {"after": "course"}),
    ],
)
def test_an_unrelated_substep_changes_no_epidemic(name, place):
    world = WORLDS[name]()
    agents = {**world.state.agents, "mood": jnp.zeros(world.agents, jnp.uint8)}
    more = dataclasses.replace(
        world, model=world.model.insert(moods=moods, **place), state=dataclasses.replace(world.state, agents=agents)
    )
    assert same(simulated(world), simulated(more))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_change_on_one_day_leaves_all_days_before_it(layer):
    day = 17
    changed = city.build(dataclasses.replace(CITY, schedule=(Change(layer, day, 0.0),)), CALENDAR)
    one, other = simulated(small_city()), simulated(changed)
    for name in one:
        np.testing.assert_array_equal(one[name][:day], other[name][:day])
    assert not np.array_equal(one["stages"][day:], other["stages"][day:])


def test_importation_that_ends_leaves_all_days_before_its_end():
    ended = city.build(dataclasses.replace(CITY, importation=(city.Importation(IMPORTED, to=9),)), CALENDAR)
    one, other = simulated(small_city()), simulated(ended)
    assert all(np.array_equal(one[name][:10], other[name][:10]) for name in one)
    assert not np.array_equal(one["stages"][10:], other["stages"][10:])


@pytest.mark.parametrize("name", ["sir_on_a_graph", "city"])
def test_records_of_several_days_sum_flows_and_sample_stocks(name):
    world, every = WORLDS[name](), 4
    daily, rare = simulated(world), simulated(world, every=every)
    flows = {observable.name for observable in world.observables if observable.over == "sum"}
    assert flows & {"incidence", "infections"}
    for observable in daily:
        days = daily[observable].reshape(STEPS // every, every, *daily[observable].shape[1:])
        expected = days.sum(1, dtype=days.dtype) if observable in flows else days[:, -1]
        np.testing.assert_array_equal(rare[observable], expected)


def test_a_mean_is_over_the_days_of_its_record():
    world = sir_on_a_graph()
    infectious = world.observables[2]
    mean = dataclasses.replace(infectious, name="mean", over="mean")
    start = (world.model, world.params, world.state, lpm.key(1))
    seen = lpm.simulate(*start, steps=STEPS, every=8, observe=(mean,))[1]["mean"]
    np.testing.assert_allclose(seen, simulated(world)["infectious"].reshape(-1, 8).mean(1), rtol=1e-6)


def test_a_mean_of_whole_numbers_does_not_wrap_around():
    world = sir_on_a_graph()
    many = lpm.Observable("many", lambda state, info: jnp.int32(2**30), over="mean")
    start = (world.model, world.params, world.state, lpm.key(1))
    seen = lpm.simulate(*start, steps=8, every=8, observe=(many,))[1]["many"]
    np.testing.assert_array_equal(seen, np.float32(2**30))


def test_a_substep_is_inserted_once_and_in_one_place():
    model, rest = sir_on_a_graph().model, lambda params, state, key: (state, {})
    (first, _), *_ = model.substeps
    assert [name for name, _ in model.insert(rest=rest, before=first).substeps][:2] == ["rest", first]
    with pytest.raises(ValueError, match="asked for names that the model"):
        model.insert(**{first: rest})
    with pytest.raises(ValueError, match="asked for one place"):
        model.insert(rest=rest, before=first, after=first)
    with pytest.raises(ValueError, match="asked for a place beside 'nobody'"):
        model.insert(rest=rest, before="nobody")


def test_a_simulation_in_two_parts_is_the_whole():
    world = sir_on_a_graph()
    half, _ = lpm.simulate(world.model, world.params, world.state, lpm.key(1), steps=STEPS // 2)
    end, _ = lpm.simulate(world.model, world.params, half, lpm.key(1), steps=STEPS // 2, start=False)
    np.testing.assert_array_equal(end.agents["stage"].value, simulated(world)["stages"][-1])


def test_the_state_given_to_a_simulation_is_unchanged():
    world = sir_on_a_graph()
    before = [np.array(leaf) for leaf in jax.tree.leaves(world.state)]
    simulated(world)
    after = [np.asarray(leaf) for leaf in jax.tree.leaves(world.state)]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
