"""What `lpm validate` finds by building a world small and tracing a step of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lpm.config import load, shipped
from lpm.errors import InputError
from lpm.trial import SMALL, tried

HERE = Path(__file__).parent
TEMPLATES = HERE.parents[1] / "lpm" / "templates"


@pytest.fixture
def rumour(tmp_path: Path) -> Path:
    """The model that `lpm new` writes."""
    for name in ("model.py", "config.yaml"):
        shutil.copy(TEMPLATES / name, tmp_path)
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_configs_can_be_traced(name: str) -> None:
    assert tried(load(name)).agents == (763 if name.startswith("school") else SMALL)


def test_a_model_of_ones_own_is_traced_small(rumour: Path) -> None:
    assert tried(load(rumour / "config.yaml")).agents == SMALL
    assert tried(load(rumour / "config.yaml", ["settings.agents=30"])).agents == 30


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "tired = event(second, 1 /",
            "tired = event(second[:-1], 1 /",
            r"config.yaml:3:8 model: asked for a model whose steps can be traced \(with 1,000 agents\), got "
            r"\w+Error \(.*999.*1000.*\) in \S*model.py:\d+; mend it there",
        ),
        (
            "move(move(stage, heard, TELLING), tired, TIRED)",
            "move(stage, tired, TIRED + 1)",
            r"got ValueError \(move: asked for stage 3 of Stages\(kinds=3\).*\) in \S*model.py:62; mend it there",
        ),
        (
            'move(stage, first, TELLING))',
            'move(stage, first, TELLING), told=0)',
            r"KeyError .*state has no entry 'told'.* in \S*model.py:48; mend it there",
        ),
        (
            'lambda state, info: number(info["heard"])',
            'lambda state, info: info["heard"].value',
            r"model: observable newly_aware: its dims \(\) ask for an array of shape \(\), got \(1000,\)",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_model_is_found_without_a_run(old: str, new: str, message: str, rumour: Path) -> None:
    change(rumour / "model.py", old, new)
    with pytest.raises(InputError, match=message) as raised:
        tried(load(rumour / "config.yaml"))
    assert len(raised.value.problems) == 1


def test_a_step_that_changes_a_dtype_is_found(rumour: Path) -> None:
    change(rumour / "model.py", "kinds=3)},", 'kinds=3), "age": jnp.zeros(settings.agents, jnp.int32)},')
    change(rumour / "model.py", "tired, TIRED)),", 'tired, TIRED), age=state.agents["age"].astype(jnp.float32)),')
    with pytest.raises(InputError, match=r"got agents.age as int32\[1000\] before a step and float32\[1000\] after it"):
        tried(load(rumour / "config.yaml"))


@pytest.mark.parametrize(
    "refusal",
    [
        'if settings.agents < 5000: raise ValueError("too few")',
        'if settings.agents < 5000: raise RuntimeError("too few")',
    ],
)
def test_a_builder_that_refuses_few_agents_is_given_all(refusal: str, rumour: Path) -> None:
    change(rumour / "model.py", "    friends, ids", f"    {refusal}\n    friends, ids")
    assert tried(load(rumour / "config.yaml")).agents == 10_000


def test_bounds_on_the_number_of_agents_are_kept(rumour: Path) -> None:
    change(rumour / "model.py", "agents: Positive", "agents: Annotated[int, Number(2000, None)]")
    assert tried(load(rumour / "config.yaml")).agents == 10_000


def test_what_the_world_lacks_is_found(rumour: Path) -> None:
    with pytest.raises(InputError, match=r"run.snapshots.of.0: unknown entry of the agents `stages`; write `stage`"):
        tried(load(rumour / "config.yaml", ["run.snapshots={every: 10, of: [stages]}"]))
