"""Dials of models that are not the city."""

from pathlib import Path

import numpy as np
import pytest

from lpm.config import load
from lpm.studies.dials import Dial, Dials, small_world

MODEL = """
import dataclasses
import jax.numpy as jnp
from lpm import Observable, chain, initial_state
from lpm.settings import Calendar
from lpm.world import World
from lpm.worlds.schedule import Change

@dataclasses.dataclass(frozen=True)
class Wage:
    day: int
    amount: float

@dataclasses.dataclass(frozen=True)
class Settings:
    schedule: tuple[ENTRY, ...] = ()

def work(params, state, key):
    return state.replace(wealth=state.agents["wealth"] + params["pay"]), {}

TOTAL = Observable("wealth", lambda state, info: state.agents["wealth"].sum(), over="sum")
MODEL = chain(work=work)

def build(settings: Settings, calendar: Calendar) -> World:
    pay = jnp.float32(sum(each.AMOUNT for each in settings.schedule))
    return World(MODEL, {"pay": pay, "contacts": jnp.ones(3)}, initial_state({"wealth": jnp.ones(3)}), (TOTAL,))
"""


@pytest.mark.parametrize(
    ("entry", "amount", "text"),
    [("Wage", "amount", "{day: 1, amount: 0.5}"), ("Change", "contacts", "{layer: work, from: 1, contacts: 0.5}")],
)
def test_another_model_may_have_a_schedule_too(entry: str, amount: str, text: str, tmp_path: Path) -> None:
    """Of its own kind, or with entries of the same kind that it makes something else of."""
    own = MODEL.replace("ENTRY", entry).replace("AMOUNT", amount)
    (tmp_path / "wages.py").write_text(own, encoding="utf-8")
    file = tmp_path / "wages.yaml"
    file.write_text(f"model: wages.py:build\nsettings: {{schedule: [{text}]}}\nrun: {{steps: 3}}\n", encoding="utf-8")
    dials = Dials(load(file), (Dial(f"settings.schedule.0.{amount}", 0, 2, False, 0.5),))
    assert dials.params(np.array([0.75]))["pay"] == 1.5


def test_a_config_that_is_edited_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "few.yaml"
    for agents in (300, 200):
        text = f"model: lpm.worlds.sir:build\nsettings: {{agents: {agents}}}\nrun: {{steps: 5}}\n"
        file.write_text(text, encoding="utf-8")
        assert small_world(load(file), ()).agents == agents
