"""On two ranks all measures count, choose and send home the same people as on one."""

from pathlib import Path

import numpy as np
import pytest

import lpm
from lpm.config import build_world, load
from tests.ranks.launch import on_ranks

PROGRAM = Path(__file__).with_name("program.py")
CONFIG = """model: lpm.worlds.city:build
settings:
  people: {agents: 3000}
  transmission: {household: 0.4, school: 0.3, work: 0.3, community: 0.4}
  importation: [{per_day: 30000, to: 20}]
  interventions: # all that counts, chooses or sends home, and little besides, as most of the time goes into compiling
    orders: [{order: stay_at_home, from: 2020-02-20, compliance: 0.6, when: full wards}]
    travel: [{contacts: 0.1, regions: [Manhattan, Queens]}]
    vaccination:
      campaigns: [{doses_per_day: 60000, ages: [80+, 40-49], regions: [Bronx, Queens]}]
      delay: 2
    testing: {screening: 0.05, capacity: 50000}
    quarantine: {}
    tracing: {}
    triggers: [{name: full wards, variable: hospitalised, above: 2000, below: 500}]
run: {start: 2020-02-01, steps: 40, seed: 3}
"""


@pytest.mark.slow
def test_two_ranks_have_the_bits_of_one(tmp_path: Path) -> None:
    file = tmp_path / "town.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    config = load(file)
    lpm.run(build_world(config), config.run.calendar, tmp_path / "one", seed=config.run.seed)
    done = on_ranks(2, "run", str(file), "--out", str(tmp_path / "two"), program=str(PROGRAM))
    assert done.returncode == 0, done.stdout + done.stderr
    one, two = (lpm.open(tmp_path / name).load() for name in ("one", "two"))
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name], two[name], err_msg=str(name))
    assert all(int(one[name].sum()) > 50 for name in ("doses", "tests", "isolated", "quarantined", "traced"))
