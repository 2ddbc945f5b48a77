"""Results as markdown, for docs/gradients.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: written by benchmarks/gradients/accuracy.py -->", "<!-- end of figures -->"


def of_case(case: dict[str, Any]) -> str:
    """One case's table: a row for each parameter and observable, a column for each rule."""
    rules = list(case["rules"])
    reference = case["reference"]
    lines = [
        f"**{case['title']}**: {case['agents']:,} agents, {case['steps']} days, "
        f"{reference['realizations']} realizations of the reference; "
        + ", ".join(f"{each['realizations']} of {rule}" for rule, each in case["rules"].items())
        + ".",
        "",
        "| parameter | observable | reference | " + " | ".join(f"`{rule}`" for rule in rules) + " |",
        "|---|---|---|" + "---|" * len(rules),
    ]
    rows = [{(row["parameter"], row["observable"]): row for row in each["rows"]} for each in case["rules"].values()]
    for row in reference["rows"]:
        key = (row["parameter"], row["observable"])
        error = "none" if row["error"] is None else f"± {100 * row['error']:.1f} %"
        cells = [_cell(each.get(key)) for each in rows]
        lines.append(f"| {key[0]} | {key[1]} | {error} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["slope"] is None or row["verdict"] == "cut":
        return row["verdict"]
    cosine = "" if row["cosine"] is None else f", {min(row['cosine'], 1):.3f}"
    slope = f"{row['slope']:.2f} ± {row['error']:.2f}" if abs(row["slope"]) < 100 else f"{row['slope']:.0e}"
    text = f"{slope}{cosine}"
    return {"holds": f"**{text}**", "unsure": f"{text} ?"}.get(row["verdict"], text)


def summary(cases: dict[str, Any]) -> str:
    """How many derivatives hold, by case and rule."""
    rules = list(dict.fromkeys(rule for case in cases.values() for rule in case["rules"]))
    lines = ["| case | " + " | ".join(f"`{rule}`" for rule in rules) + " |", "|---|" + "---|" * len(rules)]
    for case in cases.values():
        cells = []
        for rule in rules:
            rows = case["rules"].get(rule, {}).get("rows", [])
            number = {
                verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("holds", "unsure", "off", "cut")
            }
            cells.append(", ".join(f"{n} {verdict}" for verdict, n in number.items() if n))
        lines.append(f"| {case['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def noises(cases: dict[str, Any]) -> str:
    """What one realization is off by, by case: the median over parameters and observables, in parts of the truth."""
    rules = list(dict.fromkeys(rule for case in cases.values() for rule in case["rules"]))
    head = "| case | differences | " + " | ".join(f"`{rule}`" for rule in rules) + " |"
    lines = [head, "|---|---|" + "---|" * len(rules)]
    for case in cases.values():
        columns = [case["reference"]["rows"], *(case["rules"].get(rule, {}).get("rows", []) for rule in rules)]
        found = [sorted(row["noise"] for row in rows if row["noise"] is not None) for rows in columns]
        cells = [f"{each[len(each) // 2]:.2g}" if each else "" for each in found]
        lines.append(f"| {case['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(page: Path, results: dict[str, Any]) -> None:
    """Put the tables between the marks of a page."""
    cases = results.get("cases", {})
    if not cases:
        return
    about = results["machine"]
    parts = [
        BEGIN,
        f"With jax {about['versions'].get('jax', '')}; results/accuracy.json beside the script has the commit of each.",
        summary(cases),
        "Noise of one realization: the standard deviation of its slope, the median over parameters and observables "
        "(differences of fourth order, with changes of 5 % to 20 %).",
        noises(cases),
        "All figures, as slope ± standard error, cosine; bold if it holds, with a question mark if the errors are too "
        "large to tell.",
        *(of_case(case) for case in cases.values()),
        END,
    ]
    text = page.read_text("utf-8")
    block = "\n\n".join(parts)
    page.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, text, flags=re.S), "utf-8")
