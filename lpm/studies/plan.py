"""A study's file, read and checked: every scenario's config is loaded and tried before the first run."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lpm import config as configs
from lpm.config import Config
from lpm.errors import InputError
from lpm.interventions import USED
from lpm.schema_check import validated
from lpm.schema_yaml import Document, one_line, parse
from lpm.studies.checks import Further, check_drafts, further, small_worlds
from lpm.studies.dials import small_world
from lpm.studies.draws import Draws, Reader
from lpm.studies.layout import MOST_LEVERS, StudyLayout, StudySection
from lpm.studies.scenarios import Change, Draft, drafts
from lpm.studies.wanted import Wanted, wanted
from lpm.trial import agents_setting
from lpm.world import World

ROOT = ("study",)
POOLS = {"scenarios", "levers", "grid", "latin_hypercube", "sobol"}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A scenario that has been checked.

    Args:
        name: of the scenario.
        config: the base with its changes.
        changes: `key=value` each.
        why: for people.
        cost: of the measures, more than the baseline's, at the population's full size.
        levers: those that are on.
        group: `scenarios`, `levers`, `grid`, `latin_hypercube` or `sobol`; "" for the baseline and found policies.
    """

    name: str
    config: Config
    changes: tuple[str, ...] = ()
    why: str = ""
    cost: float = 0.0
    levers: tuple[str, ...] = ()
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Study:
    """A study that has been checked.

    Args:
        title: one line.
        scenarios: the baseline first.
        realizations: of each; those of all draws together.
        wanted: outcomes, costs and the policy to be found.
        levers: names of those whose combinations are among the scenarios.
        path, text: of the file.
        more: what scenarios observe beside what the base does.
        optimum: what was found, see `lpm.studies.optimise`; its policies are the last scenarios.
        draws: from a fit, if there is one.
    """

    title: str
    scenarios: tuple[Scenario, ...]
    realizations: int
    wanted: Wanted
    levers: tuple[str, ...]
    path: Path
    text: str
    more: tuple[Further, ...] = ()
    optimum: Mapping[str, Any] | None = None
    draws: Draws | None = None

    @property
    def base(self) -> Config:
        """The baseline's config."""
        return self.scenarios[0].config

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scenarios."""
        return tuple(scenario.name for scenario in self.scenarios)


def find(name_or_path: str | Path) -> Path:
    """The file of a study: one's own by its path, or one that comes with lpm by its name.

    Raises:
        InputError: if there is none.
    """
    path, known = Path(name_or_path), configs.shipped(studies=True)
    if path.is_file():
        return path
    name = str(name_or_path).removesuffix(".yaml")
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    advice = f"write `{near[0]}`" if near else f"write a path, or one that comes with lpm: {', '.join(known)}"
    what = "a folder" if path.is_dir() else "no file and no shipped study of that name"
    raise InputError(f"{name_or_path}:1:1 study: asked for a study's YAML file, got {what}; {advice}")


def load(
    path: str | Path, *, realizations: int | None = None, agents: int | None = None, fits: Reader | None = None
) -> Study:
    """A study, read and checked; small worlds are built of every scenario, and nothing is written.

    Args:
        path: a file, or the name of a study that comes with lpm.
        realizations: instead of the file's.
        agents: instead of the base's.
        fits: reads the fit that a study names: `lpm.studies.command.fits`.
    Raises:
        InputError: with all problems that were found.

    >>> load("nyc-lockdown-dates", realizations=2, agents=1000).names[0]
    'as it was'
    """
    file = find(path)
    raw = file.read_bytes()
    document = parse(raw, str(file))
    layout, section = _section(document)
    if realizations is not None and realizations < 1:
        document.problems.append(f"--realizations: asked for at least 1, got {realizations}; write `--realizations 10`")
    if layout is None or section is None:
        _stop_at(document)
    assert layout is not None and section is not None  # noqa: PT018, or there had been a problem
    base = _base(document, section, file.parent, agents)
    assert base is not None
    drawn = [Draft(section.baseline, (), ROOT), *drafts(section, base.document.data)]
    check_drafts(document, section, drawn)
    if len(section.levers) > MOST_LEVERS:  # whose combinations would take long to check
        _stop_at(document)
    configs_of = [_config(document, section, base, draft) for draft in drawn]
    worlds = small_worlds(document, configs_of, drawn)
    if worlds[0] is None:
        _stop_at(document)
    assert worlds[0] is not None  # or there had been a problem
    good = [each for each in zip(drawn, configs_of, worlds, strict=True) if each[1] is not None and each[2] is not None]
    found = [world for *_, world in good if world is not None]
    draws = _checked(document, _draws(document, section, base, file.parent, fits), good)
    more = further(found, base.run.every)
    observables = (*worlds[0].observables, *(each.observable for each in more))
    if len(good) < len(drawn):  # a scenario with a mistake may be the one that would have observed them
        names = [each.name for each in observables]
        observables += tuple(each for each in USED if each.name not in names)
    asked = wanted(document, section, base, worlds[0], observables, draws)
    scenarios = tuple(
        Scenario(
            draft.name, config, tuple(change.text for change in draft.changes), draft.why,
            asked.measures_cost(document, draft, world), draft.levers, draft.group,
        )
        for draft, config, world in good if config is not None and world is not None
    )  # fmt: skip
    _stop_at(document)
    others = len(scenarios) - 1
    title = layout.title or f"{scenarios[0].config.title}: {others:,} scenario{'s' if others > 1 else ''}"
    return Study(
        title, scenarios, (realizations or section.realizations) * (draws.count if draws else 1), asked,
        tuple(section.levers), file, raw.decode("utf-8-sig"), more, None, draws,
    )  # fmt: skip


def with_policies(study: Study, found: Mapping[str, Any]) -> Study:
    """A study with the policies that were found as further scenarios."""
    scenarios = list(study.scenarios)
    for each in found["policies"]:
        changes = tuple(Change(key, value, ()).text for key, value in each["changes"])
        config = configs.load(study.base.path, [*study.base.overrides, *changes])
        why = f"found {each['how']} with {each['simulations']:,.0f} simulations"
        cost = study.wanted.closed_cost(small_world(study.base, changes).params)
        scenarios.append(Scenario(each["name"], config, changes, why, cost))
    return dataclasses.replace(study, scenarios=tuple(scenarios), optimum=found)


def _stop_at(document: Document) -> None:
    if document.problems:
        raise InputError(document.in_order())


def _section(document: Document) -> tuple[StudyLayout | None, StudySection | None]:
    """The layout and the section `study`."""
    if not isinstance(document.data, dict) or "study" not in document.data:
        if isinstance(document.data, dict) and "model" in document.data:
            document.report((), "asked for a study, got a config; write `lpm run`, or name it as `base:` of a study")
        elif not document.problems:
            document.report((), "asked for the key study, got none; write for example `study: {base: nyc-2020}`")
        return None, None
    layout = validated(StudyLayout, document, ())
    section = validated(StudySection, document, ROOT)
    if layout is None or section is None:  # what is wrong with the rest is told with it
        layout, section = StudyLayout(None), _rest(document)
    return layout, section


def _rest(document: Document) -> StudySection | None:
    """What a study asks for in keys without a mistake; None if it names no scenarios or base in those."""
    data = document.data["study"]
    if not isinstance(data, dict):
        return None
    wrong = {found[1] for each in document.problems if (found := re.search(r" study\.([^.:]+)", each))}
    if wrong & {"base", "set", *POOLS} or not data.keys() & POOLS:
        return None
    kept = {"study": {key: value for key, value in data.items() if key not in wrong}}
    return validated(StudySection, dataclasses.replace(document, data=kept, problems=[]), ROOT)


def _base(document: Document, section: StudySection, folder: Path, agents: int | None) -> Config | None:
    """The base's config, with the changes that all scenarios share."""
    beside = folder / section.base
    try:
        file = beside if beside.is_file() else configs.find(section.base)
    except InputError as error:
        document.report((*ROOT, "base"), error.problems[0].partition("config: ")[2])
        _stop_at(document)
        return None
    changes = [Change(key, value, (*ROOT, "set", key)) for key, value in section.set.items()]
    for change in changes:
        if change.key.startswith("run.realizations"):
            message = "asked for changes of the base, got its realizations; write `realizations:` under `study`"
            document.report(change.origin, message, key=True)
    base = _loaded(document, file, changes, (*ROOT, "base"))
    if base is None:
        _stop_at(document)
    if base is not None and agents is not None:
        key, _ = agents_setting(base.settings) or ("", None)
        if not key:
            document.problems.append(
                "--agents: asked for a number of agents, got a base without that setting; write it under `set`"
            )
        else:
            base = configs.load(file, [*base.overrides, f"{key}={agents}"], {key: "--agents"})
        _stop_at(document)
    return base


