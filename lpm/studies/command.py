"""`lpm study`, and `lpm study collect` (or `lpm study-collect`)."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

import lpm
from lpm import directory, distributed
from lpm.cache import use_compilation_cache
from lpm.distributed import Ranks, alone
from lpm.errors import InputError, RunError
from lpm.signals import ignore_until_a_run
from lpm.terminal import of_ranks, say

if TYPE_CHECKING:
    from lpm.settings import Calendar
    from lpm.studies import records
    from lpm.studies.draws import Draws


def study(
    file: str,
    out: Path | None,
    task: str | None,
    resume: bool,
    realizations: int | None,
    agents: int | None,
    console: Console,
    split: bool = False,
) -> None:
    """Check a study, run it or what is missing of it, and write its answers; of a task, only its runs.

    Several ranks take a part of the runs each, or with `split` a part of the agents of every run; the first of them
    writes the answers.

    Raises:
        InputError: for mistakes in the file, and for a directory that holds something else.
        RunError: if runs failed; the answers are of those that did not.
    """
    with distributed.apart() as ranks:
        console = of_ranks(console)
        if ranks.count == 1 or split:
            _study(file, out, task, resume, realizations, agents, console, ranks)
            return
        if task is not None:
            raise InputError(
                f"--task: asked for one part, got {ranks.count} ranks, which share the parts out; leave it out, or "
                "write --split for ranks that share out the agents of each run"
            )
        target = ranks.first(lambda: out or _free(Path("studies") / Path(file).stem))
        if not resume:
            ranks.first(lambda: directory.new(target))

        def one(part: int) -> None:
            _study(file, target, f"{part}/{ranks.count}", resume, realizations, agents, console, on_ranks=True)

        from lpm.studies import plan

        if plan.load(file, realizations=realizations, agents=agents, fits=fits).wanted.policy is not None:
            ranks.first(lambda: one(0))
        ranks.each(lambda: one(ranks.rank + 1))

        def finish() -> None:
            from lpm.studies import records

            collect(target, console)
            about = records.read(target)
            failed = [(unit, why) for unit, why in records.missing(target, about) if why != records.NOT_RUN]
            _complain(failed, about, "the same words and --resume")

        ranks.first(finish)


def _study(
    file: str,
    out: Path | None,
    task: str | None,
    resume: bool,
    realizations: int | None,
    agents: int | None,
    console: Console,
    ranks: Ranks = alone,
    on_ranks: bool = False,
) -> None:
    """As `study`, in one process, or by ranks that do every run together."""
    say(console, f"lpm {lpm.__version__}, study {file}", "dim")
    ignore_until_a_run()
    chosen_task = _task(task)
    if (resume or task) and out is None:
        raise InputError("--out: asked for the directory of the study, got none; write --out DIRECTORY")

    from lpm.studies import plan, records, runs

    use_compilation_cache()
    begun = time.perf_counter()
    chosen = ranks.each(lambda: plan.load(file, realizations=realizations, agents=agents, fits=fits))
    target = ranks.first(lambda: out or _free(Path("studies") / chosen.path.stem))
    policy = chosen.wanted.policy
    scenarios = len(chosen.scenarios) + (policy is not None and 1 + policy.compare)
    total = scenarios * chosen.realizations
    part = f", task {task}" if task else ""
    each = f"{chosen.realizations}"
    if chosen.draws is not None:
        each = f"{chosen.realizations // chosen.draws.count} × {chosen.draws.count} draws"
    say(console, f"{chosen.title}: {scenarios} scenarios × {each} = {total:,} runs{part}", "bold")
    for line in chosen.draws.told if chosen.draws else ():
        say(console, line)
    words = ["lpm", "study", file, "--out", str(target)]
    for name, value in (("--task", task), ("--realizations", realizations), ("--agents", agents)):
        words += [] if value is None else [name, str(value)]
    words += ["--split"] if ranks.count > 1 else []
    again = shlex.join([*words, "--resume"])
    path = runs.run(
        chosen,
        target,
        task=chosen_task,
        resumed=resume,
        progress=_lines(console),
        say=lambda line: say(console, line, "yellow"),
        again=f"`{again}`",
        ranks=ranks,
    )
    if on_ranks:
        return
    if chosen_task is not None and not chosen_task[0]:
        say(console, f"The policy is found; do the tasks from 1 to {chosen_task[1]} now")
        return

    def finish() -> None:
        about = records.read(path)
        missing = records.missing(path, about)
        failed = [(unit, why) for unit, why in missing if why != records.NOT_RUN]
        say(console, f"{time.perf_counter() - begun:.0f} s", "dim")
        if task is None or not missing:
            collect(path, console)
        else:
            say(console, f"{len(about.units) - len(missing):,} of {len(about.units):,} runs are done")
            say(console, f"When all are: lpm study collect {shlex.quote(str(path))}")
        _complain(failed, about, again)

    ranks.first(finish)


def fits(folder: Path, calendar: Calendar, count: int | None) -> Draws:
    """The draws that a study takes from a fit; its estimate if `count` is None.

    Raises:
        InputError: if there is no such fit, or it kept fewer draws.
    """
    from lpm.calibration import fitted
    from lpm.studies.draws import Draws

    fit = fitted.read(folder, calendar)
    chosen = fit.z[None] if count is None else fitted.some(fit, count)
    told = fitted.sentences(fit, calendar, count)
    return Draws(
        len(chosen),
        lambda world, number: fitted.at(world, fit, chosen[number]),
        fitted.remembered(fit, count),
        tuple(told),
    )


def _complain(failed: list[tuple[records.Unit, str]], about: records.About, again: str) -> None:
    """Raise if runs failed."""
    if failed:
        lines = "; ".join(f"{about.names[u.scenario]}, realization {u.realization}: {why}" for u, why in failed[:5])
        more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
        raise RunError(
            f"{len(failed)} of {len(about.units):,} runs failed: {lines}{more}. Try them again with `{again}`"
        )


def collect_words(word: str, path: Path, console: Console) -> None:
    """`lpm study collect DIR`.

    Raises:
        InputError: if the first word is another.
    """
    if word != "collect":
        raise InputError(
            f"lpm study: asked for one file, got {word} and {path}; write `lpm study {word} --out {path}`, or "
            f"`lpm study collect {path}`"
        )
    collect(path, console)


def collect(path: Path, console: Console) -> None:
    """Join a study's runs, write its answers and print the table."""
    from lpm.studies import printed, report

    written = report.collect(path)
    printed.answers(written, console)
    lines = written.dataset.attrs["missing"].splitlines()
    if lines:
        say(console, f"{len(lines):,} of {len(written.about.units):,} runs are missing:", "yellow")
        for line in lines[:20]:
            say(console, f"  {line}")
        if len(lines) > 20:
            say(console, f"  and {len(lines) - 20} more, all in {written.page}")
    tables = [report.TABLE, report.COSTS, report.SENSITIVITY]
    beside = ", ".join(name for name in tables if (path / name).exists())
    say(
        console,
        f"Page     {written.page}\nTables   {path}: {beside}\nAnswers  {written.answers}\nRuns     {written.store}",
    )


def _task(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not int(match[1]) <= int(match[2]):
        raise InputError(f"--task: asked for I/N with I from 1 to N, got {text!r}; write for example --task 1/10")
    return int(match[1]), int(match[2])


def _free(path: Path) -> Path:
    """The path itself, or with the first number that makes it new."""
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate


def _lines(console: Console) -> Callable[[int, int], None]:
    """A line for each twentieth of the runs, but no more than one in two seconds."""
    begun, first, said, when = 0.0, -1, -1, 0.0  # the first run waits for the compiler

    def line(done: int, total: int) -> None:
        nonlocal begun, first, said, when
        now = time.perf_counter()
        if first < 0:
            begun, first = now, done
        if 20 * done // total == said or (now < when + 2 and done < total):
            return
        said, gone, when = 20 * done // total, now - begun, now
        each = gone / max(done - first, 1)
        left = f", {each:.2g} s each, {each * (total - done):.0f} s left" if done > first else ""
        say(console, f"{done:,} of {total:,} runs{left}", "dim")

    return line
