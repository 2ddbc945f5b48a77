"""The runs of a study: every realization of every scenario, with the same draws for all scenarios."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lpm import batch, directory, distributed, partition, parts
from lpm.config import described
from lpm.distributed import Ranks, alone
from lpm.errors import InputError, LpmError
from lpm.provenance import identity, joined, provenance
from lpm.runner import Interrupted, writing
from lpm.signals import Signals
from lpm.studies import branches, derivatives, observed, optimise, records
from lpm.studies.objective import Risk
from lpm.studies.plan import Scenario, Study, with_policies
from lpm.studies.records import About, Unit
from lpm.world import World

BLOCK = 64  # scenarios whose worlds are in memory together, and share beginnings


def in_order(units: list[Unit]) -> list[Unit]:
    """As they are run: realization by realization, since scenarios share what is equal in them."""
    return sorted(units, key=lambda unit: (unit.scenario // BLOCK, unit.realization, unit.scenario))


def part(units: list[Unit], task: int, tasks: int) -> list[Unit]:
    """The runs of one task of several, the first being task 1; neighbours, which share most.

    >>> [len(part([Unit(0, r) for r in range(10)], task, 3)) for task in (1, 2, 3)]
    [3, 3, 4]
    """
    units = in_order(units)
    return units[len(units) * (task - 1) // tasks : len(units) * task // tasks]


def run(
    study: Study,
    out: str | Path,
    *,
    task: tuple[int, int] | None = None,
    resumed: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
    again: str = "the same call and resumed=True",
    ranks: Ranks = alone,
) -> Path:
    """Simulate what is missing of a study, or of one task's part of it.

    A run that fails is noted, and the others go on; `records.missing` lists what is not there.

    Args:
        study: from `plan.load`.
        out: a directory that is made, or empty unless `resumed` or `task`.
        task: (i, n) for the i-th of n parts, counted from 1; None for all. (0, n) finds the policy that the study asks
            for, before the others.
        resumed: go on with the study in `out`.
        progress: called after each run with how many are done, and of how many.
        say: called with a line for people.
        again: how the user goes on, for messages.
        ranks: who do every run together, each a part of the agents; the first of them writes.

    Returns:
        the directory.

    Raises:
        InputError: before anything is written.
        Interrupted: on Ctrl-C and SIGTERM; runs that had ended are kept.
        Unwritable: if the disk refuses a write.
    """
    if task is not None and not (study.wanted.policy is None) <= task[0] <= task[1]:
        raise InputError(
            f"--task: asked for I/N with I from 1 to N, got {task[0]}/{task[1]}; write for example --task 1/10"
        )
    base = parts.divided(study.base, ranks, say)
    for caution in base.cautions:
        say(f"Note: {caution}")
    path = ranks.first(lambda: directory.writable(Path(out)) if resumed or task else directory.new(out))
    study = _optimised(study, path, task, say, ranks)
    if task is not None and task[0] == 0:
        return path
    together = distributed.connected(ranks, base.here, base.agents)
    with together, writing(path, again, "all runs that had ended are intact"), Signals() as signals:
        asked = _about(study, base)
        about = ranks.first(lambda: records.begin(path, asked))
        mine = in_order(about.units) if task is None else part(about.units, *task)
        waiting = ranks.first(lambda: [unit for unit in mine if not records.complete(path, unit)])
        doing = _Doing(study, base, path, about, signals, len(mine) - len(waiting), len(mine), progress, ranks)
        try:
            for block in dict.fromkeys(unit.scenario // BLOCK for unit in waiting):
                doing.block(block, [unit for unit in waiting if unit.scenario // BLOCK == block])
            if study.wanted.slopes is not None and (task is None or task[0] == 1):
                _slopes(study.wanted.slopes, path, signals, say)
        except branches.Stopped:
            left = len(records.missing(path, about))
            raise Interrupted(
                f"stopped after {len(about.units) - left:,} of {len(about.units):,} runs; they are kept in "
                f"{path}. Go on with {again}",
                128 + signals.stop,
            ) from None
    return path


@dataclasses.dataclass
class _Doing:
    """Runs under way."""

    study: Study
    base: World
    path: Path
    about: About
    signals: Signals
    done: int
    total: int
    progress: Callable[[int, int], None]
    ranks: Ranks

    def block(self, number: int, waiting: list[Unit]) -> None:
        """What is missing of the scenarios of a block."""
        study, run = self.study, self.study.base.run
        scenarios = range(number * BLOCK, min((number + 1) * BLOCK, len(study.scenarios)))

        @functools.cache
        def world(scenario: int) -> World | LpmError:
            return _world(study.scenarios[scenario], self.base, self.ranks) if scenario else self.base

        @functools.cache
        def parting(one: int, other: int) -> int:
            return branches.parting(*(study.scenarios[each].config for each in (one, other)))

        def one(realization: int) -> branches.Realization:
            return branches.Realization(
                realization,
                run.seed,
                run.every,
                run.calendar.steps // run.every,
                lambda scenario: _drawn(study, world(scenario), realization),
                parting,
                frozenset(unit.scenario for unit in waiting if unit.realization == realization),
                self.about.shapes,
                lambda scenario, found, seconds: self.ended(Unit(scenario, realization), found, seconds),
                self.stopping,
                self.ranks,
            )

        for realization in dict.fromkeys(unit.realization for unit in waiting):
            one(realization).grow(scenarios)

    def stopping(self) -> bool:
        """Whether any rank was asked to stop."""
        self.signals.stop = max(self.ranks.all(self.signals.stop))
        return bool(self.signals.stop)

    def ended(self, unit: Unit, found: dict[str, np.ndarray] | Exception, seconds: float) -> None:
        """Write a run, or why it failed."""

        def write() -> None:
            if isinstance(found, Exception):
                records.write_failure(self.path, unit, " ".join(str(found).split()) or type(found).__name__)
            else:
                records.write_run(self.path, unit, found, seconds)

        self.ranks.first(write)
        self.done += 1
        if self.stopping() and self.done < self.total:
            raise branches.Stopped
        self.progress(self.done, self.total)


def _slopes(slopes: derivatives.Slopes, path: Path, signals: Signals, say: Callable[[str], None]) -> None:
    """The sensitivities that are asked for, or why there are none."""

    def told(done: int, total: int) -> None:
        if signals.stop:
            raise branches.Stopped

    if derivatives.kept(path, slopes.asked) is None:
        say(f"Derivatives by {len(slopes.turned)} settings, {slopes.about['realizations']} realizations")
    try:
        derivatives.find(path, slopes, told)
    except branches.FAILURES as error:
        why = " ".join(str(error).split()) or type(error).__name__
        derivatives.failed(path, why)
        say(f"Sensitivities could not be computed: {why}")


def _drawn(study: Study, world: World | LpmError, realization: int) -> World | LpmError:
    """The world with the draw from a fit that the realization takes, if there is a fit."""
    if study.draws is None or isinstance(world, LpmError):
        return world
    return study.draws.world(world, realization)


def _optimised(
    study: Study, path: Path, task: tuple[int, int] | None, say: Callable[[str], None], ranks: Ranks
) -> Study:
    """The study with the policy that it asks for, found now or before."""
    policy = study.wanted.policy
    if policy is None:
        return study
    found = ranks.first(lambda: optimise.kept(path, policy))
    if found is None and task is not None and task[0]:
        raise InputError(
            f"--task: asked for a part of a study whose policy is not found yet, got {task[0]}/{task[1]}; do "
            f"`--task 0/{task[1]}` first, which finds it"
        )

    def search() -> dict[str, Any]:
        sought = optimise.optimise(policy, say)
        optimise.keep(path, sought)
        return sought

    found = found or ranks.first(search)
    return with_policies(study, found)


def _world(scenario: Scenario, base: World, ranks: Ranks) -> World | LpmError:
    """A scenario's world, with the base's arrays wherever the values are the same, or why it cannot be built.

    So memory holds one population, and the compiled step serves all scenarios that differ in parameters alone.
    """
    try:
        world = partition.mine(parts.built(scenario.config, ranks), ranks)
    except LpmError as error:
        return error
    if ranks.count > 1 and any(ranks.all((world.here, world.agents) != (base.here, base.agents))):
        return InputError(
            f"{scenario.name}: asked for the baseline's {base.agents:,} agents on the same ranks, got {world.agents:,} "
            "or others on some; leave out --split, or give it a study of its own"
        )

    def of(kind: str) -> dict[str, Any]:
        mine, its = getattr(world.state, kind), getattr(base.state, kind)
        return {name: _shared(entry, its.get(name)) for name, entry in mine.items()}

    return dataclasses.replace(world, state=dataclasses.replace(world.state, agents=of("agents"), fixed=of("fixed")))


def _shared(entry: Any, other: Any) -> Any:
    """An entry of the state, with another's arrays wherever they are equal."""
    mine, tree = jax.tree.flatten(entry)
    its, like = jax.tree.flatten(other)
    if str(tree) != str(like):
        return entry
    same = [b if np.shape(a) == np.shape(b) and np.array_equal(a, b) else a for a, b in zip(mine, its, strict=True)]
    return jax.tree.unflatten(tree, same)


