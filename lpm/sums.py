"""Sums over agents that count places of nobody: found in a program before several devices run it.

Devices have places for agents of which some may stand for nobody (`lpm.padding`). What networks and the counts of
`lpm.kernels` add up leaves those out; a model's own sum has to: `ranks.present(values).sum()`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

MASK = "present"  # name of the function that masks, as a program's text shows it
REDUCING: dict[str, Callable[[Any], tuple[int, ...]]] = {
    **{f"reduce_{name}": lambda eqn: eqn.params["axes"] for name in ("sum", "max", "min", "prod", "or", "and", "xor")},
    **{name: lambda eqn: eqn.params["axes"] for name in ("argmax", "argmin")},
    **{name: lambda eqn: (eqn.params["axis"],) for name in ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")},
    "reduce": lambda eqn: eqn.params["dimensions"],
    "sort": lambda eqn: (eqn.params["dimension"],),
    "dot_general": lambda eqn: eqn.params["dimension_numbers"][0][0],
}
KEEPING = ("convert_element_type", "mul", "neg", "copy")  # zero where what they are given is


def of_nobody(program: ClosedJaxpr, places: int) -> list[str]:
    """The lines of a program that reduce rows of agents, places of nobody included.

    Args:
        program: that a device runs.
        places: of each device.

    >>> import jax.numpy as jnp
    >>> of_nobody(jax.make_jaxpr(lambda x: x + 1)(jnp.ones(3)), 3)
    []
    """
    found: list[str] = []
    _walk(program.jaxpr, set(), places, found, "")
    return list(dict.fromkeys(found))


def _walk(program: Jaxpr, masked: set[Any], places: int, found: list[str], caller: str) -> list[bool]:
    """Note lines, or that of the caller; whether each result is masked, given which arguments are."""

    def is_masked(variable: Any) -> bool:
        return not isinstance(variable, Literal) and variable in masked

    for eqn in program.eqns:
        name, inner = eqn.primitive.name, list(_inner(eqn.params))
        masks = name in ("jit", "pjit") and eqn.params["name"] == MASK
        if masks or (name in KEEPING and any(map(is_masked, eqn.invars))):
            masked |= set(eqn.outvars)
        elif _rows_of_agents(eqn, places) and not is_masked(eqn.invars[-1 if name.startswith("scatter") else 0]):
            found.append(_line(eqn) or caller or name)
        for each in inner:
            same = len(each.invars) == len(eqn.invars) and len(inner) == 1
            pairs = zip(each.invars, eqn.invars, strict=True) if same else ()
            out = _walk(each, {own for own, given in pairs if is_masked(given)}, places, found, _line(eqn) or caller)
            if same and len(out) == len(eqn.outvars) and name in ("jit", "pjit"):
                masked |= {variable for variable, is_ in zip(eqn.outvars, out, strict=True) if is_}
    return [is_masked(variable) for variable in program.outvars]


def _rows_of_agents(eqn: Any, places: int) -> bool:
    name = eqn.primitive.name
    if name.startswith("scatter"):  # sums by segment
        return places in eqn.invars[2].aval.shape and eqn.invars[0].aval.shape != eqn.invars[2].aval.shape
    if name not in REDUCING:
        return False
    shape = eqn.invars[0].aval.shape
    return any(shape[axis] == places for axis in REDUCING[name](eqn))


def _inner(params: dict[str, Any]) -> Any:
    for value in params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, ClosedJaxpr):
                yield each.jaxpr
            elif isinstance(each, Jaxpr):
                yield each


def _line(eqn: Any) -> str:
    """Where a model says it: the innermost line outside JAX, if any is known."""
    traceback, jaxs = eqn.source_info.traceback, str(Path(jax.__file__).parent)
    for frame in traceback.frames if traceback is not None else ():
        if not frame.file_name.startswith((jaxs, "<")):
            return f"{frame.file_name}:{frame.line_num}"
    return ""
