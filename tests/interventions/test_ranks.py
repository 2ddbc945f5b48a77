"""On two ranks all measures count, choose and send home the same people as on one."""

from pathlib import Path

import numpy as np
import pytest

import lpm
from lpm.config import build_world, load
from tests.interventions.test_settings import EVERYTHING
from tests.ranks.launch import on_ranks

PROGRAM = Path(__file__).with_name("program.py")
CONFIG = """model: lpm.worlds.city:build
settings:
  people: {agents: 3000}
  transmission: {household: 0.4, school: 0.3, work: 0.3, community: 0.4}
  importation: [{per_day: 30000, to: 20}]
  interventions:
INTERVENTIONS
run: {start: 2020-02-01, steps: 40, seed: 3}
"""


@pytest.mark.slow
def test_two_ranks_have_the_bits_of_one(tmp_path: Path) -> None:
    lines = "\n".join("    " + line for line in EVERYTHING.strip().splitlines())
    file = tmp_path / "town.yaml"
    file.write_text(CONFIG.replace("INTERVENTIONS", lines).replace("half_life: 180", "delay: 2"), encoding="utf-8")
    config = load(file)
    lpm.run(build_world(config), config.run.calendar, tmp_path / "one", seed=config.run.seed)
    done = on_ranks(2, "run", str(file), "--out", str(tmp_path / "two"), program=str(PROGRAM))
    assert done.returncode == 0, done.stdout + done.stderr
    one, two = (lpm.open(tmp_path / name).load() for name in ("one", "two"))
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name], two[name], err_msg=str(name))
    assert all(int(one[name].sum()) > 50 for name in ("doses", "tests", "isolated", "quarantined", "traced"))
