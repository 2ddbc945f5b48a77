"""black-it: three of its samplers in turn, as its own example has them, by the distance of square roots of counts.

It asks on its output for each simulation and reads the counts from its input; see `answered` in bench_inference.py.
"""

import argparse
import contextlib
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from black_it.calibrator import Calibrator
from black_it.loss_functions.minkowski import MinkowskiLoss
from black_it.samplers.best_batch import BestBatchSampler
from black_it.samplers.halton import HaltonSampler
from black_it.samplers.random_forest import RandomForestSampler

SAMPLERS = (HaltonSampler, RandomForestSampler, BestBatchSampler)
GRID = 200  # points between the bounds of a parameter
NOTE = "no intervals: it gives the point of least loss; of the prior it knows bounds, the quantiles of 1 and 99 %"


def roots(counts: np.ndarray) -> np.ndarray:
    """2 sqrt(counts + 3/8), whose deviation is near one for Poisson counts (Anscombe 1948)."""
    return 2 * np.sqrt(np.asarray(counts) + 0.375)


def simulated(values: np.ndarray, _: int, seed: int) -> np.ndarray:
    """One epidemic, by who reads our output: (n, 1)."""
    print(json.dumps({"values": np.asarray(values).tolist(), "seed": int(seed)}), file=sys.__stdout__, flush=True)
    return roots(json.loads(sys.stdin.readline()))[:, None]


def main() -> None:
    """Calibrate to each row of data; the last line says what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("given", type=Path, help=".npz with data (repeats, n), low and high (size,)")
    parser.add_argument("simulations", type=int, help="for each row")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--ensemble", type=int, default=3, help="simulations of each point")
    asked = parser.parse_args()
    with np.load(asked.given) as file:
        data, low, high = file["data"], file["low"], file["high"]
    estimates, losses, seconds = [], [], []
    batches = round(asked.simulations / (asked.batch * asked.ensemble))
    for number, row in enumerate(data):
        begun = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):  # what it says of itself
            kit = Calibrator(
                loss_function=MinkowskiLoss(),
                real_data=roots(row)[:, None],
                model=simulated,
                parameters_bounds=np.array([low, high]),
                parameters_precision=(high - low) / GRID,
                ensemble_size=asked.ensemble,
                samplers=[each(batch_size=asked.batch) for each in SAMPLERS],
                verbose=False,
                random_state=number,
                n_jobs=1,
            )
            points, loss = kit.calibrate(batches)
        estimates.append(points[0].tolist())
        losses.append(float(loss[0]))
        seconds.append(time.perf_counter() - begun)
    each = batches * asked.batch * asked.ensemble
    found = {
        "estimate": estimates,
        "loss": losses,
        "seconds": seconds,
        "settings": {
            "batch": asked.batch,
            "ensemble": asked.ensemble,
            "samplers": [each.__name__ for each in SAMPLERS],
        },
        "simulations": each * len(data),
        "simulations_each": each,
        "peer_versions": {name: version(name) for name in ("black-it", "scikit-learn", "numpy")},
        "note": NOTE,
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
