"""Signals that end a run or have it save its state, taken note of until the run comes to a place where it can."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

STOP = ("SIGINT", "SIGTERM")
SAVE = ("SIGUSR1",)


def ignore_until_a_run() -> None:
    """Let a request to save come to nothing while there is nothing to save; by itself it would end the process."""
    for name in SAVE:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class Signals:
    """Within `with`: Ctrl-C and SIGTERM ask to save and stop, SIGUSR1 asks to save and go on; a second Ctrl-C stops at
    once. Outside the main thread signals are left alone.

    Args:
        stop: number of the signal that asked to stop, or 0.
        save: whether one asked to save.
    """

    def __init__(self) -> None:
        self.stop, self.save = 0, False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for name in (*STOP, *SAVE):
                number = getattr(signal, name, None)
                if number is not None:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if signal.Signals(number).name in SAVE:
            self.save = True
        elif number == signal.SIGINT and self.stop:
            raise KeyboardInterrupt
        else:
            self.stop = number
