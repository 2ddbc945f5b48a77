"""What holds for every measure: none changes nothing, none works before its day, people are conserved."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import lpm
from lpm.checkpoint import Plan
from lpm.interventions import Interventions, Quarantine, Testing
from lpm.worlds import city
from tests.interventions.town import ACTIVE, BEGINS, CALENDAR, IDLE, asked, baseline, built, seen, simulated
from tests.laws.test_identity import shuffled_population
from tests.laws.worlds import CITY, small_city

EVERYTHING = asked(**{key: value for measures in ACTIVE.values() for key, value in measures.items()})
FIRST_RESULTS = BEGINS + 1
FIRST_DAY = {"testing": FIRST_RESULTS, "quarantine": FIRST_RESULTS, "tracing": FIRST_RESULTS}  # of others: BEGINS


def test_measures_that_do_nothing_change_nothing() -> None:
    idle = seen(IDLE)
    for name, values in baseline().items():
        np.testing.assert_array_equal(idle[name], values, err_msg=name)
    for name in ("doses", "tests", "positives", "isolated", "quarantined", "traced"):
        assert not idle[name].any(), name


@pytest.mark.parametrize("name", [name for name in ACTIVE if name != "trigger"])
def test_a_measure_leaves_all_days_before_its_own(name: str) -> None:
    one, other = baseline(), seen(asked(**ACTIVE[name]))
    begins = FIRST_DAY.get(name, BEGINS)
    for observable in one:
        np.testing.assert_array_equal(one[observable][:begins], other[observable][:begins], err_msg=observable)
    assert not np.array_equal(one["stages"][begins:], other["stages"][begins:])
    for observable in ("doses", "tests", "isolated", "quarantined"):
        assert not other[observable][:BEGINS].any()


def test_a_triggered_measure_leaves_all_days_before_its_trigger() -> None:
    one, other = baseline(), seen(asked(**ACTIVE["trigger"]))
    first = int(np.argmax(other["trigger_on"][:, 0]))
    assert 3 < first < 25
    np.testing.assert_array_equal(one["stages"][:first], other["stages"][:first])
    assert not np.array_equal(one["stages"][first:], other["stages"][first:])


@pytest.mark.parametrize("name", ACTIVE)
def test_people_are_conserved(name: str) -> None:
    found = seen(asked(**ACTIVE[name]))
    assert (found["tally"].sum(1) == built(IDLE).agents).all()
    susceptible = np.append(built(IDLE).agents, found["tally"][:, 0])
    np.testing.assert_array_equal(-np.diff(susceptible), found["infections"].sum((1, 2)))


def test_households_permuted_within_their_region_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    world = built(EVERYTHING)
    shuffled = shuffled_population(city.population(CITY.people), np.random.default_rng(1))
    monkeypatch.setattr(city, "population", lambda people: shuffled)
    other = city.build(dataclasses.replace(CITY, interventions=EVERYTHING), CALENDAR)
    assert not np.array_equal(world.state.fixed["id"], other.state.fixed["id"])
    one, two = seen(EVERYTHING), simulated(other)
    for name, values in one.items():
        mine, its = values, two[name]
        if values.shape[1:] == (world.agents,):
            mine = mine[:, np.argsort(world.state.fixed["id"])]
            its = its[:, np.argsort(other.state.fixed["id"])]
        np.testing.assert_array_equal(mine, its, err_msg=name)
    assert all(one[name].sum() > 50 for name in ("doses", "tests", "positives", "isolated", "traced"))


def test_what_is_not_asked_for_takes_no_room() -> None:
    plain = small_city()
    assert list(plain.state.agents) == ["stage"]
    assert plain.state.env == {}
    assert plain.params.interventions == {}
    assert [name for name, _ in plain.model.substeps] == ["course", "infect"]
    tested = city.build(dataclasses.replace(CITY, interventions=Interventions(testing=Testing())), CALENDAR)
    assert list(tested.state.agents) == ["stage", "tested"]
    both = Interventions(testing=Testing(), quarantine=Quarantine())
    sent = city.build(dataclasses.replace(CITY, interventions=both), CALENDAR)
    assert {name: values.dtype for name, values in sent.state.agents.items() if name != "stage"} == {
        "tested": np.uint8,
        "quarantine": np.uint8,
    }
    assert {observable.name for observable in sent.observables} - {
        observable.name for observable in plain.observables
    } == {
        "tests",
        "positives",
        "isolated",
        "quarantined",
    }


@pytest.mark.slow  # a study's are held by tests/studies/test_parting.py
def test_a_stored_scenario_has_the_baselines_records_until_it_parts(tmp_path: Path) -> None:
    worlds = {"baseline": built(IDLE), "scenario": built(EVERYTHING)}
    stored = {}
    for name, world in worlds.items():
        stored[name] = lpm.open(lpm.run(world, CALENDAR, tmp_path / name, seed=3, checkpoints=Plan(at=(15,)))).load()
    one, other = stored["baseline"], stored["scenario"]
    for name in one.data_vars:
        if "time" in one[name].dims:
            assert one[name].isel(time=slice(3)).equals(other[name].isel(time=slice(3))), name
    assert int(other["doses"].sum()) > 1000
    assert not one["infections"].equals(other["infections"])

    # The state of measures is saved and read like everybody's stage.
    again = lpm.run(worlds["scenario"], CALENDAR, tmp_path / "again", seed=3, parent=tmp_path / "scenario", at=15)
    branched = lpm.open(again).load()
    for name in other.data_vars:
        assert other[name].equals(branched[name]), name
