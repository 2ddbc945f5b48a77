"""Write docs/performance.md and its pictures from the committed results.  python benchmarks/performance_page.py

Nothing on the page is typed in: what changes there changes in benchmarks/results/*.json.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from wording import command, digits, rate, spread_ms, table

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
IMAGES = PAGE.parent / "images"
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
    day, within = lpm["wall_s_per_day"]["median"], lpm["within_s_per_day"]["median"]
    if "agents" in peers["c"]:
        c = peers["c"]["wall_s_per_day"]["median"]
        found.append(
            f"**C.** The reference of the same layout takes {digits(c * 1e3)} ms a day. A whole run of lpm takes "
            f"{digits(day / c)} times as long, and {digits(within / c)} times between its first chunk and its last. "
            "C draws from a hash of two multiplications, not from keyed Threefry, and stores nothing."
        )
    around = (day - within) * lpm["days"]
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
    contacts = 10 * lpm["agents"] / lpm["within_s_per_day"]["median"]
    return f"""| what | on all cores |
|---|--:|
| stream copy, read and written | {digits(machine["copy_gb_per_s"]["median"])} GB/s |
| random look-ups among packed flags of {agents[0]} agents | {rate(machine[near]["median"])} a second |
| the same among {agents[1]} | {rate(machine[far]["median"])} a second |

{command("python benchmarks/bench_peers.py --only machine")}

Between its first chunk and its last, lpm looks up {rate(contacts)} contacts a second in the case above,
{digits(100 * contacts / machine[near]["median"])} % of the first rate of look-ups."""


def growth(grown: Results) -> str:
    """What the curves of bench_growth.py say."""
    if not grown:
        return f"Not measured yet.\n\n{command('python benchmarks/bench_growth.py')}"
    rows = []
    for name, found in grown.items():
        first, last = found["points"][0], found["points"][-1]
        times = [point["wall_ms_per_day"]["median"] for point in (first, last)]
        ratios = [last[name] / first[name], times[1] / times[0]]
        ends = [f"{point[name]:,}" for point in (first, last)]
        rows.append([name, *ends, *map(digits, times), *(f"{digits(each)}×" for each in ratios)])
    head = ["what grows", "from", "to", "ms a day", "ms a day", "the work", "the time"]
    return f"""SIR on Erdős–Rényi graphs, observables on, nothing stored, the share infectious held where it is. The
dotted line is time in proportion to the work.

![Time of a day against agents, contacts, share infectious, layers and realizations](images/growth.png)

{table(head, rows)}

{command("python benchmarks/bench_growth.py")}

When this was measured, every day looked up all contacts of all agents among packed flags of n / 8 bytes: time followed
agents times contacts, and more than that once the flags or the tables outgrew a cache. Since then, over one graph on a
CPU, only those are asked for their contacts who are susceptible and whose draw could be low enough
(`lpm.kernels.graph.infected`); neither these curves nor the other times of the page have been measured again."""


def cases(core: Results) -> str:
    """The shipped configs, from core.json."""
    rows = [
        [
            f"`{case['config']}`",
            f"{case['agents']:,}",
            digits(case["setup_s"]),
            digits(case["first_step_s"]),
            f"{digits(case['wall_ms_per_step']['median'])} ({digits(case['wall_ms_per_step']['min'])}–"
            f"{digits(case['wall_ms_per_step']['max'])})",
            digits(case["processor_ms_per_step"]["median"]),
            rate(case["agent_steps_per_s"]),
        ]
        for case in core["cases"]
    ]
    head = ["config", "agents", "set-up s", "first step s", "ms a day", "processor ms a day", "agent-steps a second"]
    return table(head, rows)


def any_number(core: Results) -> str:
    """Whether the number of agents matters beyond its size."""
    found = uneven(core)
    if not found or max(found.values()) > NOTICED:
        return ""
    ratios = " and ".join(f"{digits(ratio)} times as long in `{config}`" for config, ratio in found.items())
    even, less = (each["agents"] for each in core["odd"]["sir-million"])
    return f"""

Any number of agents will do. With {less:,}, which the cores do not divide, a day takes {ratios} as with {even:,}: XLA
gives each core an equal part of a loop, and the few agents left over are computed apart (`lpm.kernels.bits.evenly`)."""


def memory(core: Results) -> str:
    """What an agent takes of the memory."""
    if not all("bytes_per_agent" in case for case in core["cases"]):
        return ""
    rows, totals = [], []
    for case in core["cases"]:
        sizes = {name: size for name, size in case["bytes_per_agent"].items() if name != "step"}
        named = ", ".join(f"{name} {digits(size)}" for name, size in sizes.items() if size >= 0.05)
        totals.append(sum(case["bytes_per_agent"].values()))
        row = [f"`{case['config']}`", digits(sum(sizes.values())), digits(case["bytes_per_agent"]["step"])]
        rows.append([*row, digits(totals[-1]), named])
    return f"""

### Memory

{table(["config", "held, bytes an agent", "beside it during a day", "together", "held, by entry"], rows)}

An agent holds 4 bytes for its id, 1 for its stage, and

