"""Programs started on several ranks of this machine, with the MPI that is installed beside lpm."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lpm import cli

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("program.py")
TOO_LONG = 570  # seconds; minutes of them compile on a machine that does other things too


def mpirun() -> str:
    """The launcher, or a skip that says what to install."""
    pytest.importorskip("mpi4py", reason="needs MPI: pip install 'lpm[mpi]'")
    found = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if not found:
        pytest.skip("needs the launcher mpirun: pip install 'lpm[mpi]'")
    return found


def command(count: int, *words: str, program: str = str(PROGRAM)) -> list[str]:
    """What starts a program with its words on so many ranks."""
    return [mpirun(), "--oversubscribe", "--bind-to", "none", "-n", str(count), sys.executable, program, *words]


def surroundings(**more: str) -> dict[str, str]:
    """The environment of such a program."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    ours = {
        "PYTHONPATH": str(ROOT),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    return inherited | ours | more


def on_ranks(count: int, *words: str, program: str = str(PROGRAM), **environment: str) -> subprocess.CompletedProcess:
    """Run a program with its words on so many ranks; its output is text."""
    return subprocess.run(
        command(count, *words, program=program), env=surroundings(**environment), capture_output=True, text=True,
        timeout=TOO_LONG, cwd=ROOT, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def in_this_process(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """`lpm ...` of one process without the time that another one takes to begin.

    Raises:
        AssertionError: if it does not end well.
    """
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", ["lpm", *words])
        patched.setenv("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
        status: object = 0
        try:
            cli.main()
        except SystemExit as leaving:
            status = leaving.code
    assert not status, status
