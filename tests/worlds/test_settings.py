"""The settings of the worlds that ship: their bounds, their words, and the figures taken from the literature."""

import dataclasses
import datetime
import inspect
import math
import re
import typing

import numpy as np
import pytest

from lpm.errors import InputError
from lpm.settings import Calendar, Number
from lpm.worlds import city, contacts, disease, schedule, seir, sir

CLASSES = [
    sir.Settings, seir.Settings, contacts.Contacts, city.Settings, city.People, city.Transmission, city.Importation,
    disease.Disease, disease.Dwell, schedule.Change,
]  # fmt: skip
CALENDAR = Calendar(30, datetime.date(2020, 2, 1))
BY_AGE = [field.name for field in dataclasses.fields(disease.Disease) if isinstance(field.default, tuple)]


@pytest.mark.parametrize("settings", CLASSES, ids=lambda each: f"{each.__module__}.{each.__name__}")
def test_every_field_says_what_it_is(settings: type) -> None:
    docs = inspect.getdoc(settings) or ""
    described = set(re.findall(r"\w+", " ".join(re.findall(r"^    ([\w, ]+): ", docs, re.MULTILINE))))
    for name, hint in typing.get_type_hints(settings, include_extras=True).items():
        units = [each.unit for each in getattr(hint, "__metadata__", ()) if isinstance(each, Number)]
        assert name in described or any(units), f"{name}: neither described nor with a unit"


@pytest.mark.parametrize(
    ("kind", "mean", "asked"),
    [
        ("small_world", 5, "an even number from 2 to 14"),
        ("small_world", 4.5, "an even number"),
        ("heavy_tailed", 8, "a number above 1 and below 7.5"),
        ("erdos_renyi", 15, "at most 14"),
    ],
)
def test_a_mean_degree_that_no_network_has_is_refused(kind: str, mean: float, asked: str) -> None:
    settings = sir.Settings(15, contacts.Contacts(kind, mean))
    (mistake,) = sir.check(settings, CALENDAR)
    assert mistake.path == ("contacts", "mean_degree")
    assert asked in mistake.message
    with pytest.raises(InputError, match=r"settings\.contacts\.mean_degree: asked for"):
        sir.build(settings, CALENDAR)


@pytest.mark.parametrize("settings", CLASSES, ids=lambda each: f"{each.__module__}.{each.__name__}")
def test_defaults_are_within_their_own_bounds(settings: type) -> None:
    hints = typing.get_type_hints(settings, include_extras=True)
    for field in dataclasses.fields(settings):
        if isinstance(field.default, int | float):
            for each in getattr(hints[field.name], "__metadata__", ()):
                assert each.check(field.default) == field.default


def test_every_vector_by_age_has_a_value_for_each_band() -> None:
    assert sorted(BY_AGE) == ["admission", "death", "intensive_care", "susceptibility", "symptoms"]
    assert len(disease.BANDS) == 9
    for name in BY_AGE:
        values = getattr(disease.Disease(), name)
        assert len(values) == len(disease.BANDS), name
        assert all(0 <= value <= (1 if name != "susceptibility" else math.inf) for value in values)
        assert list(values) == sorted(values), f"{name}: no figure of the source falls with age"


@pytest.mark.parametrize("name", BY_AGE)
@pytest.mark.parametrize("count", [0, 8, 10])
def test_a_vector_of_another_length_is_refused(name: str, count: int) -> None:
    settings = city.Settings(disease=disease.Disease(**{name: (0.5,) * count}))
    (mistake,) = city.check(settings, CALENDAR)
    assert mistake.path == ("disease", name)
    assert f"asked for 9 values, one for each age band 0-9, 10-19, {'20-29'}" in mistake.message
    assert f"got {count}; write 9 numbers" in mistake.message


def test_the_shipped_defaults_have_no_mistakes() -> None:
    assert city.check(city.Settings(), CALENDAR) == []
    assert city.check(city.Settings(), Calendar(1)) == []


