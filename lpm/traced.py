"""A Python `if` on a value that JAX does not know yet, and its relatives: what to write instead."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from lpm.schema_yaml import one_line

LIBRARY = Path(__file__).resolve().parent
# JAX's exception -> what needs a value, and what does the same in a compiled step.
INSTEAD = {
    "TracerBoolConversionError": (
        "Python's `if`, `while`, `assert`, `and`, `or`, `not`, `min` and `max` need one",
        "`jnp.where(condition, a, b)` to choose between values (`&`, `|`, `~`, `jnp.minimum`, `jnp.maximum` for the "
        "others), or `jax.lax.cond(condition, f, g, x)` to choose between functions",
    ),
    "TracerArrayConversionError": (
        "functions of numpy need some",
        "the same function of `jax.numpy`: `jnp.` instead of `np.`",
    ),
    "TracerIntegerConversionError": (
        "Python's indices and ranges need one",
        "`jnp.asarray(table)[index]` instead of a list's item, or `jax.lax.fori_loop` instead of `for`",
    ),
    "NonConcreteBooleanIndexError": (
        "how many entries this has depends on some",
        "`jnp.where(mask, values, 0)`, which keeps the shape, instead of `values[mask]`",
    ),
    "ConcretizationTypeError": (
        "`int()`, `float()`, `.item()` and shapes need one",
        "arrays throughout: `x.astype(jnp.float32)` instead of `float(x)`; and take shapes from the settings",
    ),
}


def advice(error: BaseException, file: str = "") -> str | None:
    """What to write instead of Python's own decision on a traced value, with the line; None for any other exception.

    A step is traced once and compiled: while that is done, the state, the parameters and all draws have a shape and a
    dtype but no value.

    Args:
        error: what was raised.
        file: the model's, if it is known.

    >>> import jax
    >>> try:
    ...     jax.jit(lambda x: 1 if x > 0 else 2)(3.0)
    ... except jax.errors.TracerBoolConversionError as error:
    ...     advice(error).split("; ")[-1].split(" to ")[0]
    'write `jnp.where(condition, a, b)`'
    >>> advice(ValueError("no"))
    """
    known = [each.__name__ for each in type(error).__mro__ if each.__module__.startswith("jax")]
    name = next((each for each in known if each in INSTEAD), None)
    if name is None:
        return None
    needs, instead = INSTEAD[name]
    place = own_frame(error, file)
    line = f"`{one_line(place.line)[:80]}`" if place.line else "a line"
    return (
        "asked for steps that can be compiled while state, parameters and draws have no values yet, got "
        f"{line} in {place.filename}:{place.lineno} ({needs}); write {instead}"
    )


def own_frame(error: BaseException, file: str = "") -> traceback.FrameSummary:
    """The last call made from a file that is neither lpm's nor installed, else from this file, else the last one."""
    frames = traceback.extract_tb(error.__traceback__)
    of_model = [each for each in frames if file and Path(each.filename).name == Path(file).name]
    foreign = (
        f"{os.sep}site-packages{os.sep}",
        f"{os.sep}lib{os.sep}python",
        str(LIBRARY),
        str(LIBRARY.parent / "kernels"),
        str(LIBRARY.parent / "calibration"),
        str(Path(sys.prefix) / "bin"),
    )
    own = [each for each in frames if not any(part in each.filename for part in foreign)]
    return (own or of_model or list(frames))[-1]
