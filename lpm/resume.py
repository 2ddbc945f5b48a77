"""Going on: with a run that was stopped, from where each batch stands, or from a run's state under other settings."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import lpm
from lpm import checkpoint, directory, store
from lpm.checkpoint import About
from lpm.errors import InputError, RunError
from lpm.job import Job
from lpm.provenance import differences, fingerprints, versions
from lpm.state import State

NUMERIC = ("jax", "jaxlib")
BRANCHED = "branched_at_step"
FIXED_BY_PARENT = (
    "lpm",
    "agents",
    "run.start",
    "run.realizations",
    "run.every",
    "run.snapshots.of",
    "run.snapshots.every",
)


def reopened(job: Job, path: Path, say: Callable[[str], None]) -> store.Store | None:
    """The store of a run to go on with, or None if there is none in its directory.

    Raises:
        InputError: if it is of another run; every difference is named.
    """
    if not (path / store.NAME).exists():
        if any(path.iterdir()):
            say(f"{path}: no results in it yet; the run begins anew")
        return None
    target = store.reopen(path / store.NAME)
    was = json.loads(str(target.group.attrs.get("identity", "{}")))
    changed = differences(was, job.identity)
    if changed:
        longer = (
            f"; a run is made longer by a branch: lpm branch {path} --set run.steps={job.calendar.steps} --out ANOTHER"
            if changed == differences(was, was | {"run.steps": str(job.calendar.steps)})
            else "; write the settings of that run, another --out, or `lpm branch` to change them midway"
        )
        raise InputError(
            [f"{path}: asked to go on with a run of the same settings, got {each}{longer}" for each in changed]
        )
    then = dict(each.split(" ", 1) for each in str(target.group.attrs.get("versions", "")).split(", ") if " " in each)
    for each in differences(
        {name: then.get(name, "") for name in NUMERIC}, {name: versions()[name] for name in NUMERIC}
    ):
        say(f"Note: {each}; the last digits of numbers may differ")
    return target


def standing(
    job: Job, path: Path, target: store.Store, first: int, say: Callable[[str], None]
) -> tuple[int, State | None]:
    """How many records of a batch are done, and the state after them; None for the model's start."""
    which = slice(first, min(first + job.together, job.realizations))
    least = job.ranks.first(lambda: int(target.committed()[which].min()))
    if least == job.records:
        return least, None
    batch = "" if job.together >= job.realizations else f", realization {which.start} to {which.stop - 1}"
    for folder, about in job.ranks.first(lambda: list(checkpoint.found(path / checkpoint.FOLDER))):
        if about.first != first or about.step > least * job.every:  # the store may have lost what came after
            continue
        state = _state(job, folder, about, say)
        if state is not None:
            say(f"{path}: goes on from step {about.step:,} of {job.calendar.steps:,}{batch}")
            note = f"{datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')} step {about.step}{batch}"
            job.ranks.first(lambda note=note: target.note("resumed", note))  # type: ignore[misc]
            return about.step // job.every, state
    if BRANCHED in target.group.attrs:
        raise RunError(
            f"{path}: asked for the checkpoint that it was branched from, got none that can be read; make the branch "
            "anew in another directory"
        )
    if least or not first:
        say(f"{path}: no checkpoint{batch}; begins from its first step again, with the same numbers")
    return 0, None


def _state(job: Job, folder: Path, about: About, say: Callable[[str], None]) -> State | None:
    """The state of a checkpoint, or None if it is damaged."""
    if about.run != checkpoint.run_checksum(job.identity):
        raise InputError(
            f"{folder}: asked for a checkpoint of this run, got one of another; move it back to where it came from"
        )
    saved = checkpoint.read(folder, about.parts, job.rows)
    if any(job.ranks.all(saved is None)) or saved is None:
        say(f"{folder}: damaged; an earlier one is used")
        return None
    wanted = job.engine.shape()
    changed = [f"world {each}" for each in differences(about.world, fingerprints(job.world))]
    changed += checkpoint.misfits(saved, wanted)
    if changed:
        raise InputError(
            [
                f"{folder}: asked to go on in the same world, got {each}; restore the model's file and its data, or "
                "write another --out"
                for each in changed
            ]
        )
    return checkpoint.restored(saved, wanted, job.engine.by_id)


