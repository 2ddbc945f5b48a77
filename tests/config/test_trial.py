"""What `lpm validate` finds by building a world small and tracing a step of it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import jax
import pytest
from rich.console import Console

from lpm import cli, terminal
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


@pytest.mark.parametrize(
    ("line", "write"),
    [
        ("if params.rate > 0.1:\n        heard = heard", "`jnp.where(condition, a, b)`"),
        ("assert params.rate > 0", "`jnp.where(condition, a, b)`"),
        ("np.sqrt(params.rate)", "`jnp.` instead of `np.`"),
        ("[1, 2, 3][first[0]]", "`jnp.asarray(table)[index]`"),
        ("first[first > 3]", "`jnp.where(mask, values, 0)`"),
        ("float(params.rate)", "`x.astype(jnp.float32)` instead of `float(x)`"),
    ],
)
def test_a_decision_of_python_on_a_traced_value_is_told_with_what_to_write(line: str, write: str, rumour: Path) -> None:
    change(rumour / "model.py", "    tired = event(", f"    {line}\n    tired = event(")
    change(rumour / "model.py", "import dataclasses\n", "import dataclasses\n\nimport numpy as np\n")
    with pytest.raises(InputError) as raised:
        tried(load(rumour / "config.yaml"))
    (problem,) = raised.value.problems
    assert problem.startswith(f"{rumour}/config.yaml:3:8 model: asked for steps that can be compiled while")
    assert f"got `{line.splitlines()[0]}` in {rumour}/model.py:63 (" in problem
    assert write in problem.split("; write ")[1]


def test_the_line_may_be_in_a_file_beside_the_model(rumour: Path) -> None:
    (rumour / "beside.py").write_text("def tell(rate):\n    return 1 if rate > 0.1 else 2\n", "utf-8")
    change(
        rumour / "model.py",
        "    tired = event(",
        "    import beside\n\n    beside.tell(params.rate)\n    tired = event(",
    )
    with pytest.raises(InputError, match=r"got `return 1 if rate > 0\.1 else 2` in \S*beside\.py:2 "):
        tried(load(rumour / "config.yaml"))


def test_a_run_finds_it_before_it_writes_anything(
    rumour: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change(rumour / "model.py", "    tired = event(", "    if params.rate > 0.1:\n        pass\n    tired = event(")
    monkeypatch.chdir(rumour)
    for command in (["run"], ["check-gradient"]):
        monkeypatch.setattr(sys, "argv", ["lpm", *command, "config.yaml"])
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        assert leaving.value.code == 2
        assert "got `if params.rate > 0.1:` in " in capsys.readouterr().err
    assert not (rumour / "runs").exists()


def test_of_several_processes_it_is_told_when_it_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        jax.jit(lambda x: 1 if x > 0 else 2)(3.0)
    except jax.errors.TracerBoolConversionError as error:
        terminal.unexpected(error, Console(stderr=True, soft_wrap=True))
    said = capsys.readouterr().err
    assert said.startswith("error asked for steps that can be compiled")
    assert "test_trial.py:" in said
