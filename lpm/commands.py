"""What the commands of `lpm` do; `lpm.cli` only reads the command line."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import lpm
from lpm.cache import use_compilation_cache
from lpm.errors import InputError, LpmError

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
    begun = time.perf_counter()
    _say(console, f"lpm {lpm.__version__}, {config}", style="dim")  # before the slow imports

    from lpm.config import build_world, load

    options = _options(config, settings, agents=agents, seed=seed, realizations=realizations, steps=steps)
    overrides = [*settings, *(f"{key}={value}" for key, (_, value) in options.items())]
    chosen = load(config, overrides, {key: option for key, (option, _) in options.items()})
    target = out or _free(chosen.run.out)
    use_compilation_cache()
    with _said(console, "Building the world"):
        world = build_world(chosen)
    changed = [key.removeprefix("settings.") for key in overrides if key.startswith(("settings", "model"))]
    if chosen.title:
        world = dataclasses.replace(world, title=f"{chosen.title}; {', '.join(changed)}" if changed else chosen.title)
    calendar = chosen.run.calendar
    days = f"{calendar.steps:,} days" + (f" from {calendar.start}" if calendar.start else "")
    draws = f", {chosen.run.realizations} realizations" if chosen.run.realizations > 1 else ""
    _title(console, world.title, f"{world.agents:,} agents, {days}{draws}, seed {chosen.run.seed}")
    for caution in world.cautions:
        _say(console, f"Note: {caution}", style="yellow")

    from lpm import store
    from lpm.runner import run as simulate

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
            attributes={"config": chosen.text, "config_overrides": "\n".join(overrides)},
            progress=report,
        )
    with _said(console, "Drawing"):
        results = store.open(path).load()
        picture = _draw(results, target)
    print_summary(results, console)
    _say(console, f"Results  {path}\nPicture  {picture}")
    _say(console, f"Again    lpm show {shlex.quote(str(target))}, or in Python lpm.open({str(target)!r})")
    _say(console, f"{time.perf_counter() - begun:.0f} s in all", style="dim")


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
    about = results.attrs
    _title(console, about.get("title") or str(found), f"{about.get('agents', 0):,} agents, seed {about.get('seed')}")
    full, least, most = store.records(path), int(committed.min()), int(committed.max())
    if least < full:
        span = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        _say(console, f"unfinished: {span} of {full:,} records a realization", style="yellow")
    print_summary(results, console)
    folder = found.parent if found.name == store.NAME else found
    try:
        picture = str(_draw(results, folder))
    except OSError as error:
        picture = f"not drawn: {error}"
    _say(console, f"Results  {found}\nPicture  {picture}")


def validate(config: str, settings: list[str], console: Console) -> None:
    """Check a config and say what it asks for."""
    from lpm.config import load

    chosen = load(config, settings)
    calendar = chosen.run.calendar
    span = f"{calendar.steps:,} days" + (f", {calendar.start} to {calendar.end}" if calendar.start else "")
    _say(console, f"{chosen.path}: good. {chosen.model}, {span}, {chosen.run.realizations} realization(s)")


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
        _say(console, f"median of {reached:,} realizations (5 % to 95 % of them)", style="dim")
    console.print()
    for sentence in report.observed_beside(results):
        _say(console, sentence)


def _say(console: Console, text: str, style: str | None = None) -> None:
    """A line as it is: not wrapped, so that paths can be copied, and no brackets taken for markup."""
    console.print(text, style=style, soft_wrap=True, highlight=False, markup=False)


def _title(console: Console, title: str, rest: str) -> None:
    console.print(Text.assemble((title, "bold"), f": {rest}"), soft_wrap=True)


def _draw(results: Any, folder: Path) -> Path:
    from lpm.plot import overview

    return overview(results, folder / PICTURE)


def _options(
    config: str, overrides: list[str], *, agents: int | None, **of_run: int | None
) -> dict[str, tuple[str, int]]:
    """The options that stand for a setting: its key -> the option and its value."""
    from lpm.config import load

    found = {f"run.{name}": (f"--{name}", value) for name, value in of_run.items() if value is not None}
    if agents is not None:
        others = [*overrides, *(f"{key}={value}" for key, (_, value) in found.items())]
        settings = load(config, others, {key: option for key, (option, _) in found.items()}).settings
        found[_agents_key(settings)] = ("--agents", agents)
    return found


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
    _say(console, f"{what}: {time.perf_counter() - begun:.1f} s", style="dim")


@contextlib.contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[Any], None]]:
    """A bar on a terminal; elsewhere a line for each tenth of the work."""
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, expand=True) as bars:
        bar = bars.add_task("Simulating", total=total, rate="compiling")

        def advance(progress: Any) -> None:
            bars.update(bar, completed=progress.done, rate=_rate(progress) or "compiled")

        yield advance


def _lines(console: Console) -> Callable[[Any], None]:
    said = -1

    def line(progress: Any) -> None:
        nonlocal said
        tenth = 10 * progress.done // progress.total
        if tenth > said:
            said = tenth
            speed = f", {_rate(progress)}, {progress.left:.0f} s left" if progress.timed else ""
            _say(console, f"{progress.done:,} of {progress.total:,} steps{speed}")

    return line


def _rate(progress: Any) -> str:
    return f"{progress.rate / 1e6:,.3g} million agent-steps/s" if progress.timed else ""


def fail(error: LpmError, console: Console) -> None:
    """Print an error a user can act on."""
    problems = error.problems if isinstance(error, InputError) else [str(error)]
    for problem in problems:
        console.print(Text.assemble(("error", "red"), f" {problem}"), soft_wrap=True)
    if len(problems) > 1:
        _say(console, f"{len(problems)} mistakes; nothing was run")


def unexpected(error: Exception, console: Console) -> None:
    """An exception that nobody foresaw: where it was raised and how to see more."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    library = str(Path(__file__).resolve().parent)
    foreign = (
        f"{os.sep}site-packages{os.sep}",
        f"{os.sep}lib{os.sep}python",
        library,
        str(Path(library).parent / "kernels"),
    )
    own = [frame for frame in frames if not any(part in frame.filename for part in foreign)] or frames
    where = f"{own[-1].filename}:{own[-1].lineno}"
    text = str(error).strip().splitlines() or [""]
    _say(console, f"error {where} {type(error).__name__}: {text[0]}")
    _say(
        console,
        "Set LPM_TRACE=1 to see the whole trace. If the place named is not in your own model, please report it.",
    )
