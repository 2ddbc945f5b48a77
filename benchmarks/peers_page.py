"""What docs/performance.md says of lpm beside other simulators: tables, a picture, and where lpm loses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from wording import command, digits, rate, spread_ms, table

IMAGES = Path(__file__).parents[1] / "docs" / "images"
TITLES = {
    "lpm": "**lpm**",
    "c": "C reference",
    "numba": "numba",
    "abmax": "abmax",
    "starsim": "Starsim",
    "starsim-plain": "Starsim, plain draws",
    "covasim": "Covasim",
    "mesa-frames": "mesa-frames",
    "mesa": "Mesa",
    "lpm-for-mesa": "**lpm**, as many agents as Mesa",
    "city-lpm": "**lpm**",
    "city-covasim": "Covasim",
}
GRAPH_CASES = (
    "lpm",
    "c",
    "numba",
    "abmax",
    "starsim",
    "starsim-plain",
    "covasim",
    "mesa-frames",
    "lpm-for-mesa",
    "mesa",
)
DEVIATIONS = 4  # within which two means agree; with 9 and 5 runs Student's t leaves about 2 in 1,000 outside
NOTICED = 1.25  # how much slower is worth a line
OURS, THEIRS, REFERENCE = "#0072B2", "#999999", "#D55E00"

Results = dict[str, Any]


def per_agent_day(found: Results) -> float:
    """Nanoseconds for an agent's day."""
    return found["wall_s_per_day"]["median"] / found["agents"] * 1e9


def software(name: str, found: Results) -> str:
    """A simulator and its version."""
    named = name.removeprefix("city-").removesuffix("-for-mesa").removesuffix("-plain").replace("-", "_")
    return f"{TITLES[name]} {found['versions'].get(named, '')}".strip()


def alike(peers: Results, ours: str, found: Results) -> Results:
    """The measurement of lpm with as many agents."""
    return peers[ours if found["agents"] == peers[ours]["agents"] else "lpm-for-mesa"]


def timings(peers: Results, names: tuple[str, ...], ours: str) -> str:
    """The table of cases that were measured, and each one's time for an agent's day relative to `ours`."""
    rows = []
    for name in names:
        found = peers.get(name)
        if found is None or "failed" in found:
            rows.append([TITLES[name], (found or {}).get("failed", "not measured"), *[""] * 7])
            continue
        rows.append(
            [
                software(name, found),
                f"{found['agents']:,}",
                digits(found["set_up_s"]),
                digits(found["first_step_s"]),
                f"{spread_ms(found['wall_s_per_day'])}, {found['wall_s_per_day']['runs']} runs",
                digits(found["processor_s_per_day"]["median"] * 1e3),
                digits(found["peak_memory_gb"]),
                rate(found["agent_steps_per_s"]),
                f"{digits(per_agent_day(found) / per_agent_day(alike(peers, ours, found)))}×",
            ]
        )
    head = "simulator|agents|set-up s|first step s|ms a day|processor ms a day|peak memory GB|agent-steps a second|time"
    return table(head.split("|"), rows)


def agreement(peers: Results) -> str:
    """Final sizes: how far each is from lpm's with as many agents."""
    rows = []
    for name in GRAPH_CASES:
        found = peers.get(name)
        if found is None or "failed" in found:
            continue
        ours = alike(peers, "lpm", found)
        row = [TITLES[name], f"{found['agents']:,}", f"{found['final_size']['mean']:.4f}"]
        if found is ours:
            rows.append([*row, "", ""])
            continue
        difference = found["final_size"]["mean"] - ours["final_size"]["mean"]
        deviation = standard_deviation(ours) * math.sqrt(1 / len(found["final_size"]["all"]) + 1 / runs(ours))
        verdict = (
            "another model" if name == "covasim" else "yes" if abs(difference) <= DEVIATIONS * deviation else "**no**"
        )
        rows.append([*row, f"{difference:+.4f} ± {deviation:.4f}", verdict])
    return table(["simulator", "agents", "final size", "less lpm's, ± standard error", "the same work?"], rows)


def runs(found: Results) -> int:
    """How many runs the final size was taken from."""
    return len(found["final_size"]["all"])


def standard_deviation(found: Results) -> float:
    """Of the final size from one run to the next."""
    sizes, mean = found["final_size"]["all"], found["final_size"]["mean"]
    return math.sqrt(sum((size - mean) ** 2 for size in sizes) / (len(sizes) - 1))


def notes(peers: Results, names: tuple[str, ...]) -> str:
    """What the reader must know of each."""
    told = [name for name in names if "note" in peers.get(name, {}) and name != "lpm-for-mesa"]
    return "\n".join(f"- {TITLES[name]}: {peers[name]['note']}." for name in told)


