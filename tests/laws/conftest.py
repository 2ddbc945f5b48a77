"""Small worlds write as often as large ones here, so that a run of few steps has several chunks."""

import pytest

from lpm import runner


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(runner, "LONGEST", runner.CHUNK)
