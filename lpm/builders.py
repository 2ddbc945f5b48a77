"""The builder that a config names: imported, and what it takes read from its annotations."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
import traceback
import types
import typing
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lpm.errors import InputError
from lpm.schema_check import unknown
from lpm.schema_yaml import one_line

SHIPPED = ("lpm.worlds.sir:build", "lpm.worlds.seir:build", "lpm.worlds.city:build")


@dataclasses.dataclass(frozen=True)
class Builder:
    """A builder and what belongs to it.

    Args:
        build: `(settings, calendar) -> World`.
        settings: the frozen dataclass that it takes.
        check: `(settings, calendar) -> list of lpm.settings.Mistake` of the same module, or None.
        file: where it is written.
    """

    build: Callable[..., Any]
    settings: type
    check: Callable[..., Any] | None
    file: str


def imported(model: str, folder: Path = Path()) -> Builder:
    """The builder of this name.

    Args:
        model: module:function, or file.py:function.
        folder: what a file's path starts from.
    Raises:
        InputError: if there is none, or it does not say what it takes.

    >>> imported("lpm.worlds.sir:build").settings.__name__
    'Settings'
    """
    source, _, name = model.rpartition(":")
    is_file = source.endswith(".py")
    if not (is_file or re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", source)) or not name.isidentifier():
        raise InputError(
            f"asked for module:function or file.py:function, got {model!r}; write for example `model: {SHIPPED[0]}`"
        )
    try:
        module = _run_file(folder / source) if is_file else importlib.import_module(source)
    except FileNotFoundError as error:
        if not is_file or (folder / source).exists():
            raise InputError(_failed(source, error)) from error
        raise InputError(
            f"asked for a Python file, got {source!r}, which is not in {folder.resolve()}; "
            "write its path from the config on"
        ) from None
    except ModuleNotFoundError as error:
        if is_file or not f"{source}.".startswith(f"{error.name}."):
            raise InputError(_failed(source, error)) from error
        raise InputError(
            unknown(model, SHIPPED, "model") + "; a file of your own is written `file.py:function`"
        ) from None
    except (Exception, SystemExit) as error:
        raise InputError(_failed(source, error)) from error
    build = getattr(module, name, None)
    if not callable(build):
        own = [each for each, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        functions = [each for each in own if inspect.isfunction(getattr(module, each)) and not each.startswith("_")]
        builders = [each for each in functions if len(inspect.signature(getattr(module, each)).parameters) == 2]
        raise InputError(unknown(name, builders, f"builder of {source}"))
    return Builder(
        build, _settings_of(build, model), getattr(module, "check", None), str(getattr(module, "__file__", source))
    )


def _run_file(file: Path) -> types.ModuleType:
    """A user's file as a module; read anew each time, and no compiled copy written beside it."""
    source = file.read_bytes()
    name = f"lpm_model_{file.stem}_{zlib.crc32(str(file.resolve()).encode()):08x}"
    module = types.ModuleType(name)
    module.__file__ = str(file)
    beside = str(file.parent.resolve())
    if beside not in sys.path:
        sys.path.append(beside)  # so that it may import its neighbours, after everything installed
    sys.modules[name] = module  # dataclasses and their annotations are looked up there
    exec(compile(source, str(file), "exec"), vars(module))
    return module


def _settings_of(build: Callable[..., Any], model: str) -> type:
    """The frozen dataclass that the first argument is annotated with."""
    wanted = f"write `def {getattr(build, '__name__', 'build')}(settings: Settings, calendar: Calendar) -> World`"
    try:
        arguments = inspect.signature(build).parameters
        inspect.signature(build).bind(None, None)
        annotation = typing.get_type_hints(build, include_extras=True).get(next(iter(arguments)))
    except (TypeError, ValueError):
        raise InputError(
            f"asked for a builder of two arguments, got {model}, which cannot be called with two; {wanted}"
        ) from None
    except NameError as error:
        raise InputError(
            f"asked for annotations that can be read, got {error} in {model}; import that name at the top of its file"
        ) from None
    parameters: Any = getattr(annotation, "__dataclass_params__", None)
    if not (isinstance(annotation, type) and parameters is not None and parameters.frozen):
        seen = "none" if annotation is None else f"`{getattr(annotation, '__name__', annotation)}`"
        raise InputError(
            f"asked for a frozen dataclass as the annotation of the first argument of {model}, got {seen}; "
            f"{wanted}, with `@dataclass(frozen=True)` on Settings"
        )
    return annotation


def _failed(source: str, error: BaseException) -> str:
    """That a module cannot be imported, and where it broke."""
    return (
        f"asked for a model that can be imported, got {said(error)} {raised_at(error, source)}; mend it there, "
        "or write another model"
    )


def said(error: BaseException) -> str:
    """An exception's type and text on one line."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__} ({one_line(text)})" if text else type(error).__name__


def what_it_takes(error: BaseException) -> str:
    """The arguments of what a call with wrong ones was made of, if it is lpm's; else nothing.

    >>> import lpm
    >>> try:
    ...     lpm.Calendar(steps=3, weeks=2)
    ... except TypeError as error:
    ...     what_it_takes(error)
    ': Calendar takes steps, start, shortened'
    """
    wrong = re.match(r"(\w+)(?:\.__init__)?\(\) (?:got an unexpected|got some|missing|takes)", str(error))
    if not isinstance(error, TypeError) or not wrong:
        return ""
    name = wrong[1]
    for module in [each for key, each in sys.modules.items() if key.partition(".")[0] == "lpm"]:
        found = getattr(module, name, None)
        if callable(found) and getattr(found, "__module__", None) == module.__name__:
            return f": {name} takes {', '.join(inspect.signature(found).parameters)}"
    return ""


def raised_at(error: BaseException, file: str) -> str:
    """`in file:line` of the last call made from this file, else of the last one.

    >>> try:
    ...     dict(a=1)["b"]
    ... except KeyError as error:
    ...     raised_at(error, "model.py").split(":")[-1]
    '2'
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"in {error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file or Path(frame.filename).name == Path(file).name]
    last = (own or list(frames))[-1]
    return f"in {last.filename}:{last.lineno}"