def bars(peers: Results) -> None:
    """The picture of an agent's day in each simulator, on a logarithmic axis."""
    measured = [name for name in GRAPH_CASES if "agents" in peers.get(name, {}) and name != "lpm-for-mesa"]
    measured.sort(key=lambda name: -per_agent_day(peers[name]))
    figure, axes = plt.subplots(figsize=(7.5, 0.36 * len(measured) + 1), layout="constrained")
    colours = [OURS if name == "lpm" else REFERENCE if name in ("c", "numba") else THEIRS for name in measured]
    values = [per_agent_day(peers[name]) for name in measured]
    drawn = axes.barh([software(name, peers[name]).replace("*", "") for name in measured], values, color=colours)
    axes.bar_label(drawn, [f"{digits(value)} ns" for value in values], padding=3)
    axes.set(xscale="log", xlabel="nanoseconds for one agent's day", xlim=(min(values) / 2, max(values) * 4))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("SIR on a graph of mean degree 10", loc="left", fontsize=10, fontweight="bold")
    figure.savefig(IMAGES / "peers.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def uneven(core: Results) -> dict[str, float]:
    """The time of a step with an agent less than a million, by that with a million, for each config."""
    medians = {
        config: [each["wall_ms_per_step"]["median"] for each in found] for config, found in core.get("odd", {}).items()
    }
    return {config: less / even for config, (even, less) in medians.items()}


def losses(peers: Results, core: Results) -> str:
    """Where lpm is slower than something else that was measured, in figures."""
    lpm, found = peers["lpm"], []
    day, steps = lpm["wall_s_per_day"]["median"], lpm["steps_s_per_day"]["median"]
    if "agents" in peers["c"]:
        c = peers["c"]["wall_s_per_day"]["median"]
        found.append(
            f"**C.** The reference of the same layout takes {digits(c * 1e3)} ms a day. A whole run of lpm takes "
            f"{digits(day / c)} times as long, its steps alone {digits(steps / c)} times. "
            "C draws from a hash of two multiplications, not from keyed Threefry, and stores nothing."
        )
    around = (day - steps) * lpm["days"]
    found.append(
        f"**Short runs.** Around its {lpm['days']} days a run spends {digits(around)} s on checks, tracing, the store "
        "and the last checkpoint."
    )
    if (worst := max(uneven(core).values(), default=1.0)) > NOTICED:
        found.append(
            "**Numbers of agents that the cores do not divide.** With one agent less than a million a step takes up to "
            f"{digits(worst)} times as long."
        )
    found.append(
        f"**The first step** takes {digits(lpm['first_step_s'])} s, most of it the compiler's, without the cache of "
        "compiled programs that `lpm run` keeps; those of Starsim and Covasim were on the disk from an earlier run. "
        f"Sooner are {fewer(peers, 'first_step_s', 's')}."
    )
    for name, key, unit in (
        ("Set-up (neighbours are sorted into tables by degree)", "set_up_s", "s"),
        ("Memory at its peak", "peak_memory_gb", "GB"),
    ):
        if less := fewer(peers, key, unit):
            found.append(f"**{name}** takes {digits(lpm[key])} {unit}; less take {less}.")
    return "\n".join(f"- {text}" for text in found)


def fewer(peers: Results, key: str, unit: str) -> str:
    """Who needs less of something than lpm for as many agents, and how much."""
    same = [name for name in GRAPH_CASES if peers.get(name, {}).get("agents") == peers["lpm"]["agents"]]
    less = sorted((peers[name][key], TITLES[name]) for name in same if peers[name][key] < peers["lpm"][key])
    return ", ".join(f"{title} ({digits(value)} {unit})" for value, title in less)


def city(peers: Results) -> str:
    """The city beside Covasim's."""
    ours, theirs = peers["city-lpm"], peers["city-covasim"]
    share = [digits(100 * found["final_size"]["mean"]) for found in (ours, theirs)]
    return f"""## A city, beside Covasim

{ours["agents"]:,} people in households, schools, workplaces and a community, {ours["days"]} days, one in a thousand
infected at the beginning, nothing closed.

{timings(peers, ("city-lpm", "city-covasim"), "city-lpm")}

{command("python benchmarks/bench_peers.py --only city-lpm city-covasim")}

A person's day takes Covasim {digits(per_agent_day(theirs) / per_agent_day(ours))} times as long. Alike are the number
of people and of days, the four kinds of contacts, ages that set susceptibility and severity, and stages from exposed
to critical. The rest is not, so this compares what a user gets, and not two programs for one model:

- Covasim's contacts are edges: about twenty a person at school, at work and in the community, the last redrawn every
  day. In lpm everybody in a household, school or workplace meets everybody, and the community mixes by age and borough.
- Covasim draws the whole course at infection and then looks up dates. lpm draws every day whether a stage ends.
  {share[1]} % were infected in Covasim, {share[0]} % in lpm.
- Covasim keeps totals for the city in memory; lpm stores seven series by borough and age.
"""


def limits(peers: Results) -> str:
    """What the machine can do, and what of it the graph uses."""
    machine, lpm = peers["machine"], peers["lpm"]
    if "failed" in machine:
        return f"Not measured: {machine['failed']}."
    near, far = sorted((key for key in machine if key.startswith("look_ups")), key=lambda key: int(key.split("_")[-1]))
    agents = [f"{int(key.split('_')[-1]):,}" for key in (near, far)]
    contacts = 10 * lpm["agents"] / lpm["steps_s_per_day"]["median"]
    return f"""| what | on all cores |
|---|--:|
| stream copy, read and written | {digits(machine["copy_gb_per_s"]["median"])} GB/s |
| random look-ups among packed flags of {agents[0]} agents | {rate(machine[near]["median"])} a second |
| the same among {agents[1]} | {rate(machine[far]["median"])} a second |

{command("python benchmarks/bench_peers.py --only machine")}

The case above has {rate(contacts)} contacts for each second of lpm's steps,
{digits(100 * contacts / machine[near]["median"])} % of the first rate of look-ups. Most of them are passed over: only
those are asked for their contacts who are susceptible and whose draw could be low enough
(`lpm.kernels.graph.infected`)."""
