"""What several ranks build, each its own part, is what one process builds; and none holds all."""

import json
import re
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest

import lpm
from lpm import InputError, RunError, building, networks, parts, populations
from lpm.building import Whole
from lpm.config import build_world, load
from lpm.fingerprints import checksum, of_world
from lpm.world import World
from tests.ranks.launch import on_ranks
from tests.ranks.together import on

GRAPHS = {
    "erdos_renyi": lambda: networks.erdos_renyi(701, 6, 3),
    "small_world": lambda: networks.small_world(703, 8, 0.5, 3),
    "small_world, dense": lambda: networks.small_world(20, 10, 0.8, 3),
    "given_degrees": lambda: networks.given_degrees(networks.heavy_tailed_degrees(901, 7, 2.5, 100, 1), 3),
    "regular": lambda: networks.regular(500, 9, 4),
    "regular, dense": lambda: networks.regular(30, 8, 4),
}
SIR = ["run.steps=20", "settings.agents=2001"]
WORLDS = {
    "random graph": ("sir-million", SIR),
    "small world": ("sir-million", [*SIR, "settings.contacts.kind=small_world"]),
    "heavy tail": ("sir-million", [*SIR, "settings.contacts.kind=heavy_tailed"]),
    "well mixed": ("sir-million", [*SIR, "settings.contacts.kind=well_mixed"]),
    "city": ("nyc-2020", ["settings.people.agents=3001"]),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Populations kept for one test."""
    monkeypatch.setenv("LPM_CACHE_DIR", str(tmp_path / "cache"))


def pairs(edges: networks.Edges) -> np.ndarray:
    """Each edge as one number, increasing."""
    low, high = np.minimum(edges.source, edges.target), np.maximum(edges.source, edges.target)
    return np.sort(low.astype(np.int64) << 32 | high)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_random_graph_is_the_same_on_any_number_of_ranks(name: str, count: int) -> None:
    whole = GRAPHS[name]()

    def build(ranks):
        with building.on(ranks) as part:
            edges = GRAPHS[name]()
            touches = part.has(edges.source) | part.has(edges.target)
            return pairs(edges), edges.degrees(), edges.dropped, touches.all()

    found = on(count, build)
    every = np.concatenate([each[0] for each in found])
    np.testing.assert_array_equal(np.unique(every), pairs(whole))
    np.testing.assert_array_equal(np.concatenate([each[1] for each in found]), whole.degrees())
    assert len(every) > len(whole.source), "no edge joins two ranks, so nothing was tested"
    assert {each[2] for each in found} == {whole.dropped}
    assert all(each[3] for each in found)


def alike(whole: World, found: list[World]) -> None:
    """That worlds built in parts are those of one process."""
    assert sum(each.here for each in found) == whole.agents
    for part in found:
        assert part.share is not None
        assert part.share.fingerprints == of_world(whole.state.fixed, whole.agents)
        assert part.share.ids == checksum(np.sort(np.asarray(whole.state.fixed["id"])))
        ids, every = np.sort(np.asarray(part.state.fixed["id"])), np.sort(np.asarray(whole.state.fixed["id"]))
        np.testing.assert_array_equal(every[part.share.rows], ids)
        assert (part.title, part.scale, part.cautions) == (whole.title, whole.scale, whole.cautions)
        jax.tree.map(np.testing.assert_array_equal, part.params, whole.params)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", WORLDS)
def test_a_world_is_the_same_built_in_parts(name: str, count: int) -> None:
    config = load(*WORLDS[name])
    found = on(count, lambda ranks: parts.built(config, ranks))
    alike(build_world(config), found)
    assert {each.share.built for each in found if each.share} == {"each rank built its own part"}


def test_a_fingerprint_sees_one_edge_and_one_attribute(tmp_path: Path) -> None:
    one, other = (networks.Edges(4, np.array([0, 1]), np.array([1, last])) for last in (2, 3))
    ids = np.arange(4, dtype=np.uint32)
    prints = [of_world({"id": ids, "graph": networks.graph(each, keep_order=True)}, 4) for each in (one, other)]
    assert prints[0]["fixed.graph"] != prints[1]["fixed.graph"]
    prints = [of_world({"id": ids, "age": np.array(ages)}, 4) for ages in ([1, 2, 3, 4], [1, 2, 4, 3])]
    assert prints[0]["fixed.age"] != prints[1]["fixed.age"]
    assert prints[0]["fixed.id"] == prints[1]["fixed.id"]


PEOPLE = "age,region,household,place\n" + "".join(
    f"{20 + i % 50},{'NS'[i % 2]},{i % 60},{i % 11}\n" for i in range(600)
)


def test_people_and_edges_from_files_are_cut_and_said_to_be_held_whole(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(PEOPLE)
    ring = "".join(f"{i},{(i + 7) % 300}\n" for i in range(300))
    (tmp_path / "edges.csv").write_text("source,target\n" + ring)
    for model, key, file in (("city", "people", "people.csv"), ("sir", "contacts", "edges.csv")):
        (tmp_path / "config.yaml").write_text(
            f"model: lpm.worlds.{model}:build\nrun: {{steps: 20}}\nsettings: {{{key}: {{file: {tmp_path / file}}}}}\n"
        )
        config = load(tmp_path / "config.yaml")
        found = on(3, lambda ranks, config=config: parts.built(config, ranks))
        alike(build_world(config), found)
        assert all(each.share and "first made for all agents" in each.share.built for each in found)


@pytest.mark.parametrize(
    ("changed", "said"),
    [((37, -1), "got -1 for agent 37"), ((37, 2), "got household 2 at agent"), ((slice(20, 60), 9), "agents 18 to 59")],
)
def test_a_mistake_in_households_is_told_by_the_agents_own_numbers(changed: tuple, said: str) -> None:
    homes = np.repeat(np.arange(40), 2)
    homes[changed[0]] = changed[1]

    def build(ranks):
        with building.on(ranks):
            return networks.households(homes)

    for count in (2, 3):
        with pytest.raises(InputError, match=said):
            on(count, build)


def test_a_household_on_ranks_that_are_not_neighbours_is_told() -> None:
    def build(ranks):
        with building.on(ranks) as part:
            part.divide(30)
            own = np.arange(part.first, part.end) // 2
            if ranks.rank == 2:
                own[-2:] = 1
            return networks.households(own)

    with pytest.raises(InputError, match="household 1 on the ranks 0 and 2"):
        on(3, build)


def test_households_stay_whole() -> None:
    homes = np.repeat(np.arange(40), 1 + np.arange(40) % 5)

    def build(ranks):
        with building.on(ranks) as part:
            return networks.households(homes).agents, part.bounds

    found = on(4, build)
    assert sum(each[0] for each in found) == len(homes)
    inner = found[0][1][1:-1]
    assert np.all(homes[inner] != homes[inner - 1])


def test_a_graph_before_households_is_not_built_in_parts() -> None:
    def build(ranks):
        with building.on(ranks):
            networks.erdos_renyi(30, 3, 1)
            networks.households(np.arange(30) // 4)

    with pytest.raises(Whole, match="cut a household"):
        on(2, build)


MODEL = """
    import dataclasses, jax.numpy as jnp, numpy as np, lpm
    from lpm import networks
    from lpm.settings import Calendar, Positive

    @dataclasses.dataclass(frozen=True)
    class Settings:
        agents: Positive = 3000
        how: str = "all"

    def live(params, state, key):
        return state, {}

    def build(settings: Settings, calendar: Calendar) -> lpm.World:
        graph, order = networks.graph(networks.erdos_renyi(settings.agents, 5, seed=0))
        drawn = np.random.default_rng(0).random
        gain = {"all": lambda: drawn(settings.agents)[order], "own": lambda: drawn(len(order)),
                "mixed": lambda: np.zeros(settings.agents) + len(order), "short": lambda: np.zeros(5)}
        fixed = {"id": jnp.asarray(order, jnp.uint32), "graph": graph, "gain": jnp.float32(gain[settings.how]())}
        first = lpm.initial_state({"wealth": jnp.zeros(settings.agents)}, fixed=fixed)
        return lpm.World(lpm.chain(live=live), (), first, ())
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("all", "each rank built its own part, but for some things, which every rank .* agents.wealth"),
        ("own", "every rank built the whole world, .* fixed.gain came out differently in parts"),
        ("mixed", "every rank built the whole world, .* fixed.gain came out differently in parts"),
    ],
)
def test_a_model_that_depends_on_who_builds_it_is_built_whole(how: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(textwrap.dedent(MODEL))
    (tmp_path / "config.yaml").write_text(f"model: model.py:build\nrun: {{steps: 5}}\nsettings: {{how: {how}}}\n")
    config = load(tmp_path / "config.yaml")
    for part in on(2, lambda ranks: parts.built(config, ranks)):
        assert part.share is not None
        assert re.match(said, part.share.built), part.share.built


@pytest.mark.parametrize("victim", [0, 1, 2])
@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_a_rank_that_fails_alone_is_heard_of_by_all(when: str, victim: int) -> None:
    """Whatever the others are waiting for, and what is the matter; afterwards they go on together."""

    def make(ranks, error):
        def fail(moment):
            if moment == when and ranks.rank == victim:
                raise error

        fail("before")
        edges = networks.erdos_renyi(300, 5, seed=0)
        fail("between")
        graph, order = networks.graph(edges)
        fail("after")
        fixed = {"id": jax.numpy.asarray(order, jax.numpy.uint32), "graph": graph}
        first = lpm.initial_state({"wealth": jax.numpy.zeros(len(order))}, fixed=fixed)
        return lpm.World(lpm.chain(live=lambda params, state, key: (state, {})), (), first, ())

    def build(ranks):
        said = []
        for error in (InputError("no such file"), MemoryError("no room"), Whole("not in parts")):
            try:
                parts.of(lambda error=error: make(ranks, error), ranks)
            except (Whole, RunError) as told:
                said.append(f"{type(told).__name__}: {told}")
        return said, ranks.all(ranks.rank)

    room = f"RunError: rank {victim}: asked for its part of the world, got MemoryError: no room"
    for said, together in on(3, build):
        assert said == ["Whole: no such file", room, "Whole: not in parts"]
        assert together == [0, 1, 2]


def test_a_population_is_read_in_rows(tmp_path: Path) -> None:
    whole = populations.new_york_city(2000, cache=False)

    def build(ranks):
        with building.on(ranks) as part:
            found = populations.new_york_city(2000)
            assert not isinstance(found.age, np.memmap)
            return part.whole, found

    found = on(3, build)
    assert [each[0] for each in found] == [[], [], []]
    for name, array in whole.arrays().items():
        if not name.startswith("place_"):
            np.testing.assert_array_equal(np.concatenate([getattr(each[1], name) for each in found]), array)


AGENTS, BOUND = 1_000_000, 0.6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of peak memory")
def test_no_rank_needs_the_memory_of_all(tmp_path: Path) -> None:
    """The rise of resident memory while a world is built: four ranks against one process. With none apart it is 1."""
    done = on_ranks(4, "memory", str(tmp_path), str(AGENTS), MALLOC_MMAP_THRESHOLD_="262144")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "memory.json").read_text())
    assert max(found["parts"]) < BOUND * found["whole"], found
