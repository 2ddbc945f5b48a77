"""The work that every simulator is given, and how it is timed. Needs numpy alone: any environment can import it.

SIR on a static graph: each day every infectious agent infects each susceptible contact with probability 0.03 and
recovers with probability 0.1; both events look at the same morning. One agent in a hundred is infectious on day 0.
A script hands `measure` a function `start(task, seed) -> advance`; `advance(days)` simulates and returns the numbers of
susceptible and infectious agents at the end of each of those days.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib.metadata
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

PER_CONTACT, PER_DAY, SEEDED = 0.03, 0.1, 0.01

Advance = Callable[[int], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Task:
    """What to simulate.

    Args:
        path: the graph, .npz with `agents` () and `source`, `target` (edges,) int32, each edge once.
        days: how many.
        runs: how often, with other seeds.
        begun: when the process was started, seconds since 1970.
    """

    path: Path
    days: int
    runs: int
    begun: float

    @property
    def agents(self) -> int:
        """How many there are."""
        with np.load(self.path) as file:
            return int(file["agents"])

    def graph(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Number of agents, and the two ends of each edge."""
        with np.load(self.path) as file:
            return int(file["agents"]), file["source"], file["target"]


def first_cases(agents: int, seed: int) -> np.ndarray:
    """Who is infectious on day 0."""
    return np.random.default_rng(seed).choice(agents, round(SEEDED * agents), replace=False)


def rows(agents: int, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of each agent, end to end: (agents + 1,) int64 where they begin and (2 * edges,) int32."""
    begins = np.zeros(agents + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=agents) + np.bincount(target, minlength=agents), out=begins[1:])
    keys = np.concatenate([source, target]).astype(np.uint64) << np.uint64(32)
    keys |= np.concatenate([target, source]).astype(np.uint64)
    keys.sort()
    return begins, keys.astype(np.uint32).view(np.int32)


def peak_memory_gb() -> float:
    """Largest resident memory of this process, without that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


def version(name: str) -> str:
    """Of a distribution, or of the module by its name if that is only on the path."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return str(sys.modules[name].__version__)


def asked() -> Task:
    """The task that the driver wrote on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--begun", type=float, default=time.time())
    return Task(**vars(parser.parse_args()))


def measure(
    start: Callable[[Task, int], Advance],
    distributions: Iterable[str],
    note: str,
    more: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Time a simulator and print what was found as the last line, in JSON.

    The first step is that of a simulation of its own, so the steady runs after it find everything compiled.

    Args:
        start: sets a simulation up.
        distributions: whose versions to report.
        note: what a reader must know of the comparison.
        more: other things that were measured meanwhile.
    """
    task = asked()
    imported, agents = time.time() - task.begun, task.agents
    begun = time.perf_counter()
    advance = start(task, 0)
    set_up = time.perf_counter() - begun
    begun = time.perf_counter()
    advance(1)
    first = time.perf_counter() - begun
    walls, processors, finals, peaks = [], [], [], []
    for run in range(task.runs):
        del advance
        gc.collect()  # two simulations at once would count twice in the memory
        advance = start(task, run + 1)
        wall, processor = time.perf_counter(), time.process_time()
        susceptible, infectious = map(np.asarray, advance(task.days))
        walls.append((time.perf_counter() - wall) / task.days)
        processors.append((time.process_time() - processor) / task.days)
        finals.append(1 - int(susceptible[-1]) / agents)
        peaks.append(int(infectious.max()) / agents)
    found = {
        "agents": agents,
        "days": task.days,
        "start_and_import_s": imported,
        "set_up_s": set_up,
        "first_step_s": first,
        "wall_s_per_day": walls,
        "processor_s_per_day": processors,
        "final_size": finals,
        "peak_prevalence": peaks,
        "peak_memory_gb": peak_memory_gb(),
        "versions": {name: version(name) for name in ("numpy", *distributions)},
        "note": note,
    } | more()
    print(json.dumps(found))