def test_building_refuses_what_check_refuses() -> None:
    settings = city.Settings(schedule=(schedule.Change("work", datetime.date(2021, 1, 1), 0.5),))
    with pytest.raises(InputError, match=r"^settings\.schedule\.0\.from: asked for a day of the run"):
        city.build(settings, CALENDAR)


@pytest.mark.parametrize(
    ("number", "value", "message"),
    [
        (Number(0, 1, "fraction"), 1.0000001, "asked for a number from 0 to 1 (fraction), got 1.0000001"),
        (Number(0, 1), -1e-300, "asked for a number from 0 to 1, got -1e-300"),
        (Number(0, 2**64 - 1), 2**64, "asked for a number from 0 to 2^64 - 1, got 2^64"),
        (Number(0, 2**63), -3, "asked for a number from 0 to 2^63, got -3"),
        (Number(100, 2**31 - 1, "agents"), 99, "asked for a number from 100 to 2^31 - 1 (agents), got 99"),
        (Number(1, 1_000_000), 1_000_001, "asked for a number from 1 to 1000000, got 1000001"),
        (Number(0.5, None, "days"), 0.1 + 0.2, "asked for a number of at least 0.5 (days), got 0.30000000000000004"),
        (Number(None, 3), 3.5, "asked for a number of at most 3, got 3.5"),
        (Number(), math.nan, "asked for a finite number, got nan"),
        (Number(0, None), math.inf, "asked for a number of at least 0, got inf"),
    ],
)
def test_a_number_out_of_bounds_is_said_to_the_last_digit(number: Number, value: float, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        number.check(value)


@pytest.mark.parametrize("value", [0, 1, 0.5, 1.0])
def test_a_number_within_bounds_is_left_as_it_is(value: float) -> None:
    assert Number(0, 1).check(value) is value


@pytest.mark.parametrize("population", [np.full(9, 100), np.array([5, 1, 900, 3, 3, 2000, 1, 1, 7])])
def test_community_contacts_are_one_in_the_mean_and_mutual(population: np.ndarray) -> None:
    matrix = city.community_contacts(population)
    assert matrix.shape == (9, 9)
    assert (matrix > 0).all()
    assert population @ matrix.sum(1) / population.sum() == pytest.approx(1, rel=1e-6)
    given = population[:, None] * matrix  # contacts that a band gives another, and takes from it
    np.testing.assert_allclose(given, given.T, rtol=1e-5)


def test_contacts_between_regions_keep_their_share_at_home() -> None:
    people = city.population(city.People(agents=2000))
    community = city.networks(people, own_region=0.75)["community"]
    between = np.asarray(community.regions)
    share = np.bincount(people.region, minlength=5) / len(people)
    np.testing.assert_allclose(between.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(between, 0.75 * np.eye(5) + 0.25 * share, rtol=1e-6)


def test_importation_scales_with_the_city() -> None:
    calendar = Calendar(3)
    importation = (city.Importation(per_day=100.0),)
    small, large = (
        city.build(city.Settings(city.People(agents=agents), importation=importation), calendar)
        for agents in (1000, 2000)
    )
    full = city.FULL_SIZE["new-york-city"]
    for world in (small, large):
        np.testing.assert_allclose(np.asarray(world.params.importation), 100 / full, rtol=1e-6)
        assert world.scale == pytest.approx(world.agents / full)


@pytest.mark.parametrize("kind", ["erdos_renyi", "small_world", "heavy_tailed", "well_mixed"])
@pytest.mark.parametrize("world", [sir, seir])
def test_every_kind_of_contacts_makes_a_world_of_all_agents(world: typing.Any, kind: str) -> None:
    built = world.build(world.Settings(agents=200, contacts=contacts.Contacts(kind)), Calendar(5))
    assert built.agents == 200
    assert sorted(np.asarray(built.state.fixed["id"]).tolist()) == list(range(200))
