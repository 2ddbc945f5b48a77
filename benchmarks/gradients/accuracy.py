"""Slope and cosine of every rule's derivatives against differences.  python benchmarks/gradients/accuracy.py --case X

A case is a world; each of its parameters is changed in proportion. The reference is the central difference of fourth
order under common random numbers, extended until its standard error is small or the time is over; it is kept in a
folder, so that running a case again goes on with it. Results are merged into benchmarks/gradients/results/accuracy.json
and written as tables into docs/gradients.md. Seeds of graphs and runs begin at 3000;
the rules were developed on those from 1000 on, and tests use others.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import tables
import worlds
from machine import machine, save

from lpm.agreement import compare
from lpm.cache import use_compilation_cache
from lpm.entries import named_entries
from lpm.gradients import jacobian
from lpm.kernels.shadows import RULES
from lpm.world import World

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).parent / "results" / "accuracy.json"
DOCS = ROOT / "docs" / "gradients.md"
SEED = 3000
AT_ONCE = 4  # realizations between two looks at the clock


@dataclasses.dataclass(frozen=True)
class Case:
    """A world whose derivatives are compared.

    Args:
        title: a phrase.
        build: from the number of agents.
        agents: how many.
        steps: days.
        changes: h of the reference for parameters other than 0.1.
        parameters: some only; None for all.
    """

    title: str
    build: Callable[[int], World]
    agents: int = 10_000
    steps: int = 60
    changes: dict[str, float] = dataclasses.field(default_factory=lambda: {"initial": 0.2})
    parameters: tuple[str, ...] | None = None


def _layered(layers: dict[str, Callable[[int], Any]], rates: dict[str, float], **settings: float) -> Any:
    def build(agents: int) -> World:
        found = {name: layer(agents) for name, layer in layers.items()}
        return worlds.layered(found, rates, agents=agents, **{"initial": 0.01, **settings})  # type: ignore[arg-type]

    return build


def _graph(degree: int, kind: Any = worlds.random_graph) -> dict[str, Callable[[int], Any]]:
    return {"graph": lambda agents: kind(agents, degree, SEED + degree)}


HOMES = {"household": lambda agents: worlds.households(agents, SEED + 1)}
WORK = {"work": lambda agents: worlds.workplaces(agents, 12, SEED + 2)}
SEIR = {"latent_days": 3.0, "infectious_days": 7.0}
CITY_CHANGES = {"disease.fork.symptoms": 0.05, "disease.mean_days.presymptomatic": 0.05}
DISEASE = ("exposed", "presymptomatic", "asymptomatic", "symptomatic", "hospitalised", "critical")
CITY = {
    "transmission": (
        *(f"transmission.{layer}" for layer in ("household", "school", "work", "community")),
        "contacts",
        "importation",
    ),
    "durations": tuple(f"disease.mean_days.{stage}" for stage in DISEASE),
    "severity": (
        *(f"disease.fork.{fork}" for fork in ("symptoms", "admission", "intensive_care", "death")),
        "disease.susceptibility",
        "disease.asymptomatic_infectiousness",
    ),
}


def _city(agents: int) -> World:
    return worlds.whole_city(agents, SEED, 80)


CASES = {
    "degree-4": Case("SIR, graph of degree 4, 1 %", _layered(_graph(4), {"graph": 0.1})),
    "degree-10": Case("SIR, graph of degree 10, 1 %", _layered(_graph(10), {"graph": 0.03})),
    "degree-50": Case("SIR, graph of degree 50, 1 %", _layered(_graph(50), {"graph": 0.005})),
    "degree-4-few": Case("SIR, graph of degree 4, 10 cases", _layered(_graph(4), {"graph": 0.1}, initial=0.001)),
    "degree-10-few": Case(
        "SIR, graph of degree 10, 10 cases", _layered(_graph(10), {"graph": 0.03}, initial=0.001), steps=80
    ),
    "degree-4-seir": Case("SEIR, graph of degree 4, 1 %", _layered(_graph(4), {"graph": 0.15}, **SEIR), steps=80),
    "degree-10-seir": Case("SEIR, graph of degree 10, 1 %", _layered(_graph(10), {"graph": 0.05}, **SEIR), steps=80),
    "small-world": Case(
        "SIR, small world of degree 10, 1 %", _layered(_graph(10, worlds.small_world), {"graph": 0.04}), steps=80
    ),
    "heavy-tailed": Case(
        "SIR, heavy-tailed degrees of mean 10, 1 %", _layered(_graph(10, worlds.heavy_tailed), {"graph": 0.02})
    ),
    "households-graph": Case(
        "SIR, households and a graph of degree 4, 1 %", _layered(HOMES | _graph(4), {"household": 0.3, "graph": 0.06})
    ),
    "households-graph-seir": Case(
        "SEIR, households and a graph of degree 4, 1 %",
        _layered(HOMES | _graph(4), {"household": 0.3, "graph": 0.09}, **SEIR),
        steps=80,
    ),
    "households-of-three": Case(
        "SIR, households of three alone, 10 %",
        _layered({"household": lambda agents: worlds.households(agents, SEED + 1, 3)}, {"household": 0.3}, initial=0.1),
    ),
    "households-mixing": Case(
        "SIR, households and everybody at random, 1 %",
        _layered(HOMES | {"community": worlds.well_mixed}, {"household": 0.3, "community": 0.15}),
    ),
    "households-work": Case(
        "SIR, households and workplaces, 1 %", _layered(HOMES | WORK, {"household": 0.3, "work": 0.3}), steps=80
    ),
    "households-work-seir": Case(
        "SEIR, households and workplaces, 1 %",
        _layered(HOMES | WORK, {"household": 0.4, "work": 0.4}, **SEIR),
        steps=80,
    ),
    **{
        f"city-{name}": Case(f"The city, {name}", _city, 20_000, 80, CITY_CHANGES, parameters)
        for name, parameters in CITY.items()
    },
}

Curves = dict[str, np.ndarray]  # for each observable, (realizations, parameters, steps)


class Reference:
    """Differences of a case, kept in a file that grows."""

    def __init__(self, case: Case, world: World, file: Path, fresh: bool) -> None:
        self.case, self.world, self.file = case, world, file
        self.chunks: list[Curves] = []
        self.parameters: tuple[str, ...] = ()
        if file.exists() and not fresh:
            kept = dict(np.load(file))
            self.parameters = tuple(kept.pop("parameters"))
            whole = len(next(iter(kept.values()))) // AT_ONCE
            self.chunks = [{name: x[c * AT_ONCE : (c + 1) * AT_ONCE] for name, x in kept.items()} for c in range(whole)]

    def extend(self) -> None:
        """Some more realizations."""
        changes = dict.fromkeys(named_entries(self.world.params), 0.1) | self.case.changes
        found = jacobian(
            self.world,
            self.case.parameters,
            steps=self.case.steps,
            method="differences",
            order=4,
            change=changes,
            realizations=AT_ONCE,
            seed=SEED + len(self.chunks),
        )
        self.parameters = found.parameters
        self.chunks.append(found.derivatives)

    def curves(self) -> Curves:
        """All realizations."""
        return {name: np.concatenate([each[name] for each in self.chunks]) for name in self.chunks[0]}

    def save(self) -> None:
        """Keep what was found."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(self.file, parameters=np.array(self.parameters), **self.curves())  # type: ignore[arg-type]


