"""Our work and the peers' on the same graph, one after the other.  python benchmarks/bench_peers.py [--only NAME ...]

Each peer runs in an environment of its own, made on first use by uv with the version written here, in the user's cache
directory. What a part found replaces what was found for it before in benchmarks/results/peers.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine, save, spread

from lpm.cache import cache_directory

HERE = Path(__file__).parent
RESULT = HERE / "results" / "peers.json"
DEGREE, DAYS = 10.0, 100


@dataclasses.dataclass(frozen=True)
class Case:
    """A script to run.

    Args:
        script: in benchmarks/peers.
        packages: of its environment; none for the interpreter that runs this.
        agents, runs: how many; the first run of all, which compiles, is not among them.
        variables: of the environment.
    """

    script: str
    packages: tuple[str, ...] = ()
    agents: int = 1_000_000
    runs: int = 5
    variables: tuple[tuple[str, str], ...] = ()


STARSIM, COVASIM, MESA_AGENTS = ("starsim==3.7.2",), ("covasim==3.1.8",), 100_000
CASES = {
    "machine": Case("run_limits.py", runs=9),
    "lpm": Case("run_lpm.py", runs=9),
    "c": Case("run_c.py", runs=9),
    "numba": Case("run_numba.py", ("numba==0.68.1",), runs=9),
    "abmax": Case("run_abmax.py", ("abmax==0.0.8",)),
    "starsim": Case("run_starsim.py", STARSIM),
    "starsim-plain": Case("run_starsim.py", STARSIM, variables=(("STARSIM_CRN", "False"),)),
    "covasim": Case("run_covasim.py", COVASIM),
    "mesa-frames": Case("run_mesa_frames.py", ("mesa-frames==0.1.0a0", "polars==2.1.0"), runs=2),
    "mesa": Case("run_mesa.py", ("mesa==3.3.1",), MESA_AGENTS, runs=2),
    "lpm-for-mesa": Case("run_lpm.py", agents=MESA_AGENTS, runs=9),
    "city-lpm": Case("run_city_lpm.py", runs=7),
    "city-covasim": Case("run_city_covasim.py", COVASIM, runs=3),
}


def folder() -> Path:
    """Where graphs and environments are kept."""
    return cache_directory() / "benchmarks"


def uv() -> str:
    """The uv of this environment, or else that on the path."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        sys.exit("bench_peers: asked for uv to make the peers' environments, found none; run `make setup`")
    return found


def python(packages: tuple[str, ...]) -> str:
    """The interpreter of an environment with these packages, made if it is not there."""
    if not packages:
        return sys.executable
    environment = folder() / "environments" / "-".join(packages).replace("==", "-")
    interpreter = environment / "bin" / "python"
    if not (environment / ".complete").exists():
        variables = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
        for words in (
            ("venv", "--clear", "--python", sys.executable, str(environment)),
            ("pip", "install", "--python", str(interpreter), *packages),
        ):
            subprocess.run([uv(), "--quiet", *words], check=True, env=variables)
        (environment / ".complete").touch()
    return str(interpreter)


def graph(agents: int) -> Path:
    """The one graph of so many agents, .npz, written once."""
    path = folder() / "graphs" / f"erdos-renyi-{agents}.npz"
    if not path.exists():
        from lpm import networks

        path.parent.mkdir(parents=True, exist_ok=True)
        edges = networks.erdos_renyi(agents, DEGREE, seed=1)
        np.savez(path, agents=agents, source=edges.source, target=edges.target)
    return path


def run(case: Case, small: bool) -> dict[str, Any]:
    """Run a script in its environment; what it printed last, or why it did not."""
    agents, days, runs = (2_000, 20, 2) if small else (case.agents, DAYS, case.runs)
    interpreter, path = python(case.packages), graph(agents)
    own = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])] if not case.packages else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(own), "MPLBACKEND": "Agg"}
    environment |= {"PYTHONWARNINGS": "ignore", "JAX_PLATFORMS": "cpu"} | dict(case.variables)
    options = ["--days", days, "--runs", runs, "--begun", time.time()]
    command = [interpreter, HERE / "peers" / case.script, path, *options]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line and not line.startswith((" ", "-"))]
        named = [line for line in lines if "Error" in line] or lines or [f"exit status {done.returncode}"]
        return {"failed": named[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Lists of measurements as median and spread, and the rate."""
    short = {name: spread(value) if isinstance(value, list) else value for name, value in found.items()}
    if "agents" in found:
        short["agent_steps_per_s"] = found["agents"] / short["wall_s_per_day"]["median"]
        short["final_size"] |= {"mean": float(np.mean(found["final_size"])), "all": found["final_size"]}
    return short


def line(name: str, found: dict[str, Any]) -> str:
    """What was found, in a line."""
    if "failed" in found:
        return f"{name}: {found['failed']}"
    if "agents" not in found:
        values = ", ".join(f"{key} {value['median']:.3g}" for key, value in found.items())
        return f"{name}: {values}"
    return (
        f"{name}: {found['agents']:,} agents, set-up {found['set_up_s']:.2f} s, "
        f"first step {found['first_step_s']:.2f} s, "
        f"{found['wall_s_per_day']['median'] * 1e3:.2f} ms a day "
        f"({found['processor_s_per_day']['median'] * 1e3:.2f} of the processor), {found['peak_memory_gb']:.2f} GB, "
        f"{found['agent_steps_per_s']:.3g} agent-steps/s, final size {found['final_size']['mean']:.4f}"
    )


def main() -> None:
    """Run the cases asked for and save what they found beside what was found before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--small", action="store_true", help="small sizes, nothing saved: do the scripts run?")
    asked = parser.parse_args()
    failed = False
    for name in asked.only:
        about = machine()
        found = summary(run(CASES[name], asked.small))
        print(line(name, found), flush=True)
        failed |= "failed" in found
        if not asked.small:
            before = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
            save(RESULT, before | {name: {"machine": about, **found}})
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
