"""The source distribution, the wheel built from it, and that wheel at work where no checkout is in sight."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.xdist_group("packaging")]

ROOT = Path(__file__).parents[2]
FOLDERS = {"lpm": "lpm", "kernels": "lpm/kernels", "calibration": "lpm/calibration", "configs": "lpm/configs"}
SOURCES = [*FOLDERS, "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE"]


class Distributions(NamedTuple):
    """The two archives, and how often each path stands in them (the sdist's without its leading folder)."""

    sdist: Path
    wheel: Path
    in_sdist: Counter[str]
    in_wheel: Counter[str]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Built from a copy, so that neither leftovers of an earlier build nor this one's mix with the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    run(sys.executable, "-m", "build", "--no-isolation", cwd=copy)  # the sdist, then the wheel from the sdist
    (sdist,), (wheel,) = (copy / "dist").glob("*.tar.gz"), (copy / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        in_sdist = Counter(entry.name.partition("/")[2] for entry in archive if entry.isfile())
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = Counter(archive.namelist())
    return Distributions(sdist, wheel, in_sdist, in_wheel)


def files_of_the_tree() -> list[Path]:
    """What must ship: Python files and tables, all else under lpm/, and the configurations; links are not followed."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            ships = path.suffix in (".py", ".npy") or folder in ("lpm", "configs")
            if path.is_file() and path.resolve() == path and "__pycache__" not in path.parts and ships:
                found.append(path.relative_to(ROOT))
    return found


def installed(path: Path) -> str:
    return "/".join([FOLDERS[path.parts[0]], *path.parts[1:]])


def differences(found: Counter[str], wanted: Counter[str]) -> list[str]:
    names = sorted(name for name in found | wanted if found[name] != wanted[name])
    return [f"{name}: {wanted[name]} wanted, {found[name]} found" for name in names]


def test_the_wheel_holds_each_file_once_and_no_other(distributions: Distributions) -> None:
    found = Counter({name: count for name, count in distributions.in_wheel.items() if ".dist-info/" not in name})
    assert not differences(found, Counter(map(installed, files_of_the_tree())))


def test_the_source_distribution_holds_each_file_once(distributions: Distributions) -> None:
    found = Counter({n: c for n, c in distributions.in_sdist.items() if n.split("/")[0] in FOLDERS})
    assert not differences(found, Counter(path.as_posix() for path in files_of_the_tree()))


def test_the_wheel_carries_the_licence(distributions: Distributions) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in distributions.in_wheel)


def test_the_wheel_works_away_from_the_checkout(distributions: Distributions, tmp_path: Path) -> None:
    script = shutil.copy(ROOT / "tests" / "packaging" / "outside.py", tmp_path)
    uv, python = Path(sys.executable).with_name("uv"), tmp_path / "clean" / "bin" / "python"
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "clean", cwd=tmp_path)
    install = [uv, "pip", "install", "--quiet", "--python", python]
    run(*install, "--require-hashes", "-r", ROOT / "requirements" / "run.txt", cwd=tmp_path)
    run(*install, "--no-deps", distributions.wheel, cwd=tmp_path)
    print(run(python, "-I", script, cwd=tmp_path))
