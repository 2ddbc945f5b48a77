"""What the counted bytes say of a step's time; writes the tables of docs/scaling.md and its picture.

python benchmarks/scaling/model.py

Reads bytes.json, messages.json and, where it is there, times.json beside this file, and benchmarks/results/core.json.

A step of a rank takes

    agents / ranks · work + start + exchanges · (call + neighbours · message + latency) + sets · bytes / bandwidth
        + sums · (call + log2(ranks) · latency)

Work is the processor's time of one rank alone; start (of a step that calls at all), call and message are measured
without a network. Bandwidth and latency are assumed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "scaling.md"
PICTURE = PAGE.parent / "images" / "scaling.png"
BANDWIDTH = 0.4e9  # bytes a second and rank: assumed, 64 ranks that share 25 GB/s
LATENCY = 2e-6  # seconds: assumed
WORK = {"random graph": "sir-million", "small world": "sir-million", "ring": "sir-million", "city": "nyc-2020"}
DEGREE = 10
NATION, NATION_RANKS = 330_000_000, 1024


def work() -> dict[str, float]:
    """Processor seconds of an agent's step on one rank, by world."""
    cases = json.loads((HERE.parent / "results" / "core.json").read_text())["cases"]
    found = {each["config"]: each["processor_ms_per_step"]["median"] / 1e3 / each["agents"] for each in cases}
    return {world: found[config] for world, config in WORK.items()}


def message(measured: dict[str, Any]) -> float:
    """Processor seconds for one neighbour more, between 15 and 255 of them."""
    few, many = (measured["exchange_us"][str(count)]["min"] for count in (15, 255))
    return (many - few) / (255 - 15) * 1e-6


def seconds(
    agents: float, ranks: int, each: float, step: dict[str, Any], traffic: dict[str, float], costs: dict[str, float]
) -> dict[str, float]:
    """Parts of a step's time by the model above."""
    computing = agents / ranks * each
    if ranks == 1:
        return {"work": computing, "messages": 0.0, "bytes": 0.0, "sums": 0.0}
    return {
        "work": computing,
        "messages": costs["start"]
        + step["exchanges"] * (costs["call"] + traffic["neighbours"] * costs["message"] + LATENCY),
        "bytes": step["sets_of_flags"] * traffic["bytes"] / BANDWIDTH,
        "sums": step["sums"] * (costs["call"] + math.log2(ranks) * LATENCY),
    }


def traffic(counted: dict[str, Any], ranks: int) -> dict[str, float]:
    """What a set of flags moves the chosen way; a gathering goes around a tree."""
    gathered = counted["chosen"] == "gathered"
    return {
        "bytes": counted[f"{counted['chosen']}_mean"],
        "neighbours": (math.log2(ranks) if ranks > 1 else 0) if gathered else counted["neighbours_mean"],
    }


def random_halo(agents: float, ranks: int) -> float:
    """Bytes in the halo of a random graph: each of the others is met with chance 1 - exp(-degree / ranks).

    What comes from a rank fills whole words, so half a word of it is empty on average.
    """
    from_one = agents / ranks * -math.expm1(-DEGREE / ranks)
    return (ranks - 1) * 4 * (from_one / 32 + 0.5)


def network(world: dict[str, Any]) -> dict[str, Any]:
    """The one over which flags travel, by number of ranks."""
    (found,) = world["networks"].values()
    return {int(ranks): found[ranks] for ranks in sorted(found, key=int)}


