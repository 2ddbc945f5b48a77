"""What the commands of `lpm` do; `lpm.cli` only reads the command line."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from lpm.errors import InputError, LpmError
from lpm.cache import use_compilation_cache

PICTURE = "overview.png"


def run(
    config: str,
    out: Path | None,
    settings: list[str],
    agents: int | None,
    seed: int | None,
    realizations: int | None,
    steps: int | None,
    console: Console,
) -> None:
    """Load a config, build its world, run it, print the table and draw the picture."""
    from lpm.config import build_world, load

    begun = time.perf_counter()
    overrides = [*settings, *_shortcuts(config, agents=agents, seed=seed, realizations=realizations, steps=steps)]
    chosen = load(config, overrides)
    target = out or _free(chosen.run.out)
    use_compilation_cache()
    with _said(console, "Building the world"):
        world = build_world(chosen)
    if chosen.title and not overrides:
        world = dataclasses.replace(world, title=chosen.title)
    calendar = chosen.run.calendar
    days = f"{calendar.steps} days" + (f" from {calendar.start}" if calendar.start else "")
    draws = f", {chosen.run.realizations} realizations" if chosen.run.realizations > 1 else ""
    console.print(f"[bold]{world.title}[/]: {world.agents:,} agents, {days}{draws}, seed {chosen.run.seed}")

    from lpm import provenance, store
    from lpm.run import run as simulate

    snapshots = chosen.run.snapshots
    with _progress(console, calendar.steps * chosen.run.realizations) as report:
        path = simulate(
            world,
            calendar,
            target,
            seed=chosen.run.seed,
            realizations=chosen.run.realizations,
            every=chosen.run.every,
            snapshots=tuple(snapshots.of) if snapshots else (),
            snapshot_every=snapshots.every if snapshots else 0,
            observed=chosen.compare,
            attributes=provenance.provenance(
                config=chosen.text, overrides=overrides, seed=chosen.run.seed, title=world.title, notes=world.notes
            ),
            progress=report,
        )
    with _said(console, "Drawing"):
        results = store.open(path).load()
        picture = _draw(results, target)
    print_summary(results, console)
    console.print(
        f"Results  {path}\nPicture  {picture}\nAgain    lpm show {target}      in Python: lpm.open({str(target)!r})",
        highlight=False,
    )
    console.print(f"[dim]{time.perf_counter() - begun:.0f} s in all[/]", highlight=False)


def show(path: Path, console: Console) -> None:
    """Print a store's table and draw its picture anew."""
    from lpm import store

    found = store.locate(path)
    results = store.open(path).load()
    committed = results["committed"].values
    if results.sizes["time"] == 0:
        raise InputError(
            f"{found}: asked for results, got a store in which nothing was committed yet; wait, or run it again"
        )
    console.print(
        f"[bold]{results.attrs.get('title', found)}[/]: {results.attrs.get('agents', 0):,} agents, seed {results.attrs.get('seed')}"
    )
    full = store.records(path)
    if int(committed.min()) < full:
        console.print(f"[yellow]unfinished: {committed.min()} to {committed.max()} of {full} records a realization[/]")
    print_summary(results, console)
    folder = found.parent if found.name == store.NAME else found
    try:
        picture = str(_draw(results, folder))
    except OSError as error:
        picture = f"not drawn: {error}"
    console.print(f"Results  {found}\nPicture  {picture}", highlight=False)


def validate(config: str, settings: list[str], console: Console) -> None:
    """Check a config and say what it asks for."""
    from lpm.config import load

    chosen = load(config, settings)
    calendar = chosen.run.calendar
    span = f"{calendar.steps} days" + (f", {calendar.start} to {calendar.end}" if calendar.start else "")
    console.print(
        f"[green]{chosen.path}: good.[/] {chosen.model}, {span}, {chosen.run.realizations} realization(s)",
        highlight=False,
    )