def _draws(document: Document, section: StudySection, base: Config, folder: Path, fits: Reader | None) -> Draws | None:
    """The draws that the study asks for; None for none."""
    if section.from_fit is None:
        if section.draws is not None:
            message = "asked for draws from a posterior, got no fit; write `from_fit: DIRECTORY`"
            document.report((*ROOT, "draws"), message, key=True)
        return None
    place, named = (*ROOT, "from_fit"), folder / section.from_fit
    if fits is None:
        document.report(place, "asked for a fit, got no way to read it; write plan.load(file, fits=command.fits)")
        return None
    try:
        return fits(named if named.exists() else Path(section.from_fit), base.run.calendar, section.draws)
    except InputError as error:
        for problem in error.problems:
            of_draws = problem.startswith("--draws: ")
            document.report((*ROOT, "draws") if of_draws else place, problem.removeprefix("--draws: "))
        return None


def _checked(
    document: Document, draws: Draws | None, good: Iterable[tuple[Draft, Config | None, World | None]]
) -> Draws | None:
    """The draws, if they are of the base's model; that they hide nothing that a scenario changes is checked too."""
    (_, _, base), *others = good
    assert base is not None
    try:
        hidden = [draft for draft, _, world in others if draws and world and draws.hides(base, world)]
    except InputError as error:
        for problem in error.problems:
            document.report((*ROOT, "from_fit"), problem)
        return None
    for draft in hidden:
        message = "asked for changes of what the fit left alone, got some that its parameters take the place of"
        document.report(draft.origin, f"{message}; write others, or a fit that leaves them", key=True)
    return draws


