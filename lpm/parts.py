"""A config's world built by several ranks, each its own part, so that none ever holds all.

The model's builder runs on every rank as it does on one process, while networks and populations make what belongs to
the rank's agents (`lpm.building`). A model of the user's own is first built small, both ways: what differs (such as an
attribute drawn for `len(ids)` agents from one stream) would have other numbers on each number of ranks, and then every
rank builds the whole world and takes its part of it (`lpm.partition`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm import building, devices, partition
from lpm.builders import SHIPPED
from lpm.building import Part, Whole
from lpm.config import Config, build_world, load
from lpm.distributed import Ranks
from lpm.errors import InputError, RunError
from lpm.fingerprints import checksum, is_network, of_numbers, of_world
from lpm.kernels import strata
from lpm.kernels.groups import Households, households
from lpm.networks.halos import total
from lpm.state import State
from lpm.trial import agents_setting
from lpm.world import Share, World

SMALL = 1_000  # agents of each rank, to see whether a model can be built in parts


def built(config: Config, ranks: Ranks, halo: bool | None = None) -> World:
    """This rank's part of a config's world; the world if the process is alone.

    Args:
        config: from `lpm.config.load`, the same on all ranks.
        ranks: who builds it.
        halo: whether flags are exchanged with neighbours, or all gathered; None for what moves fewer bytes.

    Raises:
        InputError: as `lpm.config.build_world`; on all ranks, if one of them has it.
        RunError: on all ranks, if one of them has not the memory or the files for its part.
    """
    if ranks.count == 1:
        return build_world(config)
    try:
        if config.model not in SHIPPED:
            _try_small(config, ranks)
        return of(lambda: build_world(config), ranks, halo)
    except Whole as reason:
        world = _whole(config, ranks)
        part = partition.part(world, ranks.rank, ranks.count, ranks.add, halo)
        assert part.share is not None
        line = f"{part.share.built}: {reason}"
        return dataclasses.replace(part, share=dataclasses.replace(part.share, built=line))


def divided(config: Config, ranks: Ranks, say: Callable[[str], None]) -> World:
    """As `built`, with lines on how many agents a rank has, who built what, and what travels in a step.

    Args:
        config, ranks: as for `built`.
        say: called with each line, on all ranks.
    """
    return told(partition.mine(built(config, ranks), ranks), ranks, say)


def told(world: World, ranks: Ranks, say: Callable[[str], None]) -> World:
    """A rank's part of a world, after the lines that `divided` says of it."""
    if ranks.count > 1 and world.share is not None:
        here = ranks.all(world.here)
        moved = world.share.moved if devices.engine(ranks) == "mpi" else ()  # else a run says it, of its devices
        for line in (f"{min(here):,} to {max(here):,} agents a rank", world.share.built, *moved):
            say(line)
    return world


def of(make: Callable[[], World], ranks: Ranks, halo: bool | None = None) -> World:
    """This rank's part of the world that a function makes.

    Args:
        make: called on all ranks, while networks and populations make what belongs to the agents of each.
        ranks, halo: as for `built`.

    Raises:
        Whole: on all ranks, if one of them could not make its part.
        RunError: on all ranks, if one of them failed with an error of the system.
    """
    if ranks.count == 1:
        return make()
    world, problem = None, ("", "")
    with building.on(ranks, halo) as part:
        try:
            world = finished(make(), part)
            part.ranks.hear()
        except Exception as error:
            if not part.ranks.over:
                problem = _of_the_system(error), str(error.__cause__ or error) or type(error).__name__
                part.ranks.hear(failed=True)
    problems = ranks.all(problem)
    for rank, (kind, text) in enumerate(problems):
        if kind:
            raise RunError(f"rank {rank}: asked for its part of the world, got {kind}: {text}")
    found = [text for _, text in problems if text]
    if found:
        raise Whole(found[0])
    assert world is not None
    return world


def _of_the_system(error: Exception) -> str:
    """The name of an error that building all instead of a part would not mend; "" for others."""
    cause = error.__cause__ or error
    own = isinstance(cause, Whole | InputError) or isinstance(error, InputError)
    return "" if own and not isinstance(cause, MemoryError) else type(cause).__name__


def _whole(config: Config, ranks: Ranks) -> World:
    """All of a config's world on every rank; the mistake of one rank alone is told on all, with its number."""
    world, error = None, None
    try:
        world = build_world(config)
    except Exception as failure:
        error = failure
    errors = ranks.all(error)
    first = next((rank for rank, each in enumerate(errors) if each is not None), None)
    if first is None:
        assert world is not None
        return world
    found, where = errors[first], f"rank {first}, not all {ranks.count}: "
    assert found is not None
    if all(each is not None for each in errors):
        raise found
    if isinstance(found, InputError):
        raise InputError([where + each for each in found.problems])
    raise RunError(f"{where}asked for a world, got {type(found).__name__}: {found}")


def _try_small(config: Config, ranks: Ranks) -> None:
    """Raise `Whole` unless a small world comes out the same built in parts and as a whole."""
    key, agents = agents_setting(config.settings) or ("", 0)
    few = SMALL * ranks.count
    if not key:
        raise Whole("its settings do not say how many agents there are, so that it could not be tried small")
    if agents is None or agents > few:
        try:
            config = load(config.path, [*config.overrides, f"{key}={few}"])
        except InputError:
            raise Whole(f"it could not be tried with {few:,} agents") from None
    part = of(lambda: build_world(config), ranks)
    whole = _whole(config, ranks)
    assert part.share is not None
    rows = [_described(each, prints) for each, prints in (
        (whole, of_world(whole.state.fixed, whole.agents)), (part, part.share.fingerprints))]  # fmt: skip
    sums = _sums(whole, whole.agents, lambda x: x), _sums(part, part.here, ranks.add)
    differing = [name for name in rows[0] if rows[0][name] != rows[1].get(name)]
    differing += [name for name in sums[0] if sums[0][name] != sums[1].get(name)]
    differing = [name for each in ranks.all(differing) for name in each]
    if differing:
        raise Whole(
            f"{differing[0]} came out differently in parts when tried with {whole.agents:,} agents; make what belongs "
            "to agents for all of them, and take those in `order`"
        )


