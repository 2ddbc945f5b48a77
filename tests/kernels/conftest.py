"""Networks of the kernels' tests have as many tables as those of large worlds."""

from collections.abc import Iterator

import pytest

from tests.laws.worlds import several_tables


@pytest.fixture(autouse=True)
def _several_tables() -> Iterator[None]:
    with several_tables(0):
        yield
