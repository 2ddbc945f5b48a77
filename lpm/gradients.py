"""Does a gradient hold? Derivatives of observables against central differences under common random numbers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm.engine import simulate
from lpm.kernels import random, shadows
from lpm.model import Model
from lpm.observe import Observable
from lpm.state import State
from lpm.world import World

SLOPE, COSINE = 0.05, 0.99  # a derivative holds if its slope is as near to 1, and its cosine above
DOUBTFUL = 0.05  # standard errors above this decide nothing


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One observable's derivative with respect to one parameter, over the whole recorded curve.

    Args:
        parameter: path of the entry in the parameters.
        observable: name.
        slope: of the estimate regressed on the reference; 1 if right.
        error: standard error of the slope over realizations, from both.
        cosine: between the two mean curves; 1 if right.
        verdict: "holds", "off", "unsure" (the error is too large to tell), "cut" (the estimate is zero and the
            reference is not), "none" (both are zero).
    """

    parameter: str
    observable: str
    slope: float
    error: float
    cosine: float
    verdict: str


@dataclasses.dataclass(frozen=True)
class GradientCheck:
    """What `check_gradient` found; print it for a table.

    Args:
        comparisons: one for each parameter and observable.
        warnings: sentences.
        rule: that was checked.
        realizations: how many.
    """

    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...]
    rule: str
    realizations: int

    @property
    def holds(self) -> bool:
        """Whether nothing is off or cut."""
        return not any(each.verdict in ("off", "cut") for each in self.comparisons)

    def __str__(self) -> str:
        width = max(len("parameter"), *(len(each.parameter) for each in self.comparisons))
        wide = max(len("observable"), *(len(each.observable) for each in self.comparisons))
        lines = [f"{'parameter':{width}}  {'observable':{wide}}   slope  ± error  cosine  verdict"]
        for each in self.comparisons:
            numbers = f"{each.slope:6.3f}  ± {each.error:5.3f}  {each.cosine:6.4f}"
            lines.append(f"{each.parameter:{width}}  {each.observable:{wide}}  {numbers}  {each.verdict}")
        found = {
            verdict: sum(each.verdict == verdict for each in self.comparisons)
            for verdict in ("holds", "off", "cut", "unsure", "none")
        }
        lines.append(
            f"rule {self.rule}, {self.realizations} realizations: "
            + ", ".join(f"{n} {v}" for v, n in found.items() if n)
        )
        return "\n".join([*lines, *self.warnings])


def check_gradient(
    world: World,
    *,
    steps: int,
    parameters: Sequence[str] | None = None,
    observables: Sequence[str] | None = None,
    realizations: int = 32,
    seed: int = 0,
    change: float | Mapping[str, float] = 0.05,
    rule: shadows.Rule = "cavity",
) -> GradientCheck:
    """Compare derivatives with central differences under common random numbers.

    Each entry of the parameters is changed as a whole, in proportion to its values: d y((1 + e) theta) / de at e = 0.
    The reference is the fourth-order difference (4 D(h) - D(2h)) / 3 with D(h) = (y((1 + h) theta) - y((1 - h) theta))
    / 2h.

    Args:
        world: what is simulated.
        steps: how many steps, at least 4; take the whole epidemic.
        parameters: paths of entries, such as "transmission" or "disease.mean_days.exposed"; None for all that are not
            zero.
        observables: names; None for all.
        realizations: pairs of runs, at least 2; errors fall with their square root.
        seed: of the draws.
        change: h, for all parameters or by path (0.05 for those left out); smaller is less biased and noisier. A number
            of agents is rounded, so take h such that it changes by several agents.
        rule: see `simulate`.

    Returns:
        the comparisons, with a verdict each. A warning is added where a derivative still grows when nothing happens any
        more.

    Raises:
        ValueError: for names that the world does not have.

    >>> from lpm.settings import Calendar
    >>> from lpm.worlds import sir
    >>> world = sir.build(sir.Settings(agents=300, contacts=sir.Contacts("well_mixed"), transmission=0.3), Calendar(10))
    >>> found = check_gradient(world, steps=10, parameters=["transmission"], observables=["infectious"], realizations=4)
    >>> [(each.parameter, each.observable) for each in found.comparisons]
    [('transmission', 'infectious')]
    """
    if realizations < 2 or steps < 4:
        raise ValueError(
            f"check_gradient: asked for at least 2 realizations and 4 steps, got {realizations} and {steps}"
        )
    directions = _directions(world.params, parameters)
    seen = tuple(each for each in world.observables if observables is None or each.name in observables)
    unknown = set(observables or ()) - {each.name for each in seen}
    if unknown:
        raise ValueError(
            f"check_gradient: the world has no observables {sorted(unknown)}; "
            f"it has {[each.name for each in world.observables]}"
        )
    keys = jax.vmap(lambda r: random.key(seed, r))(jnp.arange(realizations))
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *directions.values())
    values, estimates = _derivatives(world.model, seen, steps, rule, world.params, stacked, world.state, keys)
    run = functools.partial(_values, world.model, seen, steps)
    comparisons, warnings = [], []
    for number, (path, direction) in enumerate(directions.items()):
        h = change if isinstance(change, int | float) else change.get(path, 0.05)

        def at(factor: float, direction: Any = direction) -> dict[str, np.ndarray]:
            moved = jax.tree.map(lambda value, by: value + jnp.float32(factor) * by, world.params, direction)
            return {name: np.asarray(found, np.float64) for name, found in run(moved, world.state, keys).items()}

        up, down, far_up, far_down = at(h), at(-h), at(2 * h), at(-2 * h)
        for each in seen:
            near, far = up[each.name] - down[each.name], far_up[each.name] - far_down[each.name]
            reference = ((8 * near - far) / (12 * h)).reshape(realizations, -1)
            estimate = np.asarray(estimates[each.name], np.float64)[:, number]
            comparisons.append(_compare(path, each.name, estimate.reshape(realizations, -1), reference))
            if _grows(np.asarray(values[each.name]).mean(0), estimate.mean(0)):
                warnings.append(
                    f"d {each.name} / d {path} still grows when the value has come to rest: do not trust it"
                )
    return GradientCheck(tuple(comparisons), tuple(warnings), rule, realizations)


