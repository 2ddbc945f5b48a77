"""What a study leaves in its directory: answers as a Dataset, tables as CSV, and one page."""

from __future__ import annotations

import csv
import dataclasses
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lpm.studies import compare, derivatives, economics, hub, page, records, sensitivity

if TYPE_CHECKING:
    import xarray as xr

ANSWERS, TABLE, COSTS, PAGE = "answers.zarr", "answers.csv", "costs.csv", "report.html"
SENSITIVITY = "sensitivity.csv"


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
    dataset = derivatives.add(compare.answers(path), path, about)
    shutil.rmtree(path / ANSWERS, ignore_errors=True)
    dataset.to_zarr(path / ANSWERS, mode="w", consolidated=False, zarr_format=3)
    _write_csv(path / TABLE, list(compare.rows(dataset)))
    _write_csv(path / SENSITIVITY, list(sensitivity.rows(dataset, about)))
    hub.write(path, about)
    options = shown(dataset, about)
    _write_csv(path / COSTS, [dataclasses.asdict(each) for each in economics.cost_effects(options[0])])
    (path / PAGE).write_text(page.page(*options), encoding="utf-8")
    return Written(dataset, about, store, path / ANSWERS, path / TABLE, path / PAGE)


def shown(dataset: xr.Dataset, about: records.About) -> tuple[xr.Dataset, records.About]:
    """Without the points of a Sobol design, which are too many to look at and no options."""
    places = [place for place, each in enumerate(about.scenarios) if each.group != "sobol"]
    scenarios = tuple(about.scenarios[place] for place in places)
    return dataset.isel(scenario=places), dataclasses.replace(about, scenarios=scenarios)


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
