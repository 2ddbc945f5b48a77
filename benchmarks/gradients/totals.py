"""How many are infected in all: the rule `cavity`, and ghosts followed along every edge, beside the exact answer.

    python benchmarks/gradients/totals.py [--small]

SIR on random graphs where everybody has as many contacts. On an endless tree the expected number of the susceptible is
known on each day, and so is its derivative. Ghosts followed along directed edges need no assumption about whom they
came from (docs/theory/gradients.md, equation 4); they are written here in NumPy, with epidemics of their own. Results
go to benchmarks/gradients/results/totals.json. The rule was developed on graphs of other seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import worlds
from machine import machine, save

from lpm import networks
from lpm.cache import use_compilation_cache
from lpm.gradients import jacobian

RESULT = Path(__file__).parent / "results" / "totals.json"
SEED = 3000


@dataclasses.dataclass(frozen=True)
class Case:
    """An epidemic on a regular graph.

    Args:
        degree: contacts of everybody.
        rate: of transmission, 1/day and contact.
        days: mean, infectious.
        initial: share infectious at first.
        steps: days until it is over.
        agents: how many.
        realizations: of rule and edges each.
    """

    degree: int
    rate: float
    days: float
    initial: float
    steps: int
    agents: int
    realizations: int


CASES = (Case(10, 0.04, 6, 0.01, 90, 20_000, 64), Case(5, 0.25, 4, 0.02, 50, 6000, 200))


def exact(case: Case, change: float = 1e-4) -> float:
    """Derivative of the number susceptible in the end for 100 % of the rate, on an endless tree.

    Messages by days (Karrer & Newman 2010): theta, that a contact has not infected one yet, phi, that it has not and is
    infectious.
    """

    def left(rate: float) -> float:
        jump, theta, phi = 1 - np.exp(-rate), 1.0, case.initial
        for _ in range(case.steps):
            after = theta - jump * phi
            newly = (1 - case.initial) * (theta ** (case.degree - 1) - after ** (case.degree - 1))
            theta, phi = after, (1 - jump) * (1 - 1 / case.days) * phi + newly
        return float(case.agents * (1 - case.initial) * theta**case.degree)

    return (left(case.rate * (1 + change)) - left(case.rate * (1 - change))) / (2 * change)


def by_rule(case: Case, edges: networks.Edges) -> np.ndarray:
    """The same by `cavity`, of each realization."""
    graph = networks.graph(edges, keep_order=True)
    world = worlds.layered(
        {"graph": graph},
        {"graph": case.rate},
        agents=case.agents,
        initial=case.initial,
        infectious_days=case.days,
    )
    settings: dict[str, Any] = {"steps": case.steps, "realizations": case.realizations, "seed": SEED}
    found = jacobian(world, ["transmission.graph"], observables=["susceptible"], **settings)
    return found.derivatives["susceptible"][:, 0, -1]


def by_edge(case: Case, edges: networks.Edges, rng: np.random.Generator) -> float:
    """The same by ghosts along directed edges, of one realization."""
    n, jump, leaves = case.agents, 1 - np.exp(-case.rate), 1 / case.days
    source, target = np.r_[edges.source, edges.target], np.r_[edges.target, edges.source]
    back = np.r_[len(edges.source) : len(source), 0 : len(edges.source)]
    stage = np.zeros(n, np.int8)
    stage[rng.choice(n, round(case.initial * n), replace=False)] = 1
    mass, outgoing, total = np.zeros((3, n)), np.zeros((3, len(source))), 0.0
    for _ in range(case.steps):
        met = case.rate * np.bincount(target, stage[source] == 1, n)
        infected = (stage == 0) & (rng.random(n) < 1 - np.exp(-met))
        stayed, recovers = (stage == 0) & ~infected, rng.random(n) < leaves
        spared = np.where(stage == 1, 1 / (1 - jump), 1)
        # Who stayed is met by the ghosts of each contact, and goes on with them to all the others.
        came = np.where(stayed[target], spared[source] * jump * outgoing[1], 0)
        root = np.where(stayed, met, 0)
        born = root + np.bincount(target, came, n)
        on = born[source] - came[back]
        keep = np.stack([spared, (1 - jump) * spared, spared])[:, source]
        lost = (outgoing * (spared[source] - keep)).sum(0)
        outgoing = outgoing * keep
        for stages in range(3):
            outgoing[stages] += np.where(stage[source] == stages, lost, 0)
        total += _moved(mass, stage, infected, recovers, 1 - np.exp(-met), leaves, born)
        where = (each[source] for each in (stage, infected, recovers, 1 - np.exp(-met)))
        _moved(outgoing, *where, leaves, on)
        stage = np.where((stage == 1) & recovers, 2, np.where(infected, 1, stage)).astype(np.int8)
    return -total


def _moved(
    rows: np.ndarray,
    stage: np.ndarray,
    infected: np.ndarray,
    recovers: np.ndarray,
    chance: np.ndarray,
    leaves: float,
    born: np.ndarray,
) -> float:
    """Rows of each stage move, an agent's own by what was drawn and ghosts by its chance; how many became infected."""
    ill = np.where(stage == 0, infected, chance) * rows[0] + born
    well = np.where(stage == 1, recovers, leaves) * rows[1]
    rows += np.stack([-ill, ill - well, well])
    return float(ill.sum())


def measure(case: Case, number: int) -> dict[str, Any]:
    """Both beside the exact answer."""
    edges = networks.regular(case.agents, case.degree, seed=SEED + number)
    right, result = exact(case), dataclasses.asdict(case)
    along = [by_edge(case, edges, np.random.default_rng([SEED, one])) for one in range(case.realizations)]
    for name, found in (("cavity", by_rule(case, edges)), ("by_edge", np.array(along))):
        ratio = found / right
        error = float(ratio.std(ddof=1)) / len(ratio) ** 0.5
        result[name] = {"ratio": float(ratio.mean()), "error": error}
        print(f"degree {case.degree}, {name}: {ratio.mean():.3f} +- {error:.3f} of {right:.0f}", flush=True)
    return result


def main() -> None:
    """Measure each case and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few agents, nothing saved: does the script run?")
    small = parser.parse_args().small
    use_compilation_cache()
    about, results = machine(), []
    for number, case in enumerate(CASES):
        less = dataclasses.replace(case, agents=600, realizations=8) if small else case
        results.append(measure(less, number))
    if not small:
        save(RESULT, {"machine": about, "results": results})


if __name__ == "__main__":
    main()
