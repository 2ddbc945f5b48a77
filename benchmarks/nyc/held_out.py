"""New York City, spring 2020: fit admissions and deaths by borough, and hold the forecast against the weeks after.

    python benchmarks/nyc/held_out.py                       all 8.8 million people, a quarter of an hour on two cores
    python benchmarks/nyc/held_out.py --until 2020-05-01    the same from data up to another Friday
    python benchmarks/nyc/held_out.py --agents 440000 --out smaller

Runs `lpm calibrate nyc-2020-fit` in a process of its own, and counts how many of the weekly numbers by borough, of the
weeks that the fit has seen and of the four after, lie within the predictive band of 90 %. Prints the tables of
docs/nyc-fit.md; writes benchmarks/results/nyc.json and docs/images/nyc-2020-fit.png if all people were simulated. Of
another last day only what was held out goes into that file.
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
WEEKS = 4  # after it
OF_OTHER_DAYS = ("coverage", "held_out_weeks", "mean_absolute_error", "rounds", "verdict", "simulations", "commit")
LEVEL, WANTED = 0.9, (0.80, 0.97)


def bands(fit: Path, stream: str, last: pd.Timestamp) -> pd.DataFrame:
    """Observed count and predictive band of each week and borough, and whether the fit has not seen it."""
    seen = xr.open_zarr(fit / "fit.zarr", group="posterior_predictive", consolidated=False)[stream].isel(chain=0)
    time_dim, region_dim = (dim for dim in seen.dims if dim != "draw")
    low, middle, high = quantiles(seen.values, [0.5 - LEVEL / 2, 0.5, 0.5 + LEVEL / 2])
    weeks = pd.to_datetime(seen[time_dim].values)
    regions = [str(each) for each in seen[region_dim].values]
    observed = pd.read_csv(DATA, parse_dates=["week_start"]).set_index(["week_start", "region"])[stream]
    rows = [
        (stream, week, region, week > last, observed[(week, region)], low[i, j], middle[i, j], high[i, j])
        for i, week in enumerate(weeks)
        for j, region in enumerate(regions)
        if week <= last + pd.Timedelta(weeks=WEEKS)
    ]
    return pd.DataFrame(rows, columns=["stream", "week", "region", "held_out", "observed", "low", "median", "high"])


def coverage(table: pd.DataFrame) -> dict[str, Any]:
    """Shares within the band; of weeks seen, of weeks held out, of each stream."""
    inside = (table["observed"] >= table["low"]) & (table["observed"] <= table["high"])
    held_out = table["held_out"]
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
    for (week, stream), own in table[table["held_out"]].groupby(["week", "stream"]):
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
    held_out, seen = table[table["held_out"]], table[~table["held_out"]]
    last = seen.sort_values("week").groupby(["stream", "region"])["observed"].last()
    plain = np.array([last[(row.stream, row.region)] for row in held_out.itertuples()])
    return {
        "forecast": float((held_out["median"] - held_out["observed"]).abs().mean()),
        "last_value": float(np.abs(plain - held_out["observed"].to_numpy()).mean()),
    }


def rounds(fit: Path) -> list[dict[str, float]]:
    """How far the means moved in each round of everybody, and what the surface's errors make, in deviations."""
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
    parser.add_argument("--until", default=LAST, help=f"last day of the data, {LAST} if left out")
    parser.add_argument("--set", action="append", default=[], help="as of lpm calibrate")
    parser.add_argument("--out", type=Path, help="directory of the fit; a temporary one if left out")
    parser.add_argument("--fit", type=Path, help="a fit that was made before, instead of a new one")
    asked = parser.parse_args()
    last = pd.Timestamp(asked.until)
    if asked.until != LAST:
        asked.set += [f"calibrate.data.{number}.until={asked.until}" for number in range(len(STREAMS))]
    with tempfile.TemporaryDirectory() as scratch:
        out = asked.fit or asked.out or Path(scratch) / "fit"
        seconds, spent = (None, None) if asked.fit else fitted(out, asked.agents, asked.sample, asked.set)
        said = json.loads((out / "fit.json").read_text("utf-8"))
        table = pd.concat([bands(out, stream, last) for stream in STREAMS], ignore_index=True)
        result: dict[str, Any] = {"seconds": seconds, "processor_seconds": spent, "coverage": coverage(table)}
        result |= {"held_out_weeks": by_week(table), "mean_absolute_error": last_value(table)}
        result["rounds"] = rounds(out)
        result |= {name: said[name] for name in ("agents", "simulations", "message", "verdict", "parameters")}
        result |= {name: said[name] for name in ("weakly_identified", "streams", "commit", "versions")}
        if not asked.agents:
            from benchmarks.machine import machine

            kept = json.loads(RESULT.read_text("utf-8"))
            others = kept.get("other_last_days", {})
            if asked.until == LAST:
                kept = result | {"machine": machine()}
                PICTURE.parent.mkdir(exist_ok=True)
                shutil.copy(out / "fit.png", PICTURE)
            else:
                told = (
                    "coverage",
                    "held_out_weeks",
                    "mean_absolute_error",
                    "rounds",
                    "verdict",
                    "simulations",
                    "commit",
                )
                others |= {asked.until: {name: result[name] for name in told}}
            kept["other_last_days"] = dict(sorted(others.items()))
            RESULT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    printed(result)
    told = ("seconds", "processor_seconds", "coverage", "mean_absolute_error")
    print(json.dumps({name: result[name] for name in told}, indent=1))


if __name__ == "__main__":
    main()
