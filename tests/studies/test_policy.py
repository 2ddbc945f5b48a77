"""The best policy of a small study: its dials mean what the config means, and its runs confirm it with fresh draws."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr
from rich.console import Console

import lpm
from lpm.config import build_world
from lpm.errors import InputError
from lpm.gradients import jacobian
from lpm.studies import command, optimise, plan, policy_page, records, report, runs
from lpm.studies.dials import closed_days, small_world
from lpm.studies.objective import Risk
from tests.studies.town import CONFIG, Files, write

CITY = CONFIG.replace("per_day: 60000", "per_day: 30000")
STUDY = """
study:
  base: town.yaml
  realizations: 4
  scenarios: {later: {shift: {settings.schedule: 3}}}
  outcomes: [infections, admissions]
  effect: infections
  costs: {per admission: 1000 USD, per day without work: 1e9 USD, per day without school: 4e8 USD}
  worth: 2e4 USD
  optimise:
    shift: {settings.schedule: [-8, 8]}
    over: {settings.schedule.0.contacts: [0, 1], settings.schedule.1.contacts: [0.1, 1]}
    realizations: 2
    simulations: 60
    budget: 2.5e10 USD
"""
OPTIMISE = STUDY[STUDY.index("  optimise:") :]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The study, its policy found and run."""
    folder = tmp_path_factory.mktemp("policy")
    file = write(folder, STUDY, CITY)
    runs.run(plan.load(file), folder / "out")
    report.collect(folder / "out")
    return Files(file, folder / "out")


def asked(file: Path) -> optimise.Policy:
    policy = plan.load(file).wanted.policy
    assert policy is not None
    return policy


def test_whole_days_are_the_configs(found: Files) -> None:
    dials = asked(found.study).dials
    for x in (np.array([0.0, 0.2, 0.9]), np.array([0.75, 1.0, 0.0])):
        changes = tuple(change.text for change in dials.changes(x))
        world = small_world(dials.base, changes)
        assert jax.tree.all(jax.tree.map(np.allclose, dials.params(dials.rounded(x)), world.params))


def test_between_days_is_a_mixture_of_both(found: Files) -> None:
    dials = asked(found.study).dials
    early, late = (dials.params(np.array([x, 0.0, 0.3])).contacts for x in (0.5, 0.5625))  # 0 and 1 day
    between = dials.params(np.array([0.515625, 0.0, 0.3])).contacts  # a quarter of a day
    np.testing.assert_allclose(between, 0.75 * early + 0.25 * late, rtol=1e-6)
    assert (early != late).any()


ORDER = """
study:
  base: town.yaml
  set:
    settings.schedule: []
    settings.interventions:
      orders: [{order: stay_at_home, from: 2020-02-12, to: 2020-02-20, compliance: 0.5}]
      vaccination:
        delay: 0
        campaigns: [{doses_per_day: 60000, ages: [80+, 70-79]}, {doses_per_day: 60000, ages: [20-29]}]
  scenarios: {later: {shift: {settings.interventions.orders: 3}}}
  outcomes: [infections, doses]
  effect: infections
  costs: {per dose: 100 USD, per day without work: 1e9 USD}
  worth: 2e4 USD
  optimise:
    shift: {settings.interventions.orders.0.from: [-5, 5], settings.interventions.orders.0.to: [-2, 8]}
    over:
      settings.interventions.vaccination.campaigns.0.doses_per_day: [0, 120000]
      settings.interventions.vaccination.campaigns.1.doses_per_day: [0, 120000]
    realizations: 2
"""


def test_dates_of_measures_and_who_is_first_are_dials(tmp_path: Path) -> None:
    policy = asked(write(tmp_path, ORDER, CITY))
    early, between, late = (
        policy.dials.params(np.array([x, 0.2, 0.5, 0.5])).interventions["orders"]["days"][0] for x in (0.5, 0.52, 0.6)
    )
    assert (early.sum(), late.sum()) == (9, 8)
    np.testing.assert_allclose(between, 0.8 * early + 0.2 * late, rtol=1e-6)
    assert closed_days(policy.dials.params(policy.dials.start), "work") == pytest.approx(9 * 0.5 * 0.37)
    problem = optimise.posed(policy)
    start, earlier = problem.start, problem.start + np.array([-0.3, 0, 0, 0])
    assert problem.burdens(earlier).mean() < problem.burdens(start).mean()
    assert problem.cost(earlier) - problem.cost(start) == pytest.approx(1e9 * 3 * 0.5 * 0.37)
    others = problem.burdens(start + np.array([0, 0, -0.5, 0.5]))
    assert not np.allclose(others, problem.burdens(start), rtol=1e-4)


