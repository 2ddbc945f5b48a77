"""Where a result comes from: what a reader needs to make it again."""

from __future__ import annotations

import datetime
import functools
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import lpm
from lpm.world import World

PACKAGES = ("jax", "jaxlib", "numpy", "xarray", "zarr")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the numbers."""
    found = {"python": platform.python_version(), "lpm": lpm.__version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
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


def provenance(world: World, seed: int) -> dict[str, Any]:
    """Attributes for the store: what was run, with which seed and versions, by which command, where and when."""
    return {
        "title": world.title,
        "source": f"lpm {lpm.__version__}",
        "config": "",
        "config_overrides": "",
        "seed": str(seed),
        "agents": world.agents,
        "scale": world.scale,
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "git_commit": git_commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "host_count": 1,
        "notes": "\n".join(world.notes),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
