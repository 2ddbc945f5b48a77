"""Mobility in New York City, spring 2020: the covariate of contacts in `nyc-2020-fit`, and how much it changed.

    LPM_DATA_DIR=... python benchmarks/nyc/mobility.py            # --write makes lpm/data/nyc_mobility_weekly.csv anew

Reads nyc_google_mobility_daily_oi.csv (Google's mobility reports by way of Opportunity Insights' Economic Tracker:
seven-day averages, relative to January and February 2020) and prints weekly means relative to that time, and their
change in a fortnight.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd

FILE = "nyc_google_mobility_daily_oi.csv"
PLACES = ["gps_retail_and_recreation", "gps_transit_stations", "gps_workplaces"]
FIRST, LAST = "2020-04-04", "2020-05-15"
SHIPPED = Path(__file__).parents[2] / "lpm" / "data" / "nyc_mobility_weekly.csv"
WEEKS = pd.date_range("2020-02-29", "2020-06-27", freq="7D")  # first days, those of nyc_admissions_weekly.csv
SOURCE = (
    "Google COVID-19 Community Mobility Reports by way of Opportunity Insights' Economic Tracker (Chetty et al. 2020), "
    "New York City: visits to shops and restaurants, stations and workplaces, mean of the three, over the seven days "
    "from week_start, relative to January and February 2020"
)


def write(table: pd.DataFrame) -> None:
    """The shipped file: a week's average is that of its last day."""
    mobility = 1 + table.loc[WEEKS + pd.Timedelta(days=6), PLACES].mean(axis=1)
    rows = {"week_start": WEEKS.strftime("%Y-%m-%d"), "mobility": mobility.round(3).to_numpy(), "source": SOURCE}
    pd.DataFrame(rows).to_csv(SHIPPED, index=False)


def main() -> None:
    """Read and print, or write."""
    table = pd.read_csv(Path(os.environ["LPM_DATA_DIR"]) / FILE, parse_dates=["date"]).set_index("date")
    if "--write" in sys.argv:
        write(table)
        return
    weekly = (1 + table.loc[FIRST:LAST, PLACES]).resample("W-FRI").mean()
    change = weekly / weekly.shift(2) - 1
    print(weekly.round(2).to_string())
    print("\nchange in two weeks\n", change.dropna().round(2).to_string())
    print(f"\nroot mean square {float((change.dropna() ** 2).to_numpy().mean() ** 0.5):.2f}")


if __name__ == "__main__":
    main()
