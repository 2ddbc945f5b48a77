"""What goes wrong on one rank ends all of them, soon, with its name, and leaves what was committed."""

import sys
import textwrap
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import checkpoint, devices, distributed
from lpm.errors import InputError
from tests.laws.worlds import CALENDAR, WORLDS
from tests.ranks.launch import on_ranks


@pytest.mark.parametrize("what", ["killed", pytest.param("stopped", marks=pytest.mark.slow)])
def test_a_lost_rank_ends_the_others_and_leaves_a_checkpoint(what: str, tmp_path: Path) -> None:
    done = on_ranks(2, "disturbed", str(tmp_path / "out"), what, LPM_PATIENCE="20")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert ("signal 9" if what == "killed" else "rank 0 waited 20 s for the other ranks") in said
    steps = lpm.open(tmp_path / "out").sizes["time"]
    _, about = next(checkpoint.found(tmp_path / "out" / checkpoint.FOLDER))
    assert 8 <= about.step <= steps
    assert checkpoint.read(_, about.parts) is not None


@pytest.mark.parametrize(
    ("victim", "what"),
    [(1, "limit"), (0, "limit"), (1, "flush")],
)
@pytest.mark.slow
def test_a_full_disk_on_one_rank_is_told_on_all_and_the_run_goes_on_later(
    victim: int, what: str, tmp_path: Path
) -> None:
    done = on_ranks(2, "limited", str(tmp_path / "out"), str(victim), what, LPM_PATIENCE="100000")
    assert done.returncode != 0
    said, reason = done.stdout + done.stderr, "File too large" if what == "limit" else "No space left on device"
    assert said.count(f"got: {reason}; all that was committed before is intact") == 1
    assert "Traceback" not in said
    for rank in range(2):
        assert f"Unwritable: {tmp_path}" in (log := (tmp_path / "out" / "logs" / f"rank-{rank}.txt").read_text())
        assert reason in log
    whole = lpm.open(lpm.run(WORLDS["sir_on_a_graph"](), CALENDAR, tmp_path / "whole", seed=5, realizations=2))
    kept = lpm.open(tmp_path / "out")
    steps = kept.sizes["time"]
    assert 8 <= steps < whole.sizes["time"]
    np.testing.assert_array_equal(kept["incidence"], whole["incidence"][:, :, :steps])
    folder, about = next(checkpoint.found(tmp_path / "out" / checkpoint.FOLDER))
    assert 8 <= about.step <= steps
    assert checkpoint.read(folder, about.parts) is not None
    lpm.run(
        WORLDS["sir_on_a_graph"](), CALENDAR, tmp_path / "out", seed=5, realizations=2, resumed=True,
        checkpoints=checkpoint.Plan(8),
    )  # fmt: skip
    np.testing.assert_array_equal(lpm.open(tmp_path / "out")["incidence"], whole["incidence"])


def test_a_sum_over_the_agents_of_one_rank_is_told(tmp_path: Path) -> None:
    done = on_ranks(2, "wrong", str(tmp_path / "out"), "sum")
    assert done.returncode != 0
    assert "observables early: asked for the same numbers on all 2 ranks" in done.stderr
    assert done.stderr.count("observables early") == 1


def test_a_nan_on_one_rank_is_named_on_all(tmp_path: Path) -> None:
    done = on_ranks(2, "wrong", str(tmp_path / "out"), "nan")
    assert done.returncode != 0
    assert "record 10: not a finite number in wealth" in done.stderr
    assert lpm.open(tmp_path / "out").sizes["time"] == 10
    for rank in range(2):
        log = (tmp_path / "out" / "logs" / f"rank-{rank}.txt").read_text()
        assert " agents" in log
        assert "RunError: record 10: not a finite number in wealth" in log


@pytest.mark.slow
@pytest.mark.parametrize(("what", "said"), [("killed", "signal 9"), ("stopped", "stopped sending heartbeats")])
def test_a_lost_rank_ends_the_others_under_one_program_too(what: str, said: str, tmp_path: Path) -> None:
    done = on_ranks(2, "disturbed", str(tmp_path / "out"), what, LPM_PATIENCE="20", LPM_ENGINE="jax")
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    folder, about = next(checkpoint.found(tmp_path / "out" / checkpoint.FOLDER))
    assert 8 <= about.step <= lpm.open(tmp_path / "out").sizes["time"]
    assert checkpoint.read(folder, about.parts) is not None


