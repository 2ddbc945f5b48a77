"""Ranks: this process among those started with it by mpirun or srun. Only this file imports mpi4py.

All ranks do the same in the same order, and no call blocks where no signal reaches it. What one of them does for all
(`first`), or each for itself (`each`), fails on all of them with the same error; a rank that waits for others longer
than `LPM_PATIENCE` seconds ends them all, or where their work is of unlike length (`apart`) one that hears nothing of
another for as long.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import numpy as np

from lpm import heartbeat
from lpm.errors import InputError, LpmError

T = TypeVar("T")
LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS")  # set by mpirun, mpiexec and srun
NUMBERED = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MPI_LOCALRANKID")
PATIENCE = 600.0  # seconds
TOGETHER = 10.0  # seconds within which all ranks meet an error, if it is one of all


@dataclasses.dataclass(frozen=True, eq=False)
class Ranks:
    """The processes of a run.

    Args:
        rank: the number of this one.
        count: how many there are.
        host: mpi4py communicator for what happens between steps, None if this process is alone.
        device: another one, for what happens within steps, which run at the same time.
    """

    rank: int = 0
    count: int = 1
    host: Any = None
    device: Any = None

    def first(self, do: Callable[[], T]) -> T:
        """What rank 0 finds out, on all ranks."""
        if self.host is None:
            return do()
        data = _packed(_outcome(do)) if self.rank == 0 else _packed(None)
        size = np.array([len(data)])
        _wait([self.host.Ibcast(size)], self)
        if self.rank:
            data = np.empty(size[0], np.uint8)
        _wait([self.host.Ibcast(data)], self)
        found, error = pickle.loads(data.tobytes())
        if error is not None:
            raise error
        return found

    def each(self, do: Callable[[], T]) -> T:
        """What this rank finds out, after all have; the error of the lowest rank that has one is raised on all."""
        if self.host is None:
            return do()
        found, error = _outcome(do)
        for other in self.all(error):
            if other is not None:
                raise other
        return found  # type: ignore[return-value]

    def all(self, value: T) -> list[T]:
        """What each rank has, in their order."""
        if self.host is None:
            return [value]
        data, sizes = _packed(value), np.empty(self.count, np.int64)
        _wait([self.host.Iallgather(np.array([len(data)]), sizes)], self)
        came = np.empty(sizes.sum(), np.uint8)
        _wait([self.host.Iallgatherv(data, [came, sizes.tolist()])], self)
        return [pickle.loads(each.tobytes()) for each in np.split(came, np.cumsum(sizes)[:-1])]

    def add(self, values: np.ndarray) -> np.ndarray:
        """The sum over all ranks, entry by entry."""
        return values if self.host is None else _added(self, self.host, values)

    def scatter(self, parts: list[Any]) -> list[Any]:
        """To each rank its part; what came from each."""
        if self.host is None:
            return parts
        data = [_packed(each) for each in parts]
        to, come = np.array([len(each) for each in data]), np.empty(self.count, np.int64)
        _wait([self.host.Ialltoall(to, come)], self)
        came = np.empty(come.sum(), np.uint8)
        _wait([self.host.Ialltoallv([np.concatenate(data), to.tolist()], [came, come.tolist()])], self)
        return [pickle.loads(each.tobytes()) for each in np.split(came, np.cumsum(come)[:-1])]

    def deal(self, values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of a row of numbers so many to each rank in turn; what came, and how many from each. No copies are made."""
        if self.host is None:
            return values, counts
        come = np.empty(self.count, np.int64)
        _wait([self.host.Ialltoall(np.asarray(counts, np.int64), come)], self)
        came = np.empty(come.sum(), values.dtype)
        sent = np.ascontiguousarray(values)
        _wait([self.host.Ialltoallv([sent, [int(each) for each in counts]], [came, come.tolist()])], self)
        return came, come


def _packed(value: Any) -> np.ndarray:
    return np.frombuffer(pickle.dumps(value, protocol=5), np.uint8)


alone = Ranks()


@functools.cache
def _world() -> Ranks:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"ranks: asked for the ranks that mpirun or srun started, got no MPI to reach them ({error}); install it "
            "with `pip install 'lpm[mpi]'`, or load the cluster's module and build mpi4py with it"
        ) from None
    world = MPI.COMM_WORLD
    if world.size == 1:
        return alone
    patience()  # a mistake in it is told before anything begins
    return Ranks(world.rank, world.size, world.Dup(), world.Dup())


def by_itself() -> bool:
    """Whether no launcher started this process, as far as its environment tells."""
    return not any(name in os.environ for name in LAUNCHED)


def spokesman() -> bool:
    """Whether this process may speak for all, as the launcher has numbered it: before MPI is up."""
    return all(os.environ.get(name, "0") == "0" for name in NUMBERED)


_apart = False


def ranks() -> Ranks:
    """The ranks that simulate a world together; this process alone if it was not started with others."""
    if _apart or by_itself():
        return alone
    return _world()


@contextlib.contextmanager
def apart() -> Iterator[Ranks]:
    """Within `with`, each rank simulates worlds of its own; yields the ranks that share the work out.

    They wait for each other as long as all of them live, since some have more to do than others.
    """
    global _apart
    found, before = ranks(), _apart
    _apart = True

    def lost(why: str) -> None:
        end_all(f"{why}. {_INTACT}", found)

    try:
        with heartbeat.watched(found, patience(), _waited, lost):
            yield found
    finally:
        _apart = before


