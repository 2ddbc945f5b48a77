"""Broken configs and data files: each yields located lines that say what to write, and leaves nothing behind."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lpm.config import load
from lpm.errors import InputError
from lpm.schema_yaml import parse

HERE = Path(__file__).parent
YAML = (HERE / "valid.yaml").read_text(encoding="utf-8")
VALID = parse(YAML.encode(), "valid.yaml").data
BEDS = (HERE / "beds.csv").read_text(encoding="utf-8")

NO_NUMBER = ["abc", "0.5", True, [1], {"a": 1}]
NO_TEXT = [3, True, ["x"], {"a": 1}]
NO_DATE = ["soon", "2020-02-30", "2020-02-01T10:00:00", "01.02.2020", True, ["2020-02-01"]]
NO_LIST = ["abc", 3, {"a": 1}]
NO_MAPPING = ["abc", 3, [1]]
WRONG_TYPES = {
    "model": [*NO_TEXT, None],
    "title": NO_TEXT,
    "settings": NO_MAPPING,
    "settings.agents": [*NO_NUMBER, 1.5, 2.0, None],
    "settings.contacts": [*NO_MAPPING, None],
    "settings.contacts.kind": ["ring", 3, True, None],
    "settings.contacts.degree": [*NO_NUMBER, None],
    "settings.transmission": [*NO_NUMBER, "5%", "1,5", "2020-02-01"],
    "settings.rates": [*NO_LIST[:2], [1]],
    "settings.rates.home": NO_NUMBER,
    "settings.ages": NO_LIST,
    "settings.ages.1": NO_NUMBER,
    "settings.span": [*NO_LIST, [1], [1, 2, 3]],
    "settings.mixed": ["no", "true", 1, 0, None, []],
    "settings.closures": NO_LIST,
    "settings.closures.1": NO_MAPPING,
    "settings.closures.0.from": [*NO_DATE, 3, None],
    "settings.closures.0.factor": NO_NUMBER,
    "settings.first": [*NO_DATE, 1.5, None],
    "settings.share": NO_NUMBER,
    "settings.place": NO_TEXT,
    "run": NO_MAPPING,
    "run.start": [*NO_DATE, 3],
    "run.end": [*NO_DATE, 3],
    "run.seed": [*NO_NUMBER, 1.5],
    "run.realizations": [*NO_NUMBER, 1.5],
    "run.every": [*NO_NUMBER, 1.5],
    "run.snapshots": NO_MAPPING,
    "run.snapshots.every": [*NO_NUMBER, 1.5],
    "run.snapshots.of": NO_LIST,
    "run.snapshots.of.0": NO_TEXT,
    "run.out": NO_TEXT,
    "compare": NO_LIST,
    "compare.0": NO_MAPPING,
    "compare.0.variable": NO_TEXT,
    "compare.0.file": NO_TEXT,
    "compare.0.time": NO_TEXT,
    "compare.0.column": NO_TEXT,
    "compare.0.by": NO_TEXT,
    "compare.0.days": [*NO_NUMBER, 1.5],
    "compare.0.label": NO_TEXT,
}
OUT_OF_RANGE = {
    "settings.agents": [0, -1],
    "settings.contacts.degree": [-1, 101, "@.nan", "@.inf", "@-.inf", "@1e999"],
    "settings.transmission": [-0.1, "@.nan", "@.inf"],
    "settings.rates.work": [-1, "@.nan"],
    "settings.ages.0": ["@.nan", "@.inf"],
    "settings.closures.0.factor": [1.5, -0.5, "@.nan"],
    "settings.share": [1.01, -1],
    "run.seed": [-1, 2**64],
    "run.realizations": [0, -3],
    "run.every": [0, -1, 7],
    "run.snapshots.every": [0, 7],
    "run.snapshots.of": [[]],
    "run.end": ["2020-01-31", "1999-12-31"],
    "run.out": ["", "runs/{seed}", "runs/{", "{name"],
    "compare.0.days": [0, -7],
    "compare.0.file": ["bed.csv", "nowhere/beds.csv", "", "."],
    "settings.closures.1.from": ["2020-03-02", "2020-01-31", "2021-02-10"],
    "model": ["town", "town:", ":build", "town.py", "town.py:", "towns.py:build", "town.py:biuld", "town.py:Closure"],
    "model ": [
        "no_such.module:build",
        "json:loads",
        "json:no_such",
        "lpm.worlds.sri:build",
        "../town.py:build",
        "a b:c",
    ],
}
REQUIRED = ["model", "settings.closures.0.from", "run.snapshots.every", "run.snapshots.of"]
REQUIRED += [f"compare.0.{name}" for name in ("variable", "file", "time", "column")]
MAPPINGS = ["", "settings", "settings.contacts", "settings.closures.0", "run", "run.snapshots", "compare.0"]

SYNTAX = {
    "no mapping": "just a text",
    "a number": "3",
    "a list": "- model: town.py:build",
    "empty": "",
    "comment": "# nothing\n",
    "null": "~",
    "tab": "model: town.py:build\nrun:\n\tsteps: 3\n",
    "open bracket": "model: [town.py:build\nrun: {steps: 3}\n",
    "open brace": "model: town.py:build\nrun: {steps: 3\n",
    "open quote": "model: 'town.py:build\nrun: {steps: 3}\n",
    "closed twice": "model: town.py:build\nrun: {steps: 3}}\n",
    "two colons": "model: town.py:build\ntitle: a town: closed\nrun: {steps: 3}\n",
    "indent": "model: town.py:build\n run: {steps: 3}\n",
    "outdent": "model: town.py:build\nrun:\n    steps: 3\n  seed: 1\n",
    "undefined alias": "model: *town\nrun: {steps: 3}\n",
    "alias of itself": "model: town.py:build\nrun: &run {steps: 3, snapshots: *run}\n",
    "reserved sign": "model: @town\nrun: {steps: 3}\n",
    "percent": "%model: x\nrun: {steps: 3}\n",
    "tag": "model: !town town.py:build\nrun: {steps: 3}\n",
    "python tag": "model: town.py:build\nrun: !!python/object:os.system {steps: 3}\n",
    "int tag": "model: town.py:build\nrun: {steps: !!int three}\n",
    "bool tag": "model: town.py:build\nrun: {steps: !!bool three}\n",
    "merge": "model: town.py:build\nrun: {<<: {steps: 3}}\n",
    "key twice": "model: town.py:build\nrun: {steps: 3}\nmodel: town.py:build\n",
    "key twice within": "model: town.py:build\nrun:\n  steps: 3\n  steps: 4\n",
    "list as key": "model: town.py:build\nrun: {steps: 3}\n? [1, 2]\n: 3\n",
    "two documents": "model: town.py:build\nrun: {steps: 3}\n---\nmodel: town.py:build\n",
    "control character": "model: town.py:build\ntitle: a\x07b\nrun: {steps: 3}\n",
    "null byte": "model: town.py:build\x00\nrun: {steps: 3}\n",
    "nested too deeply": "model: " + "[" * 800,
    "aliases of aliases": "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
    + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 7)),
    "very long number": "model: town.py:build\nrun: {steps: " + "9" * 5000 + "}\n",
    "bad escape": 'model: "town\\q"\nrun: {steps: 3}\n',
}
RUNS = {
    "neither end nor steps": ("run", "{start: 2020-02-01}"),
    "empty": ("run", ""),
    "both": ("run", "{start: 2020-02-01, end: 2020-03-01, steps: 30}"),
    "end without start": ("run.end", "{end: 2020-03-01}"),
    "end first": ("run.end", "{start: 2020-02-01, end: 2020-01-31}"),
    "every": ("run.every", "{steps: 100, every: 7}"),
    "every longer than the run": ("run.every", "{steps: 10, every: 11}"),
    "snapshots between records": ("run.snapshots.every", "{steps: 100, every: 5, snapshots: {every: 7, of: [stage]}}"),
    "no steps": ("run.steps", "{steps: 0}"),
    "steps below none": ("run.steps", "{steps: -5}"),
    "too many steps": ("run.steps", "{steps: 10000000}"),
    "after the last year": ("run.steps", "{start: 9999-12-01, steps: 100}"),
    "steps in words": ("run.steps", "{steps: three}"),
    "steps and a half": ("run.steps", "{steps: 3.5}"),
    "year 0": ("run.start", "{start: 0000-01-01, steps: 3}"),
}
OVERRIDES = {
    "no equals": "run.seed",
    "no key": "=3",
    "empty part": "run..seed=3",
    "unknown key": "run.sed=3",
    "unknown section": "rum.seed=3",
    "unknown key below": "settings.contacts.degre=3",
    "below a number": "run.seed.x=3",
    "no position": "settings.ages.first=3",
    "position too high": "settings.closures.2.factor=0.5",
    "below a text": "model.name=x",
    "wrong type": "settings.agents=many",
    "out of range": "settings.closures.1.factor=2",
    "text for a number": "settings.transmission='0.1'",
    "YAML mistake": "settings.ages=[1, 2",
    "nothing": "settings.agents=",
    "tab": "settings.ages=\t[1",
    "unknown model": "model=lpm.worlds.sur:build",
    "end first": "run.end=2020-01-01",
    "steps that every does not divide": "run.steps=10",
    "with line end": "settings.agents=a\nb",
}
MODELS = {
    "syntax": "def build(settings, calendar:\n    pass\n",
    "import": "import no_such_library\n",
    "import name": "from lpm.settings import Ratio\n",
    "raises": "1 / 0\n",
    "exits": "import sys\nsys.exit(3)\n",
    "no builder": "x = 1\n",
    "no function": "build = 3\n",
    "no annotation": "def build(settings, calendar): ...\n",
    "one argument": "def build(settings: int): ...\n",
    "three arguments": "def build(settings: int, calendar, more): ...\n",
    "no dataclass": "def build(settings: dict, calendar): ...\n",
    "not frozen": "import dataclasses\n@dataclasses.dataclass\nclass S: ...\ndef build(settings: S, calendar): ...\n",
    "unknown annotation": "from __future__ import annotations\ndef build(settings: S, calendar): ...\n",
    "type that no YAML holds": "import dataclasses, numpy\n@dataclasses.dataclass(frozen=True)\nclass S:\n"
    "    x: numpy.ndarray\ndef build(settings: S, calendar): ...\n",
    "post-init fails": "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass S:\n"
    "    def __post_init__(self):\n        [][1]\ndef build(settings: S, calendar): ...\n",
    "check fails": "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass S: ...\n"
    "def check(settings, calendar):\n    return {}['x']\ndef build(settings: S, calendar): ...\n",
    "not UTF-8": "# \udcff\ndef build(settings, calendar): ...\n",
}
DATA = {
    "empty": "",
    "blank": "\n\n",
    "only a header": "week,region,beds\n",
    "no header": "2020-02-01,North,3\n2020-02-08,North,3\n",
    "other time column": BEDS.replace("week", "Week"),
    "other column": BEDS.replace("beds", "bed"),
    "other regions' column": BEDS.replace("region", "borough"),
    "semicolons": BEDS.replace(",", ";"),
    "tabs": BEDS.replace(",", "\t"),
    "column twice": BEDS.replace("source", "beds"),
    "cell missing": BEDS.replace(",26,", ","),
    "cell too many": BEDS.replace(",26,", ",26,1,"),
    "bad date": BEDS.replace("2020-02-08,North", "2020-02-30,North"),
    "German date": BEDS.replace("2020-02-08", "8.2.2020"),
    "short date": BEDS.replace("2020-02-08", "20200208"),
    "empty date": BEDS.replace("2020-02-08,South", ",South"),
    "hour": BEDS.replace("2020-02-08,South", "2020-02-08T12:00,South"),
    "number among dates": BEDS.replace("2020-02-15,South", "14,South"),
    "negative": BEDS.replace(",26,", ",-26,"),
    "not a number": BEDS.replace(",26,", ",nan,"),
    "infinite": BEDS.replace(",26,", ",inf,"),
    "empty count": BEDS.replace(",26,", ",,"),
    "NA": BEDS.replace(",26,", ",NA,"),
    "text": BEDS.replace(",26,", ",many,"),
    "decimal comma": BEDS.replace(",26,", ',"2,6",'),
    "thousands": BEDS.replace(",26,", ',"2 600",'),
    "row twice": BEDS + "2020-02-15,South,2,Town clerk\n",
    "row twice, otherwise": BEDS + "2020-02-15,North,5,Town clerk\n",
    "week missing": BEDS + "2020-02-29,North,1,c\n2020-02-29,South,1,c\n",
    "day off": BEDS.replace("2020-02-15", "2020-02-16") + "2020-02-22,North,1,c\n2020-02-22,South,1,c\n",
    "region missing": BEDS.replace("2020-02-08,South,1,Town clerk\n", ""),
    "region unnamed": BEDS.replace("2020-02-08,South", "2020-02-08,"),
    "region misspelt once": BEDS.replace("2020-02-08,South", "2020-02-08,Suoth"),
    "open quote": BEDS.replace("2020-02-08,South", '2020-02-08,"South'),
    "not UTF-8": BEDS.replace("Town", "T\udcf6wn"),
    "null byte": BEDS.replace(",26,", ",2\x006,"),
}


CONFIGS_WORDS = ("data-no header", *(f"data-other {what}column" for what in ("", "time ", "regions' ")))


class Case(NamedTuple):
    """One way to be wrong: a config's text, the field that must be named, what `--set` says, a data file, a model."""

    name: str
    text: str
    field: str = ""
    overrides: tuple[str, ...] = ()
    beds: str = BEDS
    model: str = ""