@pytest.mark.slow
def test_a_rank_of_several_devices_is_refused(tmp_path: Path) -> None:
    done = on_ranks(
        2, "wrong", str(tmp_path / "out"), "sum", LPM_ENGINE="jax",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )  # fmt: skip
    assert done.returncode != 0
    assert "asked for one device for each rank, got 2, 2" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPM_ENGINE", "nccl")
    with pytest.raises(InputError, match="asked for mpi or jax, got 'nccl'"):
        devices.engine(distributed.alone)


def test_ranks_cannot_join_after_jax_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(distributed.Ranks):
        def all(self, value):
            return [value, value]

    monkeypatch.setenv("LPM_ENGINE", "jax")
    jnp.zeros(1).block_until_ready()
    with pytest.raises(InputError, match=r"join before JAX computes anything.*devices.begin\(distributed.ranks\(\)\)"):
        devices.begin(Two(count=2))


@pytest.mark.parametrize(
    ("out", "problem"),
    [
        ("file", "asked for a new or empty directory"),
        pytest.param("/proc/lpm", "asked for a directory that can be written", marks=pytest.mark.slow),
    ],
)
def test_one_rank_speaks_of_a_mistake_of_all(out: str, problem: str, tmp_path: Path) -> None:
    """Of a path that holds something, and of one on a file system that is not written on."""
    (tmp_path / "file").touch()
    words = ("lpm", "run", "sir-million", "--agents", "1000", "--steps", "2", "--out", str(tmp_path / out))
    done = on_ranks(2, *words, LPM_PATIENCE="100000")
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert said.count(problem) == 1
    assert "Traceback" not in said


MODEL = """
    import dataclasses, os, jax.numpy as jnp, lpm
    from lpm import networks
    from lpm.settings import Calendar, Positive

    @dataclasses.dataclass(frozen=True)
    class Settings:
        agents: Positive = 3000
        fails: str = ""

    def build(settings: Settings, calendar: Calendar) -> lpm.World:
        last = os.environ["OMPI_COMM_WORLD_RANK"] == "1"
        if last and settings.fails == "file":
            raise FileNotFoundError("people.csv is not on this node")
        graph, order = networks.graph(networks.erdos_renyi(settings.agents, 5, seed=0))
        if last and settings.fails == "memory":
            raise MemoryError("no room")
        fixed = {"id": jnp.asarray(order, jnp.uint32), "graph": graph}
        first = lpm.initial_state({"wealth": jnp.zeros(len(order))}, fixed=fixed)
        return lpm.World(lpm.chain(live=lambda params, state, key: (state, {})), (), first, ())
"""


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        pytest.param("file", "people.csv is not on this node) in", marks=pytest.mark.slow),
        ("memory", "error rank 1: asked for its part of the world, got MemoryError: no room"),
    ],
)
def test_what_fails_on_one_rank_while_the_world_is_built_is_told_at_once(fails: str, said: str, tmp_path: Path) -> None:
    """Ranks would wait for it longer than this test may take."""
    (tmp_path / "model.py").write_text(textwrap.dedent(MODEL))
    (tmp_path / "config.yaml").write_text(f"model: model.py:build\nrun: {{steps: 5}}\nsettings: {{fails: {fails}}}\n")
    words = ("lpm", "run", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "out"))
    done = on_ranks(2, *words, LPM_PATIENCE="100000")
    assert done.returncode != 0
    assert (done.stdout + done.stderr).count(said) == 1
    assert "rank 1" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


def test_ranks_without_mpi_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    distributed._world.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'lpm\[mpi\]'"):
        distributed.ranks()


def test_more_ranks_than_agents_are_refused() -> None:
    from lpm import partition
    from tests.laws.worlds import WORLDS

    with pytest.raises(InputError, match="take fewer ranks"):
        partition.part(WORLDS["sir_on_a_graph"](), 0, 800, lambda x: x)
