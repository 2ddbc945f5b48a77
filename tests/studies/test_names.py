"""Studies of a model of one's own, whose observables have names that answers use too."""

from pathlib import Path

import numpy as np
import pytest

from lpm.errors import InputError
from lpm.studies import compare, figures, plan, report, runs

MODEL = """
import dataclasses
import jax.numpy as jnp
from lpm import Observable, chain, initial_state
from lpm.settings import Calendar
from lpm.world import World

@dataclasses.dataclass(frozen=True)
class Settings:
    rate: float = 1.0

def grow(params, state, key):
    return state.replace(wealth=state.agents["wealth"] + params), {}

def seen(name, *dims):
    see = lambda state, info: state.agents["wealth"] if dims else state.agents["wealth"].sum()
    return Observable(name, see, dims, over="sum")

MODEL = chain(grow=grow)
OBSERVED = [seen(name) for name in ("lost_by_time", "lost_by_region", "doses")]
OBSERVED += [seen(name, "region") for name in ("lost_by_cause", "lost")]

def build(settings: Settings, calendar: Calendar) -> World:
    state = initial_state({"wealth": jnp.ones(2)})
    return World(MODEL, jnp.float32(settings.rate), state, tuple(OBSERVED), coords={"region": ("north", "south")})
"""
STUDY = "study: {base: own.yaml, realizations: 1, scenarios: {more: {set: {settings.rate: 2}}}, outcomes: OUTCOMES}\n"


def study(folder: Path, outcomes: str) -> plan.Study:
    (folder / "own_names.py").write_text(MODEL, encoding="utf-8")
    (folder / "own.yaml").write_text("model: own_names.py:build\nrun: {steps: 3}\n", encoding="utf-8")
    (folder / "study.yaml").write_text(STUDY.replace("OUTCOMES", outcomes), encoding="utf-8")
    return plan.load(folder / "study.yaml")


def test_an_observable_may_have_by_in_its_name(tmp_path: Path) -> None:
    written = report.collect(runs.run(study(tmp_path, "[lost_by_cause, lost_by_time, doses]"), tmp_path / "out"))
    np.testing.assert_array_equal(written.dataset["averted_lost_by_cause_by_region"][1, 0], [-6, -6])
    rows = {(each["measure"], each["by"], each["of"]): each for each in compare.rows(written.dataset)}
    assert rows["averted_lost_by_cause", "", ""]["mean"] == -12
    assert rows["averted_lost_by_cause", "region", "south"]["mean"] == -6
    assert figures.drawn(written.dataset) == ["curve_lost_by_cause", "curve_lost_by_time", "curve_doses"]
    assert written.dataset["more_doses"].values.tolist() == [[0], [12]]  # of what measures use, the page says so
    assert "<th>doses: used more</th>" in written.page.read_text("utf-8")


def test_an_observable_called_as_the_answers_of_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"study.outcomes: .* got lost, told by region too, beside lost_by_region"):
        study(tmp_path, "[lost, lost_by_region]")
    assert study(tmp_path, "[lost]").wanted.outcomes[0].id == "lost"
