"""A population on disk, found again by a hash of everything that made it.

Where: `populations` in the cache directory (see `lpm.cache`); one folder a population with an .npy file an array, read
back memory-mapped. The key covers the tables' bytes, the arguments and the source of this
package, so that nothing stale is ever read. Files carry checksums: a damaged population is made anew. A folder that
cannot be written is no error. The eight populations used last are kept.

Where several ranks build a world, the first of them makes what is not there, and each reads the rows of its own people.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lpm import building
from lpm.cache import cache_directory
from lpm.populations.population import Population, divided, own_people

VERSION = 1
KEEP = 8
DAY = 86_400.0  # seconds
PIECE = 1 << 22  # bytes


def cache_folder() -> Path:
    """The folder that holds cached populations; it need not exist."""
    return cache_directory() / "populations"


def key_of(tables: Path, **arguments: object) -> str:
    """Hash the tables in a folder, the arguments and the source of this package.

    Args:
        tables: folder of CSV files.
        arguments: whatever else decides the result; their `repr` counts.

    Returns:
        32 hexadecimal digits.

    >>> from lpm.populations.city import NEW_YORK_CITY
    >>> key_of(NEW_YORK_CITY, seed=1) == key_of(NEW_YORK_CITY, seed=2)
    False
    """
    digest = hashlib.sha256(f"{VERSION} {np.__version__} {sorted(arguments.items())!r}".encode())
    for path in sorted([*Path(__file__).parent.glob("*.py"), *tables.glob("*.csv")]):
        digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def cached(key: str, make: Callable[[], Population]) -> Population:
    """Read the population of this key from disk, or make it and keep it there.

    Args:
        key: from `key_of`.
        make: makes the population where it is not found, or found damaged.

    Returns:
        The population; its arrays are read-only and memory-mapped where they were found on disk. On several ranks the
        people of this rank.
    """
    if (part := building.part()) is not None:
        return _own(key, make, part)
    try:
        folder = cache_folder() / key
    except RuntimeError:  # no home folder to be found
        return make()
    found = _read(folder)
    if found is not None:
        return found
    population = make()
    with contextlib.suppress(OSError):
        _write(folder, population)
    return population


def _own(key: str, make: Callable[[], Population], part: building.Part) -> Population:
    """The people of this rank, read from disk after the first rank has put them there."""

    def there() -> Path | None:
        try:
            folder = cache_folder() / key
        except RuntimeError:
            return None
        if not _intact(folder):
            with contextlib.suppress(OSError):
                _write(folder, make())
        return folder if (folder / "about.json").is_file() else None

    folder = part.ranks.first(there)
    if folder is None or not all(part.ranks.all((folder / "about.json").is_file())):
        return own_people(make(), part)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    found = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in about["checksums"]}
    return divided(Population(**found, regions=tuple(about["regions"]), notes=tuple(about["notes"])), part)


def _intact(folder: Path) -> bool:
    """Whether a population's files have their checksums; read piece by piece."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        for name, expected in about["checksums"].items():
            with open(folder / f"{name}.npy", "rb") as file:
                np.lib.format.read_magic(file)
                np.lib.format.read_array_header_1_0(file)
                found = 0
                while piece := file.read(PIECE):
                    found = zlib.crc32(piece, found)
            if found != expected:
                return False
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return True


def _read(folder: Path) -> Population | None:
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in about["checksums"]}
        if any(_checksum(array) != about["checksums"][name] for name, array in arrays.items()):
            return None
        population = Population(**arrays, regions=tuple(about["regions"]), notes=tuple(about["notes"]))
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None
    with contextlib.suppress(OSError):
        os.utime(folder)
    return population


def _write(folder: Path, population: Population) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        for name, array in population.arrays().items():
            np.save(partial / f"{name}.npy", array)
        about = {
            "checksums": {name: _checksum(array) for name, array in population.arrays().items()},
            "regions": population.regions,
            "notes": population.notes,
        }
        (partial / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        if folder.exists():  # only a damaged one is ever written over
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _forget(folder.parent)


def _forget(parent: Path) -> None:
    """Remove all but the populations used last, and what a killed process left half written."""
    used = sorted((path.stat().st_mtime, path) for path in parent.iterdir())
    finished = [path for _, path in used if not path.name.startswith(".")]
    partial = [path for when, path in used if path.name.startswith(".partial-") and when < time.time() - DAY]
    for path in finished[:-KEEP] + partial:
        shutil.rmtree(path, ignore_errors=True)


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)
