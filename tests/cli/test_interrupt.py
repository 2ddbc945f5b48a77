"""Ctrl-C, as a shell sends it."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import lpm
from lpm.show import show

ROOT = Path(__file__).parents[2]
STEPS = 40_000
LONG = ("run", "sir-million", "--agents", "200", "--steps", str(STEPS), "--out", "stopped")


@pytest.fixture
def environment() -> dict[str, str]:
    cache = {"LPM_CACHE_DIR": str(ROOT / ".pytest_cache" / "lpm")}
    return os.environ | cache | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def test_an_interrupted_run_says_how_to_go_on_and_leaves_a_store_that_can_be_shown(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-c", "from lpm.cli import main; main()"]
    run = subprocess.Popen(
        [*command, *LONG], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    errors = ""
    try:
        assert any(" steps" in line for line in run.stdout)
        for _ in range(5):  # Python drops a signal that comes while it collects garbage
            run.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                errors = run.communicate(timeout=10)[1]
                break
    finally:
        run.kill()
    assert run.returncode == 130
    assert re.search(r"^error stopped after [\d,]+ of 40,000 steps; .*`lpm show stopped`", errors)
    assert "Traceback" not in errors
    assert (
        "Go on with `lpm run sir-million --set run.steps=40000 --set settings.agents=200 --out stopped --resume`"
        in errors
    )
    kept = lpm.open(tmp_path / "stopped")
    assert 0 < kept.sizes["time"] < STEPS
    said = io.StringIO()
    show([tmp_path / "stopped"], Console(file=said, width=80))
    assert f"unfinished: {kept.sizes['time']:,} of {STEPS:,} records" in said.getvalue()
