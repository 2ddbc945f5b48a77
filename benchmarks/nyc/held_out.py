"""New York City, spring 2020: fit admissions and deaths by borough, and hold the forecast against the weeks after.

    python benchmarks/nyc/held_out.py                 all 8.8 million people, about half an hour on two cores
    python benchmarks/nyc/held_out.py --agents 440000 --out smaller

Runs `lpm calibrate nyc-2020-fit` in a process of its own, and counts how many of the weekly numbers by borough, of the
weeks that the fit has seen and of the four that it has not, lie within the predictive band of 90 %. Prints the tables
of docs/nyc-fit.md; writes benchmarks/results/nyc.json and docs/images/nyc-2020-fit.png if all people were simulated.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from lpm.calibration.posterior import bands as quantiles  # noqa: E402

DATA = ROOT / "lpm" / "data" / "nyc_admissions_weekly.csv"
RESULT = ROOT / "benchmarks" / "results" / "nyc.json"
PICTURE = ROOT / "docs" / "images" / "nyc-2020-fit.png"
STREAMS = ("admissions", "deaths")
LAST = "2020-05-15"  # day of the data that the fit has seen
LEVEL, WANTED = 0.9, (0.80, 0.97)


def bands(fit: Path, stream: str) -> pd.DataFrame:
    """Observed count and predictive band of each week and borough."""
    seen = xr.open_zarr(fit / "fit.zarr", group="posterior_predictive", consolidated=False)[stream].isel(chain=0)
    time_dim, region_dim = (dim for dim in seen.dims if dim != "draw")
    low, middle, high = quantiles(seen.values, [0.5 - LEVEL / 2, 0.5, 0.5 + LEVEL / 2])
    weeks = pd.to_datetime(seen[time_dim].values)
    regions = [str(each) for each in seen[region_dim].values]
    observed = pd.read_csv(DATA, parse_dates=["week_start"]).set_index(["week_start", "region"])[stream]
    rows = [
        (stream, week, region, observed[(week, region)], low[i, j], middle[i, j], high[i, j])
        for i, week in enumerate(weeks)
        for j, region in enumerate(regions)
    ]
    return pd.DataFrame(rows, columns=["stream", "week", "region", "observed", "low", "median", "high"])


def coverage(table: pd.DataFrame) -> dict[str, Any]:
    """Shares within the band; of weeks seen, of weeks held out, of each stream."""
    inside = (table["observed"] >= table["low"]) & (table["observed"] <= table["high"])
    held_out = table["week"] > pd.Timestamp(LAST)
    found: dict[str, Any] = {
        "seen": {"counts": int((~held_out).sum()), "within": int(inside[~held_out].sum())},
        "held_out": {"counts": int(held_out.sum()), "within": int(inside[held_out].sum())},
    }
    for stream in STREAMS:
        own = held_out & (table["stream"] == stream)
        found[f"held_out_{stream}"] = {"counts": int(own.sum()), "within": int(inside[own].sum())}
    for stream in STREAMS:
        own = held_out & (table["stream"] == stream)
        above = int((table["observed"] > table["high"])[own].sum())
        found[f"held_out_{stream}"] |= {"above": above}
    return found


def by_week(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each held-out week and stream, counts of all boroughs together and how many lie in the band."""
    rows = []
    for (week, stream), own in table[table["week"] > pd.Timestamp(LAST)].groupby(["week", "stream"]):
        inside = (own["observed"] >= own["low"]) & (own["observed"] <= own["high"])
        width = float(((own["high"] - own["low"]) / own["median"].clip(lower=1)).median())
        sums = {"observed": int(own["observed"].sum()), "sum_of_medians": float(own["median"].sum())}
        rows.append({"week": f"{week:%Y-%m-%d}", "stream": stream, "within": int(inside.sum()), "of": len(own)} | sums)
        rows[-1] |= {"width_of_band": width}
    return rows


