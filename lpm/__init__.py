"""lpm: large populations, agent by agent, in JAX."""

from lpm.engine import simulate
from lpm.errors import InputError, LpmError, RunError
from lpm.kernels.random import Key, key
from lpm.model import Model, Substep, chain
from lpm.observe import Observable
from lpm.state import State, initial_state

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "Key",
    "LpmError",
    "Model",
    "Observable",
    "RunError",
    "State",
    "Substep",
    "__version__",
    "chain",
    "initial_state",
    "key",
    "simulate",
]
