"""New York City meets its tables. The tolerances are those that `city` states."""

import resource

import numpy as np
import pytest

from lpm.errors import InputError
from lpm.populations import city, new_york_city, read_tables
from lpm.populations.city import NEW_YORK_CITY
from lpm.populations.population import SCHOOL, WORKPLACE

BOROUGHS = {"Bronx": 1_472_654, "Brooklyn": 2_736_074, "Manhattan": 1_694_251, "Queens": 2_405_464,
            "Staten Island": 495_747}  # fmt: skip


def total_variation(counts, shares):
    return np.abs(counts / counts.sum() - shares / shares.sum()).sum() / 2


@pytest.fixture(scope="module")
def tables():
    return read_tables(NEW_YORK_CITY)


@pytest.fixture(scope="module")
def full():
    before = resource.getrusage(resource.RUSAGE_SELF)
    population = new_york_city(cache=False)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return population, after.ru_utime - before.ru_utime, (after.ru_maxrss - before.ru_maxrss) / 2**20


@pytest.fixture(scope="module")
def people(full):
    return full[0]


@pytest.fixture(scope="module")
def first(people):
    """The row of each household's head."""
    return np.flatnonzero(people.position == 0)


def test_full_city_is_made_within_its_limits(full):
    _, processor_seconds, further_gibibytes = full
    assert processor_seconds < 20
    assert further_gibibytes < 3


def test_every_borough_has_its_census_count(people):
    assert dict(zip(people.regions, np.bincount(people.region).tolist(), strict=True)) == BOROUGHS


def test_ages_meet_the_table_in_each_borough(people, tables):
    for region in range(5):
        counts = np.bincount(people.age[people.region == region], minlength=100)
        assert total_variation(counts, tables.ages[region]) < 1e-4


def test_household_sizes_meet_the_table_in_each_borough(people, tables, first):
    for region in range(5):
        counts = np.bincount(people.size[first][people.region[first] == region], minlength=32)
        assert total_variation(counts, tables.sizes[region]) < 1e-4


def test_mean_household_size_is_that_of_the_table(people, tables):
    expected = tables.sizes[0] @ np.arange(32)
    assert abs(people.summary()["mean household size"] - expected) < 1e-3
    assert expected == pytest.approx(2.477, abs=1e-3)


def test_ages_of_heads_meet_the_table_for_each_size(people, tables, first):
    for size in range(1, 8):
        counts = np.bincount(people.age[first][people.size[first] == size], minlength=100)
        assert total_variation(counts, tables.heads[size]) < 0.005


def test_no_child_lives_without_an_adult(people, first):
    assert people.age[first].min() >= 18


def test_children_live_with_parents_of_a_plausible_age(people, first):
    head = np.repeat(people.age[first].astype(int), people.size[first])
    gap = (head - people.age)[people.age < 18]
    assert np.mean((gap >= 16) & (gap <= 50)) > 0.9


def test_partners_are_near_in_age(people, first):
    pairs = first[people.size[first] >= 2]
    gap = np.abs(people.age[pairs].astype(int) - people.age[pairs + 1])
    partners = gap[(people.age[pairs + 1] >= 18) & (gap < 16)]
    assert np.mean(partners <= 5) > 0.75
    assert 0.6 < len(partners) / len(pairs) < 0.9


def test_brothers_and_sisters_are_near_in_age_but_no_twins(people, first):
    rows = first[people.size[first] == 4]
    third, fourth = people.age[rows + 2].astype(int), people.age[rows + 3].astype(int)
    gap = np.abs(third - fourth)[(third < 18) & (fourth < 18)]
    assert 2 < gap.mean() < 5
    assert np.mean(gap == 0) < 0.2


def test_enrolment_meets_the_table_and_pupils_stay_in_their_borough(people, tables):
    pupil = (people.age < 18) & (people.place >= 0)
    for age in range(18):
        assert np.mean(pupil[people.age == age]) == pytest.approx(tables.enrolment[age], abs=1e-4)
    assert np.all(people.place_kind[people.place[pupil]] == SCHOOL)
    assert np.all(people.place_region[people.place[pupil]] == people.region[pupil])