def branch(job: Job, parent: Path, at: int | None, out: Path) -> str:
    """Make a directory that looks as if the job had been stopped at the moment at which it leaves its parent.

    Args:
        job: with the changed settings.
        parent: directory of the run to leave.
        at: steps done; None for the latest moment of which the parent has saved all realizations.
        out: of the new run.
    Returns:
        a line for people.
    Raises:
        InputError: if the parent has no such moment, or the job's world cannot take its state.
    """
    origin = store.reopen(store.locate(parent), mode="r")
    if "identity" not in origin.group.attrs:
        raise InputError(f"{parent}: asked for a run of lpm {lpm.__version__}, got an older one; run it again")
    was = json.loads(str(origin.group.attrs["identity"]))
    changed = differences(was, job.identity)
    fixed = [each for each in changed if each.partition(":")[0] in FIXED_BY_PARENT]
    if fixed:
        raise InputError(
            [
                f"{parent}: asked for a branch that shares its parent's past, got {each}; leave it as it was"
                for each in fixed
            ]
        )
    folders = _moment(job, parent, at)
    step = folders[0][1].step
    if step >= job.calendar.steps:
        raise InputError(
            f"{parent}: asked for a branch that goes on after step {step}, got run.steps={job.calendar.steps}; "
            f"write for example --set run.steps={2 * step}, or an earlier --at"
        )
    wanted, ids = job.engine.shape(), job.ids
    part = out.with_name(out.name + ".part")

    def begin() -> None:
        directory.new(out)
        shutil.rmtree(part, ignore_errors=True)

    def finish() -> None:
        more = {"branched_from": str(parent.resolve()), BRANCHED: step, "branched_changes": "\n".join(changed)}
        target = job.create(part / store.NAME, more)
        _same_records(target, origin, parent)
        target.copy(origin, step // job.every, step // job.snapshot_every if job.snapshots else 0)
        part.rename(out)

    job.ranks.first(begin)
    try:
        for folder, about in folders:
            saved = checkpoint.read(folder, about.parts, job.rows)
            if any(job.ranks.all(saved is None)) or saved is None:
                raise InputError(
                    f"{folder}: asked for a checkpoint that can be read, got a damaged one; write another --at"
                )
            misfits = checkpoint.misfits(saved, wanted)
            if about.ids != ids:
                misfits.append("agents: other ids than the parent's")
            if misfits:
                raise InputError(
                    [
                        f"{parent}: asked for a world that takes its parent's state, got {each}; leave it as it was"
                        for each in misfits
                    ]
                )
            mine = About(
                about.first,
                about.realizations,
                step,
                True,
                checkpoint.run_checksum(job.identity),
                ids,
                fingerprints(job.world),
            )
            checkpoint.save(part / checkpoint.FOLDER, mine, saved, job.world.here, job.ranks, job.rows)
        job.ranks.first(finish)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return f"{out}: leaves {parent} after step {step:,}; " + ("; ".join(changed) or "nothing is changed")


def _moment(job: Job, parent: Path, at: int | None) -> list[tuple[Path, About]]:
    """The parent's checkpoints of one moment, one for each batch of realizations."""
    steps: dict[int, list[tuple[Path, About]]] = {}
    for folder, about in checkpoint.found(parent / checkpoint.FOLDER):
        steps.setdefault(about.step, []).append((folder, about))
    firsts = set(range(0, job.realizations, job.together))
    whole = [step for step, each in steps.items() if {about.first for _, about in each} == firsts]
    if at in whole or (at is None and whole):
        return steps[max(whole) if at is None else at]
    there = f"its checkpoints are of the steps {', '.join(map(str, sorted(whole)))}" if whole else "it has none"
    raise InputError(
        f"{parent}: asked for a checkpoint of all realizations{'' if at is None else f' after step {at}'}, got none; "
        f"{there}. "
        f"Write one of those as --at, or run it with --set run.checkpoint.at=[{at or 30}] to keep one"
    )


def _same_records(target: store.Store, origin: store.Store, parent: Path) -> None:
    """That both stores record the same."""
    for name in str(target.group.attrs["observables"]).split():
        mine = target.array(name)
        if name not in origin.group:
            raise InputError(
                f"{parent}: asked for its records of {name}, got none; a branch observes what its parent does"
            )
        its = origin.array(name)
        if (mine.shape[:2], mine.shape[3:], mine.dtype) != (its.shape[:2], its.shape[3:], its.dtype):
            raise InputError(
                f"{parent}: asked for records of {name} of shape {mine.shape[3:]} {mine.dtype}, got {its.shape[3:]} "
                f"{its.dtype}; a branch observes what its parent does"
            )
