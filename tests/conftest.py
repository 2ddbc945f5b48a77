"""What every test runs under: JAX at its strictest, compiled programs kept between runs, no draw from the clock."""

import gc
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

# A silent promotion or broadcast is how a wrong array passes for a right one.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

hypothesis.settings.register_profile("lpm", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("lpm")


MUCH = 2.5e9  # bytes of resident memory that compiled programs may bring a worker to


@pytest.fixture(scope="module", autouse=True)
def few_programs() -> Iterator[None]:
    """Forget compiled programs between files where they have come to fill the memory."""
    yield
    pages = Path("/proc/self/statm")
    if pages.exists() and int(pages.read_text().split()[1]) * resource.getpagesize() > MUCH:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the larger data files, or a skip that says how to name it."""
    folder = os.environ.get("LPM_DATA_DIR")
    if not folder:
        pytest.skip("needs the larger data files: set LPM_DATA_DIR to the folder that holds them")
    if not Path(folder).is_dir():
        pytest.fail(f"LPM_DATA_DIR is {folder!r}, which is no folder; name the one that holds the data, or unset it")
    return Path(folder)
