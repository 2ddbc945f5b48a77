"""What an installed lpm must do where no checkout is in sight: run `python -I outside.py` with its interpreter."""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import subprocess
import sys
import sysconfig
from importlib.resources import files
from pathlib import Path

INSTALLED = Path(sysconfig.get_paths()["purelib"]).resolve()


def lpm(*arguments: str) -> None:
    command = [str(Path(sysconfig.get_path("scripts")) / "lpm"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def the_package_is_the_installed_one() -> None:
    for name in ("lpm", "lpm.kernels", "lpm.calibration"):
        where = Path(importlib.import_module(name).__file__ or "").resolve()
        assert where.is_relative_to(INSTALLED), f"{name} comes from {where}"
    for name in ("kernels", "calibration"):
        assert importlib.util.find_spec(name) is None, f"a top-level package {name} is installed"


def every_module_imports_without_the_extras() -> None:
    """A module that needs an extra may say so when imported; none may miss anything else."""
    wanted = importlib.metadata.requires("lpm") or []
    extras = {re.split(r"[^\w.-]", line)[0].replace("-", "_") for line in wanted if "extra ==" in line}
    package = importlib.import_module("lpm")
    for found in pkgutil.walk_packages(package.__path__, "lpm."):
        if ".templates" in found.name or found.name.endswith(".__main__"):
            continue
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in extras:
                raise


def the_embedded_data_is_there() -> None:
    tables = [*files("lpm").joinpath("data").iterdir(), *files("lpm.populations").joinpath("data").iterdir()]
    assert any(table.name.endswith(".csv") for table in tables), "no table in lpm/data or lpm/populations/data"
    assert files("lpm").joinpath("py.typed").is_file()


def the_command_line_answers() -> None:
    lpm("--help")


def every_configuration_is_valid() -> None:
    configurations = sorted(Path(str(files("lpm"))).joinpath("configs").rglob("*.yaml"))
    assert configurations, "no configuration was installed"
    for configuration in configurations:
        if "\nstudy:" not in configuration.read_text(encoding="utf-8"):  # a study is checked when it is run
            lpm("validate", str(configuration))


CHECKS = [
    the_package_is_the_installed_one,
    every_module_imports_without_the_extras,
    the_embedded_data_is_there,
    the_command_line_answers,
    every_configuration_is_valid,
]

if __name__ == "__main__":
    failed = 0
    for check in CHECKS:
        try:
            check()
        except Exception as error:
            failed += 1
            print(f"FAILED {check.__name__}: {type(error).__name__}: {error}")
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    sys.exit(failed > 0)
