"""`lpm new`: an example model with its config and its test, to make one's own from."""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import Path

from rich.console import Console

from lpm.errors import InputError

FILES = ("model.py", "config.yaml", "test_model.py")


def write(directory: Path, console: Console) -> None:
    """Write the example into a new or empty directory.

    Raises:
        InputError: if there is something in it already.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(
            f"{directory}: asked for a new or empty directory, got one that holds something; write another name"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (directory / name).write_text((resources.files("lpm") / "templates" / name).read_text("utf-8"), "utf-8")
    except OSError as error:
        raise InputError(
            f"{directory}: asked for a directory that can be written, got: {error.strerror}; write another name"
        ) from None
    console.print(
        f"Wrote {', '.join(FILES)} to {directory}. Now:\n\n"
        f"  cd {shlex.quote(str(directory))}\n  lpm run config.yaml\n  python -m pytest\n\n"
        "model.py reads from top to bottom; change it and run again.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
