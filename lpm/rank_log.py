"""What each of several ranks did, in a file of its own: rank 0 alone speaks on the terminal."""

from __future__ import annotations

import contextlib
import datetime
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lpm.distributed import Ranks

FOLDER = "logs"


@contextlib.contextmanager
def log(ranks: Ranks, run: Path, agents: int) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes a line with the time to logs/rank-R.txt of a run; one that does nothing if alone.

    How the run ended, and the most memory that the process had, are the last lines. A file that cannot be written is no
    reason to stop.

    Args:
        ranks: of the run.
        run: its directory.
        agents: of this rank.

    >>> from lpm.distributed import alone
    >>> with log(alone, Path("nowhere"), 10) as line:
    ...     line("not written")
    """
    if ranks.count == 1:
        yield lambda _: None
        return
    digits = len(str(ranks.count - 1))
    path = run / FOLDER / f"rank-{ranks.rank:0{digits}}.txt"

    def line(text: str) -> None:
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{now} {text}\n")

    line(f"begins on {socket.gethostname()}, process {os.getpid()}, {agents:,} agents")
    try:
        yield line
        line("finished")
    except BaseException as error:
        line(f"{type(error).__name__}: {error}")
        raise
    finally:
        line(f"most memory: {_most_memory() / 2**30:.2f} GB")


def _most_memory() -> int:
    """Bytes that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
