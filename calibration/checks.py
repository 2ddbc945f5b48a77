"""Believe it or not: what a fit is put through before it is used, and a verdict with its reasons.

Four questions: did it converge, and from everywhere to the same place; do the data constrain what was free; could the
data have come from the fitted model; and does the same fit find parameters that are known?
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from lpm.calibration import likelihoods, posterior, profiles, recovery
from lpm.calibration.posterior import Identified, Predictive
from lpm.calibration.problem import of_streams
from lpm.calibration.profiles import Profile
from lpm.calibration.recovery import Recovery
from lpm.calibration.sampling import Sample
from lpm.calibration.task import Fit

Belief = Literal["believe it", "believe it with care", "do not believe it"]
UNLIKELY = 0.01  # a predictive p-value below it is a doubt
GROSS = 1.5  # a misfit so many times the largest predicted is a reason not to believe the fit
FAR_OFF, IMPOSSIBLE = 0.01, 0.001  # p-values of a recovery's intervals: a doubt, a reason not to believe
FEW = 20  # intervals of recovered parameters below which their count is no evidence of its own
MISSED = 3.0  # posterior deviations of a recovered parameter from the truth: a doubt
STARTED_OFF = 2.0  # posterior deviations from the truth at which fits to synthetic data begin
LOUD = 0.5  # chance in the simulations, in posterior deviations
EDGE = 0.01  # share of the range between two bounds
DISAGREE, DIVERGENT = 1.05, 0.01  # r hat; share of the draws
EVEN = 0.3  # of the weights of a flow's draws
TOO_MANY = 0.01  # chance of so many counts within their bands, below which that is said
DIED = 0.2  # share of the epidemics simulated at the fit


@dataclasses.dataclass(frozen=True)
class Predicted:
    """A posterior predictive check: a number of the data beside the same of what the fit predicts.

    Args:
        stream, statistic: which.
        observed: of the data.
        low, median, high: of the predictions, the middle 90 %.
        p: share of predictions at least as far out, both sides together; of a misfit, at least as large.
    """

    stream: str
    statistic: str
    observed: float
    low: float
    median: float
    high: float
    p: float


@dataclasses.dataclass(frozen=True)
class Finding:
    """A sentence on a fit; `level` is 0 if it speaks for it, 1 for a doubt, 2 for a reason not to believe it."""

    level: Literal[0, 1, 2]
    text: str


@dataclasses.dataclass(frozen=True, eq=False)
class Checks:
    """All that was looked at.

    Args:
        findings: sentences, the gravest first.
        predicted: posterior predictive checks.
        identified: what the data say of the parameters.
        profiles: of the parameters that were looked at.
        recovery: of synthetic data made from the fit; None if that was not asked for.
        calibration: the same with truths from the prior; None if that was not asked for.
        simulations: spent on all this.
    """

    findings: tuple[Finding, ...]
    predicted: tuple[Predicted, ...]
    identified: Identified
    profiles: tuple[Profile, ...] = ()
    recovery: Recovery | None = None
    calibration: Recovery | None = None
    simulations: int = 0

    @property
    def belief(self) -> Belief:
        """The verdict."""
        worst = max((each.level for each in self.findings), default=0)
        return ("believe it", "believe it with care", "do not believe it")[worst]


def check(
    fit: Fit,
    predictive: Predictive,
    *,
    repeats: int = 3,
    profiled: tuple[str, ...] = (),
    prior_repeats: int = 0,
    seed: int = 0,
    sample: Sample | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Checks:
    """Put a fit through its checks.

    Args:
        fit: of the parameters.
        predictive: from `lpm.calibration.predict`.
        repeats: synthetic data sets made from the fit and fitted again, each from a point two deviations off.
        profiled: names of parameters whose profile likelihood is computed.
        prior_repeats: data sets made with parameters from the prior and fitted anew: simulation-based calibration.
        seed: of all this.
        sample: from the posterior, if there is one.
        progress: called with a line now and then.
    """
    identified = posterior.identified(fit)
    curves = []
    for name in profiled:
        curves.append(profiles.profile(fit, name, points=7, seed=seed + 1))
        progress(f"profile of {name}: {curves[-1].low:.4g} to {curves[-1].high:.4g}")
    found = recovered(fit, repeats, seed, progress) if repeats else None
    simulated = recovery.recover_prior(fit, prior_repeats, seed=seed, progress=progress) if prior_repeats else None
    predicted = predictive_checks(fit, predictive)
    findings = [
        *_of_convergence(fit),
        *_of_sample(sample),
        *_of_parameters(fit, identified, tuple(curves)),
        *_of_chance(fit),
        *_of_predictions(fit, predictive, predicted),
        *_of_recovery(found, "made from the fit"),
        *_of_recovery(simulated, "made with parameters from the prior"),
    ]
    spent = sum(each.simulations for each in curves) + sum(
        int(each.simulations.sum()) for each in (found, simulated) if each
    )
    ranked = tuple(sorted(findings, key=lambda each: -each.level))
    return Checks(ranked, predicted, identified, tuple(curves), found, simulated, spent)


def recovered(fit: Fit, repeats: int, seed: int = 0, progress: Callable[[str], None] = lambda _: None) -> Recovery:
    """Fit synthetic data made from the fit's estimate, each from a point two posterior deviations away."""
    method = recovery.METHODS[fit.method]
    if fit.method == "ensemble":
        return recovery.recover_fit(fit, repeats, method=method, progress=progress)
    off = STARTED_OFF * posterior.draws(dataclasses.replace(fit, z=np.zeros_like(fit.z)), repeats, seed + 17)
    generator = iter(fit.z + off)

    def begun(problem: object, **settings: object) -> Fit:
        return method(problem, first=next(generator)[None], **settings)

    return recovery.recover_fit(fit, repeats, method=begun, progress=progress)