def changed(path: str, value: Any = None, *, remove: bool = False) -> str:
    """The valid config with one value changed; JSON is YAML, too."""
    data: Any = copy.deepcopy(VALID)
    *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    holder = data
    for part in above:
        holder = holder[part]
    if remove:
        del holder[last]
    else:
        holder[last] = value
    return re.sub(r'"@([^"]*)"', r"\1", json.dumps(data, indent=2))


def cases() -> Iterator[Case]:
    for family, table in (("type", WRONG_TYPES), ("range", OUT_OF_RANGE)):
        for path, values in table.items():
            for value in values:
                yield Case(f"{family}-{path}-{value!r:.40}", changed(path.strip(), value), path.strip())
    for path in REQUIRED:
        yield Case(f"required-{path}", changed(path, remove=True), path)
    for path in MAPPINGS:
        for key in ("zzz", "ru n", "from_"):
            full = f"{path}.{key}".strip(".")
            yield Case(f"unknown-{full}", changed(full, 1), full)
    for name, text in SYNTAX.items():
        yield Case(f"syntax-{name}", text)
    for name, (field, run) in RUNS.items():
        yield Case(f"run-{name}", f"model: town.py:build\nrun: {run}\n", field)
    for name, text in OVERRIDES.items():
        yield Case(f"set-{name}", YAML, overrides=(text,))
    for name, source in MODELS.items():
        yield Case(f"model-{name}", "model: own.py:build\nrun: {steps: 3}\n", model=source)
    for name, beds in DATA.items():
        yield Case(f"data-{name}", YAML, beds=beds)
    yield Case("data-dates without a start", changed("run", {"steps": 30}), "compare.0.time")
    yield Case("range-a check of the settings' own", changed("settings.place", "nowhere"), "settings")
    yield Case("data-without by", changed("compare.0.by", remove=True))