def _loaded(
    document: Document, file: Path, changes: Iterable[Change], origin: tuple[str | int, ...], before: Iterable[str] = ()
) -> Config | None:
    """A config with changes; what is wrong is reported where the study's file says so."""
    changes = list(changes)
    try:
        return configs.load(file, [*before, *(change.text for change in changes)])
    except InputError as error:
        for problem in error.problems:
            _relocate(document, problem, changes, origin)
    return None


def _relocate(document: Document, problem: str, changes: list[Change], origin: tuple[str | int, ...]) -> None:
    """Report what `lpm.config` said of an override at the place in the study that it came from."""
    for change in changes:
        said = f"--set {one_line(change.text)} "
        if problem.startswith(said):
            field, _, message = problem.removeprefix(said).partition(": ")
            longer = field.startswith(f"{change.key}.")
            below = field.removeprefix(f"{change.key}.").split(".") if longer else []
            inside = tuple(int(part) if part.isdigit() else part for part in below if part)
            if not inside and change.origin[-1] != change.key:  # one word of the study stands for several changes
                message = f"{field}: {message}"
            document.report((*change.origin, *inside), message, key=message.startswith("unknown key"))
            return
    if origin[-1:] == ("base",):
        document.problems.append(problem)
    else:
        document.report(origin, f"with its changes the base has a mistake: {problem}", key=True)


def _config(document: Document, section: StudySection, base: Config, draft: Draft) -> Config | None:
    return _loaded(document, base.path, draft.changes, draft.origin, base.overrides) if draft.changes else base