def predictive_checks(fit: Fit, predictive: Predictive) -> tuple[Predicted, ...]:
    """For each stream: its total, its peak, when that is, the misfit as a whole, and whether residuals hang together.

    Misfit and residuals are on the scale where counts have variance one, against the mean of the predictions; predicted
    ones come from the predictions themselves (Gelman, Meng & Stern 1996, Statistica Sinica 6).
    """
    found: list[Predicted] = []
    problem = fit.problem
    parts = of_streams(problem.streams, predictive.counts)
    for each, counts, k in zip(problem.streams, parts, fit.weights.dispersions, strict=True):
        good = ~np.isnan(each.values)
        if not good.any():
            continue
        observed, predicted = np.where(good, each.values, 0.0), np.where(good, counts, 0.0)
        both = np.concatenate([observed[None], predicted])
        over_time = both.sum(2)
        scaled = np.where(good, likelihoods.stabilised(each.likelihood, both, k), 0.0)
        apart = scaled - scaled[1:].mean(0)
        statistics = {
            "total": over_time.sum(1),
            "peak": over_time.max(1),
            "day of the peak": each.first[over_time.argmax(1)].astype(float),
            "misfit": (apart**2).sum((1, 2)),
            "residuals' correlation with the next": _autocorrelation(apart.sum(2)),
        }
        found += [_predicted(each.name, name, values[0], values[1:]) for name, values in statistics.items()]
    return tuple(found)


def _autocorrelation(apart: np.ndarray) -> np.ndarray:
    """Of each row with itself one place later."""
    total = (apart**2).sum(1)
    return (apart[:, 1:] * apart[:, :-1]).sum(1) / np.where(total > 0, total, 1)


def _predicted(stream: str, statistic: str, observed: float, values: np.ndarray) -> Predicted:
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95])
    # The data count as one more prediction, so that no p-value is 0.
    below, above = ((1 + int(far.sum())) / (1 + len(values)) for far in (values <= observed, values >= observed))
    # What was fitted lies closer to the data than fresh data would: only a misfit too large says something.
    p = above if statistic == "misfit" else min(1.0, 2 * min(below, above))
    return Predicted(stream, statistic, float(observed), float(low), float(median), float(high), p)


