"""Signs of life, so that a rank that works long is told from one that is lost.

Every few seconds each rank tells the first that its process lives and how long it has waited for the others, and the
first tells all of them: 2 (R - 1) messages of 16 bytes, by a thread of its own. A rank that is stopped, or whose node
is gone, falls silent; one that goes on computing for ever does not.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lpm.distributed import Ranks

BEAT = 10.0  # seconds between signs of life, if a tenth of the patience is not less
TAG = 1  # no other messages between two ranks alone go by way of `Ranks.host`
LEFT = float("inf")  # said by a rank that is no longer watched: nobody need wait for it
LEAVING = 2.0  # seconds in which the others may leave too


@contextlib.contextmanager
def watched(ranks: Ranks, patience: float, waited: Callable[[], float], lost: Callable[[str], None]) -> Iterator[None]:
    """Within `with`, ranks tell each other that they live. All enter it, and leave it, at about the same time.

    Args:
        ranks: of this process and the others.
        patience: seconds of silence, or of waiting of all, after which ranks are lost.
        waited: seconds that this process has been waiting for others; 0 if it is at work.
        lost: called by a thread of its own with why there is nothing to wait for; ends the process.

    >>> from lpm.distributed import alone
    >>> with watched(alone, 600, lambda: 0, print):
    ...     pass
    """
    if ranks.count == 1:
        yield
        return
    over = threading.Event()
    heart = _Heart(ranks, patience, waited, lost)
    thread = threading.Thread(target=heart.beat, args=(over,), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Heart:
    """What this rank tells and hears: the first rank of all others, these of the first alone."""

    def __init__(self, ranks: Ranks, patience: float, waited: Callable[[], float], lost: Callable[[str], None]) -> None:
        self.ranks, self.patience, self.waited, self.lost = ranks, patience, waited, lost
        self.pause = min(BEAT, patience / 10)
        others = range(1, ranks.count) if ranks.rank == 0 else (0,)
        self.silent = dict.fromkeys(others, 0)  # beats of this rank: a process that was stopped itself counts none
        self.waits = dict.fromkeys(others, 0.0)
        self.sent: dict[int, tuple[Any, np.ndarray]] = {}  # under way, with what must stay in memory until then

    def beat(self, over: threading.Event) -> None:
        """Tell, hear and judge until it is over."""
        try:
            while not over.wait(self.pause):
                self.tell(self.waited())
                self.hear()
                self.judge()
            self.leave()
        except Exception as error:  # of MPI: a message could not be sent
            self.lost(f"rank {self.ranks.rank} no longer reaches the other ranks: {error}")

    def tell(self, waited: float) -> None:
        """Send a sign of life to those who have taken the last one."""
        for other in self.silent:
            if other not in self.sent or self.sent[other][0].Test():
                data = np.array([self.ranks.rank, waited])
                self.sent[other] = self.ranks.host.Isend(data, other, TAG), data

    def hear(self) -> None:
        """Take what has come."""
        for other in self.silent:
            self.silent[other] += 1
        data = np.empty(2)
        while self.ranks.host.Iprobe(tag=TAG):
            self.ranks.host.Recv(data, tag=TAG)
            self.silent[int(data[0])], self.waits[int(data[0])] = 0, data[1]

    def judge(self) -> None:
        """End it if a rank is lost, or if all wait for each other."""
        late = [other for other, beats in self.silent.items() if beats * self.pause > self.patience]
        lost = [str(other) for other in late if self.waits[other] != LEFT]
        if lost:
            some = f"rank {lost[0]}" if len(lost) == 1 else f"ranks {', '.join(lost)}"
            heard = f"rank {self.ranks.rank} heard nothing of {some} for {self.patience:.0f} s"
            self.lost(f"{heard}: stopped, or its node is gone")
        elif self.ranks.rank == 0 and min(self.waited(), *self.waits.values()) > self.patience:
            self.lost(f"all {self.ranks.count} ranks have waited for each other for {self.patience:.0f} s")

    def leave(self) -> None:
        """Say that it is over, and take what the others say until they have too, so that no message is left behind."""
        begun = time.monotonic()
        told: set[int] = set()
        while time.monotonic() < begun + LEAVING:
            for other in self.silent.keys() - told:
                if other not in self.sent or self.sent[other][0].Test():
                    data = np.array([self.ranks.rank, LEFT])
                    self.sent[other] = self.ranks.host.Isend(data, other, TAG), data
                    told.add(other)
            self.hear()
            sent = len(told) == len(self.silent) and all(request.Test() for request, _ in self.sent.values())
            if sent and all(each == LEFT for each in self.waits.values()):
                return
            time.sleep(0.005)
