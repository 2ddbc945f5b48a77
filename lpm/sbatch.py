"""`lpm sbatch`: a script for Slurm that starts a run or a part of a study, and queues itself again until it is done."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from pathlib import Path

from lpm.errors import InputError

GRACE = 120  # seconds before the end of the time at which a job is told to stop
EXAMPLE = "write for example --time 02:00:00, or 1-12:00:00 for a day and a half"


@dataclasses.dataclass(frozen=True)
class Batch:
    """What to ask of Slurm.

    Args:
        nodes: how many.
        time: HH:MM:SS or D-HH:MM:SS, after which the job is stopped and queued again.
        tasks_per_node: processes; 0 for one, or for as many as there are GPUs.
        cpus_per_task: 0 for an equal part of what there is, of whole nodes if there are no GPUs.
        gpus_per_node: one for each process.
        partition, account: of the site.
        array: I-N or I-N%M, the parts I to N of a study in N parts, M of them at a time.
        grace: seconds before the end of the time at which the job is told to save and stop.
        mpi: how srun connects the processes; `srun --mpi=list` says what a site has.
    """

    nodes: int
    time: str
    tasks_per_node: int = 0
    cpus_per_task: int = 0
    gpus_per_node: int = 0
    partition: str = ""
    account: str = ""
    array: str = ""
    grace: int = GRACE
    mpi: str = "pmix"

    @property
    def tasks(self) -> int:
        """Processes on each node."""
        return self.tasks_per_node or max(1, self.gpus_per_node)


def seconds(time: str) -> int:
    """How long a time of Slurm is.

    Raises:
        InputError: if it is not HH:MM:SS or D-HH:MM:SS; Slurm's shorter forms are easily misread.

    >>> seconds("1-00:01:30")
    86490
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", time)
    if match is None:
        raise InputError(f"--time: asked for HH:MM:SS or D-HH:MM:SS, got {time!r}; {EXAMPLE}")
    days, hours, minutes, rest = (int(each or 0) for each in match.groups())
    return ((24 * days + hours) * 60 + minutes) * 60 + rest


def check(batch: Batch, study: bool) -> None:
    """Find what Slurm or lpm would refuse after hours in the queue.

    Raises:
        InputError: with all of it.
    """
    found = []
    for name in ("nodes", "tasks_per_node", "cpus_per_task", "gpus_per_node", "grace"):
        if getattr(batch, name) < (name in ("nodes", "grace")):
            option = "--" + name.replace("_", "-")
            found.append(f"{option}: asked for at least 1, got {getattr(batch, name)}; write {option} 1")
    try:
        if seconds(batch.time) <= batch.grace:
            found.append(
                f"--time: asked for more than the {batch.grace} s of --grace in which a job saves and stops, got "
                f"{batch.time}; {EXAMPLE}"
            )
    except InputError as error:
        found += error.problems
    if batch.gpus_per_node and batch.tasks != batch.gpus_per_node:
        found.append(
            f"--tasks-per-node: asked for one process for each of {batch.gpus_per_node} GPUs, got {batch.tasks}; leave "
            "it out"
        )
    if study and batch.nodes * batch.tasks > 1:
        found.append(
            f"--nodes: asked for one process for each part of a study, got {batch.nodes} × {batch.tasks}; write "
            "--nodes 1 and more parts, such as --array 1-100"
        )
    if batch.array and not study:
        found.append(f"--array: asked for the file of a study, got a config and {batch.array}; leave it out")
    elif batch.array and part(batch.array) is None:
        found.append(
            f"--array: asked for I-N or I-N%M with I from 1 to N, got {batch.array!r}; write for example --array 1-10 "
            "(the part 0, which finds a policy, comes before: `lpm study FILE --out DIR --task 0/10`)"
        )
    if found:
        raise InputError(found)


def part(array: str) -> int | None:
    """Into how many parts an array divides a study; None if it is not I-N or I-N%M.

    >>> part("1-20%4")
    20
    """
    match = re.fullmatch(r"(\d+)-(\d+)(?:%[1-9]\d*)?", array)
    return int(match[2]) if match and 1 <= int(match[1]) <= int(match[2]) else None


