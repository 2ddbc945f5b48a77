"""lpm on a GPU: the same bits as on the processor, then how fast.  python benchmarks/gpu.py [--small] [--out FILE]

Needs jax, numpy and lpm's source, nothing else: in a clone, `pip install "jax[cuda12]"`, then
`PYTHONPATH=. python benchmarks/gpu.py`. Networks are made on the device, from keyed permutations, in seconds:

- graph: five permutations of the agents; everybody's contacts are the images and the preimages, ten in all;
- groups: households of one to four side by side; every second agent works, twenty to a workplace, drawn among about a
  million neighbours.

What does not fit the memory is named in the result as skipped. The result goes to benchmarks/results/gpu.json.
"""

from __future__ import annotations

import argparse
import functools
import gc
import itertools
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.94")  # before jax starts; 330 million agents take 20 GB

import jax
import jax.numpy as jnp
import numpy as np
from machine import machine, save, spread

import lpm
from lpm.kernels import bits, contagion, graph, groups, random
from lpm.kernels.stages import Stages, among, chosen, event, move, number

RESULT = Path(__file__).parent / "results" / "gpu.json"
SIZES = {"10M": 10_000_000, "100M": 100_000_000, "330M": 330_000_000}
SMALL = {"10M": 10_000}
GRADIENT, DAYS = 8_800_000, 180
ENTRIES = 2**31 - 1  # of one table: an index into it is an int32, however many edges there are in all
SUSCEPTIBLE, INFECTIOUS, RECOVERED = 0, 1, 2
WORKPLACE = 20


def shuffled(x: jax.Array, rows: int, columns: int, key: jax.Array, back: bool = False) -> jax.Array:
    """A keyed permutation of 0 .. rows columns - 1, or its inverse: a Feistel network over Z_rows x Z_columns."""
    left, right = x // np.uint32(columns), x % np.uint32(columns)

    def mixed(half: jax.Array, r: int, modulus: int) -> jax.Array:
        word, _ = random.threefry((key, jnp.uint32(r)), (half, jnp.uint32(0)), rounds=12)
        return word % np.uint32(modulus)

    for r in reversed(range(4)) if back else range(4):
        if back:
            right = (right + np.uint32(columns) - mixed(left, 2 * r + 1, columns)) % np.uint32(columns)
            left = (left + np.uint32(rows) - mixed(right, 2 * r, rows)) % np.uint32(rows)
        else:
            left = (left + mixed(right, 2 * r, rows)) % np.uint32(rows)
            right = (right + mixed(left, 2 * r + 1, columns)) % np.uint32(columns)
    return left * np.uint32(columns) + right


