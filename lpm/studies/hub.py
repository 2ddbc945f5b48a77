"""A study's runs as forecast and scenario hubs take them: one line for each week, place, age and trajectory.

Columns are those of the hubverse (https://docs.hubverse.io, model output) as scenario hubs use them, with samples in
`run_grouping` and `stochastic_run`; trajectories of different scenarios with the same draws have the same
`run_grouping`. Weeks run from Sunday to Saturday, as epidemiological weeks of the United States do.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lpm.studies import records
from lpm.studies.records import About, Unit

NAME = "hub.parquet"
TARGETS = {"infections": "inf", "onsets": "case", "admissions": "hosp", "deaths": "death", "hospitalised": "hosp"}
EVERYBODY, EVERYWHERE = "0-130", "all"
COLUMNS = ("origin_date", "scenario_id", "target", "horizon", "target_end_date", "location", "age_group",
           "output_type", "output_type_id", "run_grouping", "stochastic_run", "value")  # fmt: skip


def write(path: Path, about: About) -> Path | None:
    """Write `hub.parquet`, a run at a time; None where runs have no dates, or records that are not of single days.

    Args:
        path: the directory of the study.
        about: from `records.read`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    weeks = full_weeks(about)
    file = path / NAME
    if not weeks:
        file.unlink(missing_ok=True)
        return None
    texts = ("scenario_id", "target", "location", "age_group", "output_type", "output_type_id")
    kinds = {"value": pa.float64()} | dict.fromkeys(("horizon", "run_grouping", "stochastic_run"), pa.int32())
    kinds |= dict.fromkeys(("origin_date", "target_end_date"), pa.date32()) | dict.fromkeys(texts, pa.string())
    schema = pa.schema([(name, kinds[name]) for name in COLUMNS])
    part = file.with_name(f".{NAME}")
    with pq.ParquetWriter(part, schema) as writer:
        for unit in about.units:
            run = records.read_run(path, unit)
            if run is not None:
                lines = list(rows(run, unit, about, weeks))
                columns = {name: [line[name] for line in lines] for name in COLUMNS}
                writer.write_table(pa.table(columns, schema=schema))
    part.replace(file)
    return file


def full_weeks(about: About) -> list[tuple[int, datetime.date]]:
    """Numbers of the first days of the whole weeks of a run, and the dates of their Saturdays."""
    if about.start is None or about.every != 1:
        return []
    start = datetime.date.fromisoformat(about.start)
    first = (6 - start.weekday()) % 7  # Monday is 0
    return [
        (day, start + datetime.timedelta(days=day + 6))
        for day in range(first, about.steps - 6, 7)
    ]  # fmt: skip


def rows(
    run: dict[str, np.ndarray], unit: Unit, about: About, weeks: list[tuple[int, datetime.date]]
) -> Iterator[dict[str, Any]]:
    """The lines of one run: by region and age where the observable has such, and in all.

    Args:
        run: (days, ...) for each observable.
        unit: which run.
        about: the study.
        weeks: from `full_weeks`.
    """
    scenario = about.names[unit.scenario]
    origin = weeks[0][1] - datetime.timedelta(days=6)
    for name, dims, _, _, over in about.observables:
        if not set(dims) <= {"region", "age"} or over == "mean":
            continue
        target = f"{'inc' if over == 'sum' else 'prev'} {TARGETS.get(name, name)}"
        for places, values in _margins(run[name] / about.scale, dims, about):
            for horizon, (day, end) in enumerate(weeks, start=1):
                value = values[day : day + 7].sum() if over == "sum" else values[day + 6]
                yield {
                    "origin_date": origin, "scenario_id": scenario, "target": target, "horizon": horizon,
                    "target_end_date": end, **places, "output_type": "sample", "output_type_id": None,
                    "run_grouping": unit.realization + 1, "stochastic_run": unit.realization + 1,
                    "value": float(value),
                }  # fmt: skip


def _margins(values: np.ndarray, dims: tuple[str, ...], about: About) -> Iterator[tuple[dict[str, str], np.ndarray]]:
    """Courses (days,) of every region and age, and of all together."""
    columns = {"region": ("location", EVERYWHERE), "age": ("age_group", EVERYBODY)}
    for which in np.ndindex(*(len(about.coords[dim]) + 1 for dim in dims)):
        places = dict(columns.values())
        course = values
        for dim, place in zip(reversed(dims), reversed(which), strict=True):  # the last axis first
            labels = about.coords[dim]
            whole = place == len(labels)
            places[columns[dim][0]] = columns[dim][1] if whole else _label(dim, labels[place])
            course = course.sum(-1) if whole else course[..., place]
        yield places, course


def _label(dim: str, label: str) -> str:
    """An age as hubs write it.

    >>> _label("age", "80+"), _label("region", "Bronx")
    ('80-130', 'Bronx')
    """
    return re.sub(r"\+$", "-130", label) if dim == "age" else label