def test_a_year_group_is_of_one_age_and_of_its_size_and_has_teachers(people):
    inside = people.place >= 0
    place, age = people.place[inside], people.age[inside].astype(int)
    school = people.place_kind == SCHOOL
    pupils = np.bincount(place[age < 18], minlength=len(school))[school]
    teachers = np.bincount(place[age >= 18], minlength=len(school))[school]
    sums = np.bincount(place[age < 18], age[age < 18], len(school))[school]
    squares = np.bincount(place[age < 18], age[age < 18] ** 2, len(school))[school]
    assert np.all(squares * pupils == sums**2)
    assert pupils.min() >= 55
    assert pupils.max() <= 125
    assert np.all(np.abs(teachers - pupils / 14) <= 1)


def test_employment_meets_the_table(people, tables):
    works = (people.age >= 18) & (people.place >= 0)
    for age in range(18, 100):
        here = people.age == age
        assert np.mean(works[here]) == pytest.approx(tables.employment[age], abs=2.5 / here.sum() + 1e-12)


def test_commuting_meets_the_table(people, tables):
    works = (people.age >= 18) & (people.place >= 0)
    pair = people.region[works].astype(int) * 5 + people.place_region[people.place[works]]
    counts = np.bincount(pair, minlength=25).reshape(5, 5)
    np.testing.assert_allclose(counts / counts.sum(axis=1, keepdims=True), tables.commuting, atol=1e-5)


def test_workplaces_have_a_heavy_tail_and_meet_their_classes(people, tables):
    members = np.bincount(people.place[people.place >= 0])[people.place_kind == WORKPLACE]
    low, high, number = tables.establishments.T
    counts = np.array([np.sum((members >= a) & (members <= b)) for a, b in zip(low, high, strict=True)])
    assert total_variation(counts, number) < 0.01
    assert 3_000 < members.max() <= 5_000
    assert np.sort(members)[-len(members) // 100 :].sum() > 0.25 * members.sum()


def test_every_group_has_members(people):
    assert np.bincount(people.place[people.place >= 0], minlength=len(people.place_kind)).min() > 0


def test_what_is_assumed_is_said(people):
    assert any("group quarters" in note for note in people.notes)
    assert any(note.startswith("commuting.csv") for note in people.notes)


@pytest.mark.parametrize("agents", [100, 137, 500, 2_000, 20_000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_small_cities_keep_every_promise(agents, seed):
    small = new_york_city(agents=agents, seed=seed, cache=False)
    shares = np.array(list(BOROUGHS.values())) * agents / sum(BOROUGHS.values())
    assert len(small) == agents
    assert np.all(np.abs(np.bincount(small.region, minlength=5) - shares) < 1)
    assert small.age[small.position == 0].min() >= 18
    small.check()


def test_same_seed_gives_the_same_bits_and_another_seed_does_not():
    one, again, other = (new_york_city(agents=5_000, seed=seed, cache=False) for seed in (4, 4, 5))
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])
    assert not np.array_equal(one.age, other.age)
    assert not np.array_equal(one.place, other.place)


@pytest.mark.parametrize(("argument", "value"), [("agents", 99), ("agents", 1e6), ("agents", True), ("seed", -1)])
def test_impossible_arguments_are_refused(argument, value):
    with pytest.raises(InputError, match=f"{argument}: asked for a whole number"):
        new_york_city(**{argument: value}, cache=False)


def test_a_city_of_one_region_needs_only_its_tables(tmp_path):
    write_town(tmp_path)
    town = city(read_tables(tmp_path))
    assert len(town) == 3_000
    assert town.regions == ("Town",)
    assert np.all(np.isin(town.size, [1, 4]))


def write_town(folder):
    contents = {
        "regions": "region,population,source\nTown,3000,count",
        "ages": "region,age_from,age_to,population,source\n*,0,17,25,count\n*,18,79,75,count",
        "household_sizes": "region,size,share,source\n*,1,1,count\n*,4,1,count",
        "household_heads": "size,age_from,age_to,thousand_households,source\n1,18,79,1,count",
        "employment": "age_from,age_to,rate,source\n18,64,0.7,count",
        "enrolment": "age_from,age_to,rate,group_size,source\n5,17,1,80,count",
        "establishments": "size_from,size_to,establishments,source\n1,4,60,count\n5,50,40,assumption: a guess",
        "commuting": "region_home,region_work,share,source\nTown,Town,1,count",
    }
    for name, text in contents.items():
        (folder / f"{name}.csv").write_text(text + "\n", encoding="utf-8")
