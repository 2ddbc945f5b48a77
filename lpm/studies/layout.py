"""What a study's file may contain."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

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
class SobolSection:
    """Points over ranges of settings for Sobol indices: draws x (settings + 2) scenarios.

    Args:
        over: dotted key -> lowest and highest value; all values between are as likely.
        draws: rows of the design; some hundred for indices to a tenth.
        seed: of the design.
    """

    over: dict[str, tuple[float, float]]
    draws: Annotated[int, Number(4, 10_000, "rows")] = 64
    seed: Annotated[int, Number(0, 2**63, "seed of the design")] = 0


@dataclasses.dataclass(frozen=True)
class SensitivitiesSection:
    """By how many percent outcomes of the baseline change for one percent of a setting, from derivatives.

    Args:
        over: dotted keys; all numbers at and below one change together, in proportion.
        shift: dotted keys, all dates at and below which move together: percent for a day.
        method: `differences` between runs with the same draws, or `cavity`, derivatives through the simulator.
        realizations: of all derivatives; of each draw, if there are draws from a fit.
        agents: of these simulations; the base's if not said.
    """

    over: tuple[str, ...] = ()
    shift: tuple[str, ...] = ()
    method: Literal["differences", "cavity"] = "differences"
    realizations: Annotated[int, Number(2, 100_000, "realizations")] = 8
    agents: Positive | None = None


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
class RiskSection:
    """How the burdens of several realizations count as one number.

    Args:
        measure: `mean`; `deviation`, the mean and `weight` standard deviations; `worst`, the mean of the worst `share`
            of the realizations (conditional value at risk).
        weight: of the standard deviation.
        share: of the realizations that are the worst.
    """

    measure: Literal["mean", "deviation", "worst"] = "mean"
    weight: Annotated[float, Number(0, None, "standard deviations")] = 1.0
    share: Annotated[float, Number(0.001, 1, "fraction")] = 0.1


@dataclasses.dataclass(frozen=True)
class OptimiseSection:
    """A policy that is to be found: where costs, and the effect at the study's `worth`, are least.

    Args:
        over: dotted key of a number -> lowest and highest value.
        shift: dotted key -> least and most days by which all dates below it are moved.
        name: of the scenario that the policy becomes.
        budget: the most that the measures may cost, as `per day without LAYER` counts them.
        risk: how realizations count together.
        method: `differences` between runs with the same draws, or `cavity`, derivatives through the simulator; the
            second is better from some forty dials on.
        realizations: simulations of each point.
        simulations: at most, of each search.
        agents: of the searches; the base's if not said. The policy is run with the base's number.
        seed: of their draws; the run's if not said. They are never those of the study's runs.
        compare: whether to search without derivatives too, with as many simulations.
    """

    over: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    shift: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    name: str = "best policy"
    budget: Any = None
    risk: RiskSection = RiskSection()
    method: Literal["differences", "cavity"] = "differences"
    realizations: Positive = 8
    simulations: Annotated[int, Number(10, 10_000_000, "simulations")] = 1000
    agents: Positive | None = None
    seed: Annotated[int, Number(0, 2**64 - 1)] | None = None
    compare: bool = True


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
        sobol: ranges of settings, and how much of an outcome's variance each is responsible for.
        sensitivities: of the baseline's outcomes to settings, from derivatives.
        realizations: how many runs of each scenario; the same draws for all.
        from_fit: a directory that `lpm calibrate` wrote, by its path from the study on, whose parameters all scenarios
            take.
        draws: from the fit's posterior, with so many realizations of each; the estimate alone if not said.
        outcomes: `deaths` (a total), `peak of hospitalised`, `days of hospitalised` (days spent by all people
            together); all totals and peaks if none are named.
        effect: the outcome that costs are set against; deaths if there are such, else the first total.
        capacity: what must not be exceeded.
        costs: `per admission`, `per day of hospitalised`, `per day without work` (or another layer's contacts) -> an
            amount with its currency, such as 12000 USD.
        worth: what one unit of the effect averted counts as, as an amount with its currency, such as 1e6 USD a death:
            for net benefit, acceptability and `optimise`.
        optimise: a policy that is to be found.
    """

    base: str
    set: dict[str, Any] = dataclasses.field(default_factory=dict)
    baseline: str = "baseline"
    scenarios: dict[str, ScenarioSection] = dataclasses.field(default_factory=dict)
    levers: dict[str, ScenarioSection] = dataclasses.field(default_factory=dict)
    grid: dict[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    latin_hypercube: HypercubeSection | None = None
    sobol: SobolSection | None = None
    sensitivities: SensitivitiesSection | None = None
    realizations: Positive = 10
    from_fit: str | None = None
    draws: Positive | None = None
    outcomes: tuple[str, ...] = ()
    effect: str | None = None
    capacity: CapacitySection | None = None
    costs: dict[str, Any] = dataclasses.field(default_factory=dict)
    worth: Any = None
    optimise: OptimiseSection | None = None


@dataclasses.dataclass(frozen=True)
class StudyLayout:
    """A study's file.

    Args:
        study: what is compared.
        title: one line for the page.
    """

    study: Any
    title: str = ""