def _directions(params: Any, names: Sequence[str] | None) -> dict[str, Any]:
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    paths = {
        ".".join(str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in path): i
        for i, (path, _) in enumerate(leaves)
    }
    if names is None:
        names = [path for path, i in paths.items() if np.any(np.asarray(leaves[i][1]) != 0)]
    unknown = set(names) - paths.keys()
    if unknown:
        raise ValueError(f"check_gradient: the parameters have no {sorted(unknown)}; they have {list(paths)}")
    zeros = [jnp.zeros_like(leaf) for _, leaf in leaves]

    def only(i: int) -> Any:
        return jax.tree.unflatten(tree, [leaves[i][1] if i == j else zero for j, zero in enumerate(zeros)])

    return {name: only(paths[name]) for name in names}


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _values(
    model: Model, observe: tuple[Observable, ...], steps: int, params: Any, state: State, keys: random.Key
) -> dict[str, jax.Array]:
    return jax.lax.map(lambda key: simulate(model, params, state, key, steps=steps, observe=observe)[1], keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _derivatives(
    model: Model,
    observe: tuple[Observable, ...],
    steps: int,
    rule: shadows.Rule,
    params: Any,
    directions: Any,
    state: State,
    keys: random.Key,
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    def one(key: random.Key) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        def curve(p: Any) -> dict[str, jax.Array]:
            return simulate(model, p, state, key, steps=steps, observe=observe, rule=rule)[1]

        # One primal run serves all directions; it is the same for each, so the first stands for all.
        values, found = jax.vmap(lambda d: jax.jvp(curve, (params,), (d,)))(directions)
        return jax.tree.map(lambda x: x[0], values), found

    return jax.lax.map(one, keys)


def _compare(parameter: str, observable: str, estimate: np.ndarray, reference: np.ndarray) -> Comparison:
    mean, true = estimate.mean(0), reference.mean(0)
    size = true @ true
    if size == 0:
        return Comparison(parameter, observable, np.nan, np.nan, np.nan, "none" if not mean.any() else "unsure")
    slopes = (estimate - reference) @ true / size
    slope = float(mean @ true / size)
    error = float(slopes.std(ddof=1) / len(slopes) ** 0.5)
    cosine = float(mean @ true / np.sqrt(size * (mean @ mean))) if mean.any() else 0.0
    if not mean.any():
        verdict = "cut"
    elif abs(slope - 1) > SLOPE + 2 * error:
        verdict = "off"
    elif error > DOUBTFUL:
        verdict = "unsure"
    else:
        verdict = "holds" if abs(slope - 1) <= SLOPE and cosine > COSINE else "off"
    return Comparison(parameter, observable, slope, error, cosine, verdict)


def _grows(value: np.ndarray, derivative: np.ndarray) -> bool:
    """Whether a derivative grows over the last quarter of a curve while the value does not change."""
    last = max(2, len(value) // 4)
    value, derivative = value.reshape(len(value), -1).sum(1), np.abs(derivative.reshape(len(derivative), -1)).sum(1)
    rest = value[-last:]
    if np.ptp(rest) > 0.01 * np.ptp(value):
        return False
    return bool(derivative[-1] > 1.2 * derivative[-last] and derivative[-1] > 0.1 * derivative.max())
