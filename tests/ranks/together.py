"""Ranks that are threads of this process: they build together as processes do, and their parts can be compared."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class Thread:
    """One of several ranks; what `lpm.building` and `lpm.parts` ask of `lpm.distributed.Ranks`."""

    def __init__(self, rank: int, count: int, said: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.count, self._said, self._barrier = rank, count, said, barrier

    def all(self, value: Any) -> list[Any]:
        self._said[self.rank] = value
        self._barrier.wait()
        found = list(self._said)
        self._barrier.wait()
        return found

    def add(self, values: np.ndarray) -> np.ndarray:
        return np.sum(self.all(values), axis=0, dtype=values.dtype)

    def deal(self, values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        came = [each[self.rank] for each in self.all(np.split(values, np.cumsum(counts)[:-1]))]
        return np.concatenate(came), np.array([len(each) for each in came])

    def first(self, do: Callable[[], T]) -> T:
        return self.all(do() if self.rank == 0 else None)[0]

    def each(self, do: Callable[[], T]) -> T:
        try:
            found, error = do(), None
        except Exception as raised:
            found, error = None, raised
        for other in self.all(error):
            if other is not None:
                raise other
        return found  # type: ignore[return-value]


def on(count: int, do: Callable[[Any], T]) -> list[T]:
    """What a function finds on each of so many ranks; the first error is raised."""
    said: list[Any] = [None] * count
    barrier, found, errors = threading.Barrier(count, timeout=60), [None] * count, []

    def work(rank: int) -> None:
        try:
            found[rank] = do(Thread(rank, count, said, barrier))  # type: ignore[call-overload]
        except Exception as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if errors:
        raise next((each for each in errors if not isinstance(each, threading.BrokenBarrierError)), errors[0])
    return found  # type: ignore[return-value]
