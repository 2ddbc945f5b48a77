"""What a message costs the processor, without a network: an exchange of one process with itself, as with N neighbours.

python benchmarks/scaling/message_cost.py

Each neighbour sends 16 words. Beside it, what it costs a compiled step to call at all, its MPI left out.
Results go to benchmarks/scaling/messages.json.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).parents[1]))
from machine import machine, save, spread

from lpm import distributed
from lpm.kernels import ranks as kernel

RESULT = Path(__file__).with_name("messages.json")
NEIGHBOURS, WORDS, RUNS = [1, 3, 15, 63, 255, 1023], 16, 30


class Oneself:
    """A communicator in which all ranks are this process; messages to one rank and another differ by their tag."""

    def Irecv(self, buffer: np.ndarray, rank: int) -> Any:
        return MPI.COMM_SELF.Irecv(buffer, 0, rank)

    def Isend(self, buffer: np.ndarray, rank: int) -> Any:
        return MPI.COMM_SELF.Isend(buffer, 0, rank)


def step_with_calls(calls: int, steps: int = 100) -> dict[str, float]:
    """Microseconds of a compiled step that does nothing but sum over ranks so many times; nobody adds anything up."""

    @jax.jit
    def step(x: jax.Array) -> jax.Array:
        for _ in range(calls):
            x = kernel.sum(x) + 1
        return x

    kernel.connect(kernel.Wire(2, 1, 2, lambda x: x, lambda x, to, come: x, lambda x, come: x))
    value, taken = jax.block_until_ready(step(jnp.int32(0))), []
    for _ in range(RUNS // 3):
        begin = time.perf_counter()
        for _ in range(steps):
            value = step(value)
        jax.block_until_ready(value)
        taken.append((time.perf_counter() - begin) / steps * 1e6)
    kernel.connect(None)
    return spread(taken)


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
    result["step_with_calls_us"] = {str(calls): step_with_calls(calls) for calls in (1, 5)}
    print(result["step_with_calls_us"])
    save(RESULT, result)


if __name__ == "__main__":
    main()
