"""A small study of a small city, and what its files look like."""

import dataclasses
from pathlib import Path

STEPS, CLOSED = 30, 12  # days of the run; the day on which the base closes its schools
AGENTS, SCALE = 2000, 2000 / 8_804_190

CONFIG = f"""
title: A small city
model: lpm.worlds.city:build
settings:
  people: {{city: new-york-city, agents: {AGENTS}}}
  transmission: {{household: 0.6, school: 0.4, work: 0.4, community: 0.4}}
  importation: [{{per_day: 60000}}]
  disease: {{admission: [{", ".join(["0.4"] * 9)}], intensive_care: [{", ".join(["0.5"] * 9)}]}}
  schedule:
    - {{layer: school, from: 2020-02-13, contacts: 0.0}}
    - {{layer: work, from: 2020-02-16, contacts: 0.3}}
run: {{start: 2020-02-01, steps: {STEPS}, seed: 5}}
"""

STUDY = """
title: "Schools & work: <when> for $5?"
study:
  base: town.yaml
  baseline: as planned
  realizations: 3
  scenarios:
    the same: {why: "nothing is changed", set: {settings.schedule.0.contacts: 0}}
    five days earlier: {shift: {settings.schedule: -5}, why: "both orders"}
    "open <all> & $more": {set: {settings.schedule: []}, cost: -1e6 USD}
  outcomes: [infections, admissions, deaths, peak of hospitalised, days of hospitalised]
  capacity: {variable: hospitalised, beds: 800_000}
  costs: {per admission: 12_000 USD, per day of hospitalised: 800 USD}
"""

NAMES = ("as planned", "the same", "five days earlier", "open <all> & $more")


@dataclasses.dataclass(frozen=True)
class Files:
    """Where the study's file and its results are."""

    study: Path
    out: Path


def write(folder: Path, study: str = STUDY, config: str = CONFIG) -> Path:
    """The study's file beside its config."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "town.yaml").write_text(config, encoding="utf-8")
    (folder / "study.yaml").write_text(study, encoding="utf-8")
    return folder / "study.yaml"
