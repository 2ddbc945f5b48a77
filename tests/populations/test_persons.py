import numpy as np
import pandas as pd
import pytest

from lpm.errors import InputError
from lpm.populations.persons import from_table
from lpm.populations.population import SCHOOL, WORKPLACE

GOOD = """person_id,age,region,household,place,place_kind
a,40,South,1,shop,workplace
b,9,North,2,primary,school
c,12,South,1,primary,school
d,70,North,2,,
e,35,North,2,shop,workplace
f,8,North,3,primary,school
g,33,North,3,shop,workplace
"""


def write(folder, text, name="people.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder, text):
    with pytest.raises(InputError) as caught:
        from_table(write(folder, text))
    assert all(problem.startswith(str(folder / "people.csv")) for problem in caught.value.problems)
    return [problem.removeprefix(str(folder / "people.csv")) for problem in caught.value.problems]


def test_people_are_sorted_by_region_and_household_and_keep_their_row_number(tmp_path):
    people = from_table(write(tmp_path, GOOD))
    assert people.regions == ("North", "South")
    assert people.ids.tolist() == [1, 3, 4, 5, 6, 0, 2]
    assert people.age.tolist() == [9, 70, 35, 8, 33, 40, 12]
    assert people.size.tolist() == [3, 3, 3, 2, 2, 2, 2]
    assert people.position.tolist() == [0, 1, 2, 0, 1, 0, 1]


def test_a_group_has_its_kind_and_the_region_most_of_its_members_live_in(tmp_path):
    people = from_table(write(tmp_path, GOOD))
    assert people.place.tolist() == [0, -1, 1, 0, 1, 1, 0]
    assert people.place_kind.tolist() == [SCHOOL, WORKPLACE]
    assert people.place_region.tolist() == [0, 0]


def test_without_kinds_a_place_of_mostly_minors_is_a_school(tmp_path):
    text = "\n".join(line.rsplit(",", 1)[0] for line in GOOD.splitlines())
    people = from_table(write(tmp_path, text))
    assert people.place_kind.tolist() == [SCHOOL, WORKPLACE]
    assert any("under 18" in note for note in people.notes)


def test_parquet_and_csv_give_the_same_population(tmp_path):
    path = write(tmp_path, GOOD)
    frame = pd.read_csv(path)
    frame["place"] = frame["place"].map({"shop": 7.0, "primary": 5.0})
    frame.to_csv(path, index=False)
    frame.to_parquet(tmp_path / "people.parquet")
    one, other = from_table(path), from_table(tmp_path / "people.parquet")
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name])


def test_order_of_rows_changes_only_the_ids(tmp_path):
    header, *rows = GOOD.splitlines()
    one = from_table(write(tmp_path, GOOD))
    other = from_table(write(tmp_path, "\n".join([header, *sorted(rows, reverse=True)])))
    assert sorted(zip(one.region, one.size, one.age, one.place, strict=True)) == sorted(
        zip(other.region, other.size, other.age, other.place, strict=True)
    )


def test_every_problem_is_found_at_once_and_located(tmp_path):
    found = problems(
        tmp_path,
        "person_id,age,region,household,place,place_kind\n"
        "a,-1,North,1,,\n"
        "a,4,North,1,office,palace\n"
        "b,7.5,South,1,,school\n"
        "\n"
        "c,,,3,office,workplace\n",
    )
    for start in (
        ":2 age: asked for whole years from 0 to 120, got '-1'",
        ":4 age: asked for whole years from 0 to 120, got '7.5'",
        ":5 age",
        ":5 person_id",
        ":6 region: asked for a name or number, got ''",
        ":3 person_id: asked for each identifier once, got 'a'",
        ":3 place_kind: asked for school or workplace, got 'palace'",
        ":4 place: asked for a place where there is a place_kind",
        ":4 region: asked for one region for a household, got 'South'",
    ):
        assert any(problem.startswith(start) for problem in found), start


def test_at_most_twenty_problems_are_listed(tmp_path):
    found = problems(tmp_path, "age,region,household\n" + "x,North,1\n" * 1_000)
    assert len(found) == 21
    assert found[19].startswith(":21 age")
    assert "and more" in found[20]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,region\n1,a\n", ":1 household: asked for columns age, region, household"),
        ("ages,region,household\n1,a,b\n", "rename 'ages' to 'age'"),
        ("age,region,household,places\n1,a,b,c\n", "rename 'places' to 'place'"),
        ("age,age,region,household\n1,1,a,b\n", ":1 age: asked for one such column, got 2"),
        ("age,region,household\n", ":2: asked for at least one person"),
        ("", "asked for a table of persons, got a file that cannot be read"),
        ("age,region,household\n1,a,b\n2,a,b,c\n", ":3: asked for 3 fields, got 4"),
        ("age,region,household\n1,a,b,c\n", ":2: asked for 3 fields, got 4"),
        ("age,region,household\n1,a\n", ":2 household: asked for a name or number, got ''"),
        ("age,region,household\n" + "9,a,b\n" * 32, ":2 household: asked for at most 31 members, got 32"),
        ("age,region,household,place,place_kind\n9,a,b,c,school\n40,a,b,c,workplace\n",
         ":3 place_kind: asked for one kind for a place, got 'workplace'"),
        ("age,region,household\n" + "".join(f"9,r{i},h{i}\n" for i in range(256)), "at most 255 regions, got 256"),
        ("age,region,household,place\n" + "".join(f"9,a,h{i},c\n" for i in range(65_536)),
         ":2 place: asked for at most 65,535 members"),
    ],
)  # fmt: skip
def test_what_is_no_person_table_is_refused(tmp_path, text, message):
    assert any(message in problem for problem in problems(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "got no such file"),
        ("people.xlsx", b"x", "asked for a .csv or .parquet file, got .xlsx"),
        ("people.parquet", b"not parquet", "cannot be read"),
        ("people.csv", "age,region,household\n1,Orléans,b\n".encode("latin-1"), "cannot be read"),
    ],
)
def test_what_is_no_readable_file_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        from_table(tmp_path / name)