def test_dates_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    text = ORDER.replace("0.to: [-2, 8]", "0.to: [-6, 8]")
    with pytest.raises(InputError, match=r"orders.0.to: at -6, with .*orders.0.from at 5, the base has a mistake"):
        asked(write(tmp_path, text, CITY))


def test_closed_days_are_counted_and_paid_for(found: Files) -> None:
    study = plan.load(found.study)
    world = build_world(study.base)
    school, work = (1 - np.asarray(world.params.contacts)[:, layer] for layer in (1, 2))
    assert closed_days(world.params, "school") == pytest.approx(school.sum())
    assert study.scenarios[0].cost == pytest.approx(4e8 * school.sum() + 1e9 * work.sum(), rel=1e-6)


def test_burdens_are_those_of_runs(found: Files) -> None:
    policy = asked(found.study)
    problem = optimise.posed(policy)
    world = build_world(plan.load(found.study).base)
    key, steps = lpm.key(policy.seed, optimise.FRESH + 1), policy.dials.base.run.calendar.steps
    _, seen = lpm.simulate(world.model, world.params, world.state, key, steps=steps, observe=world.observables)
    own = (1000 * int(seen["admissions"].sum()) + 2e4 * int(seen["infections"].sum())) / world.scale
    assert problem.burdens(policy.dials.start)[1] == pytest.approx(own, rel=1e-5)


def test_differences_are_between_the_same_draws(found: Files) -> None:
    problem = optimise.posed(asked(found.study))
    x, further = np.array([0.5, 0.3, 0.4]), np.array([0.5, 0.3, 0.5])
    here, there = problem.burdens(x), problem.burdens(further)
    slopes = problem.slopes(x, here, 0.1)
    assert slopes.shape == (2, 3)
    np.testing.assert_allclose(slopes[:, 2] * 0.1, here * np.log(there / here), rtol=0.02)


@pytest.mark.slow
def test_the_rules_slopes_are_those_of_its_jacobian(found: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimise, "FRESH", 0)  # the jacobian's draws
    file = found.study.with_name("cavity.yaml")
    file.write_text(found.study.read_text() + "    method: cavity\n", "utf-8")
    policy = asked(file)
    problem, x, beyond = optimise.posed(policy), np.array([0.5, 0.3, 0.4]), np.array([0.5, 0.3, 0.5])
    slopes = problem.slopes(x, problem.burdens(x), 0.1)
    world, steps = build_world(policy.dials.base), policy.dials.base.run.calendar.steps
    here, there = (jax.tree.map(np.asarray, policy.dials.params(each)) for each in (x, beyond))
    world = dataclasses.replace(world, params=jax.tree.map(jax.numpy.asarray, here))
    direction = jax.tree.map(lambda a, b: jax.numpy.asarray((b - a) / 0.1), here, there)
    seen = jacobian(
        world, {"work": direction}, steps=steps, observables=["infections", "admissions"], realizations=2,
        seed=policy.seed,
    ).derivatives  # fmt: skip
    own = (2e4 * seen["infections"].sum((1, 2, 3, 4)) + 1000 * seen["admissions"].sum((1, 2, 3, 4))) / world.scale
    np.testing.assert_allclose(slopes[:, 2], own, rtol=1e-3)


def test_the_found_policy_is_a_scenario_within_bounds_and_budget(found: Files) -> None:
    about = records.read(found.out)
    assert about.names == ("baseline", "later", "best policy", "best policy, searched")
    assert about.optimum is not None
    for each in about.optimum["policies"]:
        assert each["simulations"] <= 60
        assert each["cost"] <= 2.5e10 * 1.000001
        assert all(dial["low"] <= dial["found"] <= dial["high"] for dial in each["dials"])
        assert [value for _, value in each["path"]] == sorted((v for _, v in each["path"]), reverse=True)
    place = about.names.index("best policy")
    assert about.scenarios[place].changes
    assert about.scenarios[place].cost <= 2.5e10 * 1.02  # rounded to whole days and three digits


def test_runs_have_draws_that_no_search_saw(found: Files) -> None:
    answers = xr.open_zarr(found.out / report.ANSWERS, consolidated=False).load()
    about = records.read(found.out)
    values = policy_page.judged(answers)
    cost, infections = answers["cost"].values, answers["infections"].values
    np.testing.assert_allclose(values, cost + 2e4 * infections)
    assert about.optimum is not None
    assert about.realizations < optimise.FRESH
    assert abs(values[0].mean() - about.optimum["policies"][0]["path"][0][1]) > 1e-6 * values[0].mean()


