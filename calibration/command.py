"""`lpm calibrate CONFIG`: fit what a config leaves free, print a table, write the fit, its picture and a page on it."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

import lpm
from lpm import directory, distributed
from lpm.cache import use_compilation_cache
from lpm.calibration import (
    checks,
    emulated,
    ensemble,
    fitting,
    flow,
    hub,
    observation,
    page,
    picture,
    posterior,
    regression,
    results,
    sampling,
    setup,
)
from lpm.calibration.checks import Checks
from lpm.calibration.history import FOLDER, Log
from lpm.calibration.posterior import Predictive
from lpm.calibration.problem import Problem
from lpm.calibration.sampling import Sample
from lpm.calibration.sharing import Team
from lpm.calibration.task import Fit
from lpm.distributed import Ranks, alone
from lpm.errors import InputError
from lpm.provenance import differences, git_commit, versions
from lpm.terminal import of_ranks, say, timed
from lpm.trial import check_own

if TYPE_CHECKING:
    from lpm.config import Config

PICTURE, PAGE, IDENTITY = "fit.png", "fit.html", "world.json"
FORECAST = "forecast.csv"
FEW = 4  # parameters profiled if not all are
CHAINS = 2
Whole = tuple[Fit, Predictive, Checks, Sample | None]


def calibrate(
    config: str, out: Path | None, overrides: list[str], console: Console, resume: bool = False, split: bool = False
) -> None:
    """Load, build, fit, check; then the table, and fit.json, fit.zarr, fit.png and fit.html in a new directory.

    Several ranks share out the simulations, or the agents of each; the first of them does all else.

    Args:
        config: a file, or the name of one that comes with lpm.
        out: the directory; named after the config's if None.
        overrides: `key=value` each.
        console: to print to.
        resume: go on with the fit in `out`.
        split: divide the agents of every simulation among the ranks, for a world that does not fit one.
    Raises:
        InputError: for mistakes in the config, for a directory that holds something, or another fit.
        RunError: if no start gave a fit.
        Interrupted: on Ctrl-C.
    """
    from lpm.config import load
    from lpm.runner import Interrupted

    begun, console = time.perf_counter(), of_ranks(console)
    say(console, f"lpm {lpm.__version__}, {config}", style="dim")
    if resume and out is None:
        raise InputError("--resume: asked for the directory of the fit to go on with, got none; write --out DIRECTORY")
    with distributed.apart() as ranks:
        chosen = ranks.each(lambda: load(config, overrides))
        folder = ranks.first(lambda: _directory(out, chosen.run.out, resume))
        if ranks.first((folder / results.FIT).exists):
            if ranks.rank == 0:
                say(console, f"{folder}: finished before; nothing was changed")
            return
        use_compilation_cache()
        with timed(console, "Building the world"):
            team = Team(ranks, ranks.each(lambda: _problems(chosen, ranks if split else alone, console)))
        if ranks.rank:
            team.serve()
            return
        words = ["lpm", "calibrate", config, *(word for each in overrides for word in ("--set", each))]
        words += ["--split"] if split else []
        again = shlex.join([*words, "--out", str(folder), "--resume"])
        try:
            team.lead(lambda problems: _led(problems, chosen, folder, console, begun, again))
        except Interrupted as stopped:
            if ranks.count > 1:
                distributed.end_all(str(stopped), ranks)  # the others may be in the middle of a simulation
            raise


def _problems(chosen: Config, ranks: Ranks, console: Console) -> dict[str, Problem]:
    """The problem of a config, divided among some ranks, and that of a sample of its agents if there is to be one.

    A sample is small: every rank has it whole, and they share out its realizations.
    """
    from lpm.parts import divided

    world = divided(chosen, ranks, lambda line: say(console, line, "dim"))
    check_own(chosen, world)
    found = {"whole": setup.problem_of(chosen, dataclasses.replace(world, title=chosen.title or world.title))}
    assert chosen.calibrate is not None  # or `problem_of` had raised
    if chosen.calibrate.coarse and chosen.calibrate.method != "ensemble":
        found["sample"] = setup.coarse_problem(chosen, found["whole"])
    return found


def _led(
    problems: dict[str, Problem], chosen: Config, folder: Path, console: Console, begun: float, again: str
) -> None:
    """As `calibrate`, once the problems are there."""
    from lpm.runner import Interrupted

    problem = problems["whole"]
    data = ", ".join(f"{each.name} ({each.likelihood.replace('_', ' ')})" for each in problem.streams)
    say(console, f"{problem.world.title}: {problem.size} unknowns, fitted to {data}", "bold")
    for line in observation.stocks(problem.streams):
        say(console, line, "dim")
    unused = setup.idle(chosen)
    if unused:
        method = chosen.calibrate.method if chosen.calibrate else ""
        say(console, f"method {method} has no use for {', '.join(unused)} under `calibrate`", "dim")
    with directory.held(directory.writable(folder)):
        _check_identity(chosen, folder)
        log = Log(folder / FOLDER, lambda line: say(console, line, "dim"))
        try:
            logged = {name: dataclasses.replace(each, log=log) for name, each in problems.items()}
            whole = _fitted(logged, chosen, folder, console)
        except KeyboardInterrupt:
            raise Interrupted(f"stopped; {log.calls:,} simulations are kept. Go on with `{again}`") from None
        _write(whole, chosen, folder, console)
        log.remove()
    fit, _, found, sample = whole
    spent = f"{fit.simulations:,} simulations for the fit, {found.simulations:,} for its checks"
    spent += f", {sample.simulations:,} for its posterior" if sample else ""
    say(console, f"{spent}, {time.perf_counter() - begun:.0f} s in all", "dim")


def _fitted(problems: dict[str, Problem], chosen: Config, folder: Path, console: Console) -> Whole:
    """The fit, what it predicts, its checks, and a sample of its posterior if that was asked for."""
    problem, section = problems["whole"], chosen.calibrate
    assert section is not None  # or `problem_of` had raised
    history = results.History(folder / results.HISTORY, problem.names)
    asked: dict[str, Any] = {
        "realizations": section.realizations,
        "seed": section.seed,
        "progress": lambda line: say(console, line, "dim"),
    }
    if section.method != "ensemble":
        budget = section.budget or math.inf
        asked |= {"iterations": section.iterations, "budget": budget, "record": history.add}
    if section.method == "levenberg_marquardt":
        asked["starts"] = section.starts
    if section.method == "ensemble":
        fit = ensemble.smooth(problem, members=section.members, assimilations=section.assimilations, **asked)
    elif section.method == "regression" and section.coarse:
        asked |= {each: getattr(section, each) for each in ("points", "coarse_points", "coarse_iterations")}
        fit = regression.coarse_to_fine(problems["sample"], problem, **asked)
    elif section.method == "regression":
        fit = regression.regress(problem, points=section.points, **asked)
    elif section.coarse:
        asked |= {each: getattr(section, each) for each in ("coarse_realizations", "coarse_iterations")}
        fit = fitting.coarse_to_fine(problems["sample"], problem, **asked)
    else:
        fit = fitting.fit(problem, **asked)
    sample = None
    if section.posterior == "nuts":
        sample = sampling.sample(
            fit,
            draws=-(-section.draws // CHAINS),
            chains=CHAINS,
            seed=section.seed,
            progress=lambda line: say(console, line, "dim"),
        )
    if section.posterior == "flow":
        sample = flow.sample(
            fit, draws=section.draws, seed=section.seed, progress=lambda line: say(console, line, "dim")
        )
    if section.posterior == "laplace" and fit.surface is not None:
        sample = emulated.sample(fit, section.draws, section.seed)
    drawn = None if sample is None else sample.z.reshape(-1, problem.size)
    if sample is not None and sample.method == "surface":
        predictive = emulated.predict(fit, sample.z.reshape(-1, problem.size), section.seed)
    else:
        predictive = posterior.predict(fit, section.draws, section.seed, drawn)
    found = checks.check(
        fit,
        predictive,
        repeats=section.checks.recovery,
        profiled=_profiled(section.checks.profiles, fit),
        prior_repeats=section.checks.calibration,
        seed=section.seed,
        sample=sample,
        progress=lambda line: say(console, line, "dim"),
    )
    return fit, predictive, found, sample


def _write(whole: Whole, chosen: Config, folder: Path, console: Console) -> None:
    """Picture, page, draws, the file that says that a fit is finished and, of what it foresees, a table."""
    fit, predictive, found, sample = whole
    drawn = picture.draw(fit, predictive, folder / PICTURE)
    about = {
        "Command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "Created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "Source": f"lpm {lpm.__version__}",
        "Commit": git_commit(),
        "Versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        "Config": str(chosen.path),
        "Changed": ", ".join(chosen.overrides),
        "The config": chosen.text + "\n",
    }
    told = folder / PAGE
    told.write_text(page.page(fit, found, drawn, {name: text for name, text in about.items() if text}, sample), "utf-8")
    summary, store = results.write(fit, predictive, found, folder, sample)
    forecast = hub.write(fit, predictive, folder / FORECAST)
    print_fit(fit, found, console, sample)
    say(console, f"Fit      {summary}\nDraws    {store}\nPicture  {drawn}\nPage     {told}")
    if forecast:
        say(console, f"Forecast {forecast}")


def _check_identity(chosen: Config, folder: Path) -> None:
    """That what was simulated in a folder was simulated in the same world for the same days.

    What a fit leaves free, and where its data lie, `Logged` compares; the counts may be others.
    """
    from lpm.config import described

    now = {name: str(value) for name, value in described(chosen).items() if not name.startswith("compare.")}
    now |= {"run.start": str(chosen.run.calendar.start), "run.steps": str(chosen.run.calendar.steps)}
    now |= {"lpm": lpm.__version__}
    path = folder / IDENTITY
    if path.exists():
        changed = differences(json.loads(path.read_text("utf-8")), now)
        if changed:
            asked = f"{folder}: asked to go on with a fit of the same world, got"
            advice = "write the settings of that fit, or another --out"
            raise InputError([f"{asked} {each}; {advice}" for each in changed])
    path.write_text(json.dumps(now, indent=1) + "\n", "utf-8")


def _profiled(wanted: str, fit: Fit) -> tuple[str, ...]:
    """The parameters to be profiled: all, none, or those that the data constrain least, a few."""
    if wanted == "few":
        share = posterior.identified(fit).share
        return tuple(fit.problem.names[i] for i in sorted(np.argsort([-each for each in share])[:FEW]))
    return fit.problem.names if wanted == "all" else ()


def print_fit(fit: Fit, found: Checks, console: Console, sample: Sample | None = None) -> None:
    """The table of parameters, and below it whether to believe it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("parameter", no_wrap=True)
    for name in ("estimate", "90 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for row in results.table(fit, found.identified, sample):
        weak = "weakly identified" if row.weak else ""
        table.add_row(row.name, f"{row.estimate:.4g}", f"{row.low:.4g} to {row.high:.4g}", weak)
    for row in results.derived(fit, sample):
        table.add_row(row.name, f"{row.estimate:.4g}", f"{row.low:.4g} to {row.high:.4g}", "")
    console.print()
    console.print(table)
    console.print()
    say(console, f"Verdict: {found.belief}", "bold")
    for finding in found.findings:
        say(console, f"  {page.SIGNS[finding.level]} {finding.text}", "yellow" if finding.level else None)
    for end in fit.starts:
        if end.verdict == "dropped":
            say(console, f"start {end.number} was dropped: {end.reason}", "yellow")
    console.print()


def _directory(out: Path | None, run: Path, resume: bool) -> Path:
    """The one asked for if it is free or to be gone on with, or a new one beside the config's runs."""
    if out is not None:
        if resume and out.is_dir():
            return out
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(
                f"{out}: asked for a new or empty directory, got one that holds something; write another --out, "
                "or --resume to go on with the fit in it"
            )
        return out
    candidate, number = run.with_name(f"{run.name}-fit"), 2
    while candidate.exists():
        candidate, number = run.with_name(f"{run.name}-fit-{number}"), number + 1
    return candidate
