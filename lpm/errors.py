"""Errors a user can act on: what was asked, what was got, what to write instead."""

from __future__ import annotations

from collections.abc import Iterable


class LpmError(Exception):
    """Base of every error that lpm raises on purpose; the command line prints its text and no trace."""


class InputError(LpmError, ValueError):
    """One or more mistakes in what the user gave, found before anything ran.

    Args:
        problems: one line each, as `file:line:column field: what was asked, what was got, what to write instead`.

    >>> str(InputError(["steps: asked for at least 1, got 0; write a positive number of days"]))
    'steps: asked for at least 1, got 0; write a positive number of days'
    """

    def __init__(self, problems: Iterable[str] | str):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class RunError(LpmError, RuntimeError):
    """Something went wrong while a run was under way; everything committed to the store before it is intact."""
