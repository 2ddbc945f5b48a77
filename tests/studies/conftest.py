"""The study that most tests look at, run once."""

import pytest

from lpm.studies import plan, report, runs
from tests.studies.town import Files, write


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The small study, run by one process and collected."""
    folder = tmp_path_factory.mktemp("study")
    file = write(folder)
    runs.run(plan.load(file), folder / "out")
    report.collect(folder / "out")
    return Files(file, folder / "out")
