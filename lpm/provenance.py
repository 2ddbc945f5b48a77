"""Where a result comes from: what a reader needs to make it again, and what must be the same to go on with it."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

import lpm
from lpm.fingerprints import checksum as checksum
from lpm.fingerprints import of_world
from lpm.settings import Calendar
from lpm.world import World

PACKAGES = ("jax", "jaxlib", "numpy", "xarray", "zarr")


@functools.cache
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


def joined(overrides: Iterable[str]) -> str:
    """What was given by `--set`, a line each; further lines of one begin with a tab. `parted` takes them apart.

    >>> joined(["run.steps=3", "title=one\\ntwo"])
    'run.steps=3\\ntitle=one\\n\\ttwo'
    """
    return "\n".join(each.replace("\n", "\n\t") for each in overrides)


def parted(text: str) -> list[str]:
    """The overrides that were joined.

    >>> parted(joined(["run.steps=3", "title=one\\ntwo"])), parted("")
    (['run.steps=3', 'title=one\\ntwo'], [])
    """
    return [each.replace("\n\t", "\n") for each in re.split(r"\n(?!\t)", text)] if text else []


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
        "ranks": 1 if world.share is None else world.share.ranks,
        "notes": "\n".join(world.notes),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def identity(
    world: World,
    calendar: Calendar,
    *,
    seed: int,
    realizations: int,
    every: int,
    snapshots: tuple[str, ...],
    snapshot_every: int,
    settings: Mapping[str, Any],
) -> dict[str, str]:
    """What makes a run this run, as text by dotted key: two runs that agree here have the same numbers.

    Args:
        settings: of the config, model and all; see `flat`.
    """
    told = any(key.endswith(".agents") and value is not None for key, value in settings.items())
    own = {
        "lpm": lpm.__version__,
        "agents": None if told else world.agents,
        "run.start": calendar.start,
        "run.steps": calendar.steps,
        "run.seed": seed,
        "run.realizations": realizations,
        "run.every": every,
        "run.snapshots.of": ", ".join(snapshots) or None,
        "run.snapshots.every": snapshot_every or None,
    }
    return {key: str(value) for key, value in {**settings, **own}.items() if value is not None}


def flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Leaves of nested dataclasses, mappings and sequences, by dotted key as `--set` takes it.

    >>> dict(flat({"layers": [{"from_": 3}, {"from_": 5}]}, "settings"))
    {'settings.layers.0.from': 3, 'settings.layers.1.from': 5}
    """
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        yield key, value
        return
    for name, each in value.items():
        yield from flat(each, f"{key}.{str(name).rstrip('_')}")


def differences(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A line for each key that changed.

    >>> differences({"run.seed": "1", "lpm": "0.1"}, {"run.seed": "2", "lpm": "0.1"})
    ['run.seed: was 1, is 2']
    """
    keys = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    return [f"{key}: was {was.get(key, 'not set')}, is {now.get(key, 'not set')}" for key in keys]


def fingerprints(world: World) -> dict[str, str]:
    """A few words on each thing that a run reads and never changes: parameters, attributes, networks."""
    fixed = of_world(world.state.fixed, world.agents) if world.share is None else world.share.fingerprints
    params = jax.tree_util.tree_leaves_with_path({"params": world.params})
    return fixed | {
        jax.tree_util.keystr(path, simple=True, separator="."): f"{np.shape(leaf)} {checksum(np.asarray(leaf))}"
        for path, leaf in params
    }
