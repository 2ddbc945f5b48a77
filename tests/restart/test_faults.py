"""What can go wrong with the disk or come from outside is told by name, and what was done before is kept."""

import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import lpm
from lpm import InputError, RunError, checkpoint, cli, commands, store, terminal
from lpm.checkpoint import Plan
from lpm.runner import CHUNK, Interrupted, Unwritable, run
from tests.laws.worlds import CALENDAR, STEPS, sir_on_a_graph

ROOT = Path(__file__).parents[2]


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device", "results.zarr/incidence")


def after(calls: int, function):
    """The function itself for so many calls; then a full disk."""
    left = [calls]

    def wrapped(*words, **more):
        left[0] -= 1
        return function(*words, **more) if left[0] >= 0 else full()

    return wrapped


@pytest.mark.parametrize(
    ("owner", "name"), [(store.Store, "write"), (checkpoint, "save"), (checkpoint, "_write"), (store.Store, "flush")]
)
def test_a_full_disk_is_said_and_the_run_goes_on_later(owner, name, tmp_path, monkeypatch):
    world, plan = sir_on_a_graph(), Plan(steps=CHUNK)
    with monkeypatch.context() as limited:
        limited.setattr(owner, name, after(3, getattr(owner, name)))
        with pytest.raises(Unwritable, match=r"incidence: asked for .* got: No space left on device; .* go on with"):
            run(world, CALENDAR, tmp_path / "a", checkpoints=plan)
    kept = lpm.open(tmp_path / "a")
    whole = lpm.open(run(world, CALENDAR, tmp_path / "b"))
    assert 0 < kept.sizes["time"] < STEPS
    np.testing.assert_array_equal(kept["incidence"], whole["incidence"][:, :, : kept.sizes["time"]])
    assert list(checkpoint.found(tmp_path / "a" / "checkpoints"))
    run(world, CALENDAR, tmp_path / "a", checkpoints=plan, resumed=True)
    np.testing.assert_array_equal(lpm.open(tmp_path / "a")["incidence"], whole["incidence"])


def test_a_disk_that_is_full_from_the_start_is_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_numbers", full)
    with pytest.raises(Unwritable, match="No space left"):
        run(sir_on_a_graph(), CALENDAR, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_is_refused():
    with pytest.raises(InputError, match="asked for a directory that can be written"):
        run(sir_on_a_graph(), CALENDAR, "/proc/lpm")


def test_a_limit_on_the_size_of_files_ends_the_command_with_a_named_error(tmp_path):
    """The system itself refuses, in the midst of a checkpoint."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, {resource.RLIM_INFINITY}))"
    words = ["run", "sir-million", "--agents", "30000", "--steps", "40", "--out", "out"]
    own = {"LPM_CACHE_DIR": str(ROOT / ".pytest_cache" / "lpm"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{limited}; from lpm.cli import main; main()",
            *words,
            "--set",
            "run.checkpoint.steps=16",
        ],
        cwd=tmp_path,
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "got: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert "agents=30000 --out out --resume`" in done.stderr
    assert lpm.open(tmp_path / "out").sizes["time"] == 16
    assert not list((tmp_path / "out" / "checkpoints").iterdir())


def asked(number: int, chunks: int):
    """A signal that comes to this process after so many chunks."""
    left = [chunks]

    def progress(_):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), number)

    return progress


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_saves_the_state_first(number, tmp_path):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with pytest.raises(Interrupted, match=r"the state is in \S+step-000000016\. Go on with") as stopped:
        run(sir_on_a_graph(), CALENDAR, tmp_path / "a", progress=asked(number, 1))
    assert stopped.value.status == 128 + number
    assert handlers == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    assert lpm.open(tmp_path / "a").sizes["time"] == 2 * CHUNK  # the chunk that was under way was finished
    run(sir_on_a_graph(), CALENDAR, tmp_path / "a", resumed=True)
    whole = lpm.open(run(sir_on_a_graph(), CALENDAR, tmp_path / "b"))
    np.testing.assert_array_equal(lpm.open(tmp_path / "a")["incidence"], whole["incidence"])


def test_a_signal_to_save_saves_and_the_run_goes_on(tmp_path):
    run(sir_on_a_graph(), CALENDAR, tmp_path / "a", progress=asked(signal.SIGUSR1, 1))
    assert [about.step for _, about in checkpoint.found(tmp_path / "a" / "checkpoints")] == [STEPS, 2 * CHUNK]


def test_the_words_of_an_interrupted_command_go_on_with_it(tmp_path, monkeypatch, capsys):
    """The command that is printed is the command that works."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LPM_CACHE_DIR", str(ROOT / ".pytest_cache" / "lpm"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
    words = ["lpm", "run", "sir-million", "--agents", "300", "--steps", "40", "--out", "my run"]
    with monkeypatch.context() as stopped:
        stopped.setattr(terminal, "_lines", lambda console: asked(signal.SIGTERM, 1))
        stopped.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as left:
            cli.main()
    assert left.value.code == 143
    said = capsys.readouterr().err
    assert (
        "Go on with `lpm run sir-million --set run.steps=40 --set settings.agents=300 --out 'my run' --resume`" in said
    )
    monkeypatch.setattr(commands, "print_summary", lambda results, console: None)
    commands.run(
        "sir-million", Path("my run"), ["run.steps=40"], 300, None, None, None, Console(file=io.StringIO()), True
    )
    assert lpm.open("my run").sizes["time"] == 40


def lose(params, state, key):
    """A number is lost after 13 steps."""
    return state.replace(price=jnp.where(state.step == 12, jnp.nan, state.env["price"] + 1)), {}


def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    state = lpm.initial_state({"wealth": jnp.zeros(5)}, {"price": jnp.float32(0)})
    nothing = lpm.Observable("nothing", lambda state, info: state.step)
    world = lpm.World(lpm.chain(lose=lose), jnp.float32(0), state, (nothing,))
    with pytest.raises(RunError, match="record 12: not a finite number in price"):
        run(world, CALENDAR, tmp_path, checkpoints=Plan(steps=1))
    for folder, about in checkpoint.found(tmp_path / "checkpoints"):
        assert checkpoint.read(folder, about.parts)["env.price"] == about.step <= 12
