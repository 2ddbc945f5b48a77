"""A world's parameters by name: which entries there are, and the directions of derivatives along them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from lpm.errors import InputError
from lpm.world import World


def named_entries(params: Any) -> dict[str, Any]:
    """The entries of the parameters by path.

    >>> named_entries({"mean_days": {"exposed": 3.0}})
    {'mean_days.exposed': 3.0}
    """
    return {keystr(path, simple=True, separator="."): leaf for path, leaf in tree_flatten_with_path(params)[0]}


def directions_of(params: Any, names: Sequence[str] | None) -> dict[str, Any]:
    """The change of the whole parameters that each name stands for."""
    leaves, tree = named_entries(params), jax.tree.structure(params)

    def direction(name: str) -> Any:
        stem, _, last = name.rpartition(".")
        at = (..., int(last)) if name not in leaves else ...
        values = {path: jnp.zeros_like(leaf) for path, leaf in leaves.items()}
        path = name if name in leaves else stem
        values[path] = values[path].at[at].set(leaves[path][at])
        return jax.tree.unflatten(tree, list(values.values()))

    if names is None:
        names = [path for path, leaf in leaves.items() if np.any(np.asarray(leaf) != 0)]
    problems = [problem for name in names if (problem := _unknown(name, leaves))]
    if problems:
        raise InputError(problems)
    chosen = {name: direction(name) for name in names}
    zero = [
        name for name, each in chosen.items() if not any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(each))
    ]
    if zero:
        raise InputError(
            f"parameters: asked for entries to change in proportion, got {', '.join(zero)}, which is zero; "
            "leave it out, or give `jacobian` a direction"
        )
    return chosen


def followed(world: World, directions: dict[str, Any], method: str, some: bool) -> dict[str, Any]:
    """The directions, or if `some` will do those of them, that a rule follows."""
    cut = {
        name: world.cut(path for path, leaf in named_entries(each).items() if np.any(np.asarray(leaf) != 0))
        for name, each in directions.items()
    }
    told = ", ".join(sorted({path for paths in cut.values() for path in paths}))
    if told and not some:
        raise InputError(
            f"method: asked for derivatives by {method!r}, got {told}, which "
            'decides by counting whom it reaches, so that a rule would say zero; write method="differences"'
        )
    return {name: each for name, each in directions.items() if not cut[name]}


def _unknown(name: str, leaves: Mapping[str, Any]) -> str | None:
    """What is wrong with the name of a parameter."""
    stem, _, last = name.rpartition(".")
    if name in leaves:
        return None
    if stem in leaves and last.isdigit():
        shape = np.shape(leaves[stem])
        if shape and int(last) < shape[-1]:
            return None
        return f"parameters: asked for position {last} of {stem}, got the shape {shape}; write {stem}, or a smaller one"
    known = ", ".join(leaves)
    return f"parameters: asked for some of {known}, got {name!r}; {nearest(name, tuple(leaves))}"


def nearest(name: str, known: Sequence[str]) -> str:
    ends = {path.rpartition(".")[2]: path for path in known}
    near = difflib.get_close_matches(name, [*known, *ends], 1, 0.5)
    return f"write `{ends.get(near[0], near[0])}`" if near else "write one of them"
