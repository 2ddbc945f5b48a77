"""The page's examples work."""

import re
from pathlib import Path

import numpy as np

import lpm
from lpm.config import load

PAGE = (Path(__file__).parents[2] / "docs" / "interventions.md").read_text("utf-8")


def test_the_measure_of_ones_own_works() -> None:
    first, code = re.findall("```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(compile(first, "docs/interventions.md", "exec"), names)
    assert not names["seen"]["tests"][:20].any()
    assert names["seen"]["tests"][20:].sum() > 1000
    exec(compile(code, "docs/interventions.md", "exec"), names)
    world = names["world"]
    curfew = lpm.Observable("curfew", lambda state, info: info["curfew"])
    contacts = lpm.Observable("contacts", lambda state, info: state.env["contacts"][3])
    start = (world.model, world.params, world.state, lpm.key(1))
    more = world.params.importation + np.float32(0.002)
    hurried = lpm.simulate(
        start[0], names["dataclasses"].replace(start[1], importation=more), *start[2:], steps=30,
        observe=(curfew, contacts),
    )[1]  # fmt: skip
    assert 0 < np.asarray(hurried["curfew"]).sum() < 30
    np.testing.assert_array_equal(hurried["contacts"], np.where(hurried["curfew"], np.float32(0.2), np.float32(1)))


def test_the_config_at_the_top_is_a_good_one(tmp_path: Path) -> None:
    text = re.findall("```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    file = tmp_path / "city.yaml"
    file.write_text(
        "model: lpm.worlds.city:build\n" + text.replace("settings:\n", "settings:\n  people: {agents: 1000}\n")
        + "run: {start: 2020-02-01, end: 2020-06-30}\n", "utf-8",
    )  # fmt: skip
    assert load(file).settings.interventions.vaccination.campaigns[1].doses_per_day == 20_000
