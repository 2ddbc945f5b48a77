"""The user's cache directory: compiled programs and synthetic populations, safe to delete at any time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """$LPM_CACHE_DIR, or lpm in $XDG_CACHE_HOME, or ~/.cache/lpm."""
    own = os.environ.get("LPM_CACHE_DIR")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lpm"


def use_compilation_cache() -> None:
    """Let JAX keep compiled programs between processes: only the first run of a world waits for the compiler."""
    import jax

    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    jax.config.update("jax_compilation_cache_dir", str(cache_directory() / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # reading is quicker
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
