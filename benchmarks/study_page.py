"""The tables and the picture of effects of a finished study, put into docs/studies.md between its markers.

lpm study nyc-what-if --out study
python benchmarks/study_page.py study nyc-what-if
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

from lpm.studies import economics, figures, records, report
from lpm.studies.compare import summary
from lpm.studies.markup import number
from lpm.studies.outcomes import OVER

DOCS = Path(__file__).parents[1] / "docs"


def cell(values: np.ndarray) -> str:
    """Median and middle 90 %."""
    found = summary(values)
    return f"{number(found.median)} ({number(found.quantiles[1])} to {number(found.quantiles[5])})"


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tables(dataset: xr.Dataset, about: records.About) -> str:
    """The baseline's outcomes, differences from it, and costs, as Markdown."""
    columns = [(each.difference, f"{each.label}{': more' if each.used else ''}") for each in about.outcomes]
    if about.capacity is not None:
        columns.append((f"averted_{OVER}", f"days above {about.capacity.beds:,.0f} in hospital"))
    own = "; ".join(f"{each.label} {cell(dataset[each.id].values[0])}" for each in about.outcomes if not each.used)
    done = min(summary(dataset[about.outcomes[0].id].values[place]).n for place in range(len(about.names)))
    parts = [
        f"{done} realizations of {len(about.names)} scenarios, {int(about.attributes['agents']):,} agents. "
        f"*{about.names[0]}*: {own}. Averted, median and middle 90 %; negative numbers are more:",
        "",
        line(["averted", *(label for _, label in columns)]),
        line(["---", *("---:" for _ in columns)]),
    ]
    for place, name in list(enumerate(about.names))[1:]:
        parts.append(line([name, *(cell(dataset[key].values[place]) for key, _ in columns)]))
    costs = economics.cost_effects(dataset)
    if costs and about.effect is not None:
        head = [
            "",
            f"extra cost, billion {about.currency}",
            f"{about.effect.label} averted",
            "ICER",
            "net benefit, billion",
        ]
        parts += ["", line(head), line(["---", *("---:" for _ in head[1:])])]
        for each in costs[1:]:
            benefit = (
                dataset["net_benefit"].values[about.names.index(each.scenario)] / 1e9
                if about.worth
                else np.array([np.nan])
            )
            ratio = number(each.icer) if each.standing == "frontier" else each.standing
            parts.append(line([each.scenario, number(each.extra / 1e9), number(each.averted), ratio, cell(benefit)]))
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("name")
    asked = parser.parse_args()
    dataset = xr.open_zarr(asked.directory / report.ANSWERS, consolidated=False).load()
    about = records.read(asked.directory)
    drawn = figures.effects(dataset, about)
    svg = drawn[drawn.index("<svg") : drawn.rindex("</svg>") + len("</svg>")]
    if "xmlns=" not in svg[: svg.index(">")]:
        names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        svg = svg.replace("<svg", f"<svg {names}", 1)
    (DOCS / "images" / f"{asked.name}.svg").write_text(svg + "\n", "utf-8")
    page, begin, end = DOCS / "studies.md", f"<!-- {asked.name} -->\n", f"<!-- end of {asked.name} -->"
    before, _, rest = page.read_text("utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{page}: no markers {begin.strip()} and {end}; write them where the tables belong")
    page.write_text(f"{before}{begin}{tables(dataset, about)}\n{end}{after}", "utf-8")


if __name__ == "__main__":
    main()
