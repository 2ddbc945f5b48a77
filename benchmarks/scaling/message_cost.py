"""What a message costs the processor, without a network: an exchange of one process with itself, as with N neighbours.

python benchmarks/scaling/message_cost.py

Each neighbour sends 16 words. Results go to benchmarks/scaling/messages.json.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).parents[1]))
from machine import machine, save, spread

from lpm import distributed

RESULT = Path(__file__).with_name("messages.json")
NEIGHBOURS, WORDS, RUNS = [1, 3, 15, 63, 255, 1023], 16, 30


class Oneself:
    """A communicator in which all ranks are this process; messages to one rank and another differ by their tag."""

    def Irecv(self, buffer: np.ndarray, rank: int) -> Any:
        return MPI.COMM_SELF.Irecv(buffer, 0, rank)

    def Isend(self, buffer: np.ndarray, rank: int) -> Any:
        return MPI.COMM_SELF.Isend(buffer, 0, rank)


def main() -> None:
    """Measure and write."""
    result: dict[str, Any] = {"machine": machine(), "words": WORDS, "exchange_us": {}}
    for count in NEIGHBOURS:
        ranks = distributed.Ranks(0, count + 1)
        to = (0, *[WORDS] * count)
        values = np.arange(WORDS * count, dtype=np.uint32)
        taken = []
        for _ in range(RUNS):
            begin = time.perf_counter()
            came = distributed._swapped(ranks, Oneself(), values, to, to)
            taken.append((time.perf_counter() - begin) * 1e6)
        np.testing.assert_array_equal(came, values)
        result["exchange_us"][str(count)] = spread(taken)
        print(f"{count} neighbours: {spread(taken)['median']:.0f} µs")
    save(RESULT, result)


if __name__ == "__main__":
    main()