def _of_convergence(fit: Fit) -> list[Finding]:
    best = min(fit.starts, key=lambda end: end.score)
    starts = fit.starts if fit.coarse is None else fit.coarse.starts
    found = [
        Finding(0 if best.verdict in ("noise floor", "converged", "assimilated") else 2, f"the fit is {fit.message}")
    ]
    kept = [end for end in starts if end.verdict != "dropped"]
    dropped = len(starts) - len(kept)
    least = min(end.score for end in kept)
    alike = sum(end.score < least + 3 for end in kept)
    if alike < len(kept):
        found.append(Finding(1, f"{len(kept) - alike} of {len(kept)} starts ended elsewhere, where the data fit worse"))
    if len(starts) == 1 and best.verdict != "assimilated":
        found.append(Finding(1, "there was a single start: nothing says that no better place exists"))
    if dropped:
        found.append(Finding(1, f"{dropped} of {len(starts)} starts were dropped; their reasons are listed"))
    deviation = np.sqrt(np.diag(np.linalg.inv(fit.information + fit.prior_information)))
    chance = float(np.max(np.sqrt(np.diag(fit.chance)) / deviation))
    if chance > LOUD:
        text = (
            f"chance in the simulations moves the estimate by {chance:.1f} posterior deviations; raise `realizations`"
        )
        found.append(Finding(2 if chance > 1 else 1, text))
    if fit.died_out > DIED:
        text = (
            f"{100 * fit.died_out:.0f} % of the epidemics at the fit died out: the rest describe it under a condition"
        )
        found.append(Finding(1, text))
    return found


def _of_sample(sample: Sample | None) -> list[Finding]:
    if sample is None:
        return []
    if sample.method == "flow":
        text = f"draws of the flow have weights worth {100 * sample.efficiency:.0f} % of as many equal ones"
        if sample.efficiency < EVEN:
            return [Finding(1, f"{text}: it misses part of the posterior; take `posterior: nuts`")]
        return [Finding(0, text)]
    if sample.method == "surface":
        worst = float(sample.r_hat.max())
        if worst > DISAGREE:
            return [Finding(1, f"walkers over the response surface do not agree: r hat {worst:.2f}")]
        return [Finding(0, f"walkers over the response surface agree (r hat at most {worst:.2f})")]
    worst, divergent = float(sample.r_hat.max()), int(sample.divergent.sum())
    number = sample.divergent.size
    text = f"the chains of NUTS agree (r hat at most {worst:.2f}), and {divergent} of {number:,} draws diverged"
    if worst > DISAGREE:
        return [Finding(1, f"the chains of NUTS do not agree: r hat {worst:.2f}; raise `draws`")]
    return [Finding(1 if divergent > DIVERGENT * number else 0, text)]


def _of_parameters(fit: Fit, identified: Identified, curves: tuple[Profile, ...]) -> list[Finding]:
    found = [Finding(1, sentence) for sentence in identified.directions]
    if not found:
        found.append(Finding(0, "the data constrain every parameter, and tell all of them apart"))
    limits = dict(zip(fit.problem.names, zip(fit.values, posterior.intervals(fit), strict=True), strict=True))
    for parameter, values in zip(fit.problem.parameters, _values_of(fit), strict=True):
        width = parameter.high - parameter.low
        if math.isfinite(width) and (np.minimum(values - parameter.low, parameter.high - values) < EDGE * width).any():
            bounds = f"{parameter.low:g} to {parameter.high:g}"
            found.append(
                Finding(1, f"{parameter.name} stands at the edge of its bounds, {bounds}: widen them, or say why")
            )
    for curve in curves:
        value, (low, high) = limits[curve.name]
        if not (math.isfinite(curve.low) and math.isfinite(curve.high)):
            text = f"the likelihood alone gives {curve.name} no end on one side, within three posterior deviations"
            found.append(Finding(1, text))
        elif not 0.5 < (curve.high - curve.low) / (high - low) < 2:
            text = f"{curve.name}: the profile's interval, {curve.low:.3g} to {curve.high:.3g}, is not the posterior's"
            found.append(Finding(1, text))
        if not curve.low <= value <= curve.high:
            text = f"{curve.name}: the estimate, {value:.3g}, lies outside the likelihood's own interval"
            found.append(Finding(1, f"{text}, {curve.low:.3g} to {curve.high:.3g}: the prior, or a bad end of the fit"))
    return found


def _values_of(fit: Fit) -> list[np.ndarray]:
    from lpm.calibration.parameters import slices

    return [fit.values[part] for part in slices(fit.problem.parameters)]