def alone_only(what: str) -> None:
    """Raise if other processes were started with this one, for what would be done by each of them anew."""
    count = ranks().count
    if count > 1:
        raise InputError(f"{what}: asked for one process, got {count} ranks; start it without mpirun or srun")


@contextlib.contextmanager
def connected(ranks: Ranks, here: int, agents: int) -> Iterator[None]:
    """Within `with`, steps are compiled to work with the other ranks."""
    from lpm.kernels import ranks as kernel

    if ranks.count == 1:
        yield
        return
    comm = ranks.device
    kernel.connect(
        kernel.Wire(
            ranks.count,
            here,
            agents,
            add=lambda x: _added(ranks, comm, x),
            swap=lambda x, to, come: _swapped(ranks, comm, x, to, come),
            gather=lambda x, come: _gathered(ranks, comm, x, come),
        )
    )
    try:
        yield
    finally:
        kernel.connect(None)


def _outcome(do: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return do(), None
    except Exception as error:
        return None, error


def _added(ranks: Ranks, comm: Any, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, order="C")
    total = np.empty_like(values)
    _wait([comm.Iallreduce(values, total)], ranks)
    return total


def _gathered(ranks: Ranks, comm: Any, values: np.ndarray, come: tuple[int, ...]) -> np.ndarray:
    sets = int(np.prod(values.shape[:-1], dtype=np.int64))
    flat = np.empty(sets * sum(come), values.dtype)
    _wait([comm.Iallgatherv(np.ascontiguousarray(values), [flat, [sets * each for each in come]])], ranks)
    return _laid(flat, values.shape[:-1], come)


def _swapped(ranks: Ranks, comm: Any, values: np.ndarray, to: tuple[int, ...], come: tuple[int, ...]) -> np.ndarray:
    """With neighbours alone: a message to each rank that is to have something, one from each that has something."""
    sets = int(np.prod(values.shape[:-1], dtype=np.int64))
    flat, requests, kept = np.empty(sets * sum(come), values.dtype), [], []
    begin = 0
    for rank, count in enumerate(come):
        if count:
            requests.append(comm.Irecv(flat[begin : begin + sets * count], rank))
        begin += sets * count
    begin = 0
    for rank, count in enumerate(to):
        if count:
            kept.append(np.ascontiguousarray(values[..., begin : begin + count]))
            requests.append(comm.Isend(kept[-1], rank))
        begin += count
    _wait(requests, ranks)
    return _laid(flat, values.shape[:-1], come)


def _laid(flat: np.ndarray, sets: tuple[int, ...], come: tuple[int, ...]) -> np.ndarray:
    """What came, rank after rank, with the ranks along the last axis."""
    if all(each == 1 for each in sets):
        return flat.reshape(*sets, -1)
    many = int(np.prod(sets, dtype=np.int64))
    parts = np.split(flat, np.cumsum([many * each for each in come])[:-1])
    return np.concatenate([each.reshape(*sets, -1) for each in parts], axis=-1)


_INTACT = "What was committed and the last checkpoint are intact: go on with --resume"
_waits: dict[int, float] = {}  # when each thread that has been waiting for some time began to


def patience() -> float:
    """Seconds that a rank waits for the others.

    Raises:
        InputError: if LPM_PATIENCE is not a number above 0.
    """
    given = os.environ.get("LPM_PATIENCE", str(PATIENCE))
    with contextlib.suppress(ValueError):
        if float(given) > 0:
            return float(given)
    raise InputError(f"LPM_PATIENCE: asked for seconds, a number above 0, got {given!r}; write LPM_PATIENCE=600")


def _waited() -> float:
    """Seconds that this process has been waiting for other ranks; 0 if it does not."""
    now = time.monotonic()
    return now - min(_waits.copy().values(), default=now)


def _wait(requests: list[Any], ranks: Ranks) -> None:
    """Until all requests are done; the other ranks may be compiling, so it may take a while."""
    begun, turns, thread = time.monotonic(), 0, threading.get_ident()
    try:
        while not all([request.Test() for request in requests]):
            turns += 1
            if turns > 1000:  # a step's messages arrive before; waiting longer leaves the processor to others
                _waits[thread] = begun
                time.sleep(min(1e-3, 1e-7 * turns))
                if not _apart and time.monotonic() - begun > patience():
                    end_all(
                        f"rank {ranks.rank} waited {patience():.0f} s for the other ranks: one of them is stuck, or "
                        f"much slower. {_INTACT}; set LPM_PATIENCE to more seconds if some ranks are that slow",
                        ranks,
                    )
    finally:
        _waits.pop(thread, None)


def end_all(text: str, ranks: Ranks) -> NoReturn:
    """Say why, and end the processes of all ranks."""
    sys.stderr.write(f"error {text}\n")
    sys.stderr.flush()
    threading.Thread(target=ranks.host.Abort, args=(1,), daemon=True).start()
    time.sleep(3)  # with a rank that does not listen Abort may not return; the launcher minds that this one is gone
    os._exit(1)


def failed(error: Exception) -> bool:
    """Whether this rank is to tell the user of an error: rank 0 if all ranks have it; else all ranks are ended."""
    try:
        found = ranks()
    except LpmError:  # there is no MPI
        return spokesman()
    if found.count == 1:
        return True
    request, begun = found.host.Ibarrier(), time.monotonic()
    while not request.Test():
        if time.monotonic() - begun > TOGETHER:
            end_all(f"rank {found.rank}: {error}", found)
        time.sleep(0.01)
    return found.rank == 0
