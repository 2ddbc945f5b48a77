"""The benchmarks run, the simulators do the same work, and the page says what was measured."""

import dataclasses
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lpm import calibration
from lpm.calibration import Problem
from lpm.calibration.history import Log
from lpm.calibration.parameters import inverse
from lpm.calibration.priors import draw_prior
from lpm.calibration.problem import keys, simulator, with_counts
from lpm.settings import Calendar
from lpm.worlds import seir

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


def run(*words: str | Path, folder: Path) -> str:
    environment = os.environ | {"LPM_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "peers"))


def needs_compiler() -> None:
    if shutil.which(os.environ.get("CC", "cc")) is None:
        pytest.skip("needs a C compiler")


@pytest.mark.slow
@pytest.mark.usefixtures("modules")
def test_two_simulators_end_with_the_same_share_infected(tmp_path: Path) -> None:
    """20,000 agents, 6 epidemics each: 4 standard errors are p = 0.003 in Student's t with 10 degrees of freedom."""
    needs_compiler()
    from lpm import networks

    edges = networks.erdos_renyi(20_000, 10.0, seed=1)
    path = tmp_path / "graph.npz"
    np.savez(path, agents=20_000, source=edges.source, target=edges.target)
    sizes = []
    for script in ("run_lpm.py", "run_c.py"):
        printed = run(BENCHMARKS / "peers" / script, path, "--runs", "6", folder=tmp_path)
        sizes.append(np.array(json.loads(printed.splitlines()[-1])["final_size"]))
    error = np.sqrt(sum(each.var(ddof=1) / len(each) for each in sizes))
    assert abs(sizes[0].mean() - sizes[1].mean()) < 4 * error
    assert 0.85 < sizes[0].mean() < 0.90


def test_the_driver_tells_of_each_part(tmp_path: Path) -> None:
    needs_compiler()
    printed = run(BENCHMARKS / "bench_peers.py", "--small", "--only", "machine", "c", folder=tmp_path)
    assert [line.split(":")[0] for line in printed.splitlines()] == ["machine", "c"]


@pytest.mark.usefixtures("modules")
def test_a_script_that_fails_is_told_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = importlib.import_module("bench_peers")
    monkeypatch.setenv("LPM_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    found = driver.run(driver.CASES["c"], small=True)
    assert found["failed"].startswith("missing: asked for a C compiler")


@pytest.mark.usefixtures("modules")
def test_the_page_says_what_the_results_say() -> None:
    """If this fails: python benchmarks/performance_page.py."""
    module = importlib.import_module("performance_page")
    assert module.PAGE.read_text("utf-8") == module.page(*module.results())


@pytest.mark.slow
@pytest.mark.parametrize("script", ["bench_core.py", "bench_growth.py", "bench_overhead.py"])
def test_a_benchmark_runs_small(script: str, tmp_path: Path) -> None:
    assert run(BENCHMARKS / script, "--small", folder=tmp_path)


WITHOUT = "import sys; sys.modules |= dict.fromkeys({'zarr', 'xarray', 'pydantic', 'flax', 'scipy', 'pandas'}); "


def test_contacts_of_the_gpu_benchmark_are_mutual_and_seats_are_taken_once(tmp_path: Path) -> None:
    program = f"""{WITHOUT}sys.path.insert(0, {str(BENCHMARKS)!r})
import gpu, numpy as np
rows = np.asarray(gpu.contacts(5120, 0, 5120))
for there, back in zip(rows[0::2], rows[1::2]):
    assert (there[back] == np.arange(5120)).all() and (np.bincount(there) == 1).all()
homes, places = gpu.homes_and_places(2, 5120)
members, group = np.asarray(places.rows[0]), np.asarray(places.group)
assert (group[members] == np.arange(members.shape[1])).all() and (np.bincount(members.reshape(-1)) <= 1).all()
assert (group < members.shape[1]).sum() == members.size
print('mutual')"""
    assert run("-c", program, folder=tmp_path) == "mutual\n"


@pytest.mark.slow
def test_the_gpu_benchmark_runs_small_with_jax_and_numpy_alone(tmp_path: Path) -> None:
    program = f"{WITHOUT}sys.path.insert(0, {str(BENCHMARKS)!r}); import gpu; gpu.main()"
    run("-c", program, "--small", "--out", "gpu.json", folder=tmp_path)
    parts = json.loads((tmp_path / "gpu.json").read_text("utf-8"))["parts"]
    assert [parts["bits"][kind]["epidemic"] for kind in ("graph", "groups")] == [True, True]
    assert [parts[f"gradient-{kind}"]["finite"] for kind in ("graph", "groups")] == [True, True]
    assert (parts["graph-10M"]["tables"], parts["graph-10M"]["last_agents_right"]) == (2, True)


@pytest.mark.slow
def test_every_peer_runs_small(tmp_path: Path) -> None:
    needs_compiler()
    printed = run(BENCHMARKS / "bench_peers.py", "--small", folder=tmp_path)
    assert all("final size" in line for line in printed.splitlines()[1:])


@pytest.fixture
def driver(modules: None) -> ModuleType:
    return importlib.import_module("bench_inference")


@pytest.fixture
def problem(driver: ModuleType) -> Problem:
    """The four rates of the comparison, in a small town and few days."""
    calendar = Calendar(21)
    world = seir.build(seir.Settings(agents=500, transmission=0.06, latent_days=3.5, infectious_days=7), calendar)
    return Problem(world, calendar, driver.rates(0.06, 0.05), driver.seen(world, calendar, True))


PEER = """import json, sys
print(json.dumps({"values": [0.07, 3, 6, 0.06], "seed": 5}), flush=True)
counts = json.loads(sys.stdin.readline())
print(json.dumps({"estimate": counts}))"""


def test_a_calibrator_is_answered_with_the_epidemic_of_its_values(driver: ModuleType, problem: Problem) -> None:
    z = np.array([inverse(free, value) for free, value in zip(problem.parameters, (0.07, 3, 6, 0.06), strict=True)])
    assert np.allclose(problem.values(z), (0.07, 3, 6, 0.06), rtol=1e-5)
    expected = simulator(problem).at_each(z[None], keys(5, 2**31, 1))[0]
    assert expected.sum() > 50
    assert driver.answered([sys.executable, "-c", PEER], problem) == {"estimate": expected.tolist()}


def test_a_calibrator_that_stops_half_way_is_told(driver: ModuleType, problem: Problem) -> None:
    with pytest.raises(SystemExit, match="got exit status 3"):
        driver.answered([sys.executable, "-c", PEER.replace('print(json.dumps({"est', "sys.exit(3) #")], problem)


def test_estimates_are_compared_with_the_truth(driver: ModuleType, problem: Problem) -> None:
    """Two epidemics; of each parameter one estimate is off by 10 %, one by 30 %, and one interval in two holds it."""
    z = draw_prior(problem.parameters, 2, seed=3)
    truth = problem.values(z)
    high = truth * np.array([[1.2], [0.9]])
    found = driver.compared(problem, z, truth * 0.8, truth * np.array([[1.1], [0.7]]), high)
    assert np.allclose(list(found["median_relative_error"].values()), 0.2)
    assert np.allclose(list(found["largest_relative_error"].values()), 0.3)
    assert (found["held"], found["of"]) == (4, 8)
    low, above = np.quantile(problem.values(draw_prior(problem.parameters, 4000, 0)), [0.05, 0.95], axis=0)
    width = np.median(high - truth * 0.8, axis=0) / (above - low)
    assert np.allclose(list(found["interval_as_share_of_the_prior's"].values()), width)


@pytest.mark.slow
def test_rejection_takes_the_simulations_that_are_shared(driver: ModuleType, problem: Problem, tmp_path: Path) -> None:
    z, counts = driver.drawn(problem, 20, tmp_path)
    data = dataclasses.replace(with_counts(problem, counts[3]), log=Log(tmp_path))
    kept = calibration.reject(data, simulations=20, keep=1, dispersions=driver.POISSON)
    assert data.log is not None
    assert (data.log.calls, data.log.used) == (1, 1)
    assert (kept.distance[0], kept.z[0].tolist()) == (0, z[3].tolist())


@pytest.mark.slow
def test_known_epidemics_are_fitted_for_the_comparison(tmp_path: Path) -> None:
    assert "held" in run(BENCHMARKS / "bench_inference.py", "--small", "fit-once", folder=tmp_path)