CASES = list(cases())
LOCATED = re.compile(r"^([^:]+:\d+:\d+ |--set )\S")
ADVICE = re.compile(r"; .*(write|remove|save|mend|import)|write ")
JARGON = re.compile("Traceback|pydantic|input_value|type=|https?://|ctx|core.schema|NoneType|dataclasses\\.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    shutil.copy(HERE / "town.py", folder)
    return folder


def written(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_the_unbroken_config_loads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("beds.csv").write_text(BEDS, encoding="utf-8")
    for text in (YAML, changed("title", "same")):
        Path("case.yaml").write_text(text, encoding="utf-8")
        assert load("case.yaml").compare[0].values.shape == (3, 2)


def test_there_are_enough_broken_ones() -> None:
    assert len({(case.text, case.overrides, case.beds, case.model) for case in CASES}) >= 200


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_mistake_is_located_and_says_what_to_write(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name, text in {"case.yaml": case.text, "beds.csv": case.beds, "own.py": case.model}.items():
        Path(name).write_text(text, encoding="utf-8", errors="surrogateescape")
    before = written(folder)
    with pytest.raises(InputError) as raised:
        load("case.yaml", case.overrides)
    assert written(folder) == before
    problems = raised.value.problems
    assert str(raised.value) == "\n".join(problems)
    for problem in problems:
        assert LOCATED.search(problem), problem
        assert "\n" not in problem
        assert len(problem) < 600, problem
        assert re.search("got|unknown", problem), problem
        assert ADVICE.search(problem), problem
        assert not JARGON.search(problem), problem
    assert any(f" {case.field}" in problem.split(": ")[0] for problem in problems), problems
    if case.name.startswith("set-"):
        assert all(problem.startswith(("--set ", "case.yaml:24:10 run.every")) for problem in problems), problems
    if case.name.startswith("data-") and case.beds != BEDS:
        own = r"case.yaml:28:\d+ compare.0" if case.name in CONFIGS_WORDS else "beds.csv:"
        assert all(re.match(own, problem) for problem in problems), problems


@pytest.mark.parametrize("path", ["no-such.yaml", "nyc-2021", "", ".", "beds.csv"])
def test_a_file_that_is_no_config_is_named(path: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("beds.csv").write_text(BEDS, encoding="utf-8")
    with pytest.raises(InputError, match=r"got .*write"):
        load(path)


@pytest.mark.parametrize("raw", [b"model: \xff\n", b"\xff\xfem\x00", b"\xfe", b"title: caf\xe9\n", bytes(range(256))])
def test_bytes_that_are_no_text_are_located(raw: bytes, tmp_path: Path) -> None:
    file = tmp_path / "raw.yaml"
    file.write_bytes(raw)
    with pytest.raises(InputError, match=r"raw.yaml:\d+:\d+ config: asked for text.* got .*; (save|write)"):
        load(file)
