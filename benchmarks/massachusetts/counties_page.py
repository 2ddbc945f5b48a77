"""Write docs/massachusetts.md's tables and picture from results.json.  python benchmarks/massachusetts/counties_page.py

Nothing between the page's marks is typed in.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from wording import table

from lpm.calibration.forecasts import scores

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "massachusetts.md"
IMAGE = PAGE.parent / "images" / "massachusetts.png"
TITLES = {"deaths": "COVID deaths, ten counties", "ili": "Influenza-like illness, ten HHS regions"}
UNITS = {"deaths": "deaths a week", "ili": "% of visits"}
PUBLISHED = {"deaths": (0.97, 0.92), "ili": (0.41, 0.32)}
OURS = {
    "corrected": "network and simulation, level corrected",
    "forecasts": "network and simulation",
    "guessed": "first guess and simulation without the network, level corrected",
}
BLUE, GREY, ORANGE = "#0072B2", "#777777", "#D55E00"


def main_size(own: dict[str, Any]) -> int:
    """The number of agents that most seeds were run with."""
    sizes = [run["agents"] for run in own["runs"]]
    return max(set(sizes), key=lambda size: (sizes.count(size), size))


def runs_of(own: dict[str, Any], agents: int) -> list[dict[str, Any]]:
    return [run for run in own["runs"] if run["agents"] == agents]


def each_seed(runs: list[dict[str, Any]], kind: str, truth: np.ndarray) -> list[dict[str, float]]:
    return [scores(np.array(list(run[kind].values())), truth) for run in runs]


def row(name: str, found: list[dict[str, float]]) -> list[str]:
    """Median over the seeds, with the smallest and largest ND."""
    cells = [f"{np.median([each[key] for each in found]):.{3 if key == 'ND' else 2}f}" for key in ("ND", "RMSE", "MAE")]
    if len(found) > 1:
        nd = [each["ND"] for each in found]
        cells[0] += f" ({min(nd):.3f}–{max(nd):.3f})"
    return [name, *cells]


def comparison(own: dict[str, Any], part: slice = slice(None)) -> str:
    """All forecasts beside each other, the best first."""
    truth, runs = np.array(own["observed"])[part], runs_of(own, main_size(own))
    rows = [row(name, [scores(np.array(values)[part], truth)]) for name, values in own["plain"].items()]
    for kind, name in OURS.items():
        cut = [{kind: dict(list(run[kind].items())[part])} for run in runs]
        rows.append(row(f"**{name}**", each_seed(cut, kind, truth)))
    return table(["forecast", "ND", "RMSE", "MAE"], sorted(rows, key=lambda cells: float(cells[1].split()[0])))


def by_week(own: dict[str, Any]) -> str:
    """ND of each week ahead."""
    truth, runs = np.array(own["observed"]), runs_of(own, main_size(own))
    kinds = {name: [np.array(values)] for name, values in own["plain"].items()}
    kinds |= {f"**{OURS[kind]}**": [np.array(list(run[kind].values())) for run in runs] for kind in OURS}
    rows = [
        [name, *(f"{np.median([scores(f[:, h], truth[:, h])['ND'] for f in found]):.2f}" for h in range(4))]
        for name, found in kinds.items()
    ]
    return table(["ND, weeks ahead", "1", "2", "3", "4"], rows)


def sizes(own: dict[str, Any]) -> str:
    """What the number of agents does."""
    truth, rows = np.array(own["observed"]), []
    for agents in sorted({run["agents"] for run in own["runs"]}):
        runs = runs_of(own, agents)
        nd = [f"{np.median([each['ND'] for each in each_seed(runs, kind, truth)]):.3f}" for kind in OURS]
        fitted = np.median([run["fitted_over_observed"] for run in runs])
        seconds = np.median([run["seconds"] for run in runs])
        rows.append([f"{agents:,}", str(len(runs)), *nd, f"{fitted:.2f}", f"{seconds:.0f}"])
    head = [
        "agents",
        "seeds",
        "ND, corrected",
        "ND",
        "ND, without the network",
        "simulated over observed, before the forecast",
        "s a seed",
    ]
    return table(head, rows)


def winner(own: dict[str, Any]) -> str:
    """In a sentence, who is best, and how the goal stands."""
    truth, runs = np.array(own["observed"]), runs_of(own, main_size(own))
    plain = {name: scores(np.array(values), truth)["ND"] for name, values in own["plain"].items()}
    best = min(plain, key=lambda name: plain[name])
    ours = [each["ND"] for each in each_seed(runs, "corrected", truth)]
    middle, wins = float(np.median(ours)), sum(each < plain[best] for each in ours)
    verdict = "**wins**" if middle < plain[best] else "**loses**"
    if min(ours) < plain[best] < max(ours):
        verdict = "**neither wins nor loses**"
    last = sum(each < plain["last value"] for each in ours)
    guess = float(np.median([each["ND"] for each in each_seed(runs, "guessed", truth)]))
    return (
        f"The best plain forecast is the {best} (ND {plain[best]:.3f}). Against it the network and the simulation, "
        f"level corrected (ND {middle:.3f} in the median), {verdict}: it is better for {wins} of {len(ours)} seeds, "
        f"and better than the last value for {last}. Without the network, ND is {guess:.3f}."
    )


def picture(results: dict[str, Any]) -> None:
    """Sums (means for ILI) over the regions: observed, forecast with the range over seeds, and the last value."""
    figure, axes = plt.subplots(len(results), 1, figsize=(9, 3.1 * len(results)), squeeze=False)
    for axis, (name, own) in zip(axes[:, 0], results.items(), strict=True):
        truth, runs = np.array(own["observed"]), runs_of(own, main_size(own))
        over = np.sum if name == "deaths" else np.mean
        last, ticks = np.array(own["plain"]["last value"]), []
        for i, week in enumerate(own["weeks"]):
            x = np.arange(1, 5) + 5 * i
            ours = np.array([over(np.array(run["corrected"][str(week)]), axis=1) for run in runs])
            one = i == 0
            axis.plot(x, over(truth[i], axis=1), "o", color=ORANGE, markersize=4, label="observed" if one else None)
            axis.plot(x, np.median(ours, 0), color=BLUE, label="network and simulation" if one else None)
            axis.fill_between(x, ours.min(0), ours.max(0), color=BLUE, alpha=0.2, linewidth=0)
            axis.plot(x, over(last[i], axis=1), "--", color=GREY, label="last value" if one else None)
            ticks.append((5 * i + 2.5, f"after\n{week}"))
        axis.set_xticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=8)
        axis.set_title(TITLES[name], loc="left", fontsize=10)
        axis.set_ylabel(UNITS[name])
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
    figure.tight_layout()
    figure.savefig(IMAGE, dpi=150)
    plt.close(figure)


def block(name: str, own: dict[str, Any]) -> str:
    """All that the page says of a case."""
    about = own["runs"][-1]["machine"]
    parts = [winner(own), comparison(own), by_week(own)]
    if name == "ili":
        early = sum(week < 201930 for week in own["weeks"])
        for season, part in (("2018–19", slice(0, early)), ("2019–20", slice(early, None))):
            parts += [f"The season {season} alone:", comparison(own, part)]
    if len({run["agents"] for run in own["runs"]}) > 1:
        parts += ["The size:", sizes(own)]
    runs = runs_of(own, main_size(own))
    parts.append(
        f"{main_size(own):,} agents, {len(runs)} seeds, {np.median([run['seconds'] for run in runs]):.0f} s and "
        f"{np.median([run['simulations'] for run in runs]):,.0f} simulations a seed in the median, on {about['cores']} "
        f"cores of {about['processor']} that others used as well, with jax {about['versions'].get('jax', '')}."
    )
    return "\n\n".join(parts)


def main() -> None:
    """Write both."""
    results = json.loads((HERE / "results.json").read_text("utf-8"))
    picture(results)
    text = PAGE.read_text("utf-8")
    for name, own in results.items():
        begin, end = f"<!-- {name}: written by counties_page.py -->", f"<!-- end of {name} -->"
        new = f"{begin}\n\n{block(name, own)}\n\n{end}"
        text, count = re.subn(f"{re.escape(begin)}.*{re.escape(end)}", lambda _, new=new: new, text, flags=re.S)
        if not count:
            raise SystemExit(f"{PAGE}: asked for the marks {begin} and {end}, got neither; write both")
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
