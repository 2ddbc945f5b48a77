"""How much mobility in New York City changed in two weeks before 15 May 2020: the walk of `nyc-2020-fit`.

    LPM_DATA_DIR=... python benchmarks/nyc/mobility.py

Reads nyc_google_mobility_daily_oi.csv (Google's mobility reports by way of Opportunity Insights' Economic Tracker:
daily, a share of January and February 2020) and prints weekly means relative to that time, and their change in a
fortnight.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

FILE = "nyc_google_mobility_daily_oi.csv"
PLACES = ["gps_retail_and_recreation", "gps_transit_stations", "gps_workplaces"]
FIRST, LAST = "2020-04-04", "2020-05-15"


def main() -> None:
    """Read and print."""
    table = pd.read_csv(Path(os.environ["LPM_DATA_DIR"]) / FILE, parse_dates=["date"]).set_index("date")
    weekly = (1 + table.loc[FIRST:LAST, PLACES]).resample("W-FRI").mean()
    change = weekly / weekly.shift(2) - 1
    print(weekly.round(2).to_string())
    print("\nchange in two weeks\n", change.dropna().round(2).to_string())
    print(f"\nroot mean square {float((change.dropna() ** 2).to_numpy().mean() ** 0.5):.2f}")


if __name__ == "__main__":
    main()
