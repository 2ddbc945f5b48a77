"""The simulations of a fit, kept on disk so that one that was stopped goes on where it stood.

A fit is a function of what its simulations give, and these depend on their point and keys alone. So a fit that goes on
begins anew, and is handed what was simulated before instead of simulating it again: it ends with the same numbers, bit
for bit, as one that was never stopped.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lpm.kernels import random

FOLDER = "simulations"
Arrays = tuple[np.ndarray, ...]


class Log:
    """A folder with a file for each call of a simulator, in their order.

    Args:
        folder: made if need be.
        say: called with a line when what is there no longer fits what is asked for.
    """

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda _: None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.say, self.calls, self.used = folder, say, 0, 0
        self.going_on = any(folder.glob("*.npz"))

    def of(self, kind: str, z: np.ndarray, words: np.ndarray, compute: Callable[[], Arrays]) -> Arrays:
        """What this call gave before, or gives now.

        Args:
            kind: of call and of problem, such as "curves of 3f2a".
            z: point or points.
            words: of the realizations' keys, or whatever else the result depends on.
            compute: simulates.
        """
        path = self.folder / f"{self.calls:06}.npz"
        self.calls += 1
        asked: dict[str, Any] = {"kind": np.array(kind), "z": np.asarray(z, np.float64), "words": np.asarray(words)}
        if self.going_on:
            found = _read(path, asked)
            if found is not None:
                self.used += 1
                return found
            self._leave(path)
        begun = time.perf_counter()
        results = compute()
        # Simulations are in single precision, which loses nothing here and halves the files.
        arrays: dict[str, Any] = {f"result_{i}": np.asarray(each, np.float32) for i, each in enumerate(results)}
        part = path.with_suffix(".partial")
        with part.open("wb") as file:
            np.savez(file, **asked, **arrays, seconds=time.perf_counter() - begun)
        part.rename(path)
        return tuple(arrays[name].astype(np.float64) for name in arrays)

    def _leave(self, path: Path) -> None:
        """From here on nothing is taken from the folder."""
        self.going_on = False
        later = [each for each in sorted(self.folder.glob("*.npz")) if each.name >= path.name]
        for each in later:
            each.unlink()
        if later:
            self.say(
                f"{self.folder}: {self.used:,} simulations are used, {len(later):,} no longer fit and are made anew"
            )
        elif self.used:
            self.say(f"{self.folder}: {self.used:,} simulations taken over; goes on from there")

    def remove(self) -> None:
        """The whole folder, when the fit is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(path: Path, asked: dict[str, np.ndarray]) -> Arrays | None:
    """What a file holds if it answers to what is asked; None if it is not there, damaged, or of something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if any(not np.array_equal(file[name], value) for name, value in asked.items()):
                return None
            number = sum(name.startswith("result_") for name in file.files)
            return tuple(file[f"result_{i}"].astype(np.float64) for i in range(number))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


@dataclasses.dataclass(frozen=True, eq=False)
class Logged:
    """A `lpm.calibration.problem.Simulator` whose results are kept in a log, and taken from it.

    Args:
        machine: the simulator.
        log: its own, or shared with that of another problem.
        digest: of all that its results depend on besides point and keys; see `lpm.calibration.problem.digest`.
    """

    machine: Any
    log: Log
    digest: str

    @property
    def plan(self) -> Any:
        """Of the simulator."""
        return self.machine.plan

    def _of(self, kind: str, z: np.ndarray, words: np.ndarray, compute: Callable[[], Arrays]) -> Arrays:
        return self.log.of(f"{kind} of {self.digest}", z, words, compute)

    def curves(self, z: np.ndarray, keys: random.Key) -> np.ndarray:
        """As the simulator's."""
        return self._of("curves", z, np.asarray(keys.words), lambda: (self.machine.curves(z, keys),))[0]

    def tangents(self, z: np.ndarray, keys: random.Key) -> tuple[np.ndarray, np.ndarray]:
        """As the simulator's."""
        found = self._of(
            f"tangents by {self.plan.rule}", z, np.asarray(keys.words), lambda: self.machine.tangents(z, keys)
        )
        return found[0], found[1]

    def at_each(self, z: np.ndarray, keys: random.Key) -> np.ndarray:
        """As the simulator's."""
        return self._of("at each", z, np.asarray(keys.words), lambda: (self.machine.at_each(z, keys),))[0]

    def pullback(self, z: np.ndarray, keys: random.Key) -> tuple[np.ndarray, Any]:
        """As the simulator's; what comes back is kept too."""
        pulled: list[Any] = []

        def forward() -> Arrays:
            curves, back = self.machine.pullback(z, keys)
            pulled.append(back)
            return (curves,)

        curves = self._of("forward", z, np.asarray(keys.words), forward)[0]

        def back(cotangents: np.ndarray) -> np.ndarray:
            def compute() -> Arrays:
                if not pulled:
                    forward()
                return (pulled[0](cotangents),)

            return self._of(f"back by {self.plan.rule}", z, np.asarray(cotangents, np.float64), compute)[0]

        return curves, back