def printed(result: dict[str, Any]) -> None:
    """The tables of the docs."""
    print("| parameter | estimate | 90 % interval |\n|---|---|---|")
    for each in result["parameters"]:
        print(f"| {each['name']} | {each['estimate']:.3g} | {each['low']:.3g}–{each['high']:.3g} |")
    print("\n| week from | | observed | forecast | boroughs within the band | width of the band |")
    print("|---|---|---|---|---|---|")
    for row in result["held_out_weeks"]:
        counts = f"{row['observed']:,} | {row['sum_of_medians']:,.0f}"
        share = f"{row['within']} of {row['of']} | {100 * row['width_of_band']:.0f} %"
        print(f"| {row['week']} | {row['stream']} | {counts} | {share} |")


def last_value(table: pd.DataFrame) -> dict[str, Any]:
    """Mean absolute error over the held-out counts: of the forecast's median, and of the last week seen."""
    held_out = table[table["week"] > pd.Timestamp(LAST)]
    seen = table[table["week"] <= pd.Timestamp(LAST)]
    last = seen.sort_values("week").groupby(["stream", "region"])["observed"].last()
    plain = np.array([last[(row.stream, row.region)] for row in held_out.itertuples()])
    return {
        "forecast": float((held_out["median"] - held_out["observed"]).abs().mean()),
        "last_value": float(np.abs(plain - held_out["observed"].to_numpy()).mean()),
    }


def rounds(fit: Path) -> list[dict[str, float]]:
    """How far the mode moved in each round, and what the surfaces' errors make, in posterior deviations."""
    with xr.open_zarr(fit / "history.zarr", consolidated=False) as history:
        moved, errors = (np.sqrt(history[name].values) for name in ("squared_step", "squared_chance"))
        spent = history["simulations"].values
    return [
        {"simulations": int(each), "moved": round(float(step), 2), "errors": round(float(error), 2)}
        for each, step, error in zip(spent, moved, errors, strict=True)
    ]


def fitted(out: Path, agents: int | None, sample: int | None, more: list[str]) -> tuple[float, float]:
    """Run `lpm calibrate`; seconds from its start to its end, and those of all processors together."""
    words = ["calibrate", "nyc-2020-fit", "--out", str(out)]
    words += ["--set", f"settings.people.agents={agents}"] if agents else []
    words += ["--set", f"calibrate.coarse={sample}"] if sample else []
    words += [word for each in more for word in ("--set", each)]
    begun = time.perf_counter()
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lpm.cli import main; main()"
    subprocess.run([sys.executable, "-c", program, *words], check=True)
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - begun, own.ru_utime + own.ru_stime


def main() -> None:
    """Fit, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, help="how many people; all if left out")
    parser.add_argument("--sample", type=int, help="of them, fitted first")
    parser.add_argument("--set", action="append", default=[], help="as of lpm calibrate")
    parser.add_argument("--out", type=Path, help="directory of the fit; a temporary one if left out")
    parser.add_argument("--fit", type=Path, help="a fit that was made before, instead of a new one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = asked.fit or asked.out or Path(scratch) / "fit"
        seconds, spent = (None, None) if asked.fit else fitted(out, asked.agents, asked.sample, asked.set)
        said = json.loads((out / "fit.json").read_text("utf-8"))
        table = pd.concat([bands(out, stream) for stream in STREAMS], ignore_index=True)
        result: dict[str, Any] = {"seconds": seconds, "processor_seconds": spent, "coverage": coverage(table)}
        result |= {"held_out_weeks": by_week(table), "mean_absolute_error": last_value(table)}
        result["rounds"] = rounds(out)
        result |= {name: said[name] for name in ("agents", "simulations", "message", "verdict", "parameters")}
        result |= {name: said[name] for name in ("weakly_identified", "streams", "commit", "versions")}
        if not asked.agents:
            from benchmarks.machine import machine

            RESULT.write_text(json.dumps(result | {"machine": machine()}, indent=1) + "\n", encoding="utf-8")
            PICTURE.parent.mkdir(exist_ok=True)
            shutil.copy(out / "fit.png", PICTURE)
    printed(result)
    told = ("seconds", "processor_seconds", "coverage", "mean_absolute_error")
    print(json.dumps({name: result[name] for name in told}, indent=1))


if __name__ == "__main__":
    main()
