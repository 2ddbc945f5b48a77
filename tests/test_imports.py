"""Which file may import what: calibration -> lpm -> kernels -> jax, and heavy libraries in one place each."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"lpm": "lpm", "kernels": "lpm.kernels", "calibration": "lpm.calibration"}

# Who may import a library at all; and, of the slow ones, who may do so when itself imported rather than when called.
ALLOWED_ANYWHERE = {
    "xarray": ["lpm.store", "lpm.store.*", "lpm.plot*", "lpm.report", "lpm.studies.*", "lpm.calibration.results"],
    "zarr": ["lpm.store", "lpm.store.*", "lpm.plot*"],
    "tensorstore": ["lpm.store", "lpm.store.*"],
    "mpi4py": ["lpm.distributed"],
    "pydantic": ["lpm.config", "lpm.schema*"],
    "ruamel": ["lpm.config", "lpm.schema*"],
    "flax": ["lpm.behaviour", "lpm.behaviour.*", "lpm.calibration", "lpm.calibration.*"],
    "lpm.calibration": [
        "lpm.calibration",
        "lpm.calibration.*",
        "lpm.cli",
        "lpm.commands",
        "lpm.commands.*",
        "lpm.studies.command",
    ],
}
ALLOWED_AT_THE_TOP = {
    "xarray": ["lpm.store", "lpm.store.*"],
    "zarr": ["lpm.store", "lpm.store.*"],
}
KERNELS_MAY_IMPORT = {"jax", "numpy", "lpm.kernels"}
SLOW_TO_IMPORT = ["matplotlib", "pandas", "pyarrow", "pydantic", "ruamel", "scipy", "xarray", "zarr"]


class Import(NamedTuple):
    """`importer` imports `name` on `line`: when it is itself imported if `at_the_top`, else when called."""

    importer: str
    name: str
    line: int
    at_the_top: bool


def module_name(path: Path) -> str:
    """The dotted name under which a file of the tree is installed: kernels/random.py is lpm.kernels.random."""
    folder, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[folder], *(part for part in rest if part != "__init__")])


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def resolved(node: ast.ImportFrom, importer: str, is_package: bool) -> str:
    """The absolute name of the module: in lpm.kernels.graph, `from .random import x` names lpm.kernels.random."""
    if not node.level:
        return str(node.module)
    package = importer.split(".") if is_package else importer.split(".")[:-1]
    return ".".join([*package[: len(package) + 1 - node.level], *filter(None, [node.module])])


def imports_in(source: str, importer: str, is_package: bool = False) -> Iterator[Import]:
    """Every import of a source text, with relative ones resolved."""

    def visit(node: ast.AST, at_the_top: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(importer, alias.name, node.lineno, at_the_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolved(node, importer, is_package)
            yield from (Import(importer, f"{base}.{alias.name}", node.lineno, at_the_top) for alias in node.names)
        called = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_the_top and not called and not is_for_types_only(node))

    return visit(ast.parse(source), True)


def files_of(folder: str) -> list[Path]:
    """The Python files of a folder; links are not followed, and templates are a user's files."""
    found = sorted((ROOT / folder).rglob("*.py"))
    return [path for path in found if path.resolve() == path and "templates" not in path.parts]


def imports_of_the_tree() -> list[Import]:
    files = [path for folder in FOLDERS for path in files_of(folder)]
    found = (imports_in(path.read_text("utf-8"), module_name(path), path.stem == "__init__") for path in files)
    return [each for imports in found for each in imports]


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def may(importer: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(importer, pattern) for pattern in patterns)


def breaks_a_rule(found: Import) -> bool:
    if is_within(found.importer, "lpm.kernels"):
        top = found.name.split(".")[0]
        if top not in sys.stdlib_module_names and not any(is_within(found.name, p) for p in KERNELS_MAY_IMPORT):
            return True
    tables = [ALLOWED_ANYWHERE, ALLOWED_AT_THE_TOP] if found.at_the_top else [ALLOWED_ANYWHERE]
    return any(
        is_within(found.name, library) and not may(found.importer, patterns)
        for table in tables
        for library, patterns in table.items()
    )


def test_imports_flow_one_way() -> None:
    broken = [found for found in imports_of_the_tree() if breaks_a_rule(found)]
    lines = [f"{found.importer}:{found.line} imports {found.name}" for found in broken]
    assert not lines, "the tables of tests/test_imports.py say who may import what:\n" + "\n".join(lines)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_is_read(folder: str) -> None:
    assert files_of(folder)


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("lpm.kernels.graph", "import scipy.sparse"),
        ("lpm.kernels.graph", "from lpm import model"),
        ("lpm.kernels.graph", "from .. import model"),
        ("lpm.kernels.graph", "def f():\n    import optax"),
        ("lpm.model", "from lpm.calibration import loss"),
        ("lpm.model", "from lpm import calibration"),
        ("lpm.model", "from . import calibration"),
        ("lpm.model", "def f():\n    from .calibration import loss"),
        ("lpm.model", "if TYPE_CHECKING:\n    import zarr"),
        ("lpm.model", "try:\n    import mpi4py\nexcept ImportError:\n    pass"),
        ("lpm.plot", "class A:\n    import xarray as xr"),
        ("lpm.report", "import xarray as xr"),
        ("lpm.runner", "from ruamel.yaml import YAML"),
        ("lpm.runner", "def f():\n    import flax.nnx"),
    ],
)
def test_a_forbidden_import_is_seen(importer: str, source: str) -> None:
    assert any(breaks_a_rule(found) for found in imports_in(source, importer))


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("lpm.kernels.graph", "import functools\nimport jax.numpy as jnp\nfrom .random import uniform"),
        ("lpm.calibration.fit", "import flax\nfrom lpm import model\nfrom lpm.calibration import loss"),
        ("lpm.cli", "def fit():\n    from lpm.calibration import fit"),
        ("lpm.plot_maps", "if TYPE_CHECKING:\n    import xarray"),
        ("lpm.report", "if TYPE_CHECKING:\n    import xarray"),
        ("lpm.plot", "def curve():\n    import xarray"),
        ("lpm.store", "import xarray\nimport zarr"),
    ],
)
def test_an_allowed_import_passes(importer: str, source: str) -> None:
    found = list(imports_in(source, importer))
    assert found
    assert not any(breaks_a_rule(each) for each in found)


def test_importing_lpm_leaves_the_slow_libraries_alone() -> None:
    code = f"import sys, lpm; print(*(name for name in {SLOW_TO_IMPORT} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split(), "import these inside the functions that need them"