def script(batch: Batch, file: str, out: Path, *, study: bool = False, settings: tuple[str, ...] = ()) -> str:
    """The text of a batch script.

    Args:
        batch: what to ask of Slurm.
        file: a config, or a study's file.
        out: directory of the results.
        study: whether `file` is a study's.
        settings: `key=value` each, as after `--set`.

    Raises:
        InputError: see `check`.

    >>> print(script(Batch(2, "01:00:00"), "nyc-2020", Path("results")).splitlines()[4])
    #SBATCH --time=01:00:00
    """
    check(batch, study)
    words = ["run", file] if not study else ["study", file]
    command = shlex.join([*words, *(word for each in settings for word in ("--set", each))])
    if batch.array:
        command += f' --task "$SLURM_ARRAY_TASK_ID/{part(batch.array)}"'
    whole = not batch.gpus_per_node and not batch.cpus_per_task and not study
    asked = {
        "job-name": Path(file).stem,
        "nodes": batch.nodes,
        "ntasks-per-node": batch.tasks,
        "time": batch.time,
        "cpus-per-task": batch.cpus_per_task,
        "gpus-per-node": batch.gpus_per_node,
        "partition": batch.partition,
        "account": batch.account,
        "array": batch.array,
        "output": f"{out}-{'%A-%a' if batch.array else '%j'}.log",
        "open-mode": "append",
        "signal": f"B:USR1@{batch.grace}",
    }
    lines = [f"#SBATCH --{key}={_quoted(str(value))}" for key, value in asked.items() if value]
    lines += ["#SBATCH --requeue", *(["#SBATCH --exclusive", "#SBATCH --mem=0"] if whole else [])]
    gpus = " --gpus-per-task=1" if batch.gpus_per_node else ""
    return BODY.format(
        options="\n".join(lines),
        out=shlex.quote(str(out)),
        tasks=batch.tasks,
        srun=f'srun --cpus-per-task="$threads" --cpu-bind=cores{gpus} --kill-on-bad-exit=1 --mpi={batch.mpi}',
        program=shlex.quote(_program()),
        command=command,
    )


def _program() -> str:
    """The `lpm` of this environment, which then need not be active where the job runs."""
    beside = Path(sys.executable).with_name("lpm")
    return str(beside) if beside.exists() else "lpm"


def _quoted(value: str) -> str:
    """A value in a line of #SBATCH, which is read as a shell reads it."""
    return value if re.fullmatch(r"[\w@%+=:,./-]+", value) else '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


BODY = """\
#!/bin/bash
{options}

out={out}
threads=$((${{SLURM_CPUS_ON_NODE:-{tasks}}} / {tasks}))
export OMP_NUM_THREADS="$threads" # JAX takes as many as the process is bound to

# Before the time is up Slurm sends SIGUSR1 to this script alone. It has every process save its state and stop:
# through scancel, since srun answers SIGTERM by killing them.
limit=no
trap 'limit=yes; scancel --signal=TERM "$SLURM_JOB_ID"' USR1

saved() {{ ls "$out/checkpoints" "$out/runs" 2>/dev/null; }}
before=$(saved)

{srun} \\
    {program} {command} --out "$out" --resume &
step=$!
seen=
while [ "$seen" != "$limit" ]; do # a signal ends `wait` before the processes end
    seen=$limit
    wait "$step"
    status=$?
done

if [ "$limit" = yes ] && [ "$status" -eq 143 ]; then # 143: saved and stopped
    if [ "$(saved)" = "$before" ]; then
        echo "nothing was saved before the time was up: submit it with a longer --time" >&2
        exit 1
    fi
    echo "the time is up: queued again, to go on from what was saved"
    scontrol requeue "$SLURM_JOB_ID" || exit
    exit 0
fi
exit "$status"
"""


def write(
    batch: Batch,
    config: str,
    out: Path | None,
    settings: tuple[str, ...] = (),
    to: Path | None = None,
) -> str:
    """What `lpm sbatch` prints: the script, or how to submit the file that it was written to.

    Args:
        batch: what to ask of Slurm.
        config: a config or a study's file, or the name of one that comes with lpm.
        out: directory of the results; None for the first free one.
        settings: `key=value` each.
        to: a file to write.

    Raises:
        InputError: if the config or what is asked of Slurm has mistakes.
    """
    from lpm import config as configs

    study = _is_study(config)
    if study and settings:
        raise InputError("--set: asked for a study as its file has it, got --set; change the file")
    usual = Path("studies") / Path(config).stem if study else configs.load(config, settings).run.out
    target = out or usual
    if out is None and target.exists():
        raise InputError(
            f"--out: asked for the directory of the results, got none and {target} exists; write --out DIR"
        )
    file = str(Path(config).resolve()) if Path(config).is_file() else config
    text = script(batch, file, target.resolve(), study=study, settings=settings)
    if to is None:
        return text
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(text, encoding="utf-8")
    return f"{to} is written; submit it with\n  sbatch {shlex.quote(str(to))}\n"


def _is_study(config: str) -> bool:
    from lpm import config as configs

    if not Path(config).is_file():
        return config.removesuffix(".yaml") in configs.shipped(studies=True)
    return bool(re.search("^study:", Path(config).read_text("utf-8-sig"), re.MULTILINE))
