"""What the commands of `lpm` do; `lpm.cli` only reads the command line."""

from __future__ import annotations

import dataclasses
import datetime
import os
import shlex
import time
from pathlib import Path
from typing import Any

from rich.console import Console

import lpm
from lpm.cache import use_compilation_cache
from lpm.errors import InputError
from lpm.show import PICTURE, draw, print_summary
from lpm.signals import ignore_until_a_run
from lpm.terminal import headline, of_ranks, say, steps_bar, timed


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
    engine: str | None = None,
) -> None:
    """Load a config, build its world, run it or go on with it, print the table and draw the picture."""
    console = of_ranks(console)
    if engine is not None:
        os.environ["LPM_ENGINE"] = engine
    say(console, f"lpm {lpm.__version__}, {config}", style="dim")  # before the slow imports

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
    console = of_ranks(console)
    say(console, f"lpm {lpm.__version__}, a branch of {directory}", style="dim")

    from lpm import store
    from lpm.config import load
    from lpm.provenance import parted

    about = store.open(directory).attrs
    config = config or about.get("config_path")
    if not config:
        raise InputError(f"{directory}: asked for a run of a config, got one without; write --config FILE")
    overrides = [*parted(about.get("config_overrides", "")), *settings]
    chosen = load(config, overrides)
    fit = about.get("from_fit"), int(about.get("from_fit_draws") or 0)
    _simulate(chosen, config, overrides, out, console, parent=directory, at=_step(at, chosen.run.calendar), fit=fit)


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

    from lpm import devices, distributed, parts, trial
    from lpm.config import described

    ranks = distributed.ranks()
    devices.begin(ranks)
    use_compilation_cache()
    with timed(console, "Building the world"):
        world = parts.built(chosen, ranks)
    trial.check_own(chosen, world)
    changed = [key.removeprefix("settings.") for key in overrides if key.startswith(("settings", "model"))]
    if chosen.title:
        world = dataclasses.replace(world, title=f"{chosen.title}; {', '.join(changed)}" if changed else chosen.title)
    calendar = chosen.run.calendar
    days = f"{calendar.steps:,} days" + (f" from {calendar.start}" if calendar.start else "")
    draws = f", {chosen.run.realizations} realizations" if chosen.run.realizations > 1 else ""
    headline(console, world.title, f"{world.agents:,} agents, {days}{draws}, seed {chosen.run.seed}")
    for caution in world.cautions:
        say(console, f"Note: {caution}", style="yellow")
    fitted: dict[str, str] = {}
    if fit[0]:
        from lpm.calibration import fitted as of_fit

        world, fitted, told = of_fit.used(world, fit[0], calendar, fit[1], chosen.run.seed, chosen.run.realizations)
        for line in told:
            say(console, line)
    world = parts.told(world, ranks, lambda line: say(console, line, style="dim"))

    from lpm import store
    from lpm.checkpoint import Plan
    from lpm.provenance import joined
    from lpm.runner import run as simulate

    snapshots, saving = chosen.run.snapshots, chosen.run.checkpoint
    where = str(Path(config).resolve()) if Path(config).is_file() else config
    words = ["lpm", "run", config, *(word for each in overrides for word in ("--set", each)), "--out", str(target)]
    words += [*(["--from-fit", str(fit[0])] if fit[0] else []), *(["--draws", str(fit[1])] if fit[1] else [])]
    finished = resume and ranks.first(lambda: store.finished(target))
    with steps_bar(console, calendar.steps * chosen.run.realizations) as report:
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
            attributes={"config": chosen.text, "config_path": where, "config_overrides": joined(overrides)} | fitted,
            settings=described(chosen) | {key: text for key, text in fitted.items() if key != "from_fit"},
            checkpoints=Plan(saving.steps or 0, saving.minutes, tuple(calendar.step_of(day) for day in saving.at)),
            resumed=resume,
            parent=parent,
            at=at,
            progress=report,
            say=lambda line: say(console, line),
            again=f"`{shlex.join([*words, '--resume'])}`",
        )
    if ranks.rank:
        return
    results = store.open(path).load()
    picture = str(target / PICTURE)
    if not (finished and Path(picture).exists()):
        with timed(console, "Drawing"):
            try:
                draw(results, target / PICTURE)
            except OSError as error:
                picture = f"not drawn: {error}"
    print_summary(results, console)
    say(console, f"Results  {path}\nPicture  {picture}")
    say(console, f"Again    lpm show {shlex.quote(str(target))}, or in Python lpm.open({str(target)!r})")
    say(console, f"{time.perf_counter() - begun:.0f} s in all", style="dim")


def validate(config: str, settings: list[str], console: Console) -> None:
    """Check a config, its model and what it would fit, and say what it asks for."""
    from lpm.config import load
    from lpm.trial import tried

    path = Path(config)
    if path.is_file() and any(line.startswith("study:") for line in path.read_text("utf-8").splitlines()):
        raise InputError(f"{path}: asked for a config, got a study; `lpm study {path}` checks it before its first run")
    chosen = load(config, settings)
    calendar = chosen.run.calendar
    span = f"{calendar.steps:,} days" + (f", {calendar.start} to {calendar.end}" if calendar.start else "")
    world = tried(chosen)
    if chosen.calibrate is not None:
        from lpm.calibration.setup import problem_of

        problem_of(chosen, world)
    say(console, f"{chosen.path}: good. {chosen.model}, {span}, {chosen.run.realizations} realization(s)")
    say(console, f"Its model was built and traced with {world.agents:,} agents", style="dim")


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
    say(console, f"lpm {lpm.__version__}, derivatives of {config}", style="dim")  # before the slow imports

    from lpm import check_gradient as check
    from lpm.config import build_world, load
    from lpm.trial import agents_setting, check_own

    options = _options(config, settings, agents=agents, steps=steps, seed=seed)
    overrides = [*settings, *(f"{key}={value}" for key, (_, value) in options.items())]
    chosen = load(config, overrides, {key: option for key, (option, _) in options.items()})
    key, many = agents_setting(chosen.settings) or ("", 0)
    if agents is None and (many is None or many > check.ENOUGH):
        chosen = load(config, [*overrides, f"{key}={check.ENOUGH}"])
        said = "all agents" if many is None else f"{many:,} agents"
        say(console, f"{check.ENOUGH:,} agents instead of {said}, which is enough to tell; --agents takes others")
    use_compilation_cache()
    with timed(console, "Building the world"):
        world = build_world(chosen)
    check_own(chosen, world)
    calendar = chosen.run.calendar
    about = f"{world.agents:,} agents, {calendar.steps:,} days, seed {chosen.run.seed}"
    headline(console, chosen.title or world.title, about)
    for caution in world.cautions:
        say(console, f"Note: {caution}", style="yellow")
    found = check.checked(world, steps=calendar.steps, seed=chosen.run.seed, console=console, **wanted)
    check.print_check(found, console)
    return found.holds


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
