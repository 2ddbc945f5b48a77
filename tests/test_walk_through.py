"""docs/your-own.md does as it says: its changes, files and commands give what is printed there."""

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lpm import cli

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "your-own.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    """The page's blocks of code of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def printed(command: str) -> str:
    """What the page says that a command prints."""
    (found,) = [block for block in blocks("console") if block.startswith(f"$ lpm {command}")]
    return found.partition("\n")[2]


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as it is when the page has written its files."""
    folder = tmp_path / "town"
    folder.mkdir()
    for name in ("model.py", "test_model.py"):
        (folder / name).write_text((ROOT / "lpm" / "templates" / name).read_text("utf-8"), "utf-8")
    text = (folder / "model.py").read_text("utf-8")
    (changes,) = blocks("diff")
    for hunk in changes.split("@@")[1:]:
        lines = [line for line in hunk.splitlines()[1:] if line]
        was, becomes = ("".join(f"{line[1:]}\n" for line in lines if line[0] in f" {sign}") for sign in "-+")
        assert text.count(was.rstrip("\n") + "\n") == 1, was
        text = text.replace(was, becomes)
    (folder / "model.py").write_text(text, "utf-8")
    for kind, name in (("csv", "heard.csv"), ("yaml", "mine.yaml")):
        (content,) = blocks(kind)
        (folder / name).write_text(content, "utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    return folder


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> tuple[str, str]:
    """What `lpm` prints, and its errors."""
    monkeypatch.setattr(sys, "argv", ["lpm", *shlex.split(command)])
    with contextlib.suppress(SystemExit):
        cli.main()
    return capsys.readouterr()


def alike(text: str) -> list[str]:
    """Lines without numbers and spaces, which machines and terminals differ in, and without how a fit went on."""
    lines = [re.sub(r"[\d.,–]+|inf", "#", line) for line in text.splitlines()]
    went_on = re.compile(r"start|averaging|recovery|profile|at the noise|converged|# of # |\.\.\.|# s$|#$")
    return [" ".join(line.split()) for line in lines if line.strip() and not went_on.match(line)]


def test_the_config_of_the_page_is_good_and_its_slips_are_told(
    town: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(monkeypatch, capsys, "validate mine.yaml")[0] == printed("validate")
    right = (town / "mine.yaml").read_text("utf-8")
    rows = re.findall(r"^\| `+ ?(.*?) ?`+ \| `+ ?(.*?) ?`+ \|$", PAGE, re.MULTILINE)
    slips = {"agents:5000": "agents: 5000", "column: herd": "column: heard", "target: rat": "target: rate"}
    assert [written for written, _ in rows] == list(slips)
    for (written, told), old in zip(rows, slips.values(), strict=True):
        own = right.replace("{name: rate,", "{name: rate, target: rate,")
        assert own.count(old) == 1
        (town / "mine.yaml").write_text(own.replace(old, written), "utf-8")
        assert told in said(monkeypatch, capsys, "validate mine.yaml")[1]


@pytest.mark.slow
def test_the_commands_of_the_page_print_what_it_says(
    town: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = subprocess.run([sys.executable, "-m", "pytest", "-q"], env={"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0
    for block in blocks("console"):
        command = block.partition("\n")[0].removeprefix("$ lpm ")
        assert alike(said(monkeypatch, capsys, command)[0]) == alike(printed(command)), command
    assert (town / "fit" / "fit.html").exists()
