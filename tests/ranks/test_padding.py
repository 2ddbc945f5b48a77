"""Parts with the same shapes say what the parts said: emulated in numpy, message by message."""

import itertools
from typing import Any

import jax
import numpy as np
import pytest

from lpm import devices, padding, partition
from lpm.errors import InputError
from lpm.kernels import bits, strata
from lpm.kernels.graph import Graph
from lpm.kernels.groups import Groups
from tests.laws.worlds import sir_on_a_graph
from tests.ranks.town import town


def divided(world: Any, count: int, halo: bool) -> tuple[list[np.ndarray], padding.Parts, list[dict[str, Any]]]:
    """Who is on each device, and what the devices are given."""
    owner = partition.blocks(world, 0, count, even=True).owner
    agents = [np.flatnonzero(owner == rank) for rank in range(count)]
    parts = padding.Parts(tuple(map(len, agents)), 0, lambda values: values)
    fixed = [each.state.fixed for each in devices.parts_of(world, count, halo)]
    return agents, parts, padding.alike(fixed, parts)


def sent_in_rounds(values: list[np.ndarray], widths: tuple[int, ...], step: int = 1) -> list[np.ndarray]:
    """What `lpm.kernels.collectives.passed` brings to each device."""
    count, ends = len(values), np.cumsum((0, *widths))
    came: list[list[np.ndarray]] = [[] for _ in values]
    for distance, (low, high) in enumerate(itertools.pairwise(ends), start=1):
        for rank, each in enumerate(values):
            came[(rank + step * distance) % count].append(each[low:high])
    return [np.concatenate(each) for each in came]


def neighbours(graph: Graph, flags: np.ndarray) -> np.ndarray:
    """Flagged neighbours of each agent, from its table and all flags that it reads."""
    rows = [np.asarray(row) if graph.by_agent else np.asarray(row).T for row in graph.rows]
    found = np.concatenate([flags[row].sum(1) for row in rows])
    return found if graph.place is None else found[np.asarray(graph.place)]


@pytest.mark.parametrize("make", [sir_on_a_graph, town])
@pytest.mark.parametrize("halo", [True, False])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_neighbours_on_devices_are_those_of_the_whole(make: Any, halo: bool, count: int) -> None:
    world = make()
    name = "contacts" if "contacts" in world.state.fixed else "friends"
    agents, parts, fixed = divided(world, count, halo)
    flags = np.random.default_rng(1).integers(0, 2, world.agents)
    whole = neighbours(world.state.fixed[name], np.append(flags, 0))
    lanes = 32 * bits.words_for(parts.here)
    own = [np.pad(flags[each], (0, lanes - len(each))) for each in agents]
    halos = [each[name].halo for each in fixed]
    if halo:
        widths = tuple(32 * width for width in halos[0].to)
        came = sent_in_rounds([each[np.asarray(h.send)] for each, h in zip(own, halos, strict=True)], widths)
    else:
        came = [np.concatenate(own)] * count
    shapes = {jax.tree.structure(each[name]) for each in fixed}
    assert len(shapes) == 1
    assert len({str(jax.tree.map(np.shape, each[name])) for each in fixed}) == 1
    for mine, each, flagged, more in zip(agents, fixed, own, came, strict=True):
        found = neighbours(each[name], np.concatenate([flagged, more]))
        np.testing.assert_array_equal(found[: len(mine)], whole[mine])


@pytest.mark.parametrize("count", [2, 3])
def test_groups_on_devices_have_all_their_members(count: int) -> None:
    world = town()
    agents, parts, fixed = divided(world, count, True)
    whole: Groups = world.state.fixed["places"]
    flags = np.random.default_rng(2).integers(0, 2, world.agents)
    groups: list[Groups] = [each["places"] for each in fixed]
    own = [np.pad(flags[each], (0, parts.here - len(each) + 1)) for each in agents]
    sums = []
    for flagged, each in zip(own, groups, strict=True):
        counts = np.concatenate([flagged[np.asarray(row)].sum(0) for row in each.rows])
        sums.append(np.append(counts, 0))
    shared = [each.shared for each in groups]
    came = sent_in_rounds([s[np.asarray(h.sent)] for s, h in zip(sums, shared, strict=True)], shared[0].to)
    for values, h, parts_ in zip(sums, shared, came, strict=True):
        np.add.at(values, np.asarray(h.kept), parts_)
        assert values[-1] == 0
    back = sent_in_rounds([s[np.asarray(h.kept)] for s, h in zip(sums, shared, strict=True)], shared[0].from_, -1)
    for values, h, totals in zip(sums, shared, back, strict=True):
        values[np.asarray(h.sent)] = totals
    of_whole = np.bincount(np.asarray(whole.group), flags, minlength=len(whole.size) + 1)
    kind = np.append(np.asarray(world.state.fixed["place_kind"]), 0)
    for mine, values, each, given in zip(agents, sums, groups, fixed, strict=True):
        group, before = np.asarray(each.group)[: len(mine)], np.asarray(whole.group)[mine]
        inside = before < len(whole.size)
        np.testing.assert_array_equal(group < len(each.size), inside)
        np.testing.assert_array_equal(values[group[inside]], of_whole[before[inside]])
        np.testing.assert_array_equal(np.asarray(each.size)[group[inside]], np.asarray(whole.size)[before[inside]])
        np.testing.assert_array_equal(np.asarray(given["place_kind"])[group[inside]], kind[before[inside]])


def test_strata_with_columns_count_and_add_up_the_same() -> None:
    rng = np.random.default_rng(3)
    region, band = np.sort(rng.integers(0, 4, 1000)), rng.integers(0, 5, 1000)
    plain = strata.strata(region, band, 5, 5)
    laid = strata.with_columns(plain, 1003, plain.masks.shape[2] + 2)
    flags = np.pad(rng.integers(0, 2, 1000).astype(np.uint8), (0, 3), constant_values=1)
    values = np.pad(rng.random(1000).astype(np.float32), (0, 3), constant_values=9)
    counted = strata.count(bits.pack(jax.device_put(flags[:1000])), plain)
    np.testing.assert_array_equal(strata.count(bits.pack(jax.device_put(flags)), laid), counted)
    expected = np.zeros((5, 5))
    np.add.at(expected, (region, band), values[:1000])
    np.testing.assert_allclose(strata.sums(jax.device_put(values), laid), expected, rtol=1e-5)


def test_arrays_that_differ_between_devices_are_refused() -> None:
    parts = padding.Parts((3, 2), 0, lambda values: values)
    given = [{"id": np.arange(3), "odd": np.zeros(7)}, {"id": np.arange(2), "odd": np.zeros(6)}]
    with pytest.raises(InputError, match=r"fixed\['odd'\], or as many on all devices, got 7, 6"):
        padding.alike(given, parts)
    (one, other) = padding.alike([{"id": each["id"]} for each in given], parts)
    np.testing.assert_array_equal((one["id"], other["id"]), ([0, 1, 2], [0, 1, 1]))
