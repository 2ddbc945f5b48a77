"""`lpm calibrate CONFIG`: fit what a config leaves free, print a table, write the fit and its picture."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lpm.cache import use_compilation_cache
from lpm.calibration import fitting, picture, posterior, results, setup
from lpm.calibration.task import Fit
from lpm.errors import InputError

PICTURE = "fit.png"


def calibrate(config: str, out: Path | None, overrides: list[str], console: Console) -> None:
    """Load, build, fit; then the table, fit.json, fit.zarr and fit.png in a new directory.

    Args:
        config: a file, or the name of one that comes with lpm.
        out: the directory; named after the config's if None.
        overrides: `key=value` each.
        console: to print to.
    Raises:
        InputError: for mistakes in the config, and for a directory that holds something.
        RunError: if no start gave a fit.
    """
    from lpm.config import build_world, load

    begun = time.perf_counter()
    chosen = load(config, overrides)
    folder = _directory(out, chosen.run.out)
    use_compilation_cache()
    world = build_world(chosen)
    world = dataclasses.replace(world, title=chosen.title or world.title)
    problem = setup.problem_of(chosen, world)
    section = chosen.calibrate
    assert section is not None  # or `problem_of` had raised
    data = ", ".join(f"{each.name} ({each.likelihood.replace('_', ' ')})" for each in problem.streams)
    _say(console, f"{world.title}: {problem.size} unknowns, fitted to {data}", "bold")
    fit = fitting.fit(
        problem,
        realizations=section.realizations,
        starts=section.starts,
        iterations=section.iterations,
        budget=section.budget or math.inf,
        seed=section.seed,
        progress=lambda line: _say(console, line, "dim"),
    )
    predictive = posterior.predict(fit, section.draws, section.seed)
    found = posterior.identified(fit)
    summary, store = results.write(fit, predictive, found, folder)
    drawn = picture.draw(fit, predictive, folder / PICTURE)
    print_fit(fit, predictive, found, console)
    _say(console, f"Fit      {summary}\nDraws    {store}\nPicture  {drawn}")
    _say(console, f"{fit.simulations:,} simulations, {time.perf_counter() - begun:.0f} s in all", "dim")


def print_fit(fit: Fit, predictive: posterior.Predictive, found: posterior.Identified, console: Console) -> None:
    """The table of parameters, and below it what to think of it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("parameter", no_wrap=True)
    for name in ("estimate", "90 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for row in results.table(fit, found):
        weak = "weakly identified" if row.weak else ""
        table.add_row(row.name, f"{row.estimate:.4g}", f"{row.low:.4g} to {row.high:.4g}", weak)
    console.print()
    console.print(table)
    console.print()
    for sentence in found.directions:
        _say(console, sentence, "yellow")
    for end in fit.starts:
        if end.verdict == "dropped":
            _say(console, f"start {end.number} was dropped: {end.reason}", "yellow")
    inside = 100 * posterior.coverage(fit, predictive)
    _say(console, f"{inside:.0f} % of the data lie within the 90 % band of what the fit predicts")
    if fit.died_out:
        _say(console, f"{100 * fit.died_out:.1f} % of the epidemics simulated at the fit died out and were left out")


def _directory(out: Path | None, run: Path) -> Path:
    """The one asked for if it is free, or a new one beside the config's runs."""
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out}: asked for a new or empty directory, got one that holds something; write another")
        return out
    candidate, number = run.with_name(f"{run.name}-fit"), 2
    while candidate.exists():
        candidate, number = run.with_name(f"{run.name}-fit-{number}"), number + 1
    return candidate


def _say(console: Console, text: str, style: str | None = None) -> None:
    """A line as it is: not wrapped, and no brackets taken for markup."""
    console.print(text, style=style, soft_wrap=True, highlight=False, markup=False)
