"""The stored steps of a scenario are the baseline's until the day of its measure, for each kind of measure."""

import numpy as np
import pytest
import xarray as xr

import lpm
from lpm.studies import plan, records, runs
from tests.studies.town import CONFIG, STEPS, write

BEGINS = 10
# All measures are in the base and do nothing there, so that one compiled step serves all scenarios.
MEASURES = f"""
  interventions:
    orders:
      - {{order: close_schools, from: {BEGINS}, compliance: 0}}
      - {{order: stay_at_home, when: full}}
    masks: [{{wearing: 0, from: {BEGINS}, efficacy: 0.9}}]
    shielding: [{{ages: [20-29, 30-39], from: {BEGINS}, compliance: 0}}]
    travel: [{{contacts: 1, from: {BEGINS}, replaced: 0}}]
    vaccination: {{campaigns: [{{doses_per_day: 0, from: {BEGINS}}}], delay: 0, half_life: 60}}
    testing: {{from: {BEGINS}, symptomatic: 0, delay: 0}}
    quarantine: {{from: {BEGINS}, compliance: 0}}
    tracing: {{from: {BEGINS}, compliance: 0, delay: 0}}
    triggers: [{{name: full, variable: symptomatic, above: 1e9, below: 0}}]
"""
AT = "settings.interventions"
TESTS = f"{AT}.testing.symptomatic: 0.9"
SCENARIOS = {
    "orders": f"{AT}.orders.0.compliance: 1",
    "masks": f"{AT}.masks.0.wearing: 0.9",
    "shielding": f"{AT}.shielding.0.compliance: 1",
    "travel": f"{AT}.travel.0.contacts: 0",
    "vaccination": f"{AT}.vaccination.campaigns.0.doses_per_day: 1e6",
    "testing": TESTS,
    "quarantine": f"{TESTS}, {AT}.quarantine.compliance: 1",
    "tracing": f"{TESTS}, {AT}.tracing.compliance: 1",
    "trigger": f"{AT}.triggers.0.above: 4e5",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """All runs of the study, as they are stored."""
    folder = tmp_path_factory.mktemp("parting")
    config = CONFIG.replace(
        "household: 0.6, school: 0.4, work: 0.4, community: 0.4",
        "household: 0.4, school: 0.3, work: 0.3, community: 0.4",
    )
    config = config.replace("60000", "20000").replace("  schedule:", MEASURES.strip("\n") + "\n  schedule:")
    lines = "".join(f"    {name}: {{set: {{{changes}}}}}\n" for name, changes in SCENARIOS.items())
    study = plan.load(write(folder, f"study:\n  base: town.yaml\n  realizations: 2\n  scenarios:\n{lines}", config))
    path = runs.run(study, folder / "out")
    records.collect(path, records.read(path))  # without drawing their page, which takes longer than the runs
    return lpm.open(path).load()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_stored_as_the_baseline_until_its_measure_begins(name: str, results: xr.Dataset) -> None:
    mine, base = results.sel(scenario=name), results.sel(scenario="baseline")
    differs = np.zeros((2, STEPS), bool)
    for variable in results.data_vars:
        if "region" in results[variable].dims:
            differs |= (mine[variable] != base[variable]).any(["region", "age"]).values
    first = differs.argmax(1)
    assert differs.any(1).all()
    assert (first >= (3 if name == "trigger" else BEGINS)).all(), first
    assert (first <= BEGINS + 8).all(), first
    infected = mine["infections"].sum(["time", "region", "age"]) != base["infections"].sum(["time", "region", "age"])
    assert infected.all()
