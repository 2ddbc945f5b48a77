"""The page of a study: whole, offline, and safe whatever the names of scenarios are."""

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from lpm import cli
from lpm.errors import InputError
from lpm.studies import command, plan, report, runs
from lpm.studies.markup import number
from tests.studies.town import NAMES, Files, write

VOID = {"meta", "br"}


@pytest.fixture(scope="module")
def page(done: Files) -> str:
    """The page's text."""
    return (done.out / report.PAGE).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Open tags, ids, and whether every one is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.used: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [] if tag in VOID else [tag]
        given = dict(attrs)
        self.ids += [given["id"]] if given.get("id") else []  # type: ignore[list-item]
        self.used += [given["href"][1:]] if (given.get("href") or "").startswith("#") else []  # type: ignore[index]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_asks_nothing_of_a_network(page: str) -> None:
    assert not re.search(r"https?:|//\w|@import|<script|<link|<img|<iframe|src=", page)
    assert set(re.findall(r'href="(.)', page)) == {"#"}
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


def test_every_scenario_is_in_the_page_as_text(page: str) -> None:
    for name in NAMES:
        assert page.count(html.escape(name)) >= 3
    assert "<all>" not in page
    assert "Schools &amp; work: &lt;when&gt; for $5?" in page


def test_tags_are_closed_and_ids_are_of_one_element(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    assert len(tags.ids) == len(set(tags.ids))
    assert tags.used
    assert set(tags.used) <= set(tags.ids)


def test_all_pictures_are_drawn(page: str) -> None:
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', page)
    assert labels == [
        "Cost and effect of each scenario",
        "What each scenario averts, with intervals",
        "Courses of the scenarios, medians and 90 % bands",
        "deaths by region",
    ]


def test_the_same_runs_make_the_same_page(page: str, done: Files) -> None:
    report.collect(done.out)
    assert (done.out / report.PAGE).read_text(encoding="utf-8") == page


def test_levers_have_a_picture_and_a_row(tmp_path: Path) -> None:
    levers = "{schools: {set: {settings.schedule.0.contacts: 1}}, work: {set: {settings.schedule.1.contacts: 1}}}"
    file = write(tmp_path, f"study: {{base: town.yaml, realizations: 2, levers: {levers}}}\n")
    written = report.collect(runs.run(plan.load(file), tmp_path / "out"))
    dataset = written.dataset
    together = dataset["averted_infections"].sel(scenario="schools + work").values
    assert dataset["attribution_infections"].sum("lever").values == pytest.approx(together)
    assert 'aria-label="Each lever&#x27;s share"' in written.page.read_text()


def test_the_command_prints_the_table_and_says_where_all_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command.study(str(write(tmp_path)), out, "1/2", False, 1, None, Console(width=100))
    said = capsys.readouterr().out
    assert "2 of 4 runs are done" in said
    assert f"lpm study collect {out}" in said
    command.collect_words("collect", out, Console(width=100))
    said = capsys.readouterr().out
    assert "2 of 4 runs are missing:\n  five days earlier, realization 0: not run yet" in said
    command.study(str(tmp_path / "study.yaml"), out, None, True, 1, None, Console(width=100))
    said = capsys.readouterr().out
    assert all(name in said for name in NAMES)
    assert "missing" not in said
    assert f"Page     {out / report.PAGE}" in said


def test_a_second_word_is_for_collecting_alone() -> None:
    with pytest.raises(InputError, match="asked for one file, got town"):
        command.collect_words("town.yaml", Path("there"), Console())


@pytest.mark.parametrize("task", ["0/3", "4/3", "a", "1"])
def test_a_task_that_cannot_be_is_refused(task: str) -> None:
    with pytest.raises(InputError, match="write for example --task 1/10"):
        command.study("nyc-lockdown-dates", Path("out"), task, False, None, None, Console())


def test_the_command_line_knows_the_commands() -> None:
    names = {each.name or each.callback.__name__ for each in cli.app.registered_commands if each.callback}
    assert {"study", "study-collect"} <= names


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-3.0, "−3"), (999.6, "1,000"), (1e6, "1 million"), (-2.5e9, "−2.5 billion"), (0.5, "0.5")],
)
def test_numbers_are_written_as_one_reads_them(value: float, text: str) -> None:
    assert number(value) == text


def test_a_browser_opens_the_page_without_complaint(done: Files, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs a browser: install chromium to have the page opened")
    shot = tmp_path / "page.png"
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    words += [f"--user-data-dir={tmp_path / 'profile'}", "--proxy-server=127.0.0.1:9", "--window-size=1100,3000"]
    words += [f"--screenshot={shot}", (done.out / report.PAGE).as_uri()]
    ended = subprocess.run([browser, *words], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert "CONSOLE" not in ended.stderr
    assert shot.stat().st_size > 50_000
