"""What a study's file wants to know: outcomes, what they and the measures cost, and which policy is to be found."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from lpm.config import Config, described
from lpm.entries import named_entries
from lpm.errors import InputError
from lpm.observe import Observable
from lpm.schema_yaml import Document
from lpm.studies import derivatives
from lpm.studies import outcomes as of
from lpm.studies.derivatives import Slopes
from lpm.studies.dials import Dial, Dials, closed_days, equal, labelled, small_world
from lpm.studies.draws import Draws
from lpm.studies.layout import CapacitySection, OptimiseSection, StudySection
from lpm.studies.objective import Risk
from lpm.studies.optimise import Policy
from lpm.studies.outcomes import Outcome, UnitCost
from lpm.studies.scenarios import Change, Draft, Path, shifted
from lpm.world import World
from lpm.worlds.schedule import LAYERS

ROOT = ("study",)
WITHOUT = "per day without "


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked of a study's runs; amounts are of real people.

    Args:
        outcomes: what the tables say.
        effect: the outcome that costs are set against, if there is a total.
        capacity: what must not be exceeded, at the population's full size.
        costs: of the outcomes.
        prices: layer and amount, of a day without its contacts.
        currency: of all costs.
        policy: what is to be optimised.
        worth: of one unit of the effect.
        slopes: sensitivities of the baseline, if they are asked for.
    """

    outcomes: tuple[Outcome, ...]
    effect: Outcome | None
    capacity: CapacitySection | None
    costs: tuple[UnitCost, ...]
    prices: tuple[tuple[str, float], ...]
    currency: str
    policy: Policy | None = None
    worth: float = 0.0
    slopes: Slopes | None = None

    def closed_cost(self, params: Any) -> float:
        """What a world's days without contacts cost."""
        return sum(price * closed_days(params, layer) for layer, price in self.prices)

    def measures_cost(self, document: Document, draft: Draft, world: World) -> float:
        """What a scenario's measures cost."""
        amounts = [_tried(document, place, of.money, value) for value, place in draft.costs]
        for (_, currency), (_, place) in (each for each in zip(amounts, draft.costs, strict=True) if each[0]):
            _alike(document, self.currency or currency, currency, place)
        return sum(amount for amount, _ in filter(None, amounts)) + self.closed_cost(world.params)


def wanted(
    document: Document,
    section: StudySection,
    base: Config,
    world: World,
    observables: tuple[Observable, ...],
    draws: Draws | None = None,
) -> Wanted:
    """Outcomes, capacity, costs and policy, checked against what the base, or some scenario, observes."""
    named = [
        _tried(document, (*ROOT, "outcomes", number), of.outcome, text, observables)
        for number, text in enumerate(section.outcomes)
    ]
    outcomes = tuple(filter(None, named)) or of.usual(observables)
    totals = [each for each in outcomes if each.kind == "total" and not each.used]
    effect = next((each for each in totals if each.variable == "deaths"), totals[0] if totals else None)
    if section.effect is not None:
        effect = _tried(document, (*ROOT, "effect"), of.outcome, section.effect, observables)
        if effect is not None and effect.used:
            asked = f"asked for what scenarios avert, got {section.effect!r}, which measures use"
            document.report((*ROOT, "effect"), f"{asked}; write for example deaths, and `doses` under `outcomes`")
        elif effect is not None and effect not in outcomes:
            outcomes = (*outcomes, effect)
    if section.capacity is not None:
        name = f"days of {section.capacity.variable}"
        _tried(document, (*ROOT, "capacity", "variable"), of.outcome, name, observables)
    currency, costs, prices = _costs(document, section, observables, world)
    if section.worth is not None and effect is None and section.effect is None:
        message = "asked for an effect that the worth is of, got no total that scenarios avert among the outcomes"
        document.report((*ROOT, "worth"), f"{message}; write for example `effect: deaths`", key=True)
    _check_names(document, section, (*outcomes, *(cost.outcome for cost in costs)), observables)
    worth, currency = _amount(document, (*ROOT, "worth"), section.worth, currency)
    slopes = derivatives.asked(document, section.sensitivities, base, draws)
    found = Wanted(outcomes, effect, section.capacity, costs, prices, currency, None, worth, slopes)
    return found if section.optimise is None else _with_policy(document, section.optimise, found, base, draws)


