"""What a command says on a terminal or in a log: lines, a bar while work goes on, errors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from lpm.distributed import by_itself, spokesman
from lpm.errors import InputError, LpmError


def say(console: Console, text: str, style: str | None = None) -> None:
    """A line as it is: not wrapped, so that paths can be copied, and no brackets taken for markup."""
    console.print(text, style=style, soft_wrap=True, highlight=False, markup=False)


def of_ranks(console: Console) -> Console:
    """The first of the processes started together speaks, as to a log, since mpirun makes every log a terminal."""
    return console if by_itself() else Console(quiet=not spokesman(), force_terminal=False)


def headline(console: Console, title: str, rest: str) -> None:
    """What is run or shown, and in what size."""
    console.print(Text.assemble((title, "bold"), f": {rest}"), soft_wrap=True)


@contextlib.contextmanager
def timed(console: Console, what: str) -> Iterator[None]:
    """A spinner while something takes long, and a line in a log."""
    begun = time.perf_counter()
    with console.status(what) if console.is_terminal else contextlib.nullcontext():
        yield
    say(console, f"{what}: {time.perf_counter() - begun:.1f} s", style="dim")


@contextlib.contextmanager
def steps_bar(console: Console, total: int) -> Iterator[Callable[[Any], None]]:
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
            say(console, f"{progress.done:,} of {progress.total:,} steps{speed}")

    return line


def _rate(progress: Any) -> str:
    return f"{progress.rate / 1e6:,.3g} million agent-steps/s" if progress.timed else ""


def fail(error: LpmError, console: Console) -> None:
    """Print an error a user can act on."""
    problems = error.problems if isinstance(error, InputError) else [str(error)]
    for problem in problems:
        console.print(Text.assemble(("error", "red"), f" {problem}"), soft_wrap=True)
    if len(problems) > 1:
        say(console, f"{len(problems)} mistakes; nothing was run")


def unexpected(error: Exception, console: Console) -> None:
    """Print an exception that nobody foresaw: where it was raised and how to see more."""
    from lpm import traced

    mend = traced.advice(error)
    if mend:
        say(console, f"error {mend}")
        return
    own = traced.own_frame(error)
    where = f"{own.filename}:{own.lineno}"
    text = str(error).strip().splitlines() or [""]
    say(console, f"error {where} {type(error).__name__}: {text[0]}")
    say(
        console,
        "Set LPM_TRACE=1 to see the whole trace. If the place named is not in your own model, please report it.",
    )
