"""What was observed stands beside the courses: as many as for a record, on its own day, in its own region."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lpm.series import Series
from lpm.settings import Calendar
from lpm.studies import observed, plan, records, report, runs
from lpm.worlds.city import OBSERVABLES
from tests.studies.town import CONFIG, STUDY, write

LINES = "week,region,admissions\n" + "".join(
    f"2020-02-{day:02},{region},{count}\n"
    for day, counts in ((1, (70, 140)), (8, (700, 7)), (15, (0, 21)))
    for region, count in zip(("Bronx", "Queens"), counts, strict=True)
)
COMPARE = "compare: [{variable: admissions, file: seen.csv, time: week, column: admissions, by: region, days: 7}]\n"


@pytest.fixture(scope="module")
def about(tmp_path_factory: pytest.TempPathFactory) -> records.About:
    """Of a study whose base is compared with weekly counts, run and collected."""
    folder = tmp_path_factory.mktemp("observed")
    (folder / "seen.csv").write_text(LINES, "utf-8")
    study = plan.load(write(folder, STUDY, CONFIG + COMPARE), realizations=1)
    written = report.collect(runs.run(study, folder / "out"))
    assert "Rings are what was observed" in written.page.read_text("utf-8")
    return written.about


def drawn(about: records.About, variable: str, label: str | None = None) -> list[tuple[list[int], list[float]]]:
    """Rings in a panel of day numbers."""
    _, axes = plt.subplots()
    observed.dots(axes, about, np.arange(about.steps), variable, label)
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axes.get_lines()]  # type: ignore[union-attr]


def test_rings_are_means_a_day_in_the_middle_of_the_week(about: records.About) -> None:
    assert drawn(about, "admissions") == [([3, 10, 17], [30.0, 101.0, 3.0])]
    assert drawn(about, "admissions", "Queens") == [([3, 10, 17], [20.0, 1.0, 3.0])]
    assert drawn(about, "admissions", "Manhattan") == []
    assert drawn(about, "deaths") == []


def test_what_was_counted_outside_the_run_and_gaps_are_left_out() -> None:
    series = Series("hospitalised", (-1, 0, 1, 2, 3), np.array([9.0, 1.0, np.nan, 5.0, 9.0]))
    (found,) = observed.told([series], OBSERVABLES, Calendar(3), 1)
    assert found["steps"] == [0, 1, 2]
    assert found["values"] == [[1.0], [None], [5.0]]


def test_a_base_without_data_has_no_rings(tmp_path: Path) -> None:
    study = plan.load(write(tmp_path), realizations=1)
    written = report.collect(runs.run(study, tmp_path / "out"))
    assert written.about.observed == ()
    assert "Rings" not in written.page.read_text("utf-8")
