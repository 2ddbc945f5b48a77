"""Slips of the pen in a config: a key in the wrong place, no space after a colon, another unit of time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lpm.config import load
from lpm.errors import InputError

HERE = Path(__file__).parent
YAML = (HERE / "valid.yaml").read_text(encoding="utf-8")


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    """What is said of a config, without the folder."""
    for name in ("town.py", "beds.csv"):
        shutil.copy(HERE / name, folder)
    file = folder / "case.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        load(file, overrides)
    return [problem.replace(f"{folder}/", "") for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("agents=3", "unknown key `agents`; write --set settings.agents=3"),
        ("contacts.degree=4", "unknown key `contacts`; write --set settings.contacts.degree=4"),
        ("degree=4", "unknown key `degree`; write --set settings.contacts.degree=4"),
        ("seed=4", "unknown key `seed`; write --set run.seed=4"),
        # Of two places, the one that is reached by fewer keys comes first.
        ("every=2", "unknown key `every`; write --set run.every=2 or --set run.snapshots.every=2"),
    ],
)
def test_a_setting_named_without_its_section_is_told_with_it(override: str, advice: str, tmp_path: Path) -> None:
    assert problems(tmp_path, YAML, override) == [f"--set {override} {override.split('=')[0].split('.')[0]}: {advice}"]


def test_a_key_of_the_file_that_belongs_elsewhere_is_told_with_its_section(tmp_path: Path) -> None:
    text = YAML.replace("  agents: 50\n", "") + "\nagents: 50\n"
    line = text.splitlines().index("agents: 50") + 1
    assert problems(tmp_path, text) == [
        f"case.yaml:{line}:1 agents: unknown key `agents`; write it under `settings`, indented"
    ]


@pytest.mark.parametrize(
    ("right", "column"),
    [
        ("model: town.py:build", 6),
        ("  agents: 50", 9),
        ("    degree: 8", 11),
        ("  place: no", 8),
        ("  seed: 7", 7),
        ("  out: results/{name}", 6),
        ('title: "A town, closed"', 6),
    ],
)
@pytest.mark.parametrize("comment", ["", "  # what", "\n# what\n"])
def test_a_missing_space_after_a_colon_is_told_with_its_line(
    right: str, column: int, comment: str, tmp_path: Path
) -> None:
    assert YAML.count(right) == 1
    wrong = right.replace(": ", ":", 1)
    text = YAML.replace(right, wrong + comment)
    line = text.splitlines().index(wrong + comment.partition("\n")[0]) + 1
    (problem,) = problems(tmp_path, text)
    assert problem == (
        f"case.yaml:{line}:{column} config: asked for `name: value`, got `{wrong.strip()}`; "
        f"write a space after the colon, `{right.strip()}`"
    )


def test_a_missing_space_that_yaml_takes_is_told_too(tmp_path: Path) -> None:
    found = problems(tmp_path, "model: town.py:build\nsettings:\n  agents:50\nrun: {steps:3, seed: 1}\n")
    assert [each.split("; ")[1] for each in found] == [
        "write a space after the colon, `agents: 50`",
        "write a space after the colon, `steps: 3`",
    ]
    assert [each.split(" ")[0] for each in found] == ["case.yaml:3:3", "case.yaml:4:7"]


def test_other_mistakes_near_a_colon_are_not_taken_for_it(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "model: town.py:build\ntitle: a: b\nrun: {steps: 3}\n")
    assert "case.yaml:2:9" in problem
    assert "space after the colon" not in problem


def test_there_is_no_unit_of_time_but_the_day(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, YAML.replace("  seed: 7", "  unit: month"))
    assert problem.startswith("case.yaml:22:3 run.unit: unknown key `unit`; remove it: the unit of time is the day.")
    assert "`every: 7` records once a week" in problem


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run.every=month", "asked for a whole number (days), got the text 'month'; write `every: 30`"),
        ("run.steps=6 weeks", "asked for a whole number (days), got the text '6 weeks'; write `steps: 42`"),
        ("run.steps=forever", "got the text 'forever'; write for example `steps: 1`"),
    ],
)
def test_a_time_in_another_unit_is_told_in_days(override: str, said: str, tmp_path: Path) -> None:
    (problem,) = [each for each in problems(tmp_path, YAML, override) if each.startswith("--set")]
    assert problem.endswith(said)
