"""Where a result comes from: what a reader needs to make it again."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("lpm", "jax", "jaxlib", "numpy", "xarray", "zarr")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """The commit of the checkout that lpm runs from, with "+changes" if files differ from it; "" outside a checkout."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        root = git("rev-parse", "--show-toplevel")
        if not root or Path(root).resolve() != Path(__file__).resolve().parent.parent:
            return ""
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def provenance(
    *, config: str = "", overrides: Sequence[str] = (), seed: int = 0, title: str = "", notes: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Attributes for the store: title, config text, seed, versions, commit, command and number of hosts."""
    found = versions()
    return {
        "title": title,
        "source": f"lpm {found.get('lpm', '')}",
        "config": config,
        "config_overrides": "\n".join(overrides),
        "seed": str(seed),
        "versions": ", ".join(f"{name} {version}" for name, version in found.items()),
        "git_commit": git_commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "host_count": 1,
        "notes": "\n".join(notes),
    }
