"""What the commands of `lpm` do; `lpm.cli` only reads the command line."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
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
from lpm.distributed import by_itself, spokesman
from lpm.errors import InputError, LpmError
from lpm.signals import ignore_until_a_run

PICTURE, PICTURE_OF_SEVERAL = "overview.png", "comparison.png"
LONGEST_NAME = 32  # of a run, over a column


def run(
    config: str,
    out: Path | None,
    settings: list[str],
    agents: int | None,
    seed: int | None,
    realizations: int | None,
    steps: int | None,
    console: Console,
    resume: bool = False,
    from_fit: Path | None = None,
    draws: int | None = None,
) -> None:
    """Load a config, build its world, run it or go on with it, print the table and draw the picture."""
    console = _of_ranks(console)
    _say(console, f"lpm {lpm.__version__}, {config}", style="dim")  # before the slow imports

    from lpm.config import load
    from lpm.distributed import ranks

    if resume and out is None:
        raise InputError("--resume: asked for the directory of the run to go on with, got none; write --out DIRECTORY")
    if draws and from_fit is None:
        raise InputError("--draws: asked for draws from a posterior, got no fit; write --from-fit DIRECTORY")
    realizations = realizations or draws
    options = _options(config, settings, agents=agents, seed=seed, realizations=realizations, steps=steps)
    overrides = [*settings, *(f"{key}={value}" for key, (_, value) in options.items())]
    chosen = load(config, overrides, {key: option for key, (option, _) in options.items()})
    target = out or ranks().first(lambda: _free(chosen.run.out))
    _simulate(chosen, config, overrides, target, console, resume, fit=(from_fit, draws))


def branch(
    directory: Path, out: Path, settings: list[str], at: str | None, config: str | None, console: Console
) -> None:
    """Go on from a checkpoint of a run with other settings, in another directory."""
    console = _of_ranks(console)
    _say(console, f"lpm {lpm.__version__}, a branch of {directory}", style="dim")

    from lpm import store
    from lpm.config import load

    about = store.open(directory).attrs
    config = config or about.get("config_path")
    if not config:
        raise InputError(f"{directory}: asked for a run of a config, got one without; write --config FILE")
    overrides = [*about.get("config_overrides", "").splitlines(), *settings]
    chosen = load(config, overrides)
    fit = about.get("from_fit"), int(about.get("from_fit_draws") or 0)
    _simulate(chosen, config, overrides, out, console, parent=directory, at=_step(at, chosen.run.calendar), fit=fit)


def _of_ranks(console: Console) -> Console:
    """The first of the processes started together speaks, as to a log, since mpirun makes every log a terminal."""
    return console if by_itself() else Console(quiet=not spokesman(), force_terminal=False)


def _step(at: str | None, calendar: Any) -> int | None:
    """A date or a number of days done, as the command line takes it."""
    if at is None or at.isdecimal():
        return None if at is None else int(at)
    try:
        day = datetime.date.fromisoformat(at)
    except ValueError:
        raise InputError(f"--at: asked for a date or a number of days, got {at!r}; write for example --at 30") from None
    return calendar.step_of(day)


def _simulate(
    chosen: Any,
    config: str,
    overrides: list[str],
    target: Path,
    console: Console,
    resume: bool = False,
    parent: Path | None = None,
    at: int | None = None,
    fit: tuple[Path | str | None, int | None] = (None, None),
) -> None:
    """Build the world of a config, run it, print the table and draw the picture; of several ranks the first speaks."""
    begun = time.perf_counter()
    ignore_until_a_run()

    from lpm import distributed
    from lpm.config import build_world, described

    ranks = distributed.ranks()
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
    fitted: dict[str, str] = {}
    if fit[0]:
        from lpm.calibration import fitted as of_fit

        world, fitted, told = of_fit.used(world, fit[0], calendar, fit[1], chosen.run.seed, chosen.run.realizations)
        for line in told:
            _say(console, line)
    if ranks.count > 1:
        world = _divided(world, ranks, console)

    from lpm import store
    from lpm.checkpoint import Plan
    from lpm.runner import run as simulate

    snapshots, saving = chosen.run.snapshots, chosen.run.checkpoint
    where = str(Path(config).resolve()) if Path(config).is_file() else config
    words = ["lpm", "run", config, *(word for each in overrides for word in ("--set", each)), "--out", str(target)]
    words += [*(["--from-fit", str(fit[0])] if fit[0] else []), *(["--draws", str(fit[1])] if fit[1] else [])]
    finished = resume and ranks.first(lambda: store.finished(target))
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
            attributes={"config": chosen.text, "config_path": where, "config_overrides": "\n".join(overrides)} | fitted,
            settings=described(chosen) | {key: text for key, text in fitted.items() if key != "from_fit"},
            checkpoints=Plan(saving.steps or 0, saving.minutes, tuple(calendar.step_of(day) for day in saving.at)),
            resumed=resume,
            parent=parent,
            at=at,
            progress=report,
            say=lambda line: _say(console, line),
            again=f"`{shlex.join([*words, '--resume'])}`",
        )
    if ranks.rank:
        return
    results = store.open(path).load()
    picture = str(target / PICTURE)
    if not (finished and Path(picture).exists()):
        with _said(console, "Drawing"):
            try:
                _draw(results, target / PICTURE)
            except OSError as error:
                picture = f"not drawn: {error}"
    print_summary(results, console)
    _say(console, f"Results  {path}\nPicture  {picture}")
    _say(console, f"Again    lpm show {shlex.quote(str(target))}, or in Python lpm.open({str(target)!r})")
    _say(console, f"{time.perf_counter() - begun:.0f} s in all", style="dim")


def _divided(world: Any, ranks: Any, console: Console) -> Any:
    """This rank's part of a world, with a line on how the ranks will reach each other."""
    from lpm import partition

    with _said(console, f"Dividing it among {ranks.count} ranks"):
        part = partition.mine(world, ranks)
    here = ranks.all(part.here)
    _say(console, f"{min(here):,} to {max(here):,} agents a rank", style="dim")
    for line in part.share.moved if part.share else ():
        _say(console, line, style="dim")
    return part


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
        drawn = str(_draw(opened[0] if len(found) == 1 else runs, target))
    except OSError as error:
        drawn = f"not drawn: {error}"
    _say(console, "".join(f"Results  {path}\n" for path in found) + f"Picture  {drawn}")


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
    _title(console, name or title, f"{also}{about.get('agents', 0):,} agents{draws}, seed {about.get('seed')}")
    committed = results["committed"].values
    full, least, most = store.records(path), int(committed.min()), int(committed.max())
    if least < full:
        span = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        _say(console, f"unfinished: {span} of {full:,} records a realization", style="yellow")


