"""What other calibrators find from the same data.  python benchmarks/bench_inference.py [PART ...] [--small]

Eight SEIR epidemics of 20,000 agents over a random network, as part `network` of bench_calibration.py has them,
with known rates that were drawn from the prior. fit: lpm's Levenberg-Marquardt from two starts; fit-once: from one.
black-it: Banca d'Italia's kit, whose points lpm simulates. few, many: of so many simulations of draws from the prior,
which all epidemics share, lpm's rejection and sbi's neural posterior estimation. Peers run in environments of their
own, made on first use. Each part is saved by its name in benchmarks/results/inference.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_peers import python
from calibration_networks import rates, seen
from machine import machine, save

from lpm import calibration
from lpm.cache import use_compilation_cache
from lpm.calibration import Problem, posterior
from lpm.calibration.history import Log
from lpm.calibration.parameters import inverse
from lpm.calibration.priors import draw_prior
from lpm.calibration.problem import keys, simulator
from lpm.calibration.recovery import synthetic
from lpm.calibration.rejection import BATCH
from lpm.settings import Calendar
from lpm.worlds import seir

HERE = Path(__file__).parent
RESULT = HERE / "results" / "inference.json"
BLACK_IT, SBI = ("black-it==0.3.3",), ("sbi==0.27.0",)
POISSON = (1.0, 1.0)  # dispersions of the two streams, which Poisson counts do not use
LEVELS = [0.05, 0.5, 0.95]


def known(small: bool) -> tuple[Problem, np.ndarray, list[Problem]]:
    """The problem without data, (repeats, size) true z, and the problem with the data of each."""
    calendar = Calendar(80)
    agents, initial = (5_000, 0.02) if small else (20_000, 0.005)
    world = seir.build(seir.Settings(agents=agents, transmission=0.06, latent_days=3.5, infectious_days=7), calendar)
    free = rates(0.06, initial)
    problem = Problem(world, calendar, free, seen(world, calendar, prevalence=True), rule="differences")
    truths = draw_prior(free, 2 if small else 8, seed=11)
    return problem, truths, [synthetic(problem, z, POISSON, 7919 * 2 + i) for i, z in enumerate(truths)]


def compared(problem: Problem, truths: np.ndarray, low: Any, middle: np.ndarray, high: Any) -> dict[str, Any]:
    """Estimates, (repeats, size) values, beside the truth; with their intervals of 90 % unless these are None."""
    truth = problem.values(truths)
    error = np.abs(middle / truth - 1)

    def named(row: np.ndarray) -> dict[str, float]:
        return dict(zip(problem.names, row.tolist(), strict=True))

    found: dict[str, Any] = {
        "agents": problem.world.agents,
        "repeats": len(truths),
        "median_relative_error": named(np.median(error, axis=0)),
        "largest_relative_error": named(error.max(axis=0)),
    }
    if low is not None:
        below, above = np.quantile(problem.values(draw_prior(problem.parameters, 4000, 0)), [0.05, 0.95], axis=0)
        held = (truth >= low) & (truth <= high)
        found["covered_by_90_percent"] = named(held.mean(axis=0))
        found |= {"held": int(held.sum()), "of": int(held.size)}
        found["interval_as_share_of_the_prior's"] = named(np.median((high - low) / (above - below), axis=0))
    return found | {"truth": truth.tolist(), "estimate": middle.tolist()}


def fit(small: bool, starts: int = 2) -> dict[str, Any]:
    """lpm's Levenberg-Marquardt, each epidemic by itself."""
    problem, truths, data = known(small)
    settings: dict[str, Any] = {"realizations": 8 if small else 16, "starts": starts}
    fits, seconds = [], []
    for each in data:
        begun = time.perf_counter()
        fits.append(calibration.fit(each, **settings))
        seconds.append(time.perf_counter() - begun)
        print(f"fit: {fits[-1].simulations} simulations, {seconds[-1]:.0f} s; {fits[-1].message}", flush=True)
    low, high = np.moveaxis([calibration.intervals(each) for each in fits], 2, 0)
    cost = {
        "settings": settings,
        "simulations_each": float(np.median([each.simulations for each in fits])),
        "simulations": sum(each.simulations for each in fits),
        "seconds_each": float(np.median(seconds)),
    }
    return compared(problem, truths, low, np.array([each.values for each in fits]), high) | cost


