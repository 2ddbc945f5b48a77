"""Ranks that share work out, one of them late, stopped or stuck: `patient.py WHAT RANK`."""

import os
import signal
import sys
import time

import numpy as np

from lpm import distributed


def main(what: str, victim: int) -> None:
    with distributed.apart() as ranks:
        ranks.all(None)
        if ranks.rank == victim:
            begun = time.monotonic()
            while what == "late" and time.monotonic() < begun + 6:
                np.sort(np.random.default_rng(0).random(1_000_000))
            if what == "stopped":
                os.kill(os.getpid(), signal.SIGSTOP)
            if what == "astray":  # waits where nobody comes
                distributed._added(ranks, ranks.device, np.ones(1))
        found = ranks.all(ranks.rank)
    print(f"rank {ranks.rank} has {found}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
