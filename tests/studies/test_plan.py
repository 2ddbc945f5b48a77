"""A study's file: what it may say, and where each mistake is, before anything runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from lpm.config import load as load_config
from lpm.config import shipped
from lpm.errors import InputError
from lpm.schema import export_study_schema
from lpm.schema_yaml import parse
from lpm.studies import compare, outcomes, plan, runs
from lpm.studies.layout import HypercubeSection
from lpm.studies.scenarios import latin_hypercube, shifted
from tests.studies.town import CONFIG, NAMES, write

HEAD = "study:\n  base: town.yaml\n  realizations: 2\n"
GOOD = HEAD + "  scenarios:\n    open: {set: {settings.schedule: []}}\n"


def problems(folder: Path, text: str) -> list[str]:
    """What is said of a study, by places in its file."""
    file = write(folder, text)
    with pytest.raises(InputError) as raised:
        plan.load(file)
    assert not {path.name for path in folder.iterdir()} - {"town.yaml", "study.yaml"}
    return [problem.removeprefix(f"{folder}/") for problem in raised.value.problems]


def test_a_scenario_is_the_base_with_its_changes(tmp_path: Path) -> None:
    study = plan.load(write(tmp_path))
    assert study.names == NAMES
    assert study.scenarios[0].config.settings == load_config(tmp_path / "town.yaml").settings
    schedule = study.scenarios[2].config.settings.schedule
    assert [change.from_.isoformat() for change in schedule] == ["2020-02-08", "2020-02-11"]
    assert study.scenarios[3].config.settings.schedule == ()
    assert study.scenarios[3].cost == -1e6
    assert {scenario.config.run for scenario in study.scenarios} == {study.base.run}


@pytest.mark.parametrize("name", sorted(shipped(studies=True)))
def test_shipped_studies_are_good(name: str) -> None:
    assert len(plan.load(name, agents=1000).scenarios) > 1
    assert name not in shipped()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "  outcome: [deaths]\n", "study.yaml:6:3 study.outcome: unknown key `outcome`; write `outcomes`"),
        (
            GOOD + "  outcomes: [deaths, birth]\n",
            "study.yaml:6:22 study.outcomes.1: asked for an observable of the base",
        ),
        (GOOD + "  outcomes: [hospitalised]\n", "study.yaml:6:14 study.outcomes.0: asked for events that can be added"),
        (
            GOOD + "  effect: death\n",
            "study.yaml:6:11 study.effect: asked for an observable of the base, got 'death'; ",
        ),
        (GOOD + "  capacity: {variable: beds, beds: 3}\n", "study.yaml:6:24 study.capacity.variable: asked for an obs"),
        (GOOD + "  capacity: {variable: critical, beds: -3}\n", "study.yaml:6:40 study.capacity.beds: asked for a num"),
        (GOOD + "  costs: {per admission: 12000}\n", "study.yaml:6:26 study.costs.per admission: asked for an amount "),
        (GOOD + "  costs: {per cat: 12 USD}\n", "study.yaml:6:11 study.costs.per cat: asked for an observable of the"),
        (GOOD + "  costs: {admission: 12 USD}\n", "study.yaml:6:11 study.costs.admission: asked for what the cost is "),
        (
            GOOD + "  costs: {per admission: 12 USD, per death: 9 EUR}\n",
            "study.yaml:6:45 study.costs.per death: asked for one currency, got EUR after USD",
        ),
        (HEAD, "study.yaml:2:3 study: asked for something to compare with the base, got no scenario"),
        ("study: {base: towm.yaml}\n", "study.yaml:1:15 study.base: asked for a YAML file, got no file"),
        ("model: lpm.worlds.city:build\n", "study.yaml:1:1 config: asked for a study, got a config; write `lpm run`"),
        (HEAD + "  scenarios: [open]\n", "study.yaml:4:14 study.scenarios: asked for a mapping from names"),
        (
            HEAD + "  scenarios:\n    open: {set: {settings.schedul: []}}\n",
            "study.yaml:5:18 study.scenarios.open.set.settings.schedul: unknown key `schedul`; write",
        ),
        (
            HEAD + "  scenarios:\n    open:\n      set:\n        settings.schedule:\n"
            "          - {layer: school, from: 2020-02-03, contacts: 0}\n"
            "          - {layer: schol, from: 2020-02-03, contacts: 0}\n",
            "study.yaml:9:21 study.scenarios.open.set.settings.schedule.1.layer: asked for one of 'household'",
        ),
        (
            HEAD + "  scenarios:\n    open:\n      set:\n        settings.schedule:\n"
            "          - {layer: work, from: 2020-02-03, to: 2020-02-09, contacts: 0}\n"
            "          - {layer: work, from: 2020-02-08, to: 2020-02-20, contacts: 0}\n",
            "study.yaml:9:33 study.scenarios.open.set.settings.schedule.1.from: asked for one value of layer work",
        ),
        (
            HEAD + "  scenarios:\n    open: {set: {settings.interventons.masks: [{wearing: 0.5}]}}\n",
            "study.yaml:5:18 study.scenarios.open.set.settings.interventons.masks: unknown key `interventons`; write",
        ),
        (
            HEAD + "  scenarios:\n    many: {set: {settings.interventions.vaccination: {uptake: 1.4, campaigns: "
            "[{doses_per_day: 9}]}}}\n  costs: {per dose: 3 USD}\n",
            "study.yaml:5:63 study.scenarios.many.set.settings.interventions.vaccination.uptake: asked for a number",
        ),
        (
            HEAD + "  scenarios:\n    late: {shift: {settings.schedule: 15}}\n",
            "study.yaml:5:39 study.scenarios.late.shift.settings.schedule: settings.schedule.1.from: asked for a day",
        ),
        (
            HEAD + "  scenarios:\n    late: {shift: {settings.disease: 20}}\n",
            "study.yaml:5:20 study.scenarios.late.shift.settings.disease: asked for a key of the base with dates",
        ),
        (
            HEAD + "  scenarios:\n    open: {set: {run.steps: 3}}\n",
            "study.yaml:5:18 study.scenarios.open.set.run.steps: asked for a key under settings, so that scenarios can",
        ),
        (
            HEAD + "  scenarios:\n    open: {set: {settings.schedule: []}, cost: 3}\n",
            "study.yaml:5:48 study.scenarios.open.cost: asked for an amount with its currency, got '3'; write",
        ),
        (
            HEAD + "  levers:\n    a: {set: {settings.own_region: 0.2}}\n    b: {set: {settings.own_region: 0.3}}\n",
            "study.yaml:6:15 study.levers.b.set.settings.own_region: asked for levers that change different values",
        ),
        (
            HEAD + "  grid: {settings.own_region: [0.5, 1.5]}\n",
            "study.yaml:4:37 study.grid.settings.own_region.1: settings.own_region: asked for a number",
        ),
        (
            HEAD + "  latin_hypercube: {over: {settings.own_region: [0.5, 0.2]}}\n",
            "study.yaml:4:49 study.latin_hypercube.over.settings.own_region: asked for a lowest and a higher value",
        ),
        (
            HEAD + "  scenarios: {baseline: {}}\n",
            "study.yaml:4:15 study.scenarios.baseline: got the name 'baseline' twice",
        ),
        (
            "study:\n  base: town.yaml\n  set: {run.step: 3}\n",
            "study.yaml:3:9 study.set.run.step: unknown key",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, told: str, tmp_path: Path) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(told)


def test_all_mistakes_of_a_stage_are_told_at_once(tmp_path: Path) -> None:
    text = HEAD + "  scenarios:\n    a: {set: {settings.x: 1}}\n    b: {set: {settings.own_region: 7}}\n"
    assert len(problems(tmp_path, text)) == 2


def test_mistakes_of_all_kinds_are_told_at_once(tmp_path: Path) -> None:
    text = (
        HEAD
        + "  outcome: [deaths]\n  outcomes: [deaths, birth]\n  costs: {per admission: 12}\n  draws: 3\n"
        + "  scenarios:\n    a: {set: {settings.x: 1}}\n    b: {shift: {settings.disease: 1}}\n"
        + "    c: {set: {run.steps: 3}}\n    d: {set: {settings.transmission.work: 2}, cost: much}\n"
    )
    told = [problem.split(" ")[1].removesuffix(":") for problem in problems(tmp_path, text)]
    assert told == [
        "study.outcome",
        "study.outcomes.1",
        "study.costs.per",
        "study.draws",
        "study.scenarios.a.set.settings.x",
        "study.scenarios.b.shift.settings.disease",
        "study.scenarios.c.set.run.steps",
        "study.scenarios.d.cost",
    ]


def test_a_grid_has_every_combination(tmp_path: Path) -> None:
    text = HEAD + "  grid: {settings.transmission.work: [0.1, 0.2], settings.own_region: [0.5, 0.7, 0.9]}\n"
    study = plan.load(write(tmp_path, text))
    found = {(s.config.settings.transmission.work, s.config.settings.own_region) for s in study.scenarios[1:]}
    assert found == {(work, own) for work in (0.1, 0.2) for own in (0.5, 0.7, 0.9)}
    assert study.names[1] == "work=0.1, own_region=0.5"


def test_a_hypercube_has_one_point_in_every_slice() -> None:
    draws, dims = 37, 3
    points = latin_hypercube(draws, dims, seed=4)
    for axis in range(dims):
        np.testing.assert_array_equal(np.sort(np.floor(points[:, axis] * draws)), np.arange(draws))
    assert abs(np.corrcoef(points.T)[0, 1]) < 0.5
    assert HypercubeSection({}).draws == 20


def test_a_hypercubes_scenarios_lie_within_its_ranges(tmp_path: Path) -> None:
    text = HEAD + "  latin_hypercube: {draws: 5, seed: 2, over: {settings.own_region: [0.5, 0.75]}}\n"
    study = plan.load(write(tmp_path, text))
    values = sorted(scenario.config.settings.own_region for scenario in study.scenarios[1:])
    assert [int((value - 0.5) / 0.05) for value in values] == [0, 1, 2, 3, 4]


def test_levers_come_in_all_combinations(tmp_path: Path) -> None:
    levers = "{a: {set: {settings.own_region: 0.3}}, b: {set: {settings.transmission.work: 0}}, "
    levers += "c: {shift: {settings.schedule: 1}}}"
    study = plan.load(write(tmp_path, HEAD + f"  levers: {levers}\n"))
    assert study.names[1:] == ("a", "b", "c", "a + b", "a + c", "b + c", "a + b + c")
    assert study.scenarios[-1].config.settings.own_region == 0.3
    assert study.scenarios[-1].config.settings.transmission.work == 0


def test_shifted_there_and_back_is_where_it_was() -> None:
    data = parse(b"a: [{from: 2020-02-28, to: 2020-03-01, n: 4}, {from: 7, contacts: 3}]", "x").data
    there = {change.key: change.value for change in shifted(data, "a", 9)}
    assert there == {"a.0.from": "2020-03-08", "a.0.to": "2020-03-10", "a.1.from": 16}
    moved = {"a": [{"from": there["a.0.from"], "to": there["a.0.to"]}, {"from": there["a.1.from"]}]}
    back = {change.key: change.value for change in shifted(moved, "a", -9)}
    assert json.dumps(back) == json.dumps({"a.0.from": "2020-02-28", "a.0.to": "2020-03-01", "a.1.from": 7})


@pytest.mark.parametrize("text", ["12,000 USD", "12000", "USD", "", "1e999 USD", "nan USD", "1 2 USD"])
def test_an_amount_without_a_currency_or_in_another_notation_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="asked for an amount with its currency"):
        outcomes.money(text)


def test_the_schema_for_editors_is_that_of_the_code() -> None:
    file = Path(__file__).parents[2] / "configs" / "study-schema.json"
    current = json.dumps(export_study_schema(), indent=2) + "\n"
    assert file.read_text(encoding="utf-8") == current, "write json.dumps(export_study_schema(), indent=2) there anew"


@pytest.mark.parametrize("name", sorted(shipped(studies=True)))
def test_shipped_studies_have_only_keys_of_the_schema(name: str) -> None:
    schema = export_study_schema()
    data = parse(shipped(studies=True)[name].read_bytes(), name).data
    assert set(data) <= set(schema["properties"])
    assert set(data["study"]) <= set(schema["$defs"]["StudySection"]["properties"])
    assert set(data["study"].get("optimise", {})) <= set(schema["$defs"]["OptimiseSection"]["properties"])


def test_what_only_a_scenario_observes_may_be_asked_for(tmp_path: Path) -> None:
    tested = "{tested: {set: {settings.interventions.testing: {screening: 0.5}}}}"
    study = plan.load(write(tmp_path, HEAD + f"  scenarios: {tested}\n  costs: {{per test: 5 USD}}\n"))
    assert {each.observable.name for each in study.more} == {"tests", "positives", "isolated"}
    path = runs.run(study, tmp_path / "out")
    answers = compare.answers(path)
    assert not answers["tests"].sel(scenario="baseline").any()
    assert (answers["tests"].sel(scenario="tested") > 0).all()
    assert answers["cost"].sel(scenario="tested").values == pytest.approx(5 * answers["tests"][1].values)


def test_what_measures_use_is_no_effect(tmp_path: Path) -> None:
    """Doses are more, not averted; a study of them alone has no effect."""
    vaccine = "  interventions: {vaccination: {campaigns: [{doses_per_day: 1000}]}}\nrun:"
    text = GOOD + "  effect: doses\n"
    with pytest.raises(InputError, match=r"study.yaml:6:11 study.effect: asked for what scenarios avert, got 'doses'"):
        plan.load(write(tmp_path / "a", text, CONFIG.replace("run:", vaccine)))
    alone = plan.load(write(tmp_path / "b", GOOD + "  outcomes: [doses]\n", CONFIG.replace("run:", vaccine)))
    assert alone.wanted.effect is None
    text = GOOD + "  outcomes: [doses]\n  worth: 5 USD\n"
    with pytest.raises(InputError, match=r"study.worth: asked for an effect that the worth is of, got no total"):
        plan.load(write(tmp_path / "c", text, CONFIG.replace("run:", vaccine)))
