"""What each measure does alone to an epidemic that nothing else holds back: the picture of docs/interventions.md.

python benchmarks/measures.py
"""

import argparse
import dataclasses
from pathlib import Path

import jax
import matplotlib
import numpy as np
from machine import save

import lpm
from lpm import Calendar
from lpm.interventions import (
    Campaign,
    Interventions,
    Masks,
    Order,
    Quarantine,
    Shielding,
    Testing,
    Tracing,
    Travel,
    Trigger,
    Vaccination,
)
from lpm.worlds import city

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BEGINS, DAYS = 20, 120
RESULTS = Path(__file__).parent / "results" / "measures.json"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "interventions.png"

# All are part of the world and do nothing, so that one compiled step serves every measure.
IDLE = Interventions(
    orders=(Order("close_schools", compliance=0.0),),
    masks=(Masks(0.0),),
    shielding=(Shielding(compliance=0.0),),
    travel=(Travel(1.0),),
    vaccination=Vaccination((Campaign(0.0),)),
    testing=Testing(symptomatic=0.0),
    quarantine=Quarantine(compliance=0.0),
    tracing=Tracing(compliance=0.0),
    triggers=(Trigger("full wards", "hospitalised", 10_000, 5_000, 3),),
)
TESTS = Testing(BEGINS, symptomatic=0.7, delay=1)
MEASURES = {
    "close_schools": {"orders": (Order("close_schools", BEGINS),)},
    "work_from_home": {"orders": (Order("work_from_home", BEGINS),)},
    "social_distancing, 75 % comply": {"orders": (Order("social_distancing", BEGINS, compliance=0.75),)},
    "the same while wards are full": {"orders": (Order("social_distancing", compliance=0.75, when="full wards"),)},
    "masks, worn by 80 %": {"masks": (Masks(0.8, BEGINS),)},
    "shielding of those over 70": {"shielding": (Shielding(from_=BEGINS),)},
    "no travel between boroughs": {"travel": (Travel(0.0, BEGINS),)},
    "60,000 doses a day, the old first": {
        "vaccination": Vaccination((Campaign(60_000, ages=("80+", "70-79", "60-69", "50-59")),))
    },
    "tests of 70 % of the ill, isolation": {"testing": TESTS},
    "… and of their households": {"testing": TESTS, "quarantine": Quarantine()},
    "… and tracing": {"testing": TESTS, "quarantine": Quarantine(), "tracing": Tracing(place=0.5, compliance=0.7)},
    "tests of everybody once a week": {"testing": dataclasses.replace(TESTS, screening=1 / 7)},
}  # fmt: skip


def curves(asked: Interventions, agents: int, seeds: int) -> np.ndarray:
    """People in hospital on each day, as if in the whole city: (seeds, days)."""
    settings = city.Settings(
        people=city.People(agents=agents), importation=(city.Importation(500, to=20),), interventions=asked
    )
    world = city.build(settings, Calendar(DAYS))
    observe = tuple(each for each in world.observables if each.name == "hospitalised")
    found = []
    for seed in range(seeds):
        start = (world.model, world.params, world.state, lpm.key(seed))
        found.append(jax.device_get(lpm.simulate(*start, steps=DAYS, observe=observe)[1]["hospitalised"]).sum((1, 2)))
    return np.stack(found) / world.scale


def picture(found: dict[str, np.ndarray]) -> None:
    """A panel for each measure: without it, and with it."""
    columns = 4
    rows = -(-len(MEASURES) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(11, 2.3 * rows), sharex=True, sharey=True, layout="constrained"
    )
    days = np.arange(DAYS)
    for axes, name in zip(panels.flat, MEASURES, strict=False):
        for which, colour, style in (("nothing", "#999999", "--"), (name, "#0072B2", "-")):
            low, middle, high = np.quantile(found[which] / 1000, [0, 0.5, 1], axis=0)
            axes.fill_between(days, low, high, color=colour, alpha=0.25, linewidth=0)
            axes.plot(days, middle, style, color=colour)
        axes.axvline(BEGINS, color="#000000", linewidth=0.6)
        axes.set_title(name, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("in hospital, thousands", fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("day", fontsize=8)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


def main() -> None:
    """Simulate all measures, draw them and save their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=44_021)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="few agents, nothing saved: does the script run?")
    given = parser.parse_args()
    agents, seeds = (1000, 1) if given.small else (given.agents, given.seeds)
    found = {"nothing": curves(IDLE, agents, seeds)}
    for name, changes in MEASURES.items():
        found[name] = curves(dataclasses.replace(IDLE, **changes), agents, seeds)
        peak = np.median(found[name].max(1)) / np.median(found["nothing"].max(1))
        print(f"{name}: peak in hospital {peak:.0%} of that without measures", flush=True)
    if given.small:
        return
    picture(found)
    peaks = {name: float(np.median(values.max(1))) for name, values in found.items()}
    save(RESULTS, {"agents": agents, "seeds": seeds, "median_peak_in_hospital": peaks})


if __name__ == "__main__":
    main()
