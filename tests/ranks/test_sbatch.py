"""A batch script says to Slurm what was asked, and its body stops with the time, queues itself again and goes on."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lpm
from lpm.config import build_world, load
from lpm.errors import InputError
from lpm.sbatch import Batch, script, write
from tests.ranks.launch import ROOT, TOO_LONG, mpirun

CONFIG = """
model: lpm.worlds.sir:build
settings: {agents: 300, contacts: {kind: erdos_renyi, mean_degree: 4}, transmission: 0.0005, infectious_days: 4000}
run: {steps: STEPS, every: 8, seed: 3}
"""
LPM = f'exec {sys.executable} -c "from lpm.cli import main; main()" "$@"'
# Each process notes its number, so that the signal reaches the processes and nothing between, as in Slurm.
SRUN = """
while [ "${1#--}" != "$1" ]; do shift; done
exec LAUNCH sh -c 'echo $$ > "$STEP/$$"; exec "$@"' sh "$@"
"""
SCANCEL = """
echo "scancel $*" >> "$CALLS"
for process in "$STEP"/*; do kill -TERM "$(cat "$process")"; done
"""
SCONTROL = 'echo "scontrol $*" >> "$CALLS"'
ON_TWO_RANKS = "mpirun --oversubscribe --bind-to none -n 2"
STEPS = {"": 40_000, ON_TWO_RANKS: 2_400}  # enough to be stopped before the end


def options(text: str) -> dict[str, str]:
    """What a script asks of Slurm."""
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE)
    return dict(found)


def job(folder: Path, launch: str = "") -> tuple[list[str], dict[str, str]]:
    """A script's command and environment, with stand-ins for Slurm's programs."""
    for name in ("bin", "step"):
        (folder / name).mkdir(exist_ok=True)
    programs = {"lpm": LPM, "srun": SRUN.replace("LAUNCH", launch), "scancel": SCANCEL, "scontrol": SCONTROL}
    for name, body in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "sir.yaml").write_text(CONFIG.replace("STEPS", str(STEPS[launch])))
    to = folder / "job.sh"
    write(Batch(1, "01:00:00", 1 + bool(launch)), str(folder / "sir.yaml"), folder / "out", to=to)
    own = {
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "LPM_CACHE_DIR": str(ROOT / ".pytest_cache" / "lpm"),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_ON_NODE": "2",
        "STEP": str(folder / "step"),
        "CALLS": str(folder / "calls"),
    }
    return ["bash", str(to)], os.environ | own


def part(folder: Path, stop: str, launch: str = "") -> tuple[int, str]:
    """One part of a job: its exit status and what it printed; told that its time is up when it prints `stop`."""
    words, environment = job(folder, launch)
    shutil.rmtree(folder / "step")
    (folder / "step").mkdir()
    log = folder / "log"
    with open(log, "w") as said:
        # An earlier test of this process may have ignored it, and a shell cannot trap a signal that was ignored before.
        before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        process = subprocess.Popen(
            words, env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True
        )
        signal.signal(signal.SIGUSR1, before)
        try:
            told = not stop
            end = time.monotonic() + TOO_LONG
            while process.poll() is None and time.monotonic() < end:
                if not told and re.search(stop, log.read_text()):
                    process.send_signal(signal.SIGUSR1)
                    told = True
                time.sleep(0.02)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return process.returncode, log.read_text()


@pytest.mark.parametrize(
    "launch",
    [pytest.param("", id="one process"), pytest.param(ON_TWO_RANKS, id="two ranks", marks=pytest.mark.slow)],
)
def test_a_job_stopped_with_its_time_goes_on_to_the_results_of_an_unbroken_run(launch: str, tmp_path: Path) -> None:
    if launch:
        mpirun()
    status, said = part(tmp_path, r"\d of [\d,]+ steps", launch)
    assert status == 0, said
    assert "queued again" in said
    assert (tmp_path / "calls").read_text().splitlines() == ["scancel --signal=TERM 7", "scontrol requeue 7"]
    assert 0 < lpm.open(tmp_path / "out").sizes["time"] < STEPS[launch] / 8

    status, said = part(tmp_path, "", launch)
    assert status == 0, said
    assert "goes on" in said or "going on" in said.lower(), said
    assert len((tmp_path / "calls").read_text().splitlines()) == 2

    config = load(tmp_path / "sir.yaml")
    path = lpm.run(build_world(config), config.run.calendar, tmp_path / "whole", seed=3, every=8)
    whole, found = lpm.open(path).load(), lpm.open(tmp_path / "out").load()
    for name in whole.data_vars:
        np.testing.assert_array_equal(found[name].values, whole[name].values, err_msg=str(name))


def test_a_job_that_saves_nothing_before_its_time_is_up_is_not_queued_again(tmp_path: Path) -> None:
    status, said = part(tmp_path, "^lpm ")
    assert status == 1
    assert "longer --time" in said
    assert (tmp_path / "calls").read_text().splitlines() == ["scancel --signal=TERM 7"]


def test_a_run_that_fails_is_not_queued_again(tmp_path: Path) -> None:
    words, environment = job(tmp_path)
    (tmp_path / "sir.yaml").write_text("model: none")
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert not (tmp_path / "calls").exists()


def test_slurm_is_asked_for_what_was_asked() -> None:
    batch = Batch(4, "1-00:00:00", 8, cpus_per_task=6, partition="main", account="flu", grace=300)
    asked = options(script(batch, "nyc-2020", Path("results"), settings=("run.seed=3", "settings.people={city: x y}")))
    assert asked == {
        "job-name": "nyc-2020", "nodes": "4", "ntasks-per-node": "8", "cpus-per-task": "6", "time": "1-00:00:00",
        "partition": "main", "account": "flu", "signal": "B:USR1@300", "open-mode": "append", "requeue": "",
        "output": "results-%j.log",
    }  # fmt: skip


def test_without_a_number_of_cores_whole_nodes_are_shared_out() -> None:
    text = script(Batch(1, "01:00:00", 4), "nyc-2020", Path("results"))
    assert {"exclusive", "mem"} <= options(text).keys()
    line = next(line for line in text.splitlines() if line.startswith("threads="))
    for cores, threads in ((64, 16), (128, 32)):
        shell = f'{line}; echo "$threads"'
        done = subprocess.run(
            ["bash", "-c", shell], env={"SLURM_CPUS_ON_NODE": str(cores)}, capture_output=True, text=True, check=True
        )
        assert int(done.stdout) == threads


def test_each_gpu_has_a_process() -> None:
    text = script(Batch(2, "01:00:00", gpus_per_node=4), "nyc-2020", Path("results"))
    assert options(text)["ntasks-per-node"] == options(text)["gpus-per-node"] == "4"
    assert "--gpus-per-task=1" in text
    assert "exclusive" not in options(text)


def test_a_study_in_parts_is_an_array() -> None:
    text = write(Batch(1, "01:00:00", array="1-20%4"), "nyc-lockdown-dates", Path("answers"))
    assert options(text)["array"] == "1-20%4"
    assert 'study nyc-lockdown-dates --task "$SLURM_ARRAY_TASK_ID/20"' in text


def test_words_with_blanks_and_quotes_reach_the_program_whole(tmp_path: Path) -> None:
    setting = """run.title='a "b" $HOME'"""
    text = script(Batch(1, "01:00:00"), "my config.yaml", tmp_path / "a b", settings=(setting,))
    (tmp_path / "srun").write_text('#!/bin/sh\nfor word; do echo "[$word]"; done\n')
    (tmp_path / "srun").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert {"[my config.yaml]", f"[{setting}]", f"[{tmp_path / 'a b'}]"} <= set(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("batch", "study", "named"),
    [
        (Batch(0, "01:00:00"), False, "--nodes: asked for at least 1, got 0"),
        (Batch(1, "30"), False, "--time: asked for HH:MM:SS"),
        (Batch(1, "01:75:00"), False, "--time: asked for HH:MM:SS"),
        (Batch(1, "00:01:00"), False, "--time: asked for more than the 120 s"),
        (Batch(1, "01:00:00", 2, gpus_per_node=4), False, "--tasks-per-node: asked for one process for each of 4"),
        (Batch(1, "01:00:00", array="1-4"), False, "--array: asked for the file of a study"),
        (Batch(1, "01:00:00", array="0-4"), True, "--array: asked for I-N"),
        (Batch(1, "01:00:00", array="4"), True, "--array: asked for I-N"),
        (Batch(2, "01:00:00", array="1-4"), True, "--nodes: asked for one process for each part"),
    ],
)
def test_what_slurm_would_refuse_or_misread_is_refused(batch: Batch, study: bool, named: str) -> None:
    with pytest.raises(InputError, match=named):
        script(batch, "file", Path("out"), study=study)


def test_a_config_with_mistakes_gets_no_script(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.steps"):
        write(Batch(1, "01:00:00"), "sir-million", tmp_path / "out", ("run.steps=-1",))
    with pytest.raises(InputError, match="--set: asked for a study"):
        write(Batch(1, "01:00:00"), "nyc-lockdown-dates", tmp_path / "out", ("run.steps=1",))