def table(heads: list[str], rows: list[list[str]]) -> str:
    """In Markdown, numbers to the right."""
    lines = [heads, ["--:"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def numbers_of_ranks(worlds: dict[str, Any]) -> list[int]:
    """All that were counted."""
    return sorted({ranks for world in worlds.values() for ranks in network(world)})


def bytes_table(worlds: dict[str, Any]) -> str:
    """What was counted, in bold what lpm takes."""
    rows = []
    for ranks in numbers_of_ranks(worlds):
        if ranks == 1:
            continue
        row = [str(ranks), f"{network(worlds['ring'])[ranks]['gathered_mean']:,.0f}"]
        for world in worlds.values():
            each = network(world).get(ranks)
            mark = "" if each and each["chosen"] == "gathered" else "**"
            row.append(f"{mark}{each[way(world)]:,.0f}{mark} ({each['neighbours_mean']:,.0f})" if each else "")
        rows.append(row)
    ways = {"halo_mean": "halo", "groups_mean": "counts"}
    heads = [f"{name}: {ways[way(world)]} (neighbours)" for name, world in worlds.items()]
    return table(["ranks", "gathered", *heads], rows)


def way(world: dict[str, Any]) -> str:
    """Under which name bytes are that do not grow with all agents."""
    return "groups_mean" if network(world)[2]["chosen"] == "groups" else "halo_mean"


def model_table(worlds: dict[str, Any], costs: dict[str, float]) -> str:
    """A step's time and its parts."""
    rows = []
    for ranks in numbers_of_ranks(worlds):
        row = [str(ranks)]
        for name in ("random graph", "city"):
            world, each = worlds[name], network(worlds[name]).get(ranks)
            if each is None:
                row += ["", "", ""]
                continue
            parts = seconds(world["agents"], ranks, work()[name], world["a_step"], traffic(each, ranks), costs)
            whole = sum(parts.values())
            row.append(f"{1e3 * whole:.1f}")
            row.append(" + ".join(f"{1e3 * value:.1f}" for value in parts.values()))
            row.append(f"{parts['work'] / whole:.0%}")
        rows.append(row)
    about = "work + messages + bytes + sums"
    heads = [f"{name}: {what}" for name in ("random graph", "city") for what in ("ms", about, "work's share")]
    return table(["ranks", *heads], rows)


def nation_table(worlds: dict[str, Any], costs: dict[str, float]) -> str:
    """What the model says of a nation; the city's counts stand for those of 33 cities, one for 31 ranks.

    Raises:
        AssertionError: if the formula for random graphs is not what was counted.
    """
    for ranks, each in network(worlds["random graph"]).items():
        if ranks > 1:
            assert abs(random_halo(worlds["random graph"]["agents"], ranks) / each["halo_mean"] - 1) < 0.02, ranks
    near = network(worlds["city"])[32]
    cases = {
        "random graph": {"bytes": random_halo(NATION, NATION_RANKS), "neighbours": NATION_RANKS - 1},
        "city": {"bytes": near["groups_mean"], "neighbours": near["neighbours_mean"]},
        "ring": {"bytes": 8, "neighbours": 2},
    }
    rows = []
    for name, each in cases.items():
        parts = seconds(NATION, NATION_RANKS, work()[name], worlds[name]["a_step"], each, costs)
        rows.append(
            [
                name, f"{each['bytes']:,.0f}", f"{each['neighbours']:,.0f}",
                *(f"{1e3 * value:.1f}" for value in (*parts.values(), sum(parts.values()))), built_by_a_rank(name),
            ]
        )  # fmt: skip
    heads = ["", "bytes", "neighbours", "work ms", "messages ms", "bytes ms", "sums ms", "all ms"]
    return table([*heads, "MB a rank builds with"], rows)


def built() -> dict[str, Any]:
    """What memory building takes, by world, and number of ranks or `people`."""
    file = HERE / "memory.json"
    return json.loads(file.read_text())["worlds"] if file.exists() else {}


def built_by_a_rank(world: str) -> str:
    """Megabytes that a rank of many would build its part with, as an agent of four ranks takes."""
    for name, case in built().items():
        if name.split(",")[0] == world and "4" in case:
            each = max(one["peak_mb"] / one["agents"] for one in case["4"]["ranks"])
            return f"{each * NATION / NATION_RANKS:,.0f}"
    return ""


def memory_table() -> str:
    """The peaks of memory that were measured."""
    rows = []
    for name, case in built().items():
        for ranks in (each for each in case if each.isdecimal()):
            found = case[ranks]["ranks"]
            most = max(one["peak_mb"] for one in found)
            each = max(1e6 * one["peak_mb"] / one["agents"] for one in found)
            kept = max(one["kept_mb"] for one in found)
            rows.append([name, ranks, f"{most:,.0f}", f"{kept:,.0f}", f"{each:,.0f}"])
        if "people" in case:
            rows.append([f"{name}: the table of people, once", "1", f"{case['people']['peak_mb']:,.0f}", "", ""])
    return table(["", "ranks", "MB of a rank while it builds", "MB kept", "bytes for each of its agents"], rows)


def measured_table(worlds: dict[str, Any], costs: dict[str, float]) -> str:
    """The times that were measured beside the model's, whose work is that of one rank there."""
    file = HERE / "times.json"
    if not file.exists():
        return "Nothing was measured yet."
    rows = []
    for name, case in json.loads(file.read_text()).items():
        world, agents = name.split(",")[0], sum(each["agents"] for each in case["1"]["ranks"])
        alone = sum(one["processor_ms"] for one in case["1"]["ranks"]) / 1e3 / agents
        for ranks in (int(key) for key in case if key.isdecimal()):
            found, moves = case[str(ranks)], {"bytes": 0.0, "neighbours": 0.0}
            if ranks > 1:
                moves = traffic(network(worlds[world])[ranks], ranks)
            moves["bytes"] *= agents / worlds[world]["agents"]
            cores = case["cores"] / ranks
            parts = seconds(agents, ranks, alone / cores, worlds[world]["a_step"], moves, costs)
            low, high = found["wall_ms_spread"]
            rows.append(
                [
                    name, str(ranks), f"{found['wall_ms']:.2f} ({low:.2f}–{high:.2f})",
                    f"{found['communication_share']:.0%}", f"{1e3 * sum(parts.values()):.2f}",
                ]
            )  # fmt: skip
    return table(["", "ranks", "ms a step", "in calls to others", "model ms"], rows)


def written(page: str, parts: dict[str, str]) -> str:
    """The page with its tables between their marks."""
    for name, text in parts.items():
        begin, end = f"<!-- {name} -->\n\n", f"\n\n<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        assert after, f"{PAGE} has no place for {name}"
        page = before + begin + text + end + after
    return page


def picture(worlds: dict[str, Any]) -> None:
    """Bytes against ranks."""
    figure, panels = plt.subplots(1, len(worlds), figsize=(3 * len(worlds), 3.2), sharey=True, layout="constrained")
    for panel, (name, world) in zip(panels, worlds.items(), strict=True):
        counts = {ranks: each for ranks, each in network(world).items() if ranks > 1}
        sets = world["a_step"]["sets_of_flags"]
        labels = {"gathered_mean": "flags gathered", "halo_mean": "flags by halo", "groups_mean": "counts of groups"}
        for place, (key, label) in enumerate(labels.items()):
            if key not in counts[2]:
                continue
            panel.loglog(
                list(counts), [sets * each[key] for each in counts.values()], ".-", color=f"C{place}", label=label
            )
        chosen = [ranks for ranks, each in counts.items() if each["chosen"] != "gathered"]
        if chosen:
            panel.axvspan(min(chosen), max(counts), color="0.93", zorder=0)
        panel.set(title=f"{name}, {world['agents'] / 1e6:.0f}M", xlabel="ranks")
        panel.set_xscale("log", base=2)
        panel.set_xticks([2, 8, 32, 128, 512], ["2", "8", "32", "128", "512"])
    panels[0].set_ylabel("bytes a rank receives in a step")
    for panel in (panels[0], panels[-1]):
        panel.legend(frameon=False)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Write the tables and draw the picture."""
    worlds = json.loads((HERE / "bytes.json").read_text())["worlds"]
    costs_measured = json.loads((HERE / "messages.json").read_text())
    one, five = (costs_measured["step_with_calls_us"][calls]["min"] * 1e-6 for calls in ("1", "5"))
    call = (five - one) / 4
    costs = {"start": one - call, "call": call, "message": message(costs_measured)}
    print({name: f"{1e6 * value:.1f} µs" for name, value in costs.items()})
    print("work of an agent's step: ", {name: f"{1e9 * each:.1f} ns" for name, each in work().items()})
    order = ("random graph", "small world", "ring", "city")
    worlds = {name: worlds[name] for name in order if name in worlds}
    parts = {
        "bytes": bytes_table(worlds),
        "model": model_table(worlds, costs),
        "measured": measured_table(worlds, costs),
        "memory": memory_table(),
        "nation": nation_table(worlds, costs),
    }
    PAGE.write_text(written(PAGE.read_text("utf-8"), parts), "utf-8")
    picture(worlds)


if __name__ == "__main__":
    main()
