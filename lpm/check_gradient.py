"""`lpm check-gradient`: which derivatives of a world hold, as a table, and what to do about those that do not."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lpm.agreement import COSINE, DOUBTFUL, SLOPE
from lpm.errors import InputError
from lpm.gradients import GradientCheck, check_gradient
from lpm.kernels.shadows import RULES
from lpm.world import World

ENOUGH = 10_000  # agents, if nothing else is said: derivatives are right or wrong at any size
STYLES = {"holds": "green", "off": "red", "cut": "red", "unsure": "yellow", "none": "dim"}


def listed(option: str | None) -> list[str] | None:
    """The names in an option such as `transmission,initial`; None if it is not given."""
    return None if option is None else [name.strip() for name in option.split(",") if name.strip()]


def changes(option: str | None, parameters: list[str] | None) -> float | dict[str, float]:
    """The changes of an option such as `0.1` or `initial=0.3,transmission=0.05`.

    >>> changes("0.1", None), changes("initial=0.3", None)
    (0.1, {'initial': 0.3})
    """
    found: dict[str, float] = {}
    for part in listed(option) or []:
        name, _, number = part.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = math.nan
        known = not name or parameters is None or name in parameters
        if not (0 < found[name] < 0.5 and known):
            raise InputError(
                "--change: asked for a number between 0 and 0.5, or such numbers of the parameters checked, "
                f"got {part!r}; write --change 0.1 or --change initial=0.3"
            )
    return found.get("", 0.05) if found.keys() <= {""} else found


def checked(
    world: World,
    *,
    steps: int,
    parameters: str | None,
    observables: str | None,
    rule: str,
    realizations: int,
    change: str | None,
    seed: int,
    console: Console,
) -> GradientCheck:
    """`check_gradient` with what the command line says, and a bar."""
    if rule not in RULES:
        raise InputError(f"--rule: asked for one of {', '.join(RULES)}, got {rule!r}; write --rule cavity")
    names = listed(parameters)
    with _progress(console) as report:
        return check_gradient(
            world,
            steps=steps,
            parameters=names,
            observables=listed(observables),
            realizations=realizations,
            change=changes(change, names),
            rule=rule,  # type: ignore[arg-type]
            seed=seed,
            progress=report,
        )


def print_check(found: GradientCheck, console: Console) -> None:
    """The table, and below it what its verdicts mean."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("parameter", overflow="fold")
    table.add_column("observable", no_wrap=True)
    for name in ("slope", "± error", "cosine"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    missing = any(each.missing for each in found.comparisons)
    if missing:
        table.add_column("")  # why a number is missing
    for each in found.comparisons:
        numbers = (_number(each.slope, 3), _number(each.error, 3), _number(min(each.cosine, 1.0), 4))
        why = (Text(each.missing, style="dim"),) if missing else ()
        table.add_row(each.parameter, each.observable, *numbers, Text(each.verdict, style=STYLES[each.verdict]), *why)
    console.print()
    console.print(table)
    console.print(f"rule {found.rule}, {found.realizations} realizations", style="dim", highlight=False)
    console.print()
    for verdict, sentence in meanings(found).items():
        console.print(Text.assemble((verdict, STYLES[verdict]), f"  {sentence}"), soft_wrap=True)
    for warning in found.warnings:
        console.print(f"Note: {warning}", style="yellow", soft_wrap=True, highlight=False, markup=False)


def meanings(found: GradientCheck) -> dict[str, str]:
    """What each verdict that was given says, and what to do."""
    counted = found.counted()
    sentences = {
        "holds": f"slope within {SLOPE} of 1 and cosine at least {COSINE}, against differences with the same draws.",
        "off": f"wrong by more than that and its errors: the rule {found.rule!r} is no good approximation here. "
        'For few parameters take lpm.gradients.jacobian(..., method="differences"), which is right for every model; '
        "another --rule is rarely better (docs/gradients.md).",
        "cut": "zero where differences are not: on the way from parameter to observable something carries no "
        "derivative, such as a comparison, a rounding, or an Indicator made from plain values.",
        "unsure": f"its errors are too large to tell; {_how_many(found)}.",
        "none": "zero both ways: the parameter does not reach the observable, or nothing happened "
        "(more --agents or --steps).",
    }
    return {
        verdict: f"{counted[verdict]} of {len(found.comparisons)}: {sentence}"
        for verdict, sentence in sentences.items()
        if verdict in counted
    }


def _how_many(found: GradientCheck) -> str:
    """Realizations that would tell, errors falling with their square root, of those that a thousand would tell."""
    errors = [each.error for each in found.comparisons if each.verdict == "unsure"]
    needed = [found.realizations * max(2.0, (error / DOUBTFUL) ** 2) for error in errors if math.isfinite(error)]
    within = [number for number in needed if number <= 1000]
    rest = "too few such events happen: take more --agents, or leave it out"
    if not within:
        return rest
    told = f"about --realizations {2 ** math.ceil(math.log2(max(within)))} would tell"
    return told if len(within) == len(errors) else f"{told} {len(within)} of them; of the others, {rest}"


def _number(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.1e}"


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; elsewhere a line for each tenth of the work."""
    if not console.is_terminal:
        yield _lines(console)
        return
    columns: Any = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, expand=True, transient=True) as bars:
        bar = bars.add_task("Compiling", total=None)

        def advance(done: int, total: int) -> None:
            if done == 1:  # it compiled: the time that is left is told from the second one on
                bars.reset(bar, total=total, description="Simulating")
            bars.update(bar, completed=done)

        yield advance


def _lines(console: Console) -> Callable[[int, int], None]:
    said, first = 0, 0.0

    def line(done: int, total: int) -> None:
        nonlocal said, first
        if done == 1:
            first = time.perf_counter()
        if done in (1, 2, total) or 10 * done // total > said:
            said = 10 * done // total
            # The first compiles, so that it says nothing of the others.
            left = (time.perf_counter() - first) / (done - 1) * (total - done) if done > 1 else None
            console.print(
                f"{done:,} of {total:,} realizations, {'compiled' if left is None else f'{left:.0f} s left'}",
                highlight=False,
            )

    return line
