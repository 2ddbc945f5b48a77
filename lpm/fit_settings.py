"""The `calibrate` section of a config: what is free, how the data came about, how to fit."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Annotated, Literal

from lpm.settings import Number, Positive

Day = datetime.date | int
Level = Annotated[float, Number(0, None)]
Finite = Annotated[float, Number(None, None)]


@dataclasses.dataclass(frozen=True)
class PriorSection:
    """What is known of a parameter beforehand.

    Args:
        shape: uniform, normal, lognormal, beta or gamma.
        mean: of the parameter itself.
        deviation: standard deviation of the parameter itself.
    """

    shape: Literal["normal", "lognormal", "beta", "gamma", "uniform"] = "uniform"
    mean: Finite | None = None
    deviation: Level | None = None


@dataclasses.dataclass(frozen=True)
class ParameterSection:
    """A free parameter.

    Args:
        name: for tables.
        target: dotted path into the world's parameters, such as transmission or disease.mean_days.exposed, or several
            that share the value; the name if left out.
        low: lower bound.
        high: upper bound.
        prior: what is known beforehand; uniform between the bounds if left out.
        relative: multiply the target's own values instead of replacing them.
        from_: days from which it has a value each; the target's first axis is then time.
        walk: standard deviation of the change from one such value to the next, on the scale without bounds.
    """

    name: str
    target: str | tuple[str, ...] | None = None
    low: Finite | None = None
    high: Finite | None = None
    prior: PriorSection | None = None
    relative: bool = False
    from_: tuple[Day, ...] = ()
    walk: Level | None = None


@dataclasses.dataclass(frozen=True)
class DelaySection:
    """Days from an event to its report, gamma distributed.

    Args:
        mean: days.
        deviation: standard deviation, days.
    """

    mean: Annotated[float, Number(0.01, 365, "days")]
    deviation: Annotated[float, Number(0.01, 365, "days")]


@dataclasses.dataclass(frozen=True)
class DataSection:
    """How one of the series under `compare` came about.

    Args:
        variable: of the series.
        likelihood: poisson, negative_binomial, gaussian (of the square root) or least_squares.
        dispersion: of the likelihood; estimated if left out.
        delay: from event to report.
        until: last day whose data are used; later ones are forecast.
    """

    variable: str
    likelihood: Literal["negative_binomial", "poisson", "gaussian", "least_squares"] = "negative_binomial"
    dispersion: Annotated[float, Number(1e-3, None)] | None = None
    delay: DelaySection | None = None
    until: Day | None = None


@dataclasses.dataclass(frozen=True)
class CalibrateSection:
    """The `calibrate` part of a config.

    Args:
        parameters: what is free.
        data: how the series under compare came about; all of them, with negative binomial counts, if left out.
        epidemic_chance: the data are one draw of the epidemic, whose chance is part of their variance; if false, they
            are fitted as if they were its mean.
        realizations: simulated at each point.
        starts: from the prior.
        iterations: at most, of each start.
        budget: most simulations in all; a direction of a derivative counts as one.
        draws: from the posterior, for bands.
        seed: of starts and simulations.
    """

    parameters: tuple[ParameterSection, ...]
    data: tuple[DataSection, ...] = ()
    epidemic_chance: bool = True
    realizations: Annotated[int, Number(2, 100_000)] = 32
    starts: Positive = 4
    iterations: Positive = 25
    budget: Positive | None = None
    draws: Annotated[int, Number(10, 1_000_000)] = 300
    seed: Annotated[int, Number(0, 2**63)] = 0
