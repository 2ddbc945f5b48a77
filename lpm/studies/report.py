"""What a study leaves in its directory: answers as a Dataset, tables as CSV, and one page."""

from __future__ import annotations

import csv
import dataclasses
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lpm.studies import compare, economics, page, records

if TYPE_CHECKING:
    import xarray as xr

ANSWERS, TABLE, COSTS, PAGE = "answers.zarr", "answers.csv", "costs.csv", "report.html"


@dataclasses.dataclass(frozen=True)
class Written:
    """The files of a study's answers.

    Args:
        dataset: the answers.
        about: what the study is about.
        store: all runs in one store, for `lpm.open`.
        answers, table, page: of the Dataset, the CSV file and the page.
    """

    dataset: xr.Dataset
    about: records.About
    store: Path
    answers: Path
    table: Path
    page: Path


def collect(path: str | Path) -> Written:
    """Join a study's runs, and write its answers anew; runs that are missing are listed in them.

    Args:
        path: the `--out` of `lpm study`.

    Raises:
        InputError: if there is no study.
    """
    path = Path(path)
    about = records.read(path)
    store = records.collect(path, about)
    dataset = compare.answers(path)
    shutil.rmtree(path / ANSWERS, ignore_errors=True)
    dataset.to_zarr(path / ANSWERS, mode="w", consolidated=False, zarr_format=3)
    _write_csv(path / TABLE, list(compare.rows(dataset)))
    _write_csv(path / COSTS, [dataclasses.asdict(each) for each in economics.cost_effects(dataset)])
    (path / PAGE).write_text(page.page(dataset, about), encoding="utf-8")
    return Written(dataset, about, store, path / ANSWERS, path / TABLE, path / PAGE)


def _write_csv(file: Path, lines: list[dict[str, object]]) -> None:
    """A number that is missing is an empty cell."""
    if not lines:
        file.unlink(missing_ok=True)
        return
    with file.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(lines[0]))
        writer.writeheader()
        for line in lines:
            writer.writerow(
                {key: "" if isinstance(value, float) and math.isnan(value) else value for key, value in line.items()}
            )