def _check_names(
    document: Document, section: StudySection, outcomes: Iterable[Outcome], observables: tuple[Observable, ...]
) -> None:
    """That no observable is called as another one's answers by a dim are."""
    dims = {each.name: each.dims for each in observables}
    told = {each.variable for each in outcomes} | ({section.capacity.variable} if section.capacity else set())
    for name, dim in ((each, dim) for each in sorted(told & set(dims)) for dim in dims[each]):
        if f"{name}_by_{dim}" in told:
            message = (
                f"asked for outcomes whose answers have different names, got {name}, told by {dim} too, beside "
                f"{name}_by_{dim}; leave one of them out, or give the observable another name"
            )
            document.report((*ROOT, "outcomes"), message, key=True)


def _tried(document: Document, path: Path, make: Any, *values: Any, key: bool = False) -> Any:
    try:
        return make(*values)
    except ValueError as error:
        document.report(path, str(error), key=key)
        return None


def _alike(document: Document, first: str, currency: str, place: Path) -> None:
    if currency != first:
        document.report(place, f"asked for one currency, got {currency} after {first}; write all alike")


def _amount(document: Document, place: Path, value: Any, currency: str) -> tuple[float, str]:
    """An amount, 0 if there is none, and the currency of all."""
    amount = None if value is None else _tried(document, place, of.money, value)
    if amount is None:
        return 0.0, currency
    _alike(document, currency or amount[1], amount[1], place)
    return amount[0], currency or amount[1]


def _costs(
    document: Document, section: StudySection, observables: Iterable[Observable], world: World
) -> tuple[str, tuple[UnitCost, ...], tuple[tuple[str, float], ...]]:
    """The currency, unit costs and the prices of layers."""
    currency, costs, prices = "", [], []
    for name, value in section.costs.items():
        place: Path = (*ROOT, "costs", name)
        layer = name.removeprefix(WITHOUT) if name.startswith(WITHOUT) else None
        if layer is None:
            outcome = _tried(document, place, of.costed, name, observables, key=True)
        else:
            outcome = _tried(document, place, _layer, layer, world.params, key=True)
        amount = _tried(document, place, of.money, value)
        if amount is None:
            continue
        currency = currency or amount[1]
        _alike(document, currency, amount[1], place)
        if layer is None and outcome is not None:
            costs.append(UnitCost(outcome, amount[0], name))
        elif outcome is not None:
            prices.append((outcome, amount[0]))
    return currency, tuple(costs), tuple(prices)


def _layer(name: str, params: Any) -> str:
    """A layer whose contacts the world's schedule changes."""
    shape: tuple[int, ...] = getattr(getattr(params, "contacts", None), "shape", ())
    if len(shape) != 2 or shape[-1] != len(LAYERS):
        raise ValueError("asked for a world with a schedule of contacts by layer, got another; leave it out")
    if name not in LAYERS:
        raise ValueError(f"asked for a layer of contacts, got {name!r}; write one of {', '.join(LAYERS)}")
    return name


def _with_policy(
    document: Document, section: OptimiseSection, found: Wanted, base: Config, draws: Draws | None
) -> Wanted:
    """With the policy that is to be found, and what it is judged by."""
    here: Path = (*ROOT, "optimise")
    budget = math.inf
    if section.budget is not None:
        budget, _ = _amount(document, (*here, "budget"), section.budget, found.currency)
        if not found.prices:
            message = f"asked for costs of measures, got none; write `{WITHOUT}work` under costs"
            document.report((*here, "budget"), message)
    costs = found.costs
    if found.worth and found.effect is not None:
        if found.effect.kind == "peak":
            message = f"asked for an effect that adds up, got {found.effect.label}; write another `effect`"
            document.report(here, message, key=True)
        costs = (*costs, UnitCost(found.effect, found.worth, "worth of the effect"))
    if not costs:
        message = "asked for a burden to make less, got neither costs nor worth; write `worth: 1e6 USD` under study"
        document.report(here, message, key=True)
    dials = _dials(document, section, base, draws)
    if dials is None:
        return found
    if section.method != "differences":
        _check_followed(document, dials)
    risk = Risk(section.risk.measure, section.risk.weight, section.risk.share)
    seed = base.run.seed if section.seed is None else section.seed
    policy = Policy(
        section.name, dials, costs, found.prices, budget, risk, section.method,
        section.realizations, section.simulations, section.agents, seed, section.compare, draws,
    )  # fmt: skip
    return dataclasses.replace(found, policy=policy)


