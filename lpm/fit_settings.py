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
class CovariateSection:
    """A series over time that a parameter is the exponent of.

    Args:
        file: CSV or parquet beside the config, shipped with lpm, or in the folder that LPM_DATA_DIR names.
        time: column of dates or day numbers; a value holds until the next.
        column: column of the series, all above 0; 1 leaves a target as it is, as do days before the first.
        until: last day that is used; its value holds from then on. All if left out.
    """

    file: str
    time: str
    column: str
    until: Day | None = None


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
        start: where the first start begins, a value, or one for each day under `from`; the prior's middle if left out.
        walk: standard deviation of the change from one such value to the next, on the scale without bounds.
        covariate: a series x over time, such as mobility: the target's own values, or those that parameters above give
            it, are multiplied by x to the power of this parameter. The target's first axis is then time.
    """

    name: str
    target: str | tuple[str, ...] | None = None
    low: Finite | None = None
    high: Finite | None = None
    prior: PriorSection | None = None
    relative: bool = False
    from_: tuple[Day, ...] = ()
    start: Finite | tuple[Finite, ...] = ()
    walk: Level | None = None
    covariate: CovariateSection | None = None


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
    """How one of the series under `compare`, or one's own table in `file`, came about.

    Args:
        variable: observable that is counted; without `file`, of the series under compare.
        likelihood: poisson, negative_binomial, gaussian (of the square root) or least_squares.
        dispersion: of the likelihood; estimated if left out.
        delay: from event to report.
        since, until: first and last day whose data are used; later ones are forecast.
        name: for tables; the variable's if left out.
        file: a CSV or parquet file with a row for each time and cell, by its path from the config on.
        time: column of the file with dates, months or day numbers.
        column: column of the file with counts; an empty cell or a missing row is a gap. Left out for a line list, each
            row of which is one event.
        by: columns with labels, named like the observable's dims; or dim -> column.
        where: column -> text of the rows that are meant, as in {sex: all}.
        every: days that a count covers, or month.
        labelled: whether a time is the first or the last of those days.
        label: for pictures.
    """

    variable: str
    likelihood: Literal["negative_binomial", "poisson", "gaussian", "least_squares"] = "negative_binomial"
    dispersion: Annotated[float, Number(1e-3, None)] | None = None
    delay: DelaySection | None = None
    since: Day | None = None
    until: Day | None = None
    name: str | None = None
    file: str | None = None
    time: str | None = None
    column: str | None = None
    by: str | tuple[str, ...] | dict[str, str] = ()
    where: dict[str, str] = dataclasses.field(default_factory=dict)
    every: Annotated[int, Number(1, 366, "days")] | Literal["month"] = 1
    labelled: Literal["first", "last"] = "first"
    label: str = ""


@dataclasses.dataclass(frozen=True)
class ChecksSection:
    """What a fit is put through before it is believed; each costs simulations of its own.

    Args:
        recovery: synthetic data sets that are made from the fit and fitted again.
        profiles: profile likelihoods of all parameters, of the few least constrained, or of none.
        calibration: data sets made with parameters from the prior and fitted anew (simulation-based calibration).
    """

    recovery: Annotated[int, Number(0, 10_000)] = 3
    profiles: Literal["all", "few", "none"] = "few"
    calibration: Annotated[int, Number(0, 10_000)] = 0


@dataclasses.dataclass(frozen=True)
class CalibrateSection:
    """The `calibrate` part of a config.

    Args:
        parameters: what is free.
        method: levenberg_marquardt, by derivatives; regression, over simulations about the estimate; or ensemble, a
            smoother. The last two need no derivatives.
        derivatives: cavity, carried through the events (see `lpm.simulate`); or differences between simulations, which
            are right for every model and whose cost hardly grows with the number of parameters.
        members, assimilations: of the ensemble.
        points, coarse_points: simulations of each round of a regression; if left out 64, or half as many again as there
            are numbers to tell, and of a sample of agents twice as many.
        data: how the series under compare came about; all of them, with negative binomial counts, if left out.
        epidemic_chance: the data are one draw of the epidemic, whose chance is part of their variance; if false, they
            are fitted as if they were its mean.
        realizations: simulated at each point; of a regression, whose draws its simulations take in turn.
        coarse: agents of a sample that is fitted first, from all starts; the best is then gone on from with everybody.
            In a regression the sample's simulations tell the surface too.
        coarse_realizations: simulated of the sample at each point.
        coarse_iterations: of the sample, at most; as many as of everybody if left out.
        starts: from the prior.
        iterations: at most, of each start.
        budget: most simulations in all; a direction of a derivative counts as one.
        draws: from the posterior, for bands.
        seed: of starts and simulations.
        posterior: laplace, normal about the estimate; nuts, sampled, which costs a Jacobian a step; or flow, a
            variational posterior, which costs some 2,400 Jacobians.
        checks: what the fit is put through.
    """

    parameters: tuple[ParameterSection, ...]
    data: tuple[DataSection, ...] = ()
    method: Literal["levenberg_marquardt", "regression", "ensemble"] = "levenberg_marquardt"
    derivatives: Literal["cavity", "differences"] = "cavity"
    members: Annotated[int, Number(10, 1_000_000)] = 300
    assimilations: Positive = 4
    points: Positive | None = None
    coarse_points: Positive | None = None
    epidemic_chance: bool = True
    realizations: Annotated[int, Number(2, 100_000)] = 32
    coarse: Positive | None = None
    coarse_realizations: Annotated[int, Number(2, 100_000)] = 32
    coarse_iterations: Positive | None = None
    starts: Positive = 4
    iterations: Positive = 25
    budget: Positive | None = None
    draws: Annotated[int, Number(10, 1_000_000)] = 300
    seed: Annotated[int, Number(0, 2**63)] = 0
    posterior: Literal["laplace", "nuts", "flow"] = "laplace"
    checks: ChecksSection = ChecksSection()
