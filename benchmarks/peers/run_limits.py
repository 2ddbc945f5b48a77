"""The machine: stream copy, and random look-ups among the packed flags of a million and of a hundred million agents."""

import ctypes
import functools
import json
import time
from collections.abc import Callable

import numpy as np
import work
from compiled import library

native = library("limits.c")
native.look_up.restype = ctypes.c_int64


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """Where an array lies."""
    return ctypes.c_void_p(array.ctypes.data)


def seconds(call: Callable[[], object], runs: int) -> list[float]:
    """Times of some calls after a first."""
    call()
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return times


def main() -> None:
    """Print what was found as the last line, in JSON."""
    task = work.asked()
    agents = task.agents
    many = 16 * agents
    generator = np.random.default_rng(1)
    source, target = np.ones(many, np.uint64), np.zeros(many, np.uint64)
    size = ctypes.c_int64(many)
    copied = seconds(lambda: native.copy(pointer(target), pointer(source), size), task.runs)
    found: dict[str, object] = {"copy_gb_per_s": [2 * source.nbytes / 1e9 / each for each in copied]}
    for flags in (agents, 100 * agents):
        words = generator.integers(0, 2**32, flags // 32 + 1, dtype=np.uint32)
        places = generator.integers(0, flags, many, dtype=np.int32)
        call = functools.partial(native.look_up, pointer(words), pointer(places), size)
        found[f"look_ups_per_s_among_{flags}"] = [many / each for each in seconds(call, task.runs)]
    print(json.dumps(found))


main()
