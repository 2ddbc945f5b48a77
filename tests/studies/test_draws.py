"""Draws from a fit in a study: every scenario takes the same, realization by realization, none hidden by them."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import lpm
from lpm import Calendar, World, calibration
from lpm.calibration import checks, fitted, results, setup
from lpm.config import build_world, load
from lpm.errors import InputError
from lpm.runner import run
from lpm.studies import command, compare, optimise, page, plan, records, runs
from lpm.studies.draws import Draws, share
from tests.studies.town import CONFIG, write

WORK = (0.1, 0.5, 0.3)  # of three draws
STUDY = """
study:
  base: town.yaml
  realizations: 2
  from_fit: fit
  draws: 3
  scenarios: {later: {shift: {settings.schedule: 3}}}
  outcomes: [infections]
"""


def fits(folder: Path, calendar: Calendar, count: int | None) -> Draws:
    """A fit of one parameter with three draws."""

    def at(world: World, number: int) -> World:
        own = world.params.transmission | {"work": jnp.float32(WORK[number])}
        return dataclasses.replace(world, params=dataclasses.replace(world.params, transmission=own))

    return Draws(count or 1, at, {"from_fit": str(folder), "from_fit_checksum": "abc"}, ("work 0.3",))


def test_scenarios_take_the_same_draws(tmp_path: Path) -> None:
    study = plan.load(write(tmp_path, STUDY), fits=fits)
    assert study.realizations == 6
    path = runs.run(study, tmp_path / "out")
    records.collect(path, records.read(path))
    seen = lpm.open(path).load()["infections"].values
    for scenario in (0, 1):
        world = build_world(study.scenarios[scenario].config)
        for realization in (1, 4, 5):
            own = fits(tmp_path, Calendar(1), 3).world(world, realization)
            key = lpm.key(5, realization)
            _, alone = lpm.simulate(own.model, own.params, own.state, key, steps=30, observe=own.observables[:1])
            np.testing.assert_array_equal(seen[scenario, realization], alone["infections"])
    assert study.draws is not None
    other = dataclasses.replace(study, draws=dataclasses.replace(study.draws, about={"from_fit_checksum": "def"}))
    with pytest.raises(InputError, match=r"from_fit_checksum: was abc, is def"):
        runs.run(other, path, resumed=True)
    html = page.page(compare.answers(path), records.read(path))
    for words in ("2 realizations with each of 3 draws", "work 0.3", "share of the variance", "from fit checksum"):
        assert words in html


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            STUDY.replace("later: {shift: {settings.schedule: 3}}", "less: {set: {settings.transmission.work: 0.2}}"),
            "study.yaml:7:15 study.scenarios.less: asked for changes of what the fit left alone",
        ),
        (
            STUDY.replace("  from_fit: fit\n", ""),
            "study.yaml:5:3 study.draws: asked for draws from a posterior, got no fit",
        ),
        (STUDY.replace("draws: 3", "draws: 0"), "study.yaml:6:10 study.draws: asked for a number of at least 1"),
    ],
)
def test_what_does_not_go_with_a_fit_is_told(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        plan.load(write(tmp_path, text), fits=fits)
    assert [each.removeprefix(f"{tmp_path}/")[: len(told)] for each in raised.value.problems] == [told]


def test_a_policy_is_sought_with_the_draws(tmp_path: Path) -> None:
    text = STUDY + "  worth: 10 USD\n  optimise: {shift: {settings.schedule: [-5, 5]}, realizations: 3}\n"
    policy = plan.load(write(tmp_path, text, CONFIG), fits=fits).wanted.policy
    assert policy is not None
    problem, without = (optimise.posed(each) for each in (policy, dataclasses.replace(policy, draws=None)))
    burdens = problem.burdens(policy.dials.start)
    world = fits(tmp_path, Calendar(1), 3).world(build_world(policy.dials.base), 1)
    key = lpm.key(policy.seed, optimise.FRESH + 1)
    _, seen = lpm.simulate(world.model, world.params, world.state, key, steps=30, observe=world.observables)
    assert burdens[1] == pytest.approx(10 * float(seen["infections"].sum()) / world.scale, rel=1e-5)
    assert not np.allclose(burdens, without.burdens(policy.dials.start))
    assert policy.asked != dataclasses.replace(policy, draws=None).asked


def test_shares_of_a_variance_are_those_it_was_made_of() -> None:
    """Draws with variance 4 and chance with variance 1: the share is 0.8, the estimate within 0.1 with p = 0.999."""
    random = np.random.default_rng(1)
    values = (2 * random.normal(size=200)[None] + random.normal(size=(20, 200))).reshape(-1)
    assert share(values, 200) == pytest.approx(0.8, abs=0.1)
    assert share(random.normal(size=4000), 200) < 0.05
    assert np.isnan(share(values[:200], 200))


@pytest.mark.slow
def test_runs_with_a_fit_are_those_of_lpm_run(tmp_path: Path) -> None:
    name = "school-influenza-1978"
    chosen = load(name, ["run.realizations=4", "run.steps=10"])
    fit = calibration.fit(
        setup.problem_of(chosen, build_world(chosen)), realizations=4, starts=1, iterations=2, averages=1
    )
    predictive = calibration.predict(fit, 12)
    results.write(fit, predictive, checks.check(fit, predictive, repeats=0), tmp_path / "fit")
    body = "realizations: 2, from_fit: fit, draws: 2, scenarios: {more: {set: {settings.initial: 0.01}}}"
    (tmp_path / "study.yaml").write_text(f"study: {{base: {name}, set: {{run.steps: 10}}, {body}}}\n")
    study = plan.load(tmp_path / "study.yaml", fits=command.fits)
    path = runs.run(study, tmp_path / "out")
    about = records.read(path)
    records.collect(path, about)
    calendar = chosen.run.calendar
    world, remembered, _ = fitted.used(build_world(chosen), tmp_path / "fit", calendar, 2, chosen.run.seed, 4)
    alone = lpm.open(run(world, calendar, tmp_path / "run", seed=chosen.run.seed, realizations=4)).load()
    mine = lpm.open(path).load()
    np.testing.assert_array_equal(alone["infectious"].values[0], mine["infectious"].values[0])
    assert about.attributes["from_fit_checksum"] == remembered["from_fit_checksum"]
    assert any("infectious_days" in line for line in about.fit)
