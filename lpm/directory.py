"""The directory of a run: made, tried, and held by one process at a time."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from lpm.errors import InputError


def new(out: str | Path) -> Path:
    """A directory that is made, or was empty.

    Raises:
        InputError: if something is in it, or it cannot be written.
    """
    path = Path(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(
            f"{path}: asked for a new or empty directory, got one that holds something; write another --out, "
            "or --resume to go on with the run in it"
        )
    return writable(path)


def writable(path: Path) -> Path:
    """The directory, made if need be, after a file was written in it.

    Raises:
        InputError: if that fails.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (path / ".writable").touch()
            (path / ".writable").unlink()
    except OSError as error:
        raise InputError(
            f"{path}: asked for a directory that can be written, got: {error.strerror}; write another --out"
        ) from None
    return path


def sync(path: Path) -> None:
    """Have a file or the names in a folder reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A hidden path to write instead of a file, which then appears as a whole and has reached the disk.

    After an error neither is there; a process that is killed leaves the hidden one behind.
    """
    part = file.with_name(f".{file.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        yield part
        sync(part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def publish(file: Path, content: bytes) -> None:
    """Write a file that appears as a whole, and reaches the disk."""
    with whole(file) as part:
        part.write_bytes(content)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other runs out of a directory; the system lets go when the process ends, whatever ends it.

    Raises:
        InputError: if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{path}: asked for a directory that nobody else writes, got one in which a run is under way; "
                "wait until it ends, or write another --out"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)