def _about(study: Study, base: World) -> About:
    """All that answers need, and what the runs depend on."""
    run, wanted = study.base.run, study.wanted
    shapes = batch.Engine(base, run.seed, 1, run.every).shapes()
    shapes |= {each.observable.name: (each.shape, each.dtype) for each in study.more}
    observables = (*base.observables, *(each.observable for each in study.more))
    return About(
        title=study.title,
        scenarios=records.told(study),
        realizations=study.realizations,
        outcomes=wanted.outcomes,
        effect=wanted.effect,
        capacity=wanted.capacity,
        costs=wanted.costs,
        prices=wanted.prices,
        currency=wanted.currency,
        levers=study.levers,
        start=None if run.calendar.start is None else run.calendar.start.isoformat(),
        steps=run.calendar.steps,
        every=run.every,
        scale=float(base.scale),
        observables=tuple((o.name, o.dims, o.units, o.long_name, o.over) for o in observables),
        shapes={name: (shape, dtype.str) for name, (shape, dtype) in shapes.items()},
        coords={dim: tuple(labels) for dim, labels in base.coords.items()},
        identity=_identity(study, base),
        attributes={
            **provenance(base, run.seed),
            **(study.draws.about if study.draws else {}),
            "config": study.base.text,
            "config_path": str(study.base.path),
            "config_overrides": joined(study.base.overrides),
            "study": study.text,
            "study_path": str(study.path),
            "cautions": "\n".join(base.cautions),
            "title": study.title,
        },
        worth=wanted.worth,
        risk=wanted.policy.risk if wanted.policy else Risk(),
        optimum=study.optimum,
        draws=study.draws.count if study.draws else 0,
        fit=study.draws.told if study.draws else (),
        observed=observed.told(study.base.compare, base.observables, run.calendar, run.every),
        slopes=wanted.slopes.about if wanted.slopes else None,
    )


def _identity(study: Study, base: World) -> dict[str, str]:
    """The base's identity, and for each other scenario what differs from it; see `lpm.provenance.identity`."""

    def of(scenario: Scenario) -> dict[str, str]:
        run, settings = study.base.run, described(scenario.config)
        own: dict[str, Any] = {"snapshots": (), "snapshot_every": 0, "settings": settings}
        return identity(base, run.calendar, seed=run.seed, realizations=1, every=run.every, **own)

    first = of(study.scenarios[0])
    of_fit = study.draws.about if study.draws else {}
    found = first | {"scenarios": ", ".join(study.names)} | {k: v for k, v in of_fit.items() if k != "from_fit"}
    for scenario in study.scenarios[1:]:
        its = of(scenario)
        for key in {**first, **its}:
            if first.get(key) != its.get(key):
                found[f"{scenario.name}: {key}"] = its.get(key, "not set")
    return found
