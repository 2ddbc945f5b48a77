"""A run: realizations simulated chunk by chunk, results streamed to a store, states saved; all side effects."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lpm import (
    batch,
    checkpoint,
    consensus,
    devices,
    directory,
    distributed,
    partition,
    rank_log,
    resume,
    snapshots,
    store,
)
from lpm.checkpoint import About, Plan
from lpm.errors import InputError, RunError
from lpm.job import Job
from lpm.provenance import checksum, fingerprints
from lpm.series import Series
from lpm.settings import Calendar
from lpm.signals import Signals
from lpm.world import World

CHUNK = batch.CHUNK
LONGEST = 64  # records between two writes of a small world, whose writes would take longer than its steps
AGENT_STEPS = 64_000_000  # between two writes, at most: about half a second on two cores
TOGETHER = 2_000_000  # agents of all realizations that are simulated side by side


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run has come, for a bar or a log.

    Args:
        done, total: steps, of all realizations together.
        agents: of one realization.
        timed: how many of the steps done came after the first chunk, which waits for the compiler.
        seconds: that those took.
    """

    done: int
    total: int
    agents: int
    timed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Agent-steps a second; nan before anything was timed."""
        return self.timed * self.agents / self.seconds if self.timed else float("nan")

    @property
    def left(self) -> float:
        """Seconds left at the rate so far; nan before anything was timed."""
        if self.done == self.total:
            return 0.0
        return self.seconds / self.timed * (self.total - self.done) if self.timed else float("nan")


class Interrupted(RunError):
    """A run was stopped by its user or by the system; what it had committed is in the store.

    Args:
        status: exit status for the command line, 128 and the signal's number.
    """

    def __init__(self, text: str, status: int = 130):
        super().__init__(text)
        self.status = status


class Unwritable(RunError):
    """The disk refused a write; what was committed before is in the store."""


def run(
    world: World,
    calendar: Calendar,
    out: str | Path,
    *,
    seed: int = 0,
    realizations: int = 1,
    every: int = 1,
    snapshots: tuple[str, ...] = (),
    snapshot_every: int = 0,
    observed: tuple[Series, ...] = (),
    attributes: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    checkpoints: Plan = Plan(),  # noqa: B008, it is frozen
    resumed: bool = False,
    parent: str | Path | None = None,
    at: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    again: str = "the same call and resumed=True",
) -> Path:
    """Simulate a world and stream its observables to `out`/results.zarr.

    Realizations of small worlds advance together, those of large ones in turn; the numbers are the same.

    Args:
        world: what to simulate.
        calendar: how long, and from which day.
        out: a directory that is made, or empty unless `resumed`.
        seed: of all draws; realization r of a seed is the same whatever the number of realizations.
        realizations: how many.
        every: steps in a record; divides the calendar's steps.
        snapshots: names of agents' entries to store in full.
        snapshot_every: steps between snapshots; a multiple of `every`.
        observed: data to keep beside the results, for tables and pictures.
        attributes: added to the store's provenance, such as the config's text.
        settings: of the config, by dotted key; a run goes on only with the same.
        checkpoints: when the state is saved to `out`/checkpoints.
        resumed: go on with the run in `out`, from its newest checkpoints; begin it if there is none.
        parent: directory of a run to branch from: `out` begins with its records and goes on from its state.
        at: steps done at which to branch; None for the latest that the parent has saved.
        progress: called after each chunk.
        say: called with a line for people when a run goes on, or goes over several devices.
        again: how the user goes on with a run that was stopped, for messages.

    Returns:
        the zarr group's path, for `lpm.open`.

    Raises:
        InputError: before anything is written.
        RunError: if a state or a result stops being finite, or the disk refuses a write; the store keeps what was
            committed before.
        Interrupted: on Ctrl-C and SIGTERM, after the state was saved.

    >>> import tempfile
    >>> from lpm.worlds import sir
    >>> world = sir.build(sir.Settings(agents=500, contacts=sir.Contacts("well_mixed")), Calendar(20))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = store.open(run(world, Calendar(20), folder, realizations=2)).load()
    >>> dict(results["incidence"].sizes)
    {'scenario': 1, 'realization': 2, 'time': 20}
    """
    ranks = distributed.ranks()
    world = partition.mine(world, ranks)
    if ranks.rank:
        progress, say = lambda _: None, lambda _: None
    spread = devices.spread(world, ranks)
    if spread is not None:
        for line in spread.told():
            say(line)
    batches = -(-realizations // max(1, min(realizations, TOGETHER // world.agents)))
    together = -(-realizations // max(1, batches))
    attributes, settings = attributes or {}, settings or {}
    job = Job(
        world, calendar, seed, realizations, together, every, snapshots, snapshot_every, observed, attributes, settings,
        checkpoints, ranks, spread,
    )  # fmt: skip
    job.check()
    with devices.connected(spread, ranks, world), contextlib.ExitStack() as opened:
        return _run(job, Path(out), resumed, parent, at, progress, say, again, opened)


def _check_program(job: Job) -> None:
    """Raise on all ranks if devices would be given programs that differ, or that count places of nobody.

    Raises:
        InputError: if a model makes them do so.
    """
    if job.spread is None:
        return
    lines = job.engine.sums_of_nobody()
    if lines:
        raise InputError(
            f"{devices.VARIABLE}=jax: asked for sums over the agents that are there, got sums over all places of a "
            f"device in {', '.join(lines)}; count with lpm.kernels.stages.number or strata.count_of, write "
            "ranks.present(values).sum() with `from lpm.kernels import ranks`, or take "
            f"{devices.VARIABLE}=mpi"
        )
    if job.ranks.count == 1:
        return
    if len(set(job.ranks.all(checksum(np.frombuffer(job.engine.program().encode(), np.uint8))))) > 1:
        raise InputError(
            f"{devices.VARIABLE}=jax: asked for the same program on all {job.ranks.count} ranks, got others on some; a "
            "substep or an observable has a number in it that its builder took from the agents of one rank: put it "
            f"into `fixed` or the parameters, or write {devices.VARIABLE}=mpi"
        )


def _run(
    job: Job,
    path: Path,
    resumed: bool,
    parent: str | Path | None,
    at: int | None,
    progress: Callable[[Progress], None],
    say: Callable[[str], None],
    again: str,
    opened: contextlib.ExitStack,
) -> Path:
    """As `run`; all ranks do the same, and rank 0 alone has to do with the directory and the store's metadata."""
    ranks = job.ranks
    _check_program(job)
    if parent is not None:
        with writing(path, again):
            say(resume.branch(job, Path(parent), at, path))
        resumed = True

    def place() -> tuple[Path, bool]:
        fresh = not (resumed and path.is_dir() and any(path.iterdir()))
        found = directory.new(path) if fresh else directory.writable(path)
        opened.enter_context(directory.held(found))
        return found, fresh

    path, fresh = ranks.first(place)
    signals = opened.enter_context(Signals())
    log = opened.enter_context(rank_log.log(ranks, path, job.world.here))

    def passed(made: Progress) -> None:
        log(f"{made.done:,} of {made.total:,} steps")
        progress(made)

    def target_path() -> Path:
        found = None if fresh else resume.reopened(job, path, say)
        return (found or job.create(path / store.NAME, {})).path

    try:
        with writing(path, again):
            target = store.reopen(ranks.first(target_path), first=ranks.rank == 0)
    except BaseException:
        if fresh and ranks.rank == 0:
            shutil.rmtree(path, ignore_errors=True)
        raise
    if ranks.first(lambda: bool((target.committed() == job.records).all())):
        say(f"{path}: finished before; nothing was changed")
        return target.path
    _Run(job, path, target, fresh, signals, passed, say, again).all()
    return target.path


