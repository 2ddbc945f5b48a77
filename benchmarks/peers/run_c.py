"""The C reference: pull.c, the same layout as lpm's kernel, compiled here and called through ctypes."""

import ctypes

import numpy as np
import work
from compiled import library

INFECTIOUS = 1
native = library("pull.c")


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """Where an array lies."""
    return ctypes.c_void_p(array.ctypes.data)


def start(task: work.Task, seed: int) -> work.Advance:
    """Agents renumbered by degree, and for each degree a table of neighbours, (degree, agents of that degree)."""
    agents, source, target = task.graph()
    degrees = np.bincount(source, minlength=agents) + np.bincount(target, minlength=agents)
    number = np.empty(agents, np.int32)
    number[np.argsort(degrees, kind="stable")] = np.arange(agents, dtype=np.int32)
    begins, neighbours = work.rows(agents, number[source], number[target])
    kinds, sizes = np.unique(degrees, return_counts=True)
    firsts = np.concatenate([[0], np.cumsum(sizes)])
    tables = np.concatenate(
        [
            neighbours[begins[first] : begins[first + size]].reshape(size, kind).T.ravel()
            for kind, size, first in zip(kinds, sizes, firsts, strict=False)
        ]
    )
    sizes, kinds = sizes.astype(np.int64), kinds.astype(np.int32)
    chances = 1 - (1 - work.PER_CONTACT) ** np.arange(kinds.max() + 1)
    chances[0] = work.PER_DAY
    limits = (chances * 2**32).astype(np.uint32)
    stage = np.zeros(agents, np.uint8)
    stage[work.first_cases(agents, seed)] = INFECTIOUS
    words = np.zeros(agents // 32 + 1, np.uint32)

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        salts = np.random.default_rng(seed).integers(0, 2**32, days, dtype=np.uint32)
        counts = np.zeros((days, 2), np.int64)
        native.simulate(
            pointer(stage),
            pointer(words),
            ctypes.c_int64(agents),
            *(pointer(array) for array in (tables, sizes, kinds)),
            ctypes.c_int(len(sizes)),
            pointer(limits),
            pointer(salts),
            ctypes.c_int(days),
            pointer(counts),
        )
        return counts[:, 0], counts[:, 1]

    return advance


work.measure(start, (), "no framework; a hash of two multiplications for its draws; counts alone come out")
