"""Derivatives of observed curves for few parameters, and whether they hold against differences between runs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lpm import clustering
from lpm.agreement import FEWEST, VERDICTS, Comparison, Verdict, compare
from lpm.engine import LOG_PROBABILITY, simulate
from lpm.entries import directions_of, followed, named_entries, nearest
from lpm.errors import InputError
from lpm.kernels import random, shadows
from lpm.model import Model
from lpm.observe import Observable
from lpm.state import State, integer_arrays
from lpm.world import World

Method = shadows.Rule | Literal["differences"]
CHANGE = 0.05  # h, if nothing else is said
MANY = 300_000  # agents; from here on directions are followed in turn


@dataclasses.dataclass(frozen=True, repr=False)
class Jacobian:
    """Observed curves and their derivatives, realization by realization; take the mean over the first axis.

    Args:
        parameters: names, in the order of the derivatives.
        values: for each observable, (realizations, steps, ...) float32.
        derivatives: for each observable, (realizations, parameters, steps, ...) float32.
        method: that they were found with.
    """

    parameters: tuple[str, ...]
    values: dict[str, np.ndarray]
    derivatives: dict[str, np.ndarray]
    method: str

    def __repr__(self) -> str:
        realizations, records = next(iter(self.values.values())).shape[:2]
        of = f"d ({', '.join(self.values)}) / d ({', '.join(self.parameters)})"
        return f"Jacobian({of} by {self.method}: {realizations} × {records} steps)"


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

    def counted(self) -> dict[Verdict, int]:
        """How many comparisons came to each verdict that there is."""
        numbers = {verdict: sum(each.verdict == verdict for each in self.comparisons) for verdict in VERDICTS}
        return {verdict: number for verdict, number in numbers.items() if number}

    def __str__(self) -> str:
        width = max(len("parameter"), *(len(each.parameter) for each in self.comparisons))
        wide = max(len("observable"), *(len(each.observable) for each in self.comparisons))
        lines = [f"{'parameter':{width}}  {'observable':{wide}}   slope  ± error  cosine  verdict"]
        for each in self.comparisons:
            numbers = f"{each.slope:6.3f}  ± {each.error:5.3f}  {each.cosine:6.4f}"
            lines.append(f"{each.parameter:{width}}  {each.observable:{wide}}  {numbers}  {each.verdict}")
        found = ", ".join(f"{number} {verdict}" for verdict, number in self.counted().items())
        return "\n".join([*lines, f"rule {self.rule}, {self.realizations} realizations: {found}", *self.warnings])


def jacobian(
    world: World,
    parameters: Sequence[str] | Mapping[str, Any] | None = None,
    *,
    steps: int,
    observables: Sequence[str] | None = None,
    realizations: int = 1,
    seed: int = 0,
    method: Method = "cavity",
    change: float | Mapping[str, float] = CHANGE,
    order: Literal[2, 4] = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Jacobian:
    """Derivatives of whole observed curves with respect to some tens of parameters.

    J_k(t) = d y_t(theta + e d_k) / de at e = 0,        d_k = theta_k, the entry's own values, if it is named

    so that a named scalar's derivative with respect to itself is J_k / theta_k. "differences" runs the same draws with
    changed parameters (Glasserman 2004, section 7.1):

        order 2: D(h) = (y(theta + h d) - y(theta - h d)) / 2h,        order 4: (4 D(h) - D(2h)) / 3

    "score" weights what each run has seen with the derivative of its probability (`lpm.kernels.score`), less the mean
    of the other runs:

        J_k(t) = (y_r(t) - mean_{s != r} y_s(t)) d log p_r(t) / de

    Which is better: a rule follows each parameter through one simulation, so that its noise is lower and its cost
    does not grow with a smaller h; but it is an approximation, which `check_gradient` measures (docs/gradients.md has
    figures). Differences are right for every model, also one with parts that carry no derivative, up to terms
    of h^2 (order 4: h^4); they cost `order` plain runs for each parameter and realization, and their noise grows as h
    falls and as runs with the same draws part. Take a rule where `check_gradient` says that it holds and for more than
    a few parameters; take differences where a rule is off or cut.

    Args:
        world: what is simulated.
        parameters: paths of entries, such as "transmission" or "disease.mean_days.exposed", a number at the end being a
            position on the last axis ("disease.fork.admission.4"); or a mapping of names to directions d_k, pytrees as
            the world's parameters. None for all entries that are not zero, and that the method follows.
        steps: how many steps.
        observables: names; None for all.
        realizations: how many simulations; noise falls with their square root. At least 2 for "score".
        seed: of the draws.
        method: a rule of `simulate`, or "differences".
        change: h, for all parameters or by name (0.05 for those left out). A number of agents is rounded, so take h
            such that it changes by several agents. For "differences" only.
        order: for "differences" only.
        progress: called with the realizations done and their number.

    Returns:
        values and derivatives, see `Jacobian`.

    Raises:
        InputError: for names that the world does not have, entries that are zero, and a rule for parameters that none
            follows (`World.unfollowed`).

    Warns:
        ClusteredContacts: if the rule is "cavity" and a graph so clustered that its derivatives may be off.

    >>> from lpm.settings import Calendar
    >>> from lpm.worlds import sir
    >>> world = sir.build(sir.Settings(agents=300, contacts=sir.Contacts("well_mixed"), transmission=0.3), Calendar(10))
    >>> found = jacobian(world, ["transmission", "infectious_days"], steps=10, observables=["infectious"])
    >>> found
    Jacobian(d (infectious) / d (transmission, infectious_days) by cavity: 1 × 10 steps)
    >>> found.derivatives["infectious"].shape
    (1, 2, 10)
    """
    if method != "differences" and method not in shadows.RULES:
        known = (*shadows.RULES, "differences")
        raise InputError(f"method: asked for one of {', '.join(known)}, got {method!r}; {nearest(method, known)}")
    directions = dict(parameters) if isinstance(parameters, Mapping) else directions_of(world.params, parameters)
    if method != "differences":
        directions = followed(world, directions, method, parameters is None)
    if method == "cavity":
        clustering.warn(world.state)
    return _jacobian(world, directions, steps, _observed(world, observables), realizations, seed, method, change, order,
                     progress)  # fmt: skip


def _jacobian(
    world: World,
    directions: dict[str, Any],
    steps: int,
    seen: tuple[Observable, ...],
    realizations: int,
    seed: int,
    method: Method,
    change: float | Mapping[str, float] = CHANGE,
    order: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Jacobian:
    """As `jacobian`, for directions that are known to be good, or whose zeros are what is asked about."""
    one = _of_one(world, directions, steps, seen, seed, method, change, order)
    if method == "score" and realizations < 2:
        raise InputError(f"score: asked for at least 2 realizations, got {realizations}; write realizations=2 or more")
    found = []
    for realization in range(realizations):  # in turn, so that one is in memory at a time
        found.append(one(realization))
        if progress:
            progress(realization + 1, realizations)
    return _stacked(found, directions, method)


# What is seen in a realization, and its derivatives, by observable.
One = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


def _of_one(
    world: World,
    directions: dict[str, Any],
    steps: int,
    seen: tuple[Observable, ...],
    seed: int,
    method: Method,
    change: float | Mapping[str, float] = CHANGE,
    order: int = 2,
) -> Callable[[int], One]:
    """A function that simulates one realization and its derivatives."""
    if method == "differences":
        moved, weights = _moved(world.params, directions, change, order)
    else:
        stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *directions.values())

    def one(realization: int) -> One:
        key = random.key(seed, realization)
        if method == "differences":
            runs = _plain(world.model, seen, steps, moved, world.state, key)
            value = {name: run[0] for name, run in runs.items()}
            derivative = {name: _differences(np.asarray(run[1:], np.float64), weights) for name, run in runs.items()}
        elif method == "score":
            value, likelier = _scored(world.model, seen, steps, world.params, stacked, world.state, key)
            derivative = dict.fromkeys(value, likelier)
        else:
            value, derivative = _ruled(world.model, seen, steps, method, world.params, stacked, world.state, key)
        names = [each.name for each in seen]
        return (
            {name: np.asarray(value[name], np.float32) for name in names},
            {name: np.asarray(derivative[name], np.float32) for name in names},
        )

    return one


def _stacked(found: list[One], directions: dict[str, Any], method: Method) -> Jacobian:
    """Realizations one after another."""
    values, derivatives = (
        {name: np.stack([each[part][name] for each in found]) for name in found[0][part]} for part in (0, 1)
    )
    if method == "score":
        derivatives = {name: _weighted(values[name], each) for name, each in derivatives.items()}
    return Jacobian(tuple(directions), values, derivatives, method)


def check_gradient(
    world: World,
    *,
    steps: int,
    parameters: Sequence[str] | None = None,
    observables: Sequence[str] | None = None,
    realizations: int = 32,
    seed: int = 0,
    change: float | Mapping[str, float] = CHANGE,
    rule: shadows.Rule = "cavity",
    progress: Callable[[int, int], None] | None = None,
) -> GradientCheck:
    """Compare a rule's derivatives with central differences of fourth order under common random numbers.

    Both as in `jacobian`, each entry of the parameters changed as a whole, in proportion to its values; see `compare`
    for what they are held to.

    Args:
        world: what is simulated.
        steps: how many steps, at least 4; take the whole epidemic.
        parameters, observables, seed, change: see `jacobian`; the reference also takes steps of 2h.
        realizations: how many of both, at least 3; errors fall with their square root.
        rule: see `simulate`.
        progress: called with the realizations done and their number.

    Returns:
        the comparisons, with a verdict each. A warning is added where a derivative still grows when nothing happens any
        more, where a change of a parameter changed nothing, where contacts are clustered, and of integer arrays if
        something is off or cut.

    Raises:
        InputError: for names that the world does not have.

    >>> from lpm.settings import Calendar
    >>> from lpm.worlds import sir
    >>> world = sir.build(sir.Settings(agents=300, contacts=sir.Contacts("well_mixed"), transmission=0.3), Calendar(10))
    >>> found = check_gradient(world, steps=10, parameters=["transmission"], observables=["infectious"], realizations=4)
    >>> [(each.parameter, each.observable) for each in found.comparisons]
    [('transmission', 'infectious')]
    """
    if realizations < FEWEST or steps < 4:
        raise InputError(
            f"check_gradient: asked for at least {FEWEST} realizations and 4 steps, got {realizations} and {steps}; "
            f"write realizations={max(realizations, FEWEST)}, steps={max(steps, 4)}"
        )
    directions = directions_of(world.params, parameters)
    both = (world, directions, steps, _observed(world, observables), seed)
    kinds = (_of_one(*both, rule), _of_one(*both, "differences", change, 4))
    pairs = []
    for realization in range(realizations):  # both in turn, so that each takes as long as the one before
        pairs.append(tuple(one(realization) for one in kinds))
        if progress:
            progress(realization + 1, realizations)
    found = _stacked([each[0] for each in pairs], directions, rule)
    reference = _stacked([each[1] for each in pairs], directions, "differences")
    comparisons, remarks = [], []
    for number, name in enumerate(found.parameters):
        estimates, references = (
            {key: value[:, number] for key, value in each.derivatives.items()} for each in (found, reference)
        )
        comparisons += [compare(name, key, estimates[key], references[key]) for key in estimates]
        remarks += [
            f"d {key} / d {name} is not a number: look on its way for a division by zero, or a logarithm or root of it"
            for key, estimate in estimates.items()
            if not np.isfinite(estimate).all()
        ]
        if not any(each.any() for each in references.values()) and any(each.any() for each in estimates.values()):
            remarks.append(f"the change of {name} changed nothing: it may be rounded; give it a larger `change`")
        remarks += [
            f"d {key} / d {name} still grows when the value has come to rest: do not trust it"
            for key, estimate in estimates.items()
            if _grows(found.values[key].mean(0), estimate.mean(0))
        ]
    integers = integer_arrays(world.state)
    if integers and any(each.verdict in ("off", "cut") for each in comparisons):
        remarks.append(
            f"{', '.join(integers)} of the agents: integers carry no derivative. If events change them and chances "
            "depend on them, make them `Stages`, or floats by `lpm.kernels.stages.amount`"
        )
    left_out = [name for name in named_entries(world.params) if parameters is None and name not in found.parameters]
    if left_out:
        remarks.append(f"not checked, being zero: {', '.join(left_out)}; parameters are changed in proportion")
    clustered = clustering.warning_of(world.state) if rule == "cavity" else None
    remarks += [clustered] if clustered else []
    return GradientCheck(tuple(comparisons), tuple(remarks), rule, realizations)


def _observed(world: World, names: Sequence[str] | None) -> tuple[Observable, ...]:
    known = [each.name for each in world.observables]
    problems = [
        f"observables: asked for some of {', '.join(known)}, got {name!r}; {nearest(name, known)}"
        for name in names or ()
        if name not in known
    ]
    if problems:
        raise InputError(problems)
    return tuple(each for each in world.observables if names is None or each.name in names)


def _moved(
    params: Any, directions: dict[str, Any], change: float | Mapping[str, float], order: int
) -> tuple[Any, np.ndarray]:
    """The parameters and all their changes, stacked; and what each pair of changes weighs in its derivative."""
    shifts = {1: 1 / 2} if order == 2 else {1: 8 / 12, 2: -1 / 12}
    all_moved, weights = [params], np.zeros((len(directions), len(shifts)))
    for number, (name, direction) in enumerate(directions.items()):
        h = change if isinstance(change, int | float) else change.get(name, CHANGE)
        weights[number] = [weight / h for weight in shifts.values()]
        for factor in (sign * times * h for times in shifts for sign in (1, -1)):
            by = jnp.float32(factor)
            all_moved.append(jax.tree.map(lambda value, d, by=by: value + by * d, params, direction))
    return jax.tree.map(lambda *parts: jnp.stack(parts), *all_moved), weights


def _differences(runs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Derivatives from runs in the order of `_moved`; exactly zero where the two of a pair are equal."""
    pairs = runs.reshape(*weights.shape, 2, *runs.shape[1:])
    return np.einsum("pk,pk...->p...", weights, pairs[:, :, 0] - pairs[:, :, 1])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _plain(
    model: Model, observe: tuple[Observable, ...], steps: int, moved: Any, state: State, key: random.Key
) -> dict[str, jax.Array]:
    return jax.lax.map(lambda params: simulate(model, params, state, key, steps=steps, observe=observe)[1], moved)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _ruled(
    model: Model,
    observe: tuple[Observable, ...],
    steps: int,
    rule: shadows.Rule,
    params: Any,
    directions: Any,
    state: State,
    key: random.Key,
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    def curve(p: Any) -> dict[str, jax.Array]:
        return simulate(model, p, state, key, steps=steps, observe=observe, rule=rule)[1]

    values, found = each_direction(lambda d: jax.jvp(curve, (params,), (d,)), directions, state)
    return jax.tree.map(lambda x: x[0], values), found  # they are the same for each direction


def each_direction(function: Callable[[Any], Any], directions: Any, state: State) -> Any:
    """A function of each of some stacked directions: in one run of few agents, in turn if they are many.

    One run serves all directions, which is faster until their ghosts no longer fit a processor's cache, and takes the
    memory of all of them (benchmarks/gradients/cost.py measures a million agents).

    >>> from lpm import initial_state
    >>> each_direction(lambda d: 2 * d, jnp.arange(3.0), initial_state({"wealth": jnp.ones(5)}))
    Array([0., 2., 4.], dtype=float32)
    """
    agents = max((leaf.shape[0] for leaf in jax.tree.leaves(state.agents)), default=0)
    return jax.vmap(function)(directions) if agents < MANY else jax.lax.map(function, directions)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _scored(
    model: Model,
    observe: tuple[Observable, ...],
    steps: int,
    params: Any,
    directions: Any,
    state: State,
    key: random.Key,
) -> tuple[dict[str, jax.Array], jax.Array]:
    """What is seen in a run, and d log p until each step: (parameters, steps)."""

    def log_probability(p: Any) -> jax.Array:
        return simulate(model, p, state, key, steps=steps, observe=(LOG_PROBABILITY,), rule="score")[1][
            LOG_PROBABILITY.name
        ]

    _, seen = simulate(model, params, state, key, steps=steps, observe=observe)
    return seen, each_direction(lambda d: jax.jvp(log_probability, (params,), (d,))[1], directions, state)


def _weighted(values: np.ndarray, likelier: np.ndarray) -> np.ndarray:
    """(y_r - mean of the others) d log p_r, from (realizations, steps, ...) and (realizations, parameters, steps)."""
    runs = len(values)
    above = (values - values.mean(0)) * np.float32(runs / (runs - 1))
    return above[:, None] * likelier.reshape(*likelier.shape, *[1] * (values.ndim - 2))


def _grows(value: np.ndarray, derivative: np.ndarray) -> bool:
    """Whether a derivative grows over the last quarter of a curve while the value does not change."""
    last = max(2, len(value) // 4)
    value, derivative = value.reshape(len(value), -1).sum(1), np.abs(derivative.reshape(len(derivative), -1)).sum(1)
    rest = value[-last:]
    if np.ptp(rest) > 0.01 * np.ptp(value):
        return False
    return bool(derivative[-1] > 1.2 * derivative[-last] and derivative[-1] > 0.1 * derivative.max())