def noise(curves: np.ndarray, true: np.ndarray) -> float | None:
    """Standard deviation of one realization's slope, from (realizations, steps) and the mean curve."""
    size = float(true @ true)
    return float(((curves.astype(np.float64) @ true) / size).std(ddof=1)) if size and len(curves) > 1 else None


def estimates(
    case: Case, world: World, rules: list[str], most: int, until: float
) -> tuple[dict[str, Curves], dict[str, float | None]]:
    """Derivatives by each rule, equally many of each, and the seconds that the last ones took each."""
    chunks: dict[str, list[Curves]] = {rule: [] for rule in rules}
    seconds: dict[str, float | None] = dict.fromkeys(rules)
    for chunk in range(max(1, most // AT_ONCE)):
        settings = {"steps": case.steps, "realizations": AT_ONCE, "seed": SEED + chunk}
        for rule in rules:
            begun = time.perf_counter()
            chunks[rule].append(jacobian(world, case.parameters, method=rule, **settings).derivatives)  # type: ignore[arg-type]
            if chunk:  # the first one compiles
                seconds[rule] = (time.perf_counter() - begun) / AT_ONCE
        if time.perf_counter() > until:
            break
    return {
        rule: {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
        for rule, parts in chunks.items()
    }, seconds


def run(name: str, case: Case, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a case within its time."""
    begun, world = time.perf_counter(), case.build(case.agents)
    reference = Reference(case, world, arguments.keep / f"{name}.npz", arguments.fresh)
    until = begun + 0.6 * arguments.seconds
    found, seconds = estimates(case, world, arguments.rules.split(","), arguments.realizations, until)
    while len(reference.chunks) * AT_ONCE < max(len(next(iter(each.values()))) for each in found.values()):
        reference.extend()
    took = 0.0
    while time.perf_counter() + took < begun + arguments.seconds and _largest_error(reference) > arguments.error:
        before = time.perf_counter()
        reference.extend()
        took = time.perf_counter() - before
    if not arguments.small:
        reference.save()
    return _rows(case, reference, found, seconds, world)


def _largest_error(reference: Reference) -> float:
    curves, errors = reference.curves(), []
    for values in curves.values():
        for number in range(values.shape[1]):
            one = noise(values[:, number], values[:, number].mean(0, dtype=np.float64))
            errors.append((one or 0) / len(values) ** 0.5)
    return max(errors)


def _rows(
    case: Case, reference: Reference, found: dict[str, Curves], seconds: dict[str, float | None], world: World
) -> dict[str, Any]:
    curves = reference.curves()
    realizations, about = len(next(iter(curves.values()))), machine()
    result: dict[str, Any] = {
        "title": case.title,
        "agents": world.agents,
        "steps": case.steps,
        "reference": {"realizations": realizations, "rows": []},
        "rules": {
            rule: {
                "realizations": len(next(iter(each.values()))),
                "seconds_each": seconds[rule],
                "commit": about["commit"],
                "load": about["load"],
                "rows": [],
            }
            for rule, each in found.items()
        },
    }
    for number, parameter in enumerate(reference.parameters):
        for observable, values in curves.items():
            right = values[:, number]
            true = right.mean(0, dtype=np.float64)
            one = noise(right, true)
            names = {"parameter": parameter, "observable": observable}
            error = None if one is None else one / realizations**0.5
            result["reference"]["rows"].append({**names, "error": error, "noise": one})
            for rule, each in found.items():
                left = each[observable][:, number]
                compared = dataclasses.asdict(compare(parameter, observable, left, right))
                row = {key: None if value != value else value for key, value in compared.items()}
                result["rules"][rule]["rows"].append({**row, "noise": noise(left, true)})
    return result


def merged(before: dict[str, Any], name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Results with a case measured anew; rules that were not measured keep their figures."""
    cases = dict(before.get("cases", {}))
    rules = cases.get(name, {}).get("rules", {})
    cases[name] = {**found, "rules": {**rules, **found["rules"]}}
    return {"machine": machine(), "cases": {known: cases[known] for known in CASES if known in cases}}


def main() -> None:
    """Measure one case and merge it into the results, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=list(CASES), help="which; none to write the tables of what there is")
    parser.add_argument("--rules", default=",".join(RULES), help="separated by commas")
    parser.add_argument("--seconds", type=float, default=100, help="to spend")
    parser.add_argument("--error", type=float, default=0.015, help="standard error of the reference to reach")
    parser.add_argument("--realizations", type=int, default=96, help="of each rule, if the time allows")
    parser.add_argument(
        "--keep", type=Path, default=Path(tempfile.gettempdir()) / "lpm-gradients", help="folder of the references"
    )
    parser.add_argument("--fresh", action="store_true", help="begin the reference anew")
    parser.add_argument("--small", action="store_true", help="few agents, nothing saved: does the script run?")
    arguments = parser.parse_args()
    use_compilation_cache()
    if arguments.small:
        arguments.case = arguments.case or "degree-4"
        arguments.seconds, arguments.realizations, arguments.fresh = 0, AT_ONCE, True
    if arguments.case:
        case = CASES[arguments.case]
        if arguments.small:
            case = dataclasses.replace(case, agents=1000, steps=20)
        found = run(arguments.case, case, arguments)
        print(tables.of_case(found))
        if arguments.small:
            return
    results = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    if arguments.case:
        results = merged(results, arguments.case, found)
        save(RESULT, results)
    tables.write(DOCS, results)


if __name__ == "__main__":
    main()