def _of_chance(fit: Fit) -> list[Finding]:
    if fit.problem.epidemic_chance:
        return []
    text = (
        "the chance of one epidemic is left out (epidemic_chance: false): intervals are of the mean of many, too narrow"
    )
    return [Finding(1, f"{text} for a small one")]


def _of_predictions(fit: Fit, predictive: Predictive, predicted: tuple[Predicted, ...]) -> list[Finding]:
    inside = 100 * posterior.coverage(fit, predictive)
    found = [_of_bands(posterior.within(fit, predictive), posterior.within(fit, predictive, of=predictive.counts))]
    for each in predicted:
        if each.p < UNLIKELY:
            text = (
                f"{each.stream}: {each.statistic} is {each.observed:.4g}, where the fit predicts {each.low:.4g} to "
                f"{each.high:.4g} (p = {each.p:.2g})"
            )
            grave = each.statistic == "misfit" and each.observed > GROSS * each.high
            found.append(Finding(2 if grave or inside < 50 else 1, text))
    return found


def _of_bands(observed: np.ndarray, predicted: np.ndarray) -> Finding:
    """Whether as many counts lie within the bands of 90 % as should: nine in ten, of independent counts that are large.

    Counts of one epidemic hang together, and a band about counts near 0 holds more than it says: so bands are called
    too wide only if hardly a data set that the fit predicts has as many of its counts within them.

    Args:
        observed: (n,) bool, of the data.
        predicted: (draws, n) bool, of each data set that the fit predicts.
    """
    number, inside = observed.size, int(observed.sum())
    text = f"{100 * inside / number:.0f} % of the {number:,} counts lie within the 90 % band"
    if inside < 0.75 * number:
        return Finding(1, text)
    if 1 - _binomial_below(inside - 1, number, 0.9) >= TOO_MANY:
        return Finding(0, text)
    text = f"{'all' if inside == number else f'{inside:,}'} of the {number:,} counts lie within the 90 % bands"
    alike = float((1 + (predicted.sum(1) >= inside).sum()) / (1 + len(predicted)))
    if alike >= TOO_MANY:
        return Finding(0, f"{text}, as do {100 * alike:.0f} % of the data sets that the fit predicts")
    return Finding(
        1,
        f"{text}: the bands are wider than they need be, as if the data came with more chance than they have; look at "
        "`dispersion`, at the number of agents, and at parameters that the data hardly constrain",
    )


def _of_recovery(found: Recovery | None, how: str) -> list[Finding]:
    """Whether errors are as large as the posterior says: their squares follow chi squared if it is right."""
    if found is None:
        return []
    findings = (
        [Finding(1, f"of data {how}, {len(found.failed)} could not be fitted: {found.failed[0]}")]
        if found.failed
        else []
    )
    if not len(found.truth):
        return findings
    inside, number = int(((found.truth >= found.low) & (found.truth <= found.high)).sum()), found.truth.size
    text = f"of {len(found.truth)} data sets {how}, {inside} of {number} intervals of 90 % hold the truth"
    text += "; so few tell little, `calibration: 50` more" if number < FEW else ""
    off = np.abs(found.error)
    if (off > MISSED).any():
        repeat, which = np.unravel_index(int(off.argmax()), off.shape)
        said = f"of data {how}, number {repeat + 1} missed {found.names[which]} by {off.max():.1f} posterior deviations"
        findings.append(Finding(1, f"{said}; intervals hold {MISSED:g} in all but 3 of 1,000"))
    p = _binomial_below(inside, number, 0.9)
    findings.append(Finding(0 if p > FAR_OFF else 1 if p > IMPOSSIBLE else 2, text))
    return findings


def _binomial_below(k: int, n: int, p: float) -> float:
    """P(X <= k) of n tries, 0 < p < 1.

    >>> round(_binomial_below(8, 10, 0.9), 4)
    0.2639
    """
    # In logarithms: of some thousand tries the coefficients are beyond what a float holds.
    ways = (math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1))
    return math.fsum(math.exp(way + i * math.log(p) + (n - i) * math.log1p(-p)) for i, way in enumerate(ways))