def _dials(document: Document, section: OptimiseSection, base: Config, draws: Draws | None) -> Dials | None:
    """The dials, each tried at both bounds."""
    before, settings, found = len(document.problems), described(base), []
    for key, (low, high) in section.shift.items():
        place: Path = (*ROOT, "optimise", "shift", key)
        if not any(shifted(base.document.data, key, 1)):
            document.report(place, f"asked for a key with dates below it, got {key}; write `settings.schedule`", True)
        found.append((Dial(key, low, high, True, 0.0, labelled(key, True, settings)), place))
    for key, bounds in section.over.items():
        place = (*ROOT, "optimise", "over", key)
        now = settings.get(key)
        if isinstance(now, bool) or not isinstance(now, int | float):
            document.report(place, f"asked for a key of the base with a number, got {key}; write for example "
                            "`settings.schedule.0.contacts`", True)  # fmt: skip
            continue
        found.append((Dial(key, *bounds, False, float(now), labelled(key, False, settings)), place))
    if not section.over and not section.shift:
        document.report((*ROOT, "optimise"), "asked for dials, got none; write `over:` or `shift:`", key=True)
    for dial, place in found:
        if not dial.low < dial.high:
            document.report(place, f"asked for a lowest and a higher value, got {dial.low:g} and {dial.high:g}; "
                            f"write `[{dial.high:g}, {dial.low:g}]`")  # fmt: skip
        elif not dial.low <= dial.now <= dial.high:
            document.report(place, f"asked for bounds around the base's {dial.now:g}, got {dial.low:g} and "
                            f"{dial.high:g}; write bounds that hold it")  # fmt: skip
    moved = [dial.key for dial, _ in found if dial.moves]
    for dial, place in found:
        if dial.moves and any(dial.key.startswith(f"{other}.") for other in moved):
            document.report(
                place, f"asked for dates that one dial moves, got {dial.key} within another; write one", True
            )
    if len(document.problems) > before or not found:
        return None
    for dial, place in found:
        _tried_at_bounds(document, base, dial, place, draws)
    if len(document.problems) == before:
        _tried_together(document, base, found)
    return None if len(document.problems) > before else Dials(base, tuple(dial for dial, _ in found))


def _tried_at_bounds(document: Document, base: Config, dial: Dial, place: Path, draws: Draws | None) -> None:
    """That a dial changes the parameters, and nothing else, wherever it stands."""
    usual, differs = small_world(base, ()), False
    for number, value in enumerate((float(dial.low), float(dial.high))):
        changes = shifted(base.document.data, dial.key, int(value)) if dial.moves else [Change(dial.key, value, ())]
        try:
            world = small_world(base, tuple(change.text for change in changes))
        except InputError as error:
            for problem in error.problems:
                document.report((*place, number), f"at {value:g} the base has a mistake: {problem}")
            continue
        differs = differs or not equal(world.params, usual.params)
        if draws is not None and draws.hides(usual, world):
            message = "asked for a setting that the fit left alone, got one that its parameters take the place of"
            document.report(place, f"{message}; write another, or a fit that leaves it", key=True)
            return
        if not equal(world.state, usual.state):
            document.report(
                place,
                f"asked for a setting that reaches the parameters alone, got {dial.key}, which changes the state or "
                "networks; write another, such as dates and contacts of settings.schedule, or a grid of scenarios",
                key=True,
            )
            return
    if not differs:
        document.report(
            place, f"asked for a setting that the world's parameters follow, got {dial.key}; write another", True
        )


def _check_followed(document: Document, dials: Dials) -> None:
    """That a rule follows what the dials turn; else it would find no slope, and leave them where they are."""
    usual = small_world(dials.base, ())
    before = named_entries(usual.params)
    for place, dial in enumerate(dials.dials):
        for end in (0.0, 1.0):
            there = named_entries(dials.params(np.where(np.arange(len(dials.dials)) == place, end, dials.start)))
            cut = usual.cut(path for path, leaf in there.items() if not np.array_equal(leaf, before[path]))
            if cut:
                document.report(
                    (*ROOT, "optimise", "shift" if dial.moves else "over", dial.key),
                    f"asked for derivatives by a rule, got {dial.key}, which turns {', '.join(cut)}, where a rule "
                    "would say zero; write `method: differences` under optimise",
                    key=True,
                )
                break


def _tried_together(document: Document, base: Config, found: list[tuple[Dial, Path]]) -> None:
    """That no two dials of dates lead to a mistake together, such as an end before its beginning."""
    moving = [each for each in found if each[0].moves]
    for (one, _), (other, place) in itertools.combinations(moving, 2):
        for days in itertools.product((one.low, one.high), (other.low, other.high)):
            changes = [
                change
                for dial, by in zip((one, other), days, strict=True)
                for change in shifted(base.document.data, dial.key, int(by))
            ]
            try:
                small_world(base, tuple(change.text for change in changes))
            except InputError as error:
                told = f"at {days[1]:g}, with {one.key} at {days[0]:g}, the base has a mistake: {error.problems[0]}"
                document.report(place, told, key=True)
                break