def rounded(agents: int) -> tuple[int, int]:
    """About so many agents in blocks of about a million: (blocks, agents in a block, a multiple of 5,120)."""
    blocks = max(1, round(agents / 2**20))
    return blocks, 5120 * max(1, round(agents / blocks / 5120))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def contacts(n: int, first: int, last: int) -> jax.Array:
    """The ten contacts of some agents: (10, last - first) int32."""
    x = jnp.arange(first, last, dtype=jnp.uint32)

    def both_ways(key: jax.Array) -> jax.Array:
        return jnp.stack([shuffled(x, 1024, n // 1024, key, back).astype(jnp.int32) for back in (False, True)])

    return jax.lax.map(both_ways, jnp.arange(5, dtype=jnp.uint32)).reshape(10, -1)


def a_graph(agents: int, entries: int) -> tuple[int, tuple[graph.Graph]]:
    """Degree ten, in tables of at most so many entries."""
    blocks, size = rounded(agents)
    n = blocks * size
    bounds = np.linspace(0, n, -(-10 * n // entries) + 1).astype(int).tolist()
    rows = tuple(contacts(n, low, high) for low, high in itertools.pairwise(bounds))
    return n, (graph.Graph(rows, None, False, 10),)


@functools.partial(jax.jit, static_argnums=(0, 1))
def homes_and_places(blocks: int, size: int) -> tuple[groups.Households, groups.Groups]:
    """Households of 1, 2, 2, 3, ... members; workplaces of those whom a permutation takes to half their block."""
    n, columns, places = blocks * size, size // 1024, size // 2 // WORKPLACE
    agent = jnp.arange(n, dtype=jnp.uint32)
    turn = (agent % np.uint32(10)).astype(jnp.int32)
    sizes = jnp.array([1, 2, 2, 3, 3, 3, 4, 4, 4, 4], jnp.uint8)
    position = jnp.array([0, 0, 1, 0, 1, 2, 0, 1, 2, 3], jnp.int8)
    start = jnp.arange(32, dtype=jnp.int8)[None, :] - position[turn].reshape(-1, 32)
    households = groups.Households(start, sizes[turn].reshape(-1, 32), n, 4)
    block = agent // np.uint32(size)
    key = jnp.uint32(99)
    seat = shuffled(agent % np.uint32(size), 1024, columns, key)
    own = block * np.uint32(places) + seat // np.uint32(WORKPLACE)
    group = jnp.where(seat < places * WORKPLACE, own, blocks * places).astype(jnp.int32)
    place = jnp.arange(blocks * places, dtype=jnp.uint32)
    seats = (place % np.uint32(places))[None, :] * np.uint32(WORKPLACE)
    seats = seats + jnp.arange(WORKPLACE, dtype=jnp.uint32)[:, None]
    members = (place // np.uint32(places))[None, :] * np.uint32(size) + shuffled(seats, 1024, columns, key, back=True)
    filled = jnp.full(blocks * places, WORKPLACE, jnp.int32)
    return households, groups.Groups((members.astype(jnp.int32),), group, filled)


def some_groups(agents: int, entries: int) -> tuple[int, tuple[groups.Households, groups.Groups]]:
    """Households and workplaces."""
    blocks, size = rounded(agents)
    return blocks * size, homes_and_places(blocks, size)


NETWORKS: dict[str, Callable[..., tuple[int, tuple[Any, ...]]]] = {"graph": a_graph, "groups": some_groups}
RATES = {"graph": (0.03,), "groups": (0.08, 0.2)}


def first_cases(params: Any, state: lpm.State, key: random.Key) -> lpm.State:
    """One in a hundred."""
    stages, ids = state.agents["stage"], state.fixed["id"]
    seeded = chosen(key, ids, params["initial"] * ids.shape[0], among(stages, SUSCEPTIBLE))
    return state.replace(stage=move(stages, seeded, INFECTIOUS))


def a_day(params: Any, state: lpm.State, key: random.Key) -> tuple[lpm.State, dict[str, Any]]:
    """Infections over all layers, and recoveries."""
    today, words = state.agents["stage"], random.words(key, state.fixed["id"])
    infected = contagion.infections(
        words[0],
        today,
        tuple(map(contagion.Layer, state.fixed["layers"], params["rates"])),
        susceptible=SUSCEPTIBLE,
        infectious=(contagion.Infectious((INFECTIOUS,)),),
    )
    recovered = event(words[1], 1 / params["infectious_days"], among(today, INFECTIOUS))
    tomorrow = move(move(today, recovered, RECOVERED), infected, INFECTIOUS)
    return state.replace(stage=tomorrow), {"infected": infected}


MODEL = lpm.chain(first_cases, a_day=a_day)
SEEN = (
    lpm.Observable("incidence", lambda state, info: number(info["infected"])),
    lpm.Observable("infectious", lambda state, info: number(among(state.agents["stage"], INFECTIOUS))),
)


def a_world(kind: str, agents: int, entries: int) -> tuple[dict[str, Any], lpm.State]:
    """Parameters and the state before the first day."""
    n, layers = NETWORKS[kind](agents, entries)
    rates = tuple(jnp.float32(rate) for rate in RATES[kind])
    params = {"rates": rates, "infectious_days": jnp.float32(10), "initial": jnp.float32(0.01)}
    stages = Stages(jnp.zeros(n, jnp.uint8), kinds=3)
    return params, lpm.initial_state({"stage": stages}, fixed={"id": jnp.arange(n, dtype=jnp.uint32), "layers": layers})


def timed(function: Callable[[], Any], runs: int) -> tuple[float, list[float]]:
    """Seconds of the first call, and of each of the next."""
    walls = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        jax.block_until_ready(function())
        walls.append(time.perf_counter() - begun)
    return walls[0], walls[1:]


def same_bits(small: bool) -> dict[str, Any]:
    """Draws, networks and counts, which must be the same on the processor and on the device, and whole epidemics.

    An exponential may be rounded otherwise on another device, by one part in 2^24: a draw in ten million then falls to
    the other side of its threshold, and from that day on the epidemics are two.
    """
    places = [jax.devices("cpu")[0], jax.devices()[0]]
    agents, days = (5_000, 20) if small else (200_000, 100)
    draw = jax.jit(lambda ids: jnp.stack(random.words(random.key(7), ids)))
    drawn = [np.asarray(draw(jax.device_put(jnp.arange(100_003, dtype=jnp.uint32), place))) for place in places]
    found: dict[str, Any] = {"devices": [str(place) for place in places], "draws": bool((drawn[0] == drawn[1]).all())}
    for kind in NETWORKS:
        made = []
        for place in places:
            with jax.default_device(place):
                params, state = a_world(kind, agents, 70_000)
                end, seen = lpm.simulate(MODEL, params, state, lpm.key(3), steps=days, observe=SEEN)
                flagged = (jnp.arange(state.fixed["id"].shape[0]) % 7 == 0).astype(jnp.uint8)
                counts = [counted(bits.pack(flagged), layer) for layer in state.fixed["layers"]]
            made.append(jax.device_get((state.fixed, counts, seen["incidence"], end.agents["stage"].value)))
        networks, counts, curves, stages = zip(*made, strict=True)
        apart = np.flatnonzero(curves[0] != curves[1])
        found[kind] = {
            "agents": len(stages[0]),
            "days": days,
            "network": equal(networks),
            "counts": equal(counts),
            "epidemic": equal(stages) and not len(apart),
            "first_day_that_differs": int(apart[0]) if len(apart) else None,
            "final_size": [float((each != SUSCEPTIBLE).mean()) for each in stages],
        }
    return found


@jax.jit
def counted(words: jax.Array, network: Any) -> jax.Array:
    """Flagged neighbours or members."""
    if isinstance(network, graph.Graph):
        return graph.neighbour_counts(words, network)
    if isinstance(network, groups.Households):
        return groups.household_counts(words, network)
    return groups.group_counts(words, network)


def equal(two: tuple[Any, ...]) -> bool:
    """Whether two trees of arrays are the same to the bit."""
    pairs = zip(jax.tree.leaves(two[0]), jax.tree.leaves(two[1]), strict=True)
    return all(bool((np.asarray(one) == np.asarray(other)).all()) for one, other in pairs)


def bandwidth(small: bool, runs: int) -> dict[str, Any]:
    """Read and write a gigabyte; draw two words for each of many agents and keep one bit."""
    x = jnp.zeros(2**20 if small else 2**28, jnp.uint32)
    copy = jax.jit(lambda x: x + np.uint32(1))
    _, copied = timed(lambda: copy(x), runs)
    ids = jnp.arange(x.shape[0], dtype=jnp.uint32)
    draw = jax.jit(lambda ids: (random.words(random.key(7), ids)[0] >> 31).astype(jnp.uint8))
    _, drawn = timed(lambda: draw(ids), runs)
    return {
        "copy_gb_per_s": spread([2 * x.nbytes / wall / 1e9 for wall in copied]),
        "draws_per_s": spread([x.shape[0] / wall for wall in drawn]),
    }


def steps(kind: str, agents: int, days: int, runs: int, entries: int) -> dict[str, Any]:
    """A day of an epidemic, observables on."""
    begun = time.perf_counter()
    params, state = a_world(kind, agents, entries)
    jax.block_until_ready(state)
    set_up = time.perf_counter() - begun
    n = state.fixed["id"].shape[0]
    run = functools.partial(lpm.simulate, MODEL, params, steps=days, observe=SEEN)
    started, _ = run(state, lpm.key(1), steps=1)  # the first cases are drawn once, before
    first, walls = timed(lambda: run(started, lpm.key(1), start=False)[1], runs)
    _, seen = run(started, lpm.key(1), start=False)
    found = {
        "agents": n,
        "set_up_s": round(set_up, 2),
        "first_run_s": round(first, 2),
        "days": days,
        "ms_per_day": spread([wall / days * 1e3 for wall in walls]),
        "agent_steps_per_s": n * days / spread(walls)["median"],
        "infected": int(seen["incidence"].sum()),
        "network_gb": sum(leaf.nbytes for leaf in jax.tree.leaves(state.fixed["layers"])) / 1e9,
        "peak_gb": peak_gb(),
    }
    if kind == "graph":
        flags = bits.pack(among(started.agents["stage"], INFECTIOUS).value)
        found["edges"] = 10 * n
        found["tables"] = len(state.fixed["layers"][0].rows)
        found["last_agents_right"] = last_agents_are_right(flags, state.fixed["layers"][0], n)
    return found


def last_agents_are_right(flags: jax.Array, network: graph.Graph, n: int) -> bool:
    """Whether the counts of the last agents, whose edges come last, meet a plain count."""
    some = min(n, 1000)
    counts = np.asarray(counted(flags, network)[-some:])
    words, rows = np.asarray(flags), np.asarray(network.rows[-1][:, -some:])
    return bool((((words[rows >> 5] >> (rows & 31).astype(np.uint32)) & 1).sum(0) == counts).all())


def gradient(kind: str, agents: int, days: int, runs: int, entries: int) -> dict[str, Any]:
    """The distance of a curve from another, and its derivative by all parameters, in reverse mode."""
    params, state = a_world(kind, agents, entries)
    n = state.fixed["id"].shape[0]
    wanted = jnp.sin(jnp.linspace(0, math.pi, days, dtype=jnp.float32)) * 0.1

    @jax.jit
    def value_and_gradient(params: Any, state: lpm.State) -> Any:
        def loss(params: Any) -> jax.Array:
            _, seen = lpm.simulate(MODEL, params, state, lpm.key(1), steps=days, observe=SEEN[1:], rule="cavity")
            return ((seen["infectious"] / n - wanted) ** 2).mean()

        return jax.value_and_grad(loss)(params)

    first, walls = timed(lambda: value_and_gradient(params, state), runs)
    value, slopes = jax.device_get(value_and_gradient(params, state))
    return {
        "agents": n,
        "days": days,
        "first_s": round(first, 2),
        "value_and_gradient_s": spread(walls),
        "value": float(value),
        "finite": all(bool(np.isfinite(slope)) for slope in jax.tree.leaves(slopes)),
        "peak_gb": peak_gb(),
    }


def peak_gb() -> float | None:
    """The most memory of the device that was in use so far."""
    told = jax.devices()[0].memory_stats() or {}
    return round(told["peak_bytes_in_use"] / 1e9, 2) if "peak_bytes_in_use" in told else None


def attempted(function: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """The result, or that it was skipped for want of memory."""
    try:
        return function(*given)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {"skipped": "does not fit the memory: " + (str(error).splitlines() or ["no reason given"])[0]}
    finally:
        gc.collect()


def main() -> None:
    """Check, measure, print a line for each part, and save after each, so that a part that fails loses no other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small sizes: does the script run?")
    parser.add_argument("--out", type=Path, help="the file for the result")
    asked = parser.parse_args()
    small = asked.small
    runs, days, entries = (1, 3, 70_000) if small else (7, 20, ENTRIES)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "bits": lambda: same_bits(small),
        "bandwidth": lambda: bandwidth(small, runs),
    }
    for kind in NETWORKS:
        for name, agents in (SMALL if small else SIZES).items():
            parts[f"{kind}-{name}"] = functools.partial(steps, kind, agents, days, runs, entries)
        agents, long = (5_000, 5) if small else (GRADIENT, DAYS)
        parts[f"gradient-{kind}"] = functools.partial(gradient, kind, agents, long, 1 if small else 5, entries)
    device = jax.devices()[0]
    result: dict[str, Any] = {"machine": machine(), "device": f"{device.platform} {device.device_kind}", "parts": {}}
    out = asked.out or (None if small else RESULT)
    for name, part in parts.items():
        result["parts"][name] = found = attempted(part)
        print(f"{name}: {found}", flush=True)
        if out is not None:
            save(out, result)
    if wrong := [name for name, same in checked(result["parts"]).items() if not same]:
        raise SystemExit(f"not the same on {result['device']} as on the processor: {', '.join(wrong)}")


def checked(parts: dict[str, Any]) -> dict[str, bool]:
    """What must hold on every device."""
    same = {"draws": parts["bits"]["draws"]}
    for kind in NETWORKS:
        same |= {f"{kind}: {what}": parts["bits"][kind][what] for what in ("network", "counts")}
    return same | {name: part["last_agents_right"] for name, part in parts.items() if "last_agents_right" in part}


if __name__ == "__main__":
    main()