- on a graph of mean degree k: 4 k, and 4 more if agents keep their order;
- in a city: 1 for the age band, 2 for the household, 4 for the group of the day, 4 for the seat there of those who have
  one, 2 for region and age.

A day keeps beside that what its loops hand to each other. One realization more holds its stages alone."""


def place(found: Results, about: Results | None = None) -> str:
    """Processor, versions and commit of a measurement."""
    about = about or found["machine"]
    versions = about["versions"]
    return (
        f"{about['processor']}, {about['cores']} cores; Python {versions['python']}, jax {versions['jax']}, "
        f"numpy {versions['numpy']}; commit {about['commit'][:10]}{' with changes' if '+' in about['commit'] else ''}"
    )


def page(peers: Results, core: Results, grown: Results, overhead: Results) -> str:
    """The whole page."""
    lpm = peers["lpm"]
    within = lpm["within_s_per_day"]["median"]
    times = " and ".join(
        f"{TITLES[name]} {digits(per_agent_day(peers[name]) / per_agent_day(lpm))} "
        f"({digits(peers[name]['wall_s_per_day']['median'] / within)}) times"
        for name in ("starsim", "abmax")
    )
    return f"""# Performance

This page is written by `python benchmarks/performance_page.py` from the committed results; the command that measured
them stands below each table. Times are medians, in brackets the smallest and the largest. Another machine gives other
times, so read the ratios.

## The same work, side by side

SIR on one Erdős–Rényi graph of mean degree 10: {lpm["agents"]:,} agents, {lpm["days"]} days with daily counts,
transmission 0.03 per contact and day, 10 days infectious on average, 1 % infectious at the beginning. Each simulator
runs in an environment of its own. A day is a whole run after the first, divided by its days; a run of lpm begins with
its checks and ends with its results on the disk. The last column is the time relative to lpm with as many agents.

![Time of an agent's day in each simulator](images/peers.png)

{timings(peers, GRAPH_CASES, "lpm")}

{command("python benchmarks/bench_peers.py")}

Between the first chunk and the last, without the run's beginning and end, lpm takes
{spread_ms(lpm["within_s_per_day"])} ms a day. An agent's day takes {times} as long as lpm's, in brackets compared
with that. Mesa runs with fewer agents, since a million take minutes a run; lpm with as few stands above it.

{notes(peers, GRAPH_CASES)}

### Did each do the work?

The share of agents ever infected is the check: two means agree if they differ by at most {DEVIATIONS} standard errors.

{agreement(peers)}

## Where lpm loses

{losses(peers, core)}

{city(peers)}
## What the machine allows

{limits(peers)}

## As the work grows

{growth(grown)}

## The shipped configs

{cases(core)}{any_number(core)}{memory(core)}

{command("python benchmarks/bench_core.py")}

{around(overhead)}## Where it was measured

- side by side: {place(lpm)}.
- shipped configs: {place(core, core["machine"].get("cases"))}.{here_too(overhead)}
"""


def around(overhead: Results) -> str:
    """What there is around the steps, from overhead.json."""
    if not overhead:
        return ""
    rows = []
    for config, found in overhead["configs"].items():
        start, writing = found["start"], found["writing"]
        run, steps = writing["run_processor_s"]["median"], writing["steps_processor_s"]["median"]
        rows.append(
            [
                f"`{config}`",
                f"{writing['agents']:,}",
                seconds(start["first_day_s"]),
                digits(start["cold"]["first_day_s"]),
                seconds(start["end_s"]),
                seconds(writing["steps_wall_s"]),
                seconds(writing["run_wall_s"]),
                digits(run - steps),
            ]
        )
    head = "config|agents|first day s|cold s|one-day run s|all steps s|the same, stored s|processor s more"
    return f"""## Around the steps

From `lpm run CONFIG` until its first day is in the store, once it has run before, and with an empty cache directory
(*cold*: programs are compiled and the synthetic population is made); a run of one day, its picture drawn. Then all
days of the config in a warm process, the steps alone and as a run that checks its world, writes daily counts and its
last checkpoint.

{table(head.split("|"), rows)}

{command("python benchmarks/bench_overhead.py")}

"""


def here_too(overhead: Results) -> str:
    """Where what is around the steps was measured."""
    return f"\n- around the steps: {place(overhead)}." if overhead else ""


def seconds(measured: Results) -> str:
    """A median with the smallest and the largest."""
    return f"{digits(measured['median'])} ({digits(measured['min'])}–{digits(measured['max'])})"


def results() -> list[Results]:
    """What bench_peers.py, bench_core.py, bench_growth.py and bench_overhead.py committed."""
    paths = [HERE / "results" / f"{name}.json" for name in ("peers", "core", "growth", "overhead")]
    return [json.loads(path.read_text("utf-8")) if path.exists() else {} for path in paths]


def main() -> None:
    """Write the page and its pictures."""
    peers, core, grown, overhead = results()
    IMAGES.mkdir(parents=True, exist_ok=True)
    bars(peers)
    PAGE.write_text(page(peers, core, grown, overhead), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
