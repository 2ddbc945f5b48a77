"""lpm: large populations, agent by agent, in JAX.

>>> import lpm
>>> model = lpm.chain(age=lambda params, state, key: (state.replace(age=state.agents["age"] + 1), {}))
>>> model.substeps[0][0]
'age'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpm.engine import simulate
    from lpm.errors import InputError, LpmError, RunError
    from lpm.kernels.random import Key, key
    from lpm.model import Model, Substep, chain
    from lpm.observe import Observable
    from lpm.runner import run
    from lpm.settings import Calendar
    from lpm.state import State, initial_state
    from lpm.store import open
    from lpm.world import World

__version__ = "0.1.0"

# Names are imported when they are first used: `lpm --help` need not wait for JAX, nor a builder for zarr.
_HOMES = {
    "Calendar": "settings",
    "InputError": "errors",
    "Key": "kernels.random",
    "LpmError": "errors",
    "Model": "model",
    "Observable": "observe",
    "RunError": "errors",
    "State": "state",
    "Substep": "model",
    "World": "world",
    "chain": "model",
    "initial_state": "state",
    "key": "kernels.random",
    "open": "store",
    "run": "runner",
    "simulate": "engine",
}

__all__ = [
    "Calendar",
    "InputError",
    "Key",
    "LpmError",
    "Model",
    "Observable",
    "RunError",
    "State",
    "Substep",
    "World",
    "chain",
    "initial_state",
    "key",
    "open",
    "run",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lpm' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"lpm.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