def test_a_policy_is_found_once(found: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimise, "optimise", lambda *_: pytest.fail("searched again"))
    runs.run(plan.load(found.study), found.out, resumed=True)
    other = write(tmp_path, STUDY.replace("worth: 2e4", "worth: 3e4"), CITY)
    with pytest.raises(InputError, match="got another `optimise`, base or costs"):
        runs.run(plan.load(other), found.out, resumed=True)


def test_tasks_wait_for_the_policy(found: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"do `--task 0/3` first, which finds it"):
        runs.run(plan.load(found.study), out, task=(2, 3))
    optimise.keep(out, json.loads((found.out / optimise.NAME).read_text()))
    command.study(str(found.study), out, "0/3", False, None, None, Console(width=100))
    assert "do the tasks from 1 to 3 now" in capsys.readouterr().out
    runs.run(plan.load(found.study), out, task=(3, 3))
    assert len(list((out / records.FOLDER).glob("*.npz"))) == 6


def test_the_page_says_whether_fresh_draws_confirm_the_gain(found: Files) -> None:
    page = (found.out / report.PAGE).read_text("utf-8")
    assert re.search(r"On 4 fresh draws <b>best policy</b> is .* the gain is <b>(not )?confirmed</b>", page)
    assert "contacts (school, 2020-02-13)" in page
    assert 'aria-label="Least value found against simulations spent"' in page


def test_a_gain_is_the_difference_of_risks() -> None:
    values = np.array([[10.0, 20.0, 30.0, np.nan], [9.0, 18.0, 27.0, 5.0]])
    by, low, high = policy_page.gain(values, 1, 0, Risk())
    assert by == pytest.approx(2.0)
    assert 1 <= low <= by <= high <= 3
    assert policy_page.gain(values, 1, 0, Risk("worst", share=0.2))[0] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("worth: 2e4 USD", "worth: 2e4 EUR", "study.worth: asked for one currency, got EUR after USD"),
        ("worth: 2e4 USD", "worth: 2e4", "study.worth: asked for an amount with its currency"),
        ("[-8, 8]", "[8, -8]", "asked for a lowest and a higher value, got 8 and -8; write `[-8, 8]`"),
        ("[-8, 8]", "[2, 8]", "asked for bounds around the base's 0, got 2 and 8"),
        ("[-8, 8]", "[-40, 8]", "at -40 the base has a mistake"),
        ("settings.schedule.1.contacts", "settings.schedule.9.contacts", "asked for a key of the base with a number"),
        ("settings.schedule.1.contacts: [0.1, 1]", "settings.own_region: [0.1, 1]", "which changes the state"),
        ("settings.schedule.1.contacts: [0.1, 1]", "settings.people.seed: [0, 1]", "asked for a whole number"),
        ("shift: {settings.schedule: [", "shift: {settings.disease: [", "asked for a key with dates below it"),
        ("per day without work", "per day without pubs", "asked for a layer of contacts, got 'pubs'; write one of"),
        ("  effect: infections", "  effect: peak of infections", "asked for an effect that adds up"),
    ],
)
def test_mistakes_are_told_before_anything_runs(old: str, new: str, told: str, tmp_path: Path) -> None:
    assert old in STUDY
    file = write(tmp_path, STUDY.replace(old, new), CITY)
    with pytest.raises(InputError) as raised:
        plan.load(file)
    assert any(told in problem for problem in raised.value.problems), raised.value.problems
    assert all(re.search(r"study\.yaml:\d+:\d+ ", problem) for problem in raised.value.problems)


def test_a_budget_below_the_cheapest_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, STUDY.replace("[0.1, 1]}", "[0.1, 0.4]}").replace("2.5e10", "1e9"), CITY)
    with pytest.raises(InputError, match="budget: asked for measures of at most 1e"):
        runs.run(plan.load(file), tmp_path / "out")


def test_a_rule_is_refused_for_dials_that_it_does_not_follow(tmp_path: Path) -> None:
    given = "  interventions: {vaccination: {campaigns: [{doses_per_day: 60000, from: 2020-02-05}]}}\n"
    config = CITY.replace("  schedule:", given + "  schedule:")
    key = "settings.interventions.vaccination.campaigns.0.doses_per_day"
    text = STUDY.replace("over: {", f"over: {{{key}: [0, 90000], ")
    assert asked(write(tmp_path, text, config)).method == "differences"
    with pytest.raises(InputError) as caught:
        plan.load(write(tmp_path, text + "    method: cavity\n", config))
    (problem,) = caught.value.problems
    said = f"study.optimise.over.{key}: asked for derivatives by a rule, got {key}, which turns "
    assert said + "interventions.vaccination.doses, where a rule would say zero" in problem
