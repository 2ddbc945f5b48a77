"""Write docs/performance.md and its pictures from the committed results.  python benchmarks/performance_page.py

Nothing on the page is typed in: what changes there changes in benchmarks/results/*.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from peers_page import (
    DEVIATIONS,
    GRAPH_CASES,
    IMAGES,
    NOTICED,
    TITLES,
    Results,
    agreement,
    bars,
    city,
    limits,
    losses,
    notes,
    per_agent_day,
    timings,
    uneven,
)
from wording import command, digits, rate, spread_ms, table

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"


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
    return f"""SIR on Erdős–Rényi graphs, observables on, nothing stored. Each day is the first one over again, so that
the share infectious stays and all others are susceptible. The dotted line is time in proportion to the work.

![Time of a day against agents, contacts, share infectious, layers and realizations](images/growth.png)

{table(head, rows)}

{command("python benchmarks/bench_growth.py")}

Over one graph, only those are asked for their contacts who are susceptible and whose draw could be low enough
(`lpm.kernels.graph.infected`), so these days, on which nearly everybody is susceptible, cost more than those of a whole
epidemic do in the mean, and less where more are infected; with more contacts, more agents are asked and each has more
to ask. Small worlds are mostly overhead. Beyond ten million agents the tables and the packed flags outgrow caches, and
time grows faster than the work. Over several layers all contacts of all agents are looked up, layer by layer.
Realizations follow each other on a CPU."""


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


def kinds(core: Results) -> str:
    """What a day costs with contacts of other kinds."""
    if "contacts" not in core:
        return ""
    same, *others = core["contacts"]
    days = {each["contacts"]: each["wall_ms_per_step"]["median"] for each in core["contacts"]}
    heavy, redrawn = (digits(days[each["contacts"]] / days[same["contacts"]]) for each in others)
    return f"""

A million agents with ten contacts each take {digits(days["erdos_renyi"])} ms a day where contacts stay the same. With
as many in the mean, but a heavy tail of degrees, a day takes {heavy} times as long; with contacts drawn anew each day
{redrawn} times (`well_mixed`: who meets a Poisson number of others, drawn anew, is infected with the probability
that is computed there)."""


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
    steps = lpm["steps_s_per_day"]["median"]
    times = " and ".join(
        f"{TITLES[name]} {digits(per_agent_day(peers[name]) / per_agent_day(lpm))} "
        f"({digits(peers[name]['wall_s_per_day']['median'] / steps)}) times"
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

Its steps alone, without the run's beginning and end, take lpm
{spread_ms(lpm["steps_s_per_day"])} ms a day. An agent's day takes {times} as long as lpm's, in brackets compared
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

{cases(core)}{any_number(core)}{kinds(core)}{memory(core)}

{command("python benchmarks/bench_core.py")}

{around(overhead)}## Tried, and not kept

Each gave the same bits, and too little time for what it cost the compiler and the reader; no script of these trials is
kept, so there are no figures:

- The infectious tell their neighbours, instead of the susceptible asking theirs: sooner only while hardly anybody is
  infectious, since XLA's scatter on a CPU goes through its updates one by one.
- In the city, draws for those alone whose stage is left in time, and counts in schools and workplaces by going through
  the infectious: little is gained, since all else is done for everybody as before.
- In the city, asking for their contacts only those whose draw could be low enough: with a household and a workplace
  that may be all infectious, that bound leaves too many of the susceptible.
- Kernels in C++ through `jax.ffi` (packing, counting by stratum and by group, courses, contagion over a graph): a whole
  run over a graph gains less than a second language would have to earn, and the city little, since what is left there,
  the floats of an infection, has to stay XLA's to give the same bits.
- Over a graph, to choose in each step between asking few and looking everybody up: little is gained on sparse graphs
  while nearly everybody is susceptible, and nothing with ten contacts.
- To have the C library keep the memory that it would give back to the system between steps, and take large pages:
  within the noise of the machine.

## Where it was measured

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
                digits(start["whole_cold_s"]),
                seconds(start["whole_s"]),
                seconds(writing["steps_wall_s"]),
                seconds(writing["run_wall_s"]),
                digits(run - steps),
            ]
        )
    head = "config|agents|first day s|cold s|one-day run s|whole run, cold s|whole run s|"
    head += "all steps s|the same, stored s|processor s more"
    return f"""## Around the steps

From `lpm run CONFIG` until its first day is in the store, once it has run before, and with an empty cache directory
(*cold*: programs are compiled and the synthetic population is made); a run of one day, its picture drawn; the same of
all days of the config. Then all days in a warm process, the steps alone and as a run that checks its world, writes
daily counts and its last checkpoint.

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