class _Run:
    """A run under way."""

    def __init__(
        self,
        job: Job,
        path: Path,
        target: store.Store,
        fresh: bool,
        signals: Signals,
        progress: Callable[[Progress], None],
        say: Callable[[str], None],
        again: str,
    ):
        self.job, self.path, self.target, self.fresh, self.signals = job, path, target, fresh, signals
        self.progress, self.say, self.again = progress, say, again
        self.total, self.done, self.first_done, self.begun = job.calendar.steps * job.realizations, 0, 0, 0.0
        self.deals: dict[int, snapshots.Deal] = {}
        self.clock, self.written = time.monotonic(), time.time()

    def all(self) -> None:
        """Every batch of realizations in turn."""
        try:
            for first in range(0, self.job.realizations, self.job.together):
                self.one(first, slice(first, min(first + self.job.together, self.job.realizations)))
                if self.signals.stop and self.done < self.total:
                    raise self.interrupted(128 + self.signals.stop)
        except KeyboardInterrupt:
            raise self.interrupted(130) from None

    def one(self, first: int, which: slice) -> None:
        """One batch, from where it stands."""
        job = self.job
        begin, moving = (0, None) if self.fresh else resume.standing(job, self.path, self.target, first, self.say)
        self.done += begin * job.every * (which.stop - which.start)
        self.handed = begin  # the record at which the state was last asked for
        pauses = batch.Pauses(
            end=lambda record: job.plan.end(record, _chunk(job), job.every),
            save=functools.partial(self.wanted, last_batch=which.stop == job.realizations),
            stop=self.stopping,
        )
        if begin == job.records:
            return
        chunks = job.engine.chunks(
            first, job.records, job.snapshots, job.snapshot_every, begin=begin, moving=moving, pauses=pauses
        )
        for item in batch.ahead(chunks):
            with writing(self.path, self.again):
                if isinstance(item, batch.Saved):
                    self.save(item, first)
                    continue
                _store_chunk(job, self.target, which, item, self.deal_of)
            self.done += len(item.seen) * job.every * (which.stop - which.start)
            now = time.perf_counter()
            if not self.first_done:
                self.first_done, self.begun = self.done, now
            self.progress(
                Progress(self.done, self.total, job.world.agents, self.done - self.first_done, now - self.begun)
            )

    def wanted(self, record: int, last_batch: bool) -> bool:
        """Whether the state at the end of this record is to be saved."""
        job, plan = self.job, self.job.plan
        if record == self.handed:
            return False
        wanted = any(
            job.ranks.all(
                bool(self.signals.stop or self.signals.save)
                or (record == job.records and last_batch)
                or record * job.every in plan.at
                or plan.by_steps(self.handed, record, job.every)
                or time.monotonic() - self.clock >= 60 * plan.minutes
            )
        )
        if wanted:
            self.handed, self.clock, self.signals.save = record, time.monotonic(), False
        return wanted

    def stopping(self) -> bool:
        """Whether any rank was asked to stop."""
        self.signals.stop = max(self.job.ranks.all(self.signals.stop))
        return bool(self.signals.stop)

    def save(self, item: batch.Saved, first: int) -> None:
        """The results to the disk first, then the state that comes after them."""
        now, job = time.time(), self.job
        job.ranks.each(lambda: self.target.flush(self.written - 2))  # file systems round times
        step = item.record * job.every
        run, kept = checkpoint.run_checksum(job.identity), step in job.plan.at
        about = About(first, job.together, step, kept, run, job.ids, self.world)
        folder = self.path / checkpoint.FOLDER
        checkpoint.save(folder, about, jax.device_get(item.state), job.world.here, job.ranks, job.rows)
        self.written = now

    def deal_of(self, in_file: int) -> snapshots.Deal:
        """Who writes which agents of snapshots with so many in a file."""
        if in_file not in self.deals:
            job = self.job
            assert job.rows is not None
            self.deals[in_file] = snapshots.deal(job.rows, job.world.agents, in_file, job.ranks)
        return self.deals[in_file]

    @functools.cached_property
    def world(self) -> dict[str, str]:
        """Checksums of what no step changes."""
        return fingerprints(self.job.world)

    def interrupted(self, status: int) -> Interrupted:
        """What to tell the user; a run that did nothing leaves nothing."""
        if not self.done and self.fresh:
            self.job.ranks.first(lambda: shutil.rmtree(self.path, ignore_errors=True))
            return Interrupted("stopped before the first steps were done; nothing was kept", status)
        newest = next(checkpoint.found(self.path / checkpoint.FOLDER), None)
        saved = f"the state is in {newest[0]}" if newest else "no state was saved"
        return Interrupted(
            f"stopped after {self.done:,} of {self.total:,} steps; what was done is kept: `lpm show {self.path}`, and "
            f"{saved}. Go on with {self.again}",
            status,
        )


