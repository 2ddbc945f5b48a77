"""The benchmarks of derivatives run, at small size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def small(script: str, *words: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache/jax")}
    command = [sys.executable, str(ROOT / "benchmarks" / "gradients" / script), "--small", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_accuracy_compares_rules_with_differences() -> None:
    said = small("accuracy.py", "--rules", "cavity")
    assert "| transmission.graph | infectious | ± " in said


@pytest.mark.slow
def test_cost_measures_every_kind_of_run() -> None:
    lines = small("cost.py").splitlines()
    assert [line.split(":")[0] for line in lines] == [
        *(f"layers, {kind}" for kind in ("plain", "primal", "jvp", "ten_jvps", "ten_differences", "gradient")),
        *(f"graph, {kind}" for kind in ("plain", "gradient")),
    ]


@pytest.mark.slow
def test_totals_of_rule_and_edges_stand_beside_the_exact_ones() -> None:
    lines = small("totals.py").splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"degree {degree}, {name}" for degree in (10, 5) for name in ("cavity", "by_edge")
    ]
