"""The best policy of a study: found by derivatives through the simulator, held against a search without them.

Searches use draws of their own, so that the study's runs confirm what was found with fresh ones. What was found is kept
in `optimum.json`, and its policies are run as scenarios.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm import config as configs
from lpm.config import Config, build_world
from lpm.directory import publish
from lpm.engine import simulate
from lpm.errors import InputError
from lpm.kernels import random
from lpm.model import Model
from lpm.observe import Observable
from lpm.state import State
from lpm.studies.dials import Dials, closed_days, ratios
from lpm.studies.draws import Draws
from lpm.studies.objective import Found, Problem, Risk
from lpm.studies.outcomes import UnitCost
from lpm.studies.search import affordable, beside, descend, difference, simplex
from lpm.trial import agents_setting
from lpm.world import World

NAME = "optimum.json"
FRESH = 2**24  # realizations from here on are those of searches
RULE_COST = 40  # plain simulations that one with its derivatives backwards takes as long as, in the city


@dataclasses.dataclass(frozen=True)
class Policy:
    """What is to be optimised; amounts are of real people.

    Args:
        name: of the scenario that it becomes.
        dials: what is turned.
        costs: of the outcomes, that of the effect's worth among them.
        prices: of a day without the contacts of a layer.
        budget: most that the measures may cost.
        risk: of the burden.
        method: of the derivatives.
        realizations: of each point.
        simulations: at most, of each search.
        agents: of the searches; None for those of the base.
        seed: of their draws.
        compare: whether to search without derivatives as well.
        draws: from a fit, which the realizations take in turn.
    """

    name: str
    dials: Dials
    costs: tuple[UnitCost, ...]
    prices: tuple[tuple[str, float], ...]
    budget: float
    risk: Risk
    method: str
    realizations: int
    simulations: int
    agents: int | None
    seed: int
    compare: bool
    draws: Draws | None = None

    @property
    def other(self) -> str:
        """The name of what the search without derivatives finds."""
        return f"{self.name}, searched"

    @property
    def asked(self) -> str:
        """A checksum of all that the search depends on."""
        fields = [getattr(self, each.name) for each in dataclasses.fields(self) if each.name not in ("dials", "draws")]
        fields += [sorted(self.draws.about.items())] if self.draws else []
        base = self.dials.base
        return hashlib.sha256(repr((self.dials.dials, fields, base.text, base.overrides)).encode()).hexdigest()[:12]


def optimise(policy: Policy, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Search, and search without derivatives, with the same draws and as many simulations.

    Args:
        policy: what is optimised.
        say: called with a line for people.

    Returns:
        what `optimum.json` holds: for each search the changes of the config, the dials and its path.

    Raises:
        InputError: if no position of the dials is within the budget.
    """
    problem = posed(policy)
    cheapest = problem.cost(affordable(problem, problem.start))
    if cheapest > policy.budget * (1 + 1e-6):
        raise InputError(
            f"budget: asked for measures of at most {policy.budget:,.6g}, got {cheapest:,.6g} at the least; write a "
            "larger budget, or wider bounds"
        )
    ways = [("by derivatives", policy.name, lambda told: descend(problem, policy.simulations, told))]
    if policy.compare:
        ways.append(("without derivatives", policy.other, lambda told: simplex(problem, policy.simulations, told)))
    found = []
    for how, name, way in ways:
        say(f"{policy.name}, {how}: at most {policy.simulations:,} simulations")
        end = way(lambda line: say(f"  {line}"))
        found.append(_told(policy, name, how, end))
    return {"asked": policy.asked, "method": policy.method, "realizations": policy.realizations, "policies": found}


def _told(policy: Policy, name: str, how: str, found: Found) -> dict[str, Any]:
    x = policy.dials.rounded(found.best.dials)
    turned = [
        {"dial": dial.label, "low": dial.low, "high": dial.high, "moves": dial.moves, "base": dial.now, "found": value}
        for dial, value in zip(policy.dials.dials, policy.dials.values(x), strict=True)
    ]
    return {
        "name": name,
        "how": how,
        "changes": [[change.key, change.value] for change in policy.dials.changes(x)],
        "dials": turned,
        "value": found.best.value,
        "cost": found.best.cost,
        "simulations": found.simulations,
        "ended": found.ended,
        "path": [[point.simulations, point.value] for point in found.path],
    }