def validate(config: str, settings: list[str], console: Console) -> None:
    """Check a config and its model, and say what it asks for."""
    from lpm.config import load
    from lpm.trial import tried

    path = Path(config)
    if path.is_file() and any(line.startswith("study:") for line in path.read_text("utf-8").splitlines()):
        raise InputError(f"{path}: asked for a config, got a study; `lpm study {path}` checks it before its first run")
    chosen = load(config, settings)
    calendar = chosen.run.calendar
    span = f"{calendar.steps:,} days" + (f", {calendar.start} to {calendar.end}" if calendar.start else "")
    agents = tried(chosen)
    _say(console, f"{chosen.path}: good. {chosen.model}, {span}, {chosen.run.realizations} realization(s)")
    _say(console, f"Its model was built and traced with {agents:,} agents", style="dim")


def check_gradient(
    config: str,
    settings: list[str],
    agents: int | None,
    steps: int | None,
    seed: int | None,
    console: Console,
    **wanted: Any,
) -> bool:
    """Print which derivatives of a config's world hold; whether nothing is off or cut."""
    _say(console, f"lpm {lpm.__version__}, derivatives of {config}", style="dim")  # before the slow imports

    from lpm import check_gradient as check
    from lpm.config import build_world, load
    from lpm.trial import agents_setting

    options = _options(config, settings, agents=agents, steps=steps, seed=seed)
    overrides = [*settings, *(f"{key}={value}" for key, (_, value) in options.items())]
    chosen = load(config, overrides, {key: option for key, (option, _) in options.items()})
    key, many = agents_setting(chosen.settings) or ("", 0)
    if agents is None and (many is None or many > check.ENOUGH):
        chosen = load(config, [*overrides, f"{key}={check.ENOUGH}"])
        said = "all agents" if many is None else f"{many:,} agents"
        _say(console, f"{check.ENOUGH:,} agents instead of {said}, which is enough to tell; --agents takes others")
    use_compilation_cache()
    with _said(console, "Building the world"):
        world = build_world(chosen)
    calendar = chosen.run.calendar
    _title(console, world.title, f"{world.agents:,} agents, {calendar.steps:,} days, seed {chosen.run.seed}")
    for caution in world.cautions:
        _say(console, f"Note: {caution}", style="yellow")
    found = check.checked(world, steps=calendar.steps, seed=chosen.run.seed, console=console, **wanted)
    check.print_check(found, console)
    return found.holds


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
        _say(console, "medians of the realizations (5 % to 95 % of them)", style="dim")
    common = report.shared(runs)
    rest = dict.fromkeys(name for results in runs.values() for name in report.curves(results) if name not in common)
    if rest:
        _say(console, f"not in all of them: {', '.join(rest)}", style="dim")
    console.print()


def _say(console: Console, text: str, style: str | None = None) -> None:
    """A line as it is: not wrapped, so that paths can be copied, and no brackets taken for markup."""
    console.print(text, style=style, soft_wrap=True, highlight=False, markup=False)


def _title(console: Console, title: str, rest: str) -> None:
    console.print(Text.assemble((title, "bold"), f": {rest}"), soft_wrap=True)


def _draw(results: Any, path: Path) -> Path:
    """The picture of one run, or of several by name."""
    from lpm.plot import overlaid, overview

    return overlaid(results, path) if isinstance(results, dict) else overview(results, path)


def _options(
    config: str, overrides: list[str], *, agents: int | None, **of_run: int | None
) -> dict[str, tuple[str, int]]:
    """The options that stand for a setting: its key -> the option and its value."""
    from lpm.config import load
    from lpm.trial import agents_setting

    found = {f"run.{name}": (f"--{name}", value) for name, value in of_run.items() if value is not None}
    if agents is not None:
        others = [*overrides, *(f"{key}={value}" for key, (_, value) in found.items())]
        settings = load(config, others, {key: option for key, (option, _) in found.items()}).settings
        key, _ = agents_setting(settings) or ("", None)
        if not key:
            raise InputError(
                "--agents: asked for a number of agents, got a model without that setting; "
                "use --set with a key of its own"
            )
        found[key] = ("--agents", agents)
    return found


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
