"""Looking up where numbers stand among others, without a table of all possible numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def places_among(numbers: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function that says where each of some numbers stands among increasing ones that have them all.

    A bit for each possible number, and how many are set before each word: this stays in cache, where a binary search
    does not.

    Args:
        numbers: (k,) uint32, increasing.

    >>> places_among(np.array([3, 70, 71], np.uint32))(np.array([71, 3], np.uint32))
    array([2, 0])
    """
    word = numbers >> np.uint32(6)
    first = np.flatnonzero(np.concatenate([[True], word[1:] != word[:-1]])[: len(word)])
    words, before = (np.zeros(int(word.max(initial=0)) + 1, dtype) for dtype in (np.uint64, np.int64))
    if len(numbers):
        bit = np.uint64(1) << (numbers & np.uint32(63)).astype(np.uint64)
        words[word[first]] = np.bitwise_or.reduceat(bit, first)
        before[word[first]] = first

    def places(of: np.ndarray) -> np.ndarray:
        at = of >> np.uint32(6)
        below = (np.uint64(1) << (of & np.uint32(63)).astype(np.uint64)) - np.uint64(1)
        return before[at] + np.bitwise_count(words[at] & below)

    return places