def posed(policy: Policy) -> Problem:
    """The problem that a policy poses, its world compiled once for all points."""
    base = policy.dials.base
    world = build_world(_sized(base, policy.agents))
    at, run = _params(policy.dials, world), base.run
    weights: dict[str, float] = {}
    for unit in policy.costs:
        weights[unit.outcome.variable] = weights.get(unit.outcome.variable, 0.0) + unit.amount / float(world.scale)
    observe = tuple(each for each in world.observables if each.name in weights)
    amounts = jnp.array([weights[each.name] for each in observe], jnp.float32)
    keys = [random.key(policy.seed, FRESH + number) for number in range(policy.realizations)]
    fixed = (world.model, observe, run.calendar.steps)

    def own(params: Any, number: int) -> Any:
        if policy.draws is None:
            return params
        return policy.draws.world(dataclasses.replace(world, params=params), number).params

    def burdens(x: np.ndarray) -> np.ndarray:
        here = at(x)
        found = [_burden(*fixed, own(here, r), world.state, amounts, key) for r, key in enumerate(keys)]
        return np.array([float(each) for each in found])

    def cost(x: np.ndarray) -> float:
        if not policy.prices:
            return 0.0
        return sum(price * closed_days(policy.dials.params(x), layer) for layer, price in policy.prices)

    def turned(x: np.ndarray, before: np.ndarray, width: float) -> np.ndarray:
        found = []
        for place in range(len(x)):
            other, apart = beside(x, place, width)
            found.append(difference(before, burdens(other), apart))
        return np.stack(found, axis=1)

    def ruled(x: np.ndarray, before: np.ndarray, width: float) -> np.ndarray:
        here = at(x)
        besides = [(at(other), apart) for other, apart in (beside(x, place, width) for place in range(len(x)))]
        found = []
        for number, key in enumerate(keys):
            mine = own(here, number)
            slope = _slopes(*fixed, policy.method, mine, world.state, amounts, key)
            found.append([_along(slope, mine, own(there, number), apart) for there, apart in besides])
        return np.array(found)

    differences = policy.method == "differences"
    number = policy.realizations
    return Problem(
        policy.dials.start, burdens, turned if differences else ruled, cost, policy.risk, policy.budget, number,
        number * (len(policy.dials.dials) if differences else RULE_COST),
    )  # fmt: skip


def _sized(base: Config, agents: int | None) -> Config:
    key, _ = agents_setting(base.settings) or ("", None)
    return base if agents is None or not key else configs.load(base.path, [*base.overrides, f"{key}={agents}"])


def _params(dials: Dials, world: World) -> Callable[[np.ndarray], Any]:
    """Parameters of the world at a position: those of a small one, in proportion where they count agents.

    Raises:
        InputError: if they depend on the number of agents in another way.
    """
    small = dials.params(dials.start)
    ratio = ratios(small, world.params)

    def params(x: np.ndarray) -> Any:
        return jax.tree.map(lambda value, times: np.asarray(value * times, np.float32), dials.params(x), ratio)

    middle = dials.rounded(np.full(len(dials.dials), 0.5))
    key, _ = agents_setting(dials.base.settings) or ("", None)
    size = (f"{key}={world.agents}",) if key else ()
    changed = configs.load(dials.base.path, [*dials.base.overrides, *(c.text for c in dials.changes(middle)), *size])
    there = build_world(changed).params
    if not jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, rtol=1e-4), params(middle), there)):
        raise InputError(
            "optimise: asked for parameters that are in proportion to the number of agents or do not depend on it, got "
            "others; write `agents` as the base has them, and dials of other settings"
        )
    return params


def _along(slope: Any, here: Any, there: Any, apart: float) -> float:
    """The derivative from one place towards another that is so far away."""

    def part(s: Any, a: Any, b: Any) -> float:
        return float(np.sum(np.asarray(s) * (np.asarray(b) - np.asarray(a))))

    return sum(jax.tree.leaves(jax.tree.map(part, slope, here, there))) / apart


def _total(
    model: Model, observe: tuple[Observable, ...], steps: int, rule: Any, params: Any, state: State, amounts: jax.Array,
    key: random.Key,
) -> jax.Array:  # fmt: skip
    _, seen = simulate(model, params, state, key, steps=steps, observe=observe, rule=rule)
    return jnp.stack([seen[each.name].astype(jnp.float32).sum() for each in observe]) @ amounts


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _burden(
    model: Model, observe: tuple[Observable, ...], steps: int, params: Any, state: State, amounts: jax.Array,
    key: random.Key,
) -> jax.Array:  # fmt: skip
    return _total(model, observe, steps, None, params, state, amounts, key)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _slopes(
    model: Model, observe: tuple[Observable, ...], steps: int, rule: Any, params: Any, state: State, amounts: jax.Array,
    key: random.Key,
) -> Any:  # fmt: skip
    return jax.grad(lambda p: _total(model, observe, steps, rule, p, state, amounts, key))(params)


def kept(path: Path, policy: Policy) -> dict[str, Any] | None:
    """What was found for a study in a directory; None if nothing was.

    Raises:
        InputError: if it was found for something else.
    """
    try:
        found = json.loads((path / NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if found.get("asked") != policy.asked:
        raise InputError(
            f"{path / NAME}: asked to go on with the policy that was found there, got another `optimise`, base or "
            "costs; write them as they were, or another --out"
        )
    return found


def keep(path: Path, found: dict[str, Any]) -> None:
    """Write what was found; the file appears as a whole."""
    path.mkdir(parents=True, exist_ok=True)
    publish(path / NAME, json.dumps(found, indent=1).encode())
