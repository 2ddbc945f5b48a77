"""What a study's file may contain."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from lpm.settings import Number, Positive

MOST_LEVERS = 6  # all 64 of their combinations are run


@dataclasses.dataclass(frozen=True)
class ScenarioSection:
    """What a scenario changes.

    Args:
        set: dotted key of the base config, such as settings.transmission.work -> its value.
        shift: dotted key -> days by which all dates below it are moved, such as {settings.schedule: -7}.
        why: for people: what is meant, and where the numbers come from.
        cost: of the measures themselves, more than the baseline's, as an amount with its currency.
    """

    set: dict[str, Any] = dataclasses.field(default_factory=dict)
    shift: dict[str, int] = dataclasses.field(default_factory=dict)
    why: str = ""
    cost: Any = None


@dataclasses.dataclass(frozen=True)
class HypercubeSection:
    """Scenarios that fill ranges of settings evenly: a Latin hypercube.

    Args:
        over: dotted key -> lowest and highest value.
        draws: how many scenarios.
        seed: of the hypercube.
    """

    over: dict[str, tuple[float, float]]
    draws: Annotated[int, Number(1, 10_000, "scenarios")] = 20
    seed: Annotated[int, Number(0, 2**63, "seed of the hypercube")] = 0


@dataclasses.dataclass(frozen=True)
class CapacitySection:
    """What must not be exceeded.

    Args:
        variable: an observable of what is present, such as hospitalised.
        beds: how many there are, at the population's full size.
    """

    variable: str
    beds: Annotated[float, Number(0, None, "beds")]


@dataclasses.dataclass(frozen=True)
class StudySection:
    """The `study` part of a study's file.

    Args:
        base: a config, by its path from the study on or the name of one that comes with lpm.
        set: changes of the base for all scenarios: dotted key -> value.
        baseline: name of the base among the scenarios.
        scenarios: name -> what it changes.
        levers: name -> what it changes; all their combinations are run, and each lever is given its share.
        grid: dotted key -> values; every combination is a scenario.
        latin_hypercube: scenarios that fill ranges of settings.
        realizations: how many runs of each scenario; the same draws for all.
        outcomes: `deaths` (a total), `peak of hospitalised`, `days of hospitalised` (days spent by all people
            together); all totals and peaks if none are named.
        effect: the outcome that costs are set against; deaths if there are such, else the first total.
        capacity: what must not be exceeded.
        costs: `per admission`, `per day of hospitalised` -> an amount with its currency, such as 12000 USD.
    """

    base: str
    set: dict[str, Any] = dataclasses.field(default_factory=dict)
    baseline: str = "baseline"
    scenarios: dict[str, ScenarioSection] = dataclasses.field(default_factory=dict)
    levers: dict[str, ScenarioSection] = dataclasses.field(default_factory=dict)
    grid: dict[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    latin_hypercube: HypercubeSection | None = None
    realizations: Positive = 10
    outcomes: tuple[str, ...] = ()
    effect: str | None = None
    capacity: CapacitySection | None = None
    costs: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class StudyLayout:
    """A study's file.

    Args:
        study: what is compared.
        title: one line for the page.
    """

    study: Any
    title: str = ""
