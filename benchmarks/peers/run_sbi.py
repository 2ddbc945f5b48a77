"""sbi: neural posterior estimation, trained once for all epidemics, from square roots of counts.

The density estimator is sbi's own choice, a masked autoregressive flow; of several, that of the best validation loss
gives the posteriors. Counts are standardised together ("structured"), as sbi advises for time series.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sbi.inference import NPE
from sbi.neural_nets import posterior_nn

DRAWS = 2_000
STEPS = 40  # batches in an epoch


def roots(counts: np.ndarray) -> torch.Tensor:
    """2 sqrt(counts + 3/8), whose deviation is near one for Poisson counts (Anscombe 1948)."""
    return torch.tensor(2 * np.sqrt(counts + 0.375), dtype=torch.float32)


def main() -> None:
    """Train, and draw from the posterior of each row of data; the last line says at what cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "given", type=Path, help=".npz with z (simulations, size), counts of each, and data (repeats, n)"
    )
    parser.add_argument("gives", type=Path, help=".npz with z (repeats, draws, size)")
    parser.add_argument(
        "--epochs", type=int, default=1_000, help="at most; it stops when validation no longer improves"
    )
    parser.add_argument(
        "--estimators", nargs="+", default=["maf"], help="names of density estimators, each of them tried"
    )
    asked = parser.parse_args()
    with np.load(asked.given) as file:
        z, counts, data = torch.tensor(file["z"], dtype=torch.float32), roots(file["counts"]), roots(file["data"])
    prior = torch.distributions.MultivariateNormal(z.mean(0), torch.cov(z.T))
    trained, tried = [], []
    batch = max(20, len(z) // STEPS)
    for model in asked.estimators:
        torch.manual_seed(0)
        begun = time.perf_counter()
        machine = NPE(
            prior=prior, density_estimator=posterior_nn(model, z_score_x="structured"), show_progress_bars=False
        )
        machine.append_simulations(z, counts)
        machine.train(training_batch_size=batch, max_num_epochs=asked.epochs)
        loss = float(machine.summary["best_validation_loss"][-1])
        tried.append({"estimator": model, "batch": batch, "validation_loss": loss, "epochs": machine.epoch})
        tried[-1]["seconds"] = time.perf_counter() - begun
        trained.append(machine)
    best = int(np.argmin([each["validation_loss"] for each in tried]))
    drawn = trained[best].build_posterior()
    torch.manual_seed(1)
    np.savez(asked.gives, z=[drawn.sample((DRAWS,), x=row, show_progress_bars=False).numpy() for row in data])
    versions = {name: version(name) for name in ("sbi", "torch", "numpy")}
    print()  # what sbi said of itself may have ended without
    print(json.dumps({"tried": tried, "used": tried[best], "draws": DRAWS, "peer_versions": versions}))


if __name__ == "__main__":
    main()