def _described(world: World, fingerprints: dict[str, str]) -> dict[str, str]:
    """What of a world should not depend on who builds it."""
    said = {name: str(getattr(world, name)) for name in ("title", "scale", "coords", "notes", "cautions")}
    leaves = jax.tree_util.tree_leaves_with_path({"params": world.params, "env": world.state.env})
    return said | fingerprints | {jax.tree_util.keystr(path): checksum(np.asarray(leaf)) for path, leaf in leaves}


def _sums(world: World, here: int, added: Any) -> dict[str, str]:
    """Fingerprints of what belongs to agents and changes."""
    leaves = jax.tree_util.tree_leaves_with_path(world.state.agents)
    agents = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    return of_world({"id": world.state.fixed["id"], **agents}, world.agents, added=added)


def finished(world: World, part: Part) -> World:
    """A world of which builders have made this rank's part, ready to run.

    Args:
        world: as its builder returned it.
        part: what was noted when it was built.

    Raises:
        Whole: if something in it belongs to agents and was made neither for those of this rank nor for all.
    """
    state = _own_state(world, part)
    return dataclasses.replace(world, state=state, share=_share(state.fixed, part))


def _own_state(world: World, part: Part) -> State:
    """The state with everything that was made for all agents cut to those of this rank."""
    if part.bounds is None:
        raise Whole("nothing in it was made by lpm.networks or lpm.populations")
    made = {id(each.network): each for each in part.met}
    by_group = {each.all_groups: each for each in part.met if each.groups is not None}
    numbers = part.by_position()

    def cut(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if is_network(leaf):
            return leaf if id(leaf) in made else _network(leaf, part, name)
        length = np.shape(leaf)[0] if np.ndim(leaf) else -1
        if length == part.agents:
            part.whole.append(name)
            return jnp.asarray(np.asarray(leaf)[numbers])
        if length in by_group and length != part.here:
            return jnp.asarray(np.asarray(leaf)[by_group[length].groups])
        if length in by_group:
            raise Whole(f"{name} has as many entries as there are groups, and as there are agents of a rank")
        if name.startswith("agents.") and length != part.here:
            raise Whole(f"{name} has {length:,} entries, for {part.here:,} agents of a rank and {part.agents:,} of all")
        return leaf

    whole = {"agents": world.state.agents, "fixed": world.state.fixed}
    own = jax.tree_util.tree_map_with_path(cut, whole, is_leaf=is_network)
    state = dataclasses.replace(world.state, agents=own["agents"], fixed=own["fixed"])
    if len(state.fixed["id"]) != part.here:
        raise Whole(f"it has {len(state.fixed['id']):,} ids for {part.here:,} agents of a rank")
    return state


def _network(whole: Any, part: Part, name: str) -> Any:
    """Households or strata made with no help of lpm.networks, of this rank or of all."""
    mine = slice(part.first, part.end)
    if isinstance(whole, Households):
        if whole.agents == part.here:
            return whole
        place, size = partition.positions(whole), partition.sizes(whole)
        if whole.agents == part.agents and (part.end == part.agents or place[part.end] == 0) and place[part.first] == 0:
            part.whole.append(name)
            return households(place[mine], size[mine])
        raise Whole(f"blocks of agents cut a household of {name}")
    if isinstance(whole, strata.Strata):
        if len(whole.code) == part.here:
            return whole
        if len(whole.code) == part.agents and part.position is None:
            part.whole.append(name)
            return partition.some_strata(whole, np.arange(part.first, part.end))
    raise Whole(f"{name} was not made by lpm.networks")


def _share(fixed: dict[str, Any], part: Part) -> Share:
    """What the part is a part of."""
    ranks, ids = part.ranks, np.asarray(fixed["id"])
    by_number = np.empty_like(ids)
    by_number[part.by_position() - part.first] = ids
    rows, every = np.sort(ids), part.agents
    wide = ids.astype(np.uint64)
    low, high, sums, squares = zip(
        *ranks.all((int(ids.min()), int(ids.max()), int(wide.sum()), int((wide * wide).sum()))), strict=True
    )
    asked = every * (every - 1) // 2, (every - 1) * every * (2 * every - 1) // 6
    if (min(low), max(high), sum(sums), sum(squares) % 2**64) == (0, every - 1, asked[0], asked[1] % 2**64):
        words = of_numbers(every) if ids.dtype == np.uint32 else checksum(np.arange(every, dtype=ids.dtype))
    else:
        part.whole.append("ids")
        whole = np.sort(np.concatenate(ranks.all(ids)))
        words, rows = checksum(whole), np.searchsorted(whole, rows)

    far = {id(each.network): (part.asked(each.far, by_number), each.lanes) for each in part.met}
    all_groups = {len(each.groups): each.all_groups for each in part.met if each.groups is not None}
    found = of_world(
        fixed, every, lambda graph: far[id(graph)], lambda x, of: total(x, of, ranks), all_groups, ranks.add
    )
    held = f", which every rank first made for all agents: {', '.join(dict.fromkeys(part.whole))}" if part.whole else ""
    line = f"each rank built its own part{held and ', but for some things' + held}"
    return Share(ranks.rank, ranks.count, every, words, found, rows, tuple(part.moved), line)