def _chunk(job: Job) -> int:
    """Records between two writes: an error or a kill loses no more."""
    return max(CHUNK, min(LONGEST, AGENT_STEPS // (job.world.agents * job.together * job.every)))


@contextlib.contextmanager
def writing(path: Path, again: str, kept: str = "all that was committed before is intact") -> Iterator[None]:
    """Turn what the system says of a write that failed into an error that says what is kept and how to go on."""
    try:
        yield
    except OSError as error:
        raise Unwritable(
            f"{error.filename or path}: asked for a file that can be written, got: {error.strerror or error}; "
            f"{kept}. Make room or mend the path, then go on with {again}"
        ) from error


def _store_chunk(
    job: Job, target: store.Store, which: slice, chunk: batch.Chunk, deal_of: Callable[[int], snapshots.Deal]
) -> None:
    """Check a chunk and write it; of a chunk with a fault, the records before it."""
    used = which.stop - which.start
    seen, broken, taken = jax.device_get((chunk.seen, chunk.broken, chunk.snapshots))
    stacked = {name: np.stack([record[name][:used] for record in seen], axis=1) for name in seen[0]}
    broken = [[name for name, wrong in names.items() if wrong] for names in broken]
    bad = consensus.agreed(job.ranks, broken, stacked, job.spread.differing(chunk.seen) if job.spread else [])
    good = next((i for i, names in enumerate(bad) if names), len(seen))
    if good:
        for step, entries in taken:
            if step <= (chunk.first + good) * job.every:
                for name, values in entries.items():
                    number = step // job.snapshot_every - 1
                    if job.rows is None:
                        target.write_snapshot(which, number, name, values[:used])
                    else:
                        deal_of(target.agents_in_file(name)).write(target, which, number, name, values[:used])
        kept = {name: values[:, :good] for name, values in stacked.items()}
        job.ranks.first(lambda: target.write(which, chunk.first, kept))
    if good < len(seen):
        raise RunError(
            f"record {chunk.first + good}: not a finite number in {', '.join(bad[good])}; the store holds the "
            f"{chunk.first + good} records before it. Look for a division by zero, a logarithm of zero or a rate that "
            "grows without bound in the substep that writes it"
        )