def print_summary(results: Any, console: Console) -> None:
    """The table of a finished run."""
    from lpm import report

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in (("", "left"), ("total", "right"), ("peak", "right"), ("on", "left"), ("compared", "left")):
        table.add_column(heading, justify=justify)
    rows = report.summary(results)
    for row in rows:
        table.add_row(row.name, row.total, row.peak, row.when, row.observed)
    rate = report.attack_rate(results)
    if rate:
        table.add_row("[bold]attack rate[/]", rate, "", "", "")
    console.print(table)
    if results.sizes["realization"] > 1:
        console.print(f"[dim]median of {results.sizes['realization']} realizations (5 % to 95 %)[/]")


def _draw(results: Any, folder: Path) -> Path:
    from lpm.plot import overview

    return overview(results, folder / PICTURE)


def _shortcuts(config: str, **values: int | None) -> list[str]:
    """The options that stand for a setting, as overrides."""
    from lpm.config import load

    keys = {"seed": "run.seed", "realizations": "run.realizations", "steps": "run.steps"}
    given = {name: value for name, value in values.items() if value is not None}
    if "agents" in given:
        keys["agents"] = _agents_key(load(config).settings)
    return [f"{keys[name]}={value}" for name, value in given.items()]


def _agents_key(settings: Any) -> str:
    """Where the number of agents is set: `settings.agents`, or one level below, as in `settings.people.agents`."""
    for name, value in [("", settings), *vars(settings).items()]:
        if dataclasses.is_dataclass(value) and hasattr(value, "agents"):
            return ".".join(part for part in ("settings", name, "agents") if part)
    raise InputError(
        "--agents: asked for a number of agents, got a model without that setting; use --set with a key of its own"
    )


def _free(path: Path) -> Path:
    """The path itself, or with the first number that makes it new: a finished run is never written over."""
    candidate, number = path, 2
    while candidate.exists() and any(candidate.iterdir()):
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate


@contextlib.contextmanager
def _said(console: Console, what: str) -> Iterator[None]:
    """A spinner while something takes long, and a line in a log."""
    begun = time.perf_counter()
    with console.status(what) if console.is_terminal else contextlib.nullcontext():
        yield
    console.print(f"[dim]{what}: {time.perf_counter() - begun:.1f} s[/]", highlight=False)


@contextlib.contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[Any], None]]:
    """A bar on a terminal; elsewhere a line for each tenth of the work."""
    if not console.is_terminal:
        said = -1

        def line(progress: Any) -> None:
            nonlocal said
            tenth = 10 * progress.done // progress.total
            if tenth > said:
                said = tenth
                console.print(
                    f"{progress.done:,}/{progress.total:,} steps, {progress.rate:.2g} agent-steps/s, {progress.left:.0f} s left",
                    highlight=False,
                )

        yield line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("Simulating", total=total, rate="compiling")

        def advance(progress: Any) -> None:
            bars.update(bar, completed=progress.done, rate=f"{progress.rate:.2g} agent-steps/s")

        yield advance


def fail(error: LpmError, console: Console) -> None:
    """Print an error a user can act on."""
    problems = error.problems if isinstance(error, InputError) else [str(error)]
    for problem in problems:
        console.print(
            f"[red]error[/] {problem}" if console.is_terminal else f"error {problem}",
            markup=console.is_terminal,
            highlight=False,
        )
    if len(problems) > 1:
        console.print(f"{len(problems)} mistakes; nothing was run", highlight=False)


def unexpected(error: Exception, console: Console) -> None:
    """An exception that nobody foresaw: where it was raised and how to see more."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}site-packages{os.sep}" not in frame.filename] or frames
    where = f"{own[-1].filename}:{own[-1].lineno}"
    text = str(error).strip().splitlines() or [""]
    console.print(f"error {where} {type(error).__name__}: {text[0]}", markup=False, highlight=False)
    console.print(
        "Set LPM_TRACE=1 to see the whole trace. If the place named is not in your own model, please report it.",
        highlight=False,
    )
