"""A config that is right says what it means, and later mistakes are still located in it."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lpm.config import DEFAULT, Config, build_world, find, load, shipped
from lpm.errors import InputError
from lpm.schema import export_schema
from lpm.settings import Calendar

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def config(*overrides: str) -> Config:
    return load(HERE / "valid.yaml", overrides)


def problems(*overrides: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        config(*overrides)
    return [problem.replace(f"{HERE}/", "") for problem in raised.value.problems]


def world_problems(*overrides: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        build_world(config(*overrides))
    return [problem.replace(f"{HERE}/", "") for problem in raised.value.problems]


def test_values_are_those_of_yaml_1_2() -> None:
    settings = config().settings
    assert settings.transmission == 0.001
    assert settings.place == "no"
    assert settings.mixed is True
    assert settings.ages == (18.0, 65.5)
    assert settings.rates == {"home": 0.1, "work": 0.2}
    assert settings.first == datetime.date(2020, 2, 3)
    assert [closure.from_ for closure in settings.closures] == [datetime.date(2020, 2, 10), datetime.date(2020, 2, 20)]
    assert settings.contacts.kind == "grid"


def test_a_run_lasts_until_its_last_day() -> None:
    run = config().run
    assert run.calendar == Calendar(30, datetime.date(2020, 2, 1))
    assert run.calendar.end == datetime.date(2020, 3, 1)
    assert (run.seed, run.realizations, run.every, run.out) == (7, 2, 3, Path("results/valid"))


def test_a_config_keeps_what_it_was_made_of() -> None:
    made = config("run.seed=9")
    assert made.text == (HERE / "valid.yaml").read_text(encoding="utf-8")
    assert (made.name, made.overrides, made.run.seed, made.title) == ("valid", ("run.seed=9",), 9, "A town, closed")


def test_anchors_stand_for_their_values(tmp_path: Path) -> None:
    shutil.copy(HERE / "town.py", tmp_path)
    file = tmp_path / "a.yaml"
    file.write_text("model: town.py:build\nsettings: {ages: &a [1, 2], span: *a}\nrun: {steps: 3}\n", encoding="utf-8")
    assert load(file).settings.span == (1.0, 2.0)


@pytest.mark.parametrize(
    "text",
    [
        "run: {steps: 3}\nmodel: town.py:build\nsettings:\ncompare:\n",
        "\ufeffmodel: town.py:build\r\nrun: {steps: 3}\r\n",
    ],
)
def test_defaults_stand_where_nothing_is_written(text: str, tmp_path: Path) -> None:
    shutil.copy(HERE / "town.py", tmp_path)
    file = tmp_path / "little.yaml"
    file.write_bytes(text.encode())
    made = load(file)
    assert (made.settings.agents, made.compare, made.run.seed, made.run.out) == (100, (), 0, Path("runs/little"))


def test_overrides_reach_every_depth() -> None:
    made = config(
        "settings.closures.1.factor=0.9", "settings.contacts={degree: 3}", "settings.share=null", "title=12:30"
    )
    assert made.settings.closures[1].factor == 0.9
    assert (made.settings.contacts.kind, made.settings.contacts.degree) == ("random", 3.0)
    assert (made.settings.share, made.title) == (None, "12:30")


def test_steps_given_by_override_stand_against_the_end() -> None:
    assert config("run.steps=60").run.calendar.steps == 60
    assert config("run.end=2020-03-04").run.calendar.steps == 33
    assert "got both" in problems("run.steps=30", "run.end=2020-03-01")[0]


def test_all_problems_come_at_once_with_their_places() -> None:
    found = problems("settings.agents=-1", "run.sed=3", "settings.closures.0.from=2021-01-01", "compare.0.column=bed")
    column = "--set compare.0.column=bed compare.0.column"
    assert found[0].startswith("--set settings.agents=-1 settings.agents: asked for a number of at least 1")
    assert found[1].startswith("--set run.sed=3 run.sed: unknown key `sed`; write `seed` (known: start, end,")
    assert found[2] == f"{column}: unknown column of beds.csv `bed`; write `beds` (known: week, region, beds, source)"
    assert len(found) == 3


def test_problems_come_in_the_order_of_their_lines(tmp_path: Path) -> None:
    shutil.copy(HERE / "town.py", tmp_path)
    beds = (HERE / "beds.csv").read_text(encoding="utf-8").replace(",26,", ",-26,")
    (tmp_path / "beds.csv").write_text(beds, encoding="utf-8")
    text = (HERE / "valid.yaml").read_text(encoding="utf-8")
    for old, new in (("agents: 50", "agents: no"), ("share: 0.5", "share: 2"), ("seed: 7", "sed: 7")):
        text = text.replace(old, new)
    text = text.replace("title:", "titel:")  # the last line, and the first mistake to be seen
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        load(tmp_path / "a.yaml", ["run.every=0"])
    places = [problem.split(" ")[0].removeprefix(f"{tmp_path}/") for problem in raised.value.problems]
    assert places == ["--set", "a.yaml:4:11", "a.yaml:17:10", "a.yaml:22:3", "a.yaml:29:1", "beds.csv:6:3"]


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("settings.contacts.kind=radnom", "one of 'random', 'grid', got the text 'radnom'; write `kind: random`"),
        ("settings.contacts.kind=Grid", "one of 'random', 'grid', got the text 'Grid'; write `kind: grid`"),
        ("settings.contacts.kind=lattice", "got the text 'lattice'; write for example `kind: random`"),
        ("settings.contacts.kind=3", "got 3; write for example `kind: random`"),
    ],
)
def test_the_nearest_word_is_proposed(override: str, advice: str) -> None:
    (found,) = problems(override)
    assert found.endswith(advice)


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        ("time", "weak", "unknown column of beds.csv `weak`; write `week` (known: week, region, beds, source)"),
        ("time", "region", "asked for a column of dates (2020-02-29) or day numbers, got 'region' with 'North' in it"),
        ("column", "source", "asked for a column of counts of at least 0, got 'source' with 'Town clerk' in it; write"),
        ("by", "borough", "unknown column of beds.csv `borough`; write a known one, or remove it (known: week,"),
    ],
)
def test_a_word_of_the_configs_own_is_located_there(word: str, value: str, message: str) -> None:
    (found,) = problems(f"compare.0.{word}={value}")
    assert found.startswith(f"--set compare.0.{word}={value} compare.0.{word}: {message}")


def test_a_worlds_own_check_is_located_in_the_file() -> None:
    found = problems("run.end=2020-02-18")
    assert found == [
        "valid.yaml:15:13 settings.closures.1.from: asked for a day of the run, got 2020-02-20; write one in it"
    ]


def test_a_union_complains_once() -> None:
    assert problems("settings.first=soon") == [
        "--set settings.first=soon settings.first: asked for a date or a whole number, got the text 'soon'; "
        "write for example `first: 0`"
    ]


def test_a_world_is_built() -> None:
    assert build_world(config()).agents == 50


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "settings.place=refused",
            "valid.yaml:4:3 settings: asked for settings that make a world, got no town of that name",
        ),
        (
            "settings.place=faulty",
            "valid.yaml:2:8 model: asked for a builder that ends well, got KeyError ('streets') in town.py:",
        ),
        (
            "settings.place=nothing",
            "valid.yaml:2:8 model: asked for a builder that returns an lpm.world.World, got a NoneType",
        ),
        ("compare.0.variable=deaths", "--set compare.0.variable=deaths compare.0.variable: unknown variable `deaths`"),
        (
            "run.snapshots.of=[stage, wealth]",
            "--set run.snapshots.of=[stage, wealth] run.snapshots.of.1: unknown entry",
        ),
    ],
)
def test_what_only_the_world_shows_is_located(override: str, line: str) -> None:
    (found,) = world_problems(override)
    assert found.startswith(line)
    assert "write" in found or "mend" in found


def test_a_builders_fault_keeps_its_cause() -> None:
    with pytest.raises(InputError) as raised:
        build_world(config("settings.place=faulty"))
    assert isinstance(raised.value.__cause__, KeyError)


def test_regions_that_the_world_lacks_are_named(tmp_path: Path) -> None:
    for name in ("town.py", "valid.yaml"):
        shutil.copy(HERE / name, tmp_path)
    beds = (HERE / "beds.csv").read_text(encoding="utf-8").replace("South", "Sout")
    (tmp_path / "beds.csv").write_text(beds, encoding="utf-8")
    with pytest.raises(
        InputError,
        match=r"valid.yaml:28:34 compare.0.file: unknown region in the data `Sout`; write `South` \(known: North",
    ):
        build_world(load(tmp_path / "valid.yaml"))


def test_a_model_file_may_import_its_neighbour_and_is_read_anew(tmp_path: Path) -> None:
    imports = "import dataclasses\nfrom next_door import DAYS\n"
    source = imports + "@dataclasses.dataclass(frozen=True)\nclass S:\n    days: int = "
    (tmp_path / "next_door.py").write_text("DAYS = 3\n", encoding="utf-8")
    (tmp_path / "a.yaml").write_text("model: own.py:build\nrun: {steps: 3}\n", encoding="utf-8")
    for days in (3, 4):
        text = f"{source}DAYS + {days - 3}\ndef build(settings: S, calendar): ...\n"
        (tmp_path / "own.py").write_text(text, encoding="utf-8")
        assert load(tmp_path / "a.yaml").settings.days == days


def test_an_explicit_mistake_in_the_models_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("x = 1\ny = x / 0\n", encoding="utf-8")
    (tmp_path / "a.yaml").write_text("model: own.py:build\nrun: {steps: 3}\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"a.yaml:1:8 model: .*ZeroDivisionError \(division by zero\) in .*own.py:2; mend"
    ):
        load(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_configs_are_good(name: str) -> None:
    made = load(name)
    assert (made.name, made.path) == (name, find(name))


def test_the_default_is_shipped() -> None:
    assert DEFAULT in shipped()


def test_the_schema_for_editors_is_current() -> None:
    file = ROOT / "configs" / "schema.json"
    current = json.dumps(export_schema(), indent=2) + "\n"
    assert file.read_text(encoding="utf-8") == current, "write it anew: lpm schema --write configs/schema.json"


def test_the_schema_describes_what_the_loader_takes() -> None:
    schema = export_schema()
    assert set(schema["properties"]) == {"model", "settings", "run", "compare", "title", "calibrate"}
    run = schema["$defs"]["RunSection"]["properties"]
    assert run["seed"]["default"] == 0
    assert run["start"]["anyOf"][0] == {"format": "date", "type": "string"}
    for condition in schema["allOf"]:
        name = condition["then"]["properties"]["settings"]["$ref"].removeprefix("#/$defs/")
        assert schema["$defs"][name]["additionalProperties"] is False
    for definition in schema["$defs"].values():
        assert all(not key.endswith("_") for key in definition.get("properties", {}))
    for name in ("RunSection", "Snapshots", "CompareSection"):
        assert all(field["description"] for field in schema["$defs"][name]["properties"].values())


def test_importing_the_loader_leaves_pydantic_and_yaml_alone() -> None:
    code = "import sys, lpm.config; print([name for name in ('pydantic', 'ruamel', 'pandas') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
