"""What a study answers: paired differences from the baseline, with bands over the realizations."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lpm.studies import economics, records, sensitivity
from lpm.studies.outcomes import OVER, Outcome, days_over
from lpm.studies.records import About, Unit

if TYPE_CHECKING:
    import xarray as xr

QUANTILES = (0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975)  # of bands of 50, 90 and 95 %
Table = dict[str, tuple[tuple[str, ...], np.ndarray]]  # name -> dims, values


def answers(path: str | Path) -> xr.Dataset:
    """The answers of the study in a directory, made from those of its runs that are complete.

    For each outcome y and realization r, averted_r = y_r(baseline) - y_r(scenario), both with the same draws; of what
    measures use, such as doses, more_r is the opposite. Numbers are of real people: where one agent stands for several,
    counts are multiplied. Runs that are missing are NaN, and
    the attribute `missing` lists them.

    Args:
        path: the `--out` of `lpm study`.

    Returns:
        a Dataset. With dims (scenario, realization): each outcome, such as deaths or peak_of_hospitalised; averted_...
        or more_...; cost, extra_cost; cost_and_worth (by which policies are judged), net_benefit. With a further dim:
        deaths_by_region, averted_deaths_by_region. With the dim quantile: curve_deaths,
        curve_deaths_by_region. By scenario: parts_at (first record that differs from the baseline).
        attribution_deaths (lever, realization) if the study has levers. See also `sensitivity.add` and
        `economics.add`.
    """
    import xarray as xr

    path = Path(path)
    about = records.read(path)
    found = _measured(path, about)
    _paired(found, about)
    _costed(found, about)
    _attributed(found, about)
    coords: dict[str, Any] = {
        "scenario": np.array(about.names, dtype=object),
        "realization": np.arange(about.realizations, dtype=np.int32),
        "quantile": np.array(QUANTILES),
        "time": _times(about),
    } | {dim: np.array(labels, dtype=object) for dim, labels in about.coords.items()}
    if about.levers:
        coords["lever"] = np.array(about.levers, dtype=object)
    used = {dim for dims, _ in found.values() for dim in dims}
    absent = records.missing(path, about)
    attributes = {
        "title": about.title,
        "currency": about.currency,
        "effect": about.effect.id if about.effect else "",
        "missing": "\n".join(
            f"{about.names[unit.scenario]}, realization {unit.realization}: {why}" for unit, why in absent
        ),
    }
    dataset = xr.Dataset(found, {dim: labels for dim, labels in coords.items() if dim in used}, attributes)
    for outcome in about.outcomes:
        dataset[outcome.id].attrs["long_name"] = outcome.label
    return sensitivity.add(economics.add(dataset, about), about)


def _times(about: About) -> np.ndarray:
    steps = np.arange(about.steps // about.every) * about.every
    if about.start is None:
        return steps
    return np.datetime64(about.start, "ns") + steps * np.timedelta64(1, "D").astype("timedelta64[ns]")


def _wanted(about: About) -> dict[str, Outcome]:
    """All outcomes that are computed, by id: those asked for, and those that costs need."""
    return {outcome.id: outcome for outcome in (*about.outcomes, *(cost.outcome for cost in about.costs))}


def _measured(path: Path, about: About) -> Table:
    """Outcomes of every run, and bands of the courses; one scenario is in memory at a time."""
    wanted = _wanted(about)
    variables = dict.fromkeys(outcome.variable for outcome in wanted.values())
    if about.capacity is not None:
        variables |= {about.capacity.variable: None}
    shape = (len(about.scenarios), about.realizations)
    found: Table = {}
    parts_at = np.full(len(about.scenarios), -1, np.int32)
    for scenario in range(len(about.scenarios)):
        curves = _curves(path, about, scenario, tuple(variables))
        for (variable, dim), values in curves.items():
            name, dims = (variable, ()) if dim is None else (f"{variable}_by_{dim}", (dim,))
            bands = _quantiles(values)
            _put(found, f"curve_{name}", ("scenario", "quantile", "time", *dims), shape[:1], scenario, bands)
            for outcome in (each for each in wanted.values() if each.variable == variable):
                name = outcome.id if dim is None else f"{outcome.id}_by_{dim}"
                _put(
                    found,
                    name,
                    ("scenario", "realization", *dims),
                    shape[:1],
                    scenario,
                    outcome.of(values, about.every),
                )
        if about.capacity is not None:
            course = curves[about.capacity.variable, None]
            over = np.where(np.isnan(course).any(1), np.nan, days_over(course, about.capacity.beds, about.every))
            _put(found, OVER, ("scenario", "realization"), shape[:1], scenario, over)
        parts_at[scenario] = _parting(path, about, scenario)
    found["parts_at"] = (("scenario",), parts_at)
    return found


def _put(found: Table, name: str, dims: tuple[str, ...], first: tuple[int, ...], at: int, values: np.ndarray) -> None:
    if name not in found:
        found[name] = (dims, np.full((*first, *values.shape), np.nan))
    found[name][1][at] = values


def _curves(
    path: Path, about: About, scenario: int, variables: tuple[str, ...]
) -> dict[tuple[str, str | None], np.ndarray]:
    """Courses in real people of all places together and by each dim: (realizations, records, ...) float64."""
    found: dict[tuple[str, str | None], np.ndarray] = {}
    for realization in range(about.realizations):
        run = records.read_run(path, Unit(scenario, realization)) or {}
        for variable in variables:
            dims = about.dims(variable)
            shape, _ = about.shapes[variable]
            blank = np.full((about.steps // about.every, *shape), np.nan)
            values = np.asarray(run.get(variable, blank), np.float64) / about.scale
            for dim in (None, *dims):
                rest = tuple(number + 1 for number, each in enumerate(dims) if each != dim)
                course = values.sum(axis=rest)
                key = (variable, dim)
                if key not in found:
                    found[key] = np.full((about.realizations, *course.shape), np.nan)
                found[key][realization] = course
    return found


def _parting(path: Path, about: About, scenario: int) -> int:
    """The first record in which a run of the scenario differs from the baseline's of the same draws; -1 if none."""
    firsts = []
    for realization in range(about.realizations if scenario else 0):
        mine, its = (records.read_run(path, Unit(number, realization)) for number in (scenario, 0))
        if mine is None or its is None:
            continue
        other = np.zeros(about.steps // about.every, bool)
        for name, values in mine.items():
            other |= (values != its[name]).reshape(len(values), -1).any(1)
        if other.any():
            firsts.append(int(other.argmax()))
    return min(firsts, default=-1)


def _quantiles(values: np.ndarray) -> np.ndarray:
    """Over the first axis, of what is not NaN; NaN where all is."""
    good = ~np.isnan(values.reshape(len(values), -1)).any(1)
    if not good.any():
        return np.full((len(QUANTILES), *values.shape[1:]), np.nan)
    return np.quantile(values[good], QUANTILES, axis=0)


def _paired(found: Table, about: About) -> None:
    """What each scenario averts, or uses more, realization by realization."""
    more = [outcome.id for outcome in _wanted(about).values() if outcome.used]
    for name in list(found):
        dims, values = found[name]
        if dims[:2] == ("scenario", "realization"):
            used = _outcome(name, dims) in more
            found[f"more_{name}" if used else f"averted_{name}"] = (dims, (values - values[:1]) * (1 if used else -1))


def _outcome(name: str, dims: tuple[Any, ...]) -> str:
    """The outcome's name, without the dim by which it is told; an observable may have `_by_` in its own name."""
    return name.removesuffix(f"_by_{dims[2]}") if len(dims) > 2 else name


def _costed(found: Table, about: About) -> None:
    """What outcomes and measures cost, and how much more than the baseline."""
    if not about.currency:
        return
    measures = np.array([each.cost for each in about.scenarios])[:, None]
    cost = measures + sum(each.amount * found[each.outcome.id][1] for each in about.costs)
    cost = np.broadcast_to(cost, (len(about.scenarios), about.realizations)).copy()
    found["cost"] = (("scenario", "realization"), cost)
    found["extra_cost"] = (("scenario", "realization"), cost - cost[:1])
    if about.worth and about.effect is not None:
        together = cost + about.worth * found[about.effect.id][1]
        found["cost_and_worth"] = (("scenario", "realization"), together)
        found["net_benefit"] = (("scenario", "realization"), together[:1] - together)


def _attributed(found: Table, about: About) -> None:
    """Each lever's share of what all levers avert together."""
    if not about.levers:
        return
    position = {each.levers: number for number, each in enumerate(about.scenarios) if each.levers}
    for outcome in about.outcomes:
        averted = found[outcome.difference][1]
        worth = {frozenset(names): averted[number] for names, number in position.items()}
        worth[frozenset()] = np.zeros(about.realizations)
        shares = shapley(about.levers, worth)
        found[f"attribution_{outcome.id}"] = (
            ("lever", "realization"),
            np.stack([shares[name] for name in about.levers]),
        )


def shapley(levers: tuple[str, ...], worth: Mapping[frozenset[str], Any]) -> dict[str, Any]:
    """Each lever's mean contribution over all orders in which the levers may be added.

    phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))

    Shapley (1953), in Contributions to the Theory of Games II, 307-317.

    Args:
        levers: names.
        worth: of every set of levers, the empty one too.

    >>> shapley(("a", "b"), {frozenset(): 0, frozenset("a"): 4, frozenset("b"): 2, frozenset("ab"): 10})
    {'a': 6.0, 'b': 4.0}
    """
    number = len(levers)
    shares = {}
    for lever in levers:
        rest = [each for each in levers if each != lever]
        share = 0.0
        for size in range(number):
            weight = math.factorial(size) * math.factorial(number - size - 1) / math.factorial(number)
            for some in itertools.combinations(rest, size):
                share = share + weight * (worth[frozenset((*some, lever))] - worth[frozenset(some)])
        shares[lever] = share
    return shares


@dataclasses.dataclass(frozen=True)
class Summary:
    """A number over the realizations that have it.

    Args:
        n: how many those are.
        mean, deviation: and standard deviation; nan of fewer than two.
        quantiles: at `QUANTILES`.
    """

    n: int
    mean: float
    deviation: float
    quantiles: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return self.quantiles[3]


def summary(values: np.ndarray) -> Summary:
    """Of a number for each realization, NaN where it is missing.

    >>> summary(np.array([1.0, 3.0, np.nan])).median
    2.0
    """
    good = values[~np.isnan(values)]
    if not len(good):
        return Summary(0, math.nan, math.nan, (math.nan,) * len(QUANTILES))
    deviation = float(good.std(ddof=1)) if len(good) > 1 else math.nan
    return Summary(len(good), float(good.mean()), deviation, tuple(map(float, np.quantile(good, QUANTILES))))


def rows(dataset: xr.Dataset) -> Iterator[dict[str, Any]]:
    """The answers line by line, for a CSV file: every outcome and what is averted, in all and by each dim."""
    for name, values in dataset.data_vars.items():
        if values.dims[:2] != ("scenario", "realization"):
            continue
        by = str(values.dims[2]) if values.ndim > 2 else ""
        outcome = _outcome(str(name), values.dims)
        for number, scenario in enumerate(dataset["scenario"].values):
            labels = dataset[by].values if by else ("",)
            for place, label in enumerate(labels):
                found = summary(values.values[number, :, place] if by else values.values[number])
                yield {
                    "scenario": scenario,
                    "measure": outcome,
                    "by": by,
                    "of": label,
                    "runs": found.n,
                    "mean": found.mean,
                    "standard_deviation": found.deviation,
                } | {f"q{100 * q:g}": value for q, value in zip(QUANTILES, found.quantiles, strict=True)}