def shared(simulations: int, small: bool) -> dict[str, Any]:
    """Rejection and neural posterior estimation from the same simulations, which all epidemics share."""
    problem, truths, data = known(small)
    found, interpreter = {}, python(SBI)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        z, counts = drawn(problem, simulations, Path(folder))
        simulating = time.perf_counter() - begun
        print(f"shared: {simulations} simulations in {simulating:.0f} s", flush=True)

        begun, keep = time.perf_counter(), max(20, simulations // (50 if simulations <= 2000 else 100))
        kept = [
            calibration.reject(
                dataclasses.replace(each, log=Log(Path(folder))),
                simulations=simulations,
                keep=keep,
                dispersions=POISSON,
            ).values
            for each in data
        ]
        low, middle, high = np.quantile(kept, LEVELS, axis=1)
        found["rejection"] = compared(problem, truths, low, middle, high) | {"kept": keep}
        found["rejection"]["seconds_besides"] = time.perf_counter() - begun

        begun = time.perf_counter()
        given, gives = Path(folder, "given.npz"), Path(folder, "draws.npz")
        np.savez(given, z=z, counts=counts, data=[each.counts for each in data])
        options = ["--epochs", "5"] if small else []
        words = [interpreter, str(HERE / "peers" / "run_sbi.py"), str(given), str(gives), *options]
        said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=folder).stdout
        with np.load(gives) as file:
            posteriors = problem.values(file["z"])
        low, middle, high = np.quantile(posteriors, LEVELS, axis=1)
        found["npe"] = compared(problem, truths, low, middle, high) | json.loads(said.splitlines()[-1])
        found["npe"]["seconds_besides"] = time.perf_counter() - begun
    for name, each in found.items():
        each |= {"simulations": simulations, "simulations_each": simulations / len(data)}
        each |= {"seconds_simulating": simulating, "seconds_each": (simulating + each["seconds_besides"]) / len(data)}
        print(f"{name}: {short(each)}", flush=True)
    return found


def drawn(problem: Problem, simulations: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Draws of z from the prior and Poisson counts of an epidemic of each: those of `lpm.calibration.reject`.

    The simulations are left in the folder's log, from which `reject` takes them.
    """
    machine = simulator(dataclasses.replace(problem, log=Log(folder)))
    z, seeds = draw_prior(problem.parameters, simulations, 0), keys(0, posterior.LATER, simulations)
    parts = []
    for begin in range(0, simulations, BATCH):
        part = slice(begin, begin + BATCH)
        parts.append(machine.at_each(z[part], type(seeds)(seeds.words[part], seeds.step[part])))
    return z, posterior.observed(problem, POISSON, np.concatenate(parts), np.random.default_rng(0))


def black_it(small: bool) -> dict[str, Any]:
    """black-it, each epidemic by itself: the point of least loss; it has no intervals."""
    problem, truths, data = known(small)
    low, high = np.quantile(problem.values(draw_prior(problem.parameters, 4000, 0)), [0.01, 0.99], axis=0)
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder, "given.npz")
        np.savez(given, data=[each.counts for each in data], low=low, high=high)
        words = [python(BLACK_IT), str(HERE / "peers" / "run_black_it.py"), str(given), "90" if small else "1400"]
        found = answered(words, problem)
    estimate, seconds = np.array(found.pop("estimate")), found.pop("seconds")
    return compared(problem, truths, None, estimate, None) | found | {"seconds_each": float(np.median(seconds))}


def answered(words: list[str], problem: Problem) -> dict[str, Any]:
    """Run a calibrator that asks for simulations, and what it says in the end.

    It writes a line of JSON for each simulation, with values of the parameters as `values` and a `seed`, and reads the
    expected counts of such an epidemic from a line of JSON; its last line is what it found, without `values`.
    """
    machine = simulator(problem)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        said: dict[str, Any] = {}
        for line in peer.stdout:
            said = json.loads(line)
            if "values" not in said:
                continue
            z = [inverse(free, value) for free, value in zip(problem.parameters, said["values"], strict=True)]
            (counts,) = machine.at_each(np.array(z)[None], keys(said["seed"], posterior.LATER, 1))
            peer.stdin.write(json.dumps(counts.tolist()) + "\n")
            peer.stdin.flush()
    if peer.returncode or not said or "values" in said:
        raise SystemExit(
            f"bench_inference: asked {Path(words[1]).name} for estimates, got exit status {peer.returncode}"
        )
    return said


def short(found: dict[str, Any]) -> str:
    """A result in a line."""
    errors = ", ".join(f"{name} {100 * error:.1f} %" for name, error in found["median_relative_error"].items())
    held = f"held {found['held']} of {found['of']}" if "held" in found else "no intervals"
    return (
        f"{errors}; {held}; {found['simulations']} simulations, {found['simulations_each']:.0f} for each epidemic, "
        f"{found['seconds_each']:.0f} s each"
    )


PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "fit": fit,
    "fit-once": lambda small: fit(small, starts=1),
    "black-it": black_it,
    "few": lambda small: shared(200 if small else 2_000, small),
    "many": lambda small: shared(400 if small else 10_000, small),
}


def main() -> None:
    """Measure the parts asked for and save them beside those measured before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all if none is named")
    parser.add_argument("--small", action="store_true", help="small sizes, nothing saved: does the script run?")
    asked = parser.parse_args()
    use_compilation_cache()
    for name in asked.parts or PARTS:
        about, found = machine(), PARTS[name](asked.small)
        if "simulations" in found:
            print(f"{name}: {short(found)}", flush=True)
        if not asked.small:
            before = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
            save(RESULT, before | {name: {"machine": about, **found}})


if __name__ == "__main__":
    main()
