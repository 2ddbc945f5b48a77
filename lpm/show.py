"""`lpm show`: the table of a run, or of several side by side, and their picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lpm.errors import InputError
from lpm.terminal import headline, say

PICTURE, PICTURE_OF_SEVERAL = "overview.png", "comparison.png"
LONGEST_NAME = 32  # of a run, over a column


def show(paths: list[Path], console: Console, picture: Path | None = None) -> None:
    """Print the table of a run, or of several side by side, and draw their picture anew."""
    from lpm import store

    found = list({located.resolve(): located for located in map(store.locate, paths)}.values())
    opened = [_opened(each) for each in found]
    folder = found[0].parent if found[0].name == store.NAME else found[0]
    if len(found) == 1:
        (results,) = opened
        _introduce("", found[0], results, console)
        print_summary(results, console)
        target = picture or folder / PICTURE
    else:
        runs = dict(zip(_names(found, opened), opened, strict=True))
        for path, (name, results) in zip(found, runs.items(), strict=True):
            _introduce(name, path, results, console)
        _print_side_by_side(runs, console)
        target = picture or folder.parent / PICTURE_OF_SEVERAL
    try:
        drawn = str(draw(opened[0] if len(found) == 1 else runs, target))
    except OSError as error:
        drawn = f"not drawn: {error}"
    say(console, "".join(f"Results  {path}\n" for path in found) + f"Picture  {drawn}")


def _opened(path: Path) -> Any:
    """The results of a run that has begun."""
    from lpm import store

    results = store.open(path).load()
    if results.sizes["time"] == 0:
        raise InputError(
            f"{path}: asked for results, got a store in which nothing was committed yet; wait, or run it again"
        )
    return results


def _names(paths: list[Path], opened: list[Any]) -> list[str]:
    """What tells runs apart: their titles if these are short, else their folders."""
    from lpm import store

    titles = [results.attrs.get("title", "") for results in opened]
    whole = [path.resolve() for path in paths]
    folders = [path.parent.name if path.name == store.NAME else path.name for path in whole]
    for names in (titles if all(0 < len(title) <= LONGEST_NAME for title in titles) else folders, folders):
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _introduce(name: str, path: Path, results: Any, console: Console) -> None:
    """A line on a run, with its name if it has one of several, and one more if it is unfinished."""
    from lpm import store

    about, realizations = results.attrs, results.sizes["realization"]
    draws = f", {realizations:,} realizations" if realizations > 1 else ""
    title = about.get("title") or ("" if name else str(path))
    also = f"{title}, " if name and title not in ("", name) else ""
    headline(console, name or title, f"{also}{about.get('agents', 0):,} agents{draws}, seed {about.get('seed')}")
    committed = results["committed"].values
    full, least, most = store.records(path), int(committed.min()), int(committed.max())
    if least < full:
        span = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        say(console, f"unfinished: {span} of {full:,} records a realization", style="yellow")


def print_summary(results: Any, console: Console) -> None:
    """The table of a finished run, and below it what was observed beside what was simulated."""
    from lpm import report

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column()
    table.add_column("total", justify="right", no_wrap=True)
    table.add_column("peak", justify="right", no_wrap=True)
    table.add_column("when", no_wrap=True)
    for row in report.summary(results):
        table.add_row(row.name, row.total, row.peak, row.when)
    rate = report.attack_rate(results)
    if rate:
        table.add_row(*rate)
    console.print()
    console.print(table)
    reached = int((results["committed"] > 0).sum())
    if reached > 1:
        say(console, f"median of {reached:,} realizations (5 % to 95 % of them)", style="dim")
    for sentence in report.nothing_seen(results):
        say(console, sentence, style="yellow")
    console.print()
    for sentence in report.observed_beside(results):
        say(console, sentence)


def _print_side_by_side(runs: dict[str, Any], console: Console) -> None:
    """A table with a column for each run, of what all of them observe."""
    from lpm import report

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column()
    table.add_column()
    for name in runs:
        table.add_column(name, justify="right", overflow="fold")
    for what, measure, values in report.side_by_side(runs):
        table.add_row(what, measure, *values)
    console.print()
    console.print(table)
    if any(results.sizes["realization"] > 1 for results in runs.values()):
        say(console, "medians of the realizations (5 % to 95 % of them)", style="dim")
    common = report.shared(runs)
    rest = dict.fromkeys(name for results in runs.values() for name in report.curves(results) if name not in common)
    if rest:
        say(console, f"not in all of them: {', '.join(rest)}", style="dim")
    console.print()


def draw(results: Any, path: Path) -> Path:
    """The picture of one run, or of several by name."""
    from lpm.plot import overlaid, overview

    return overlaid(results, path) if isinstance(results, dict) else overview(results, path)
