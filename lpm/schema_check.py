"""Values checked against the annotations of frozen dataclasses, with messages of our own; and their JSON schemas.

pydantic finds what is wrong; what was asked for, and an example of it, are read from the annotations.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import functools
import json
import re
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from lpm.schema_yaml import NO_SPACE_IN_TEXT, Document, Path, one_line, spaced

MISSING = dataclasses.MISSING
_MISMATCH = re.compile(
    ".*_(type|parsing|error)|int_from_float|finite_number|.*date.*|too_(short|long)|none_required|missing"
)


def key_of(field: str) -> str:
    """The YAML key of a field: `from_` is written `from`, which Python keeps for itself."""
    return field.rstrip("_")


def _options() -> Any:
    from pydantic import ConfigDict

    # A number in quotes is no number, True is no 1, unknown keys and .nan are errors; JSON's lists pass for tuples.
    return ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, alias_generator=key_of)


@functools.lru_cache(maxsize=32)
def _adapter(annotation: Any) -> Any:
    """pydantic's checker of a tuple of one, for it hands options down to dataclasses but takes none for one."""
    from pydantic import PydanticUserError, TypeAdapter

    try:
        wrapped: Any = types.GenericAlias(tuple, (annotation,))
        return TypeAdapter(wrapped, config=_options())
    except PydanticUserError as error:
        held = re.search("for (<.*?>|[^ ]+?)\\.? ", str(error))
        raise TypeError(f"{described(annotation)}: YAML holds no {held[1] if held else 'such values'}") from None


def validated(annotation: Any, document: Document, path: Path) -> Any:
    """The value at a path as what the annotation says, or None after reporting every problem to the document.

    Args:
        annotation: a frozen dataclass, or what a field of one may be annotated with.
        document: see `lpm.schema_yaml.parse`.
        path: where in it.
    Raises:
        TypeError: if the annotation holds what no YAML can say, such as an array.

    >>> from lpm.schema_yaml import parse
    >>> document = parse(b"steps: '3'", "a.yaml")
    >>> validated(dataclasses.make_dataclass("Run", [("steps", int)]), document, ())
    >>> document.problems
    ["a.yaml:1:8 steps: asked for a whole number, got the text '3'; write for example `steps: 1`"]
    """
    from pydantic import ValidationError

    data = document.at(path)
    try:
        return _adapter(annotation).validate_json(json.dumps([data]))[0]
    except ValidationError as error:
        found = [_Found(_data_path(each, data), each) for each in error.errors(include_url=False)]
    for each in _worth_telling(found):
        _tell(each, annotation, document, path)
    return None


@dataclasses.dataclass(frozen=True)
class _Found:
    """One of pydantic's errors and the path of the value in the data that it is about."""

    path: Path
    error: Any

    @property
    def kind(self) -> str:
        return str(self.error["type"])

    @property
    def mismatch(self) -> bool:
        """Whether the value is of the wrong type, so that the annotation says it all."""
        return self.kind not in ("value_error", "assertion_error") and bool(_MISMATCH.fullmatch(self.kind))


def _data_path(error: Any, data: Any) -> Path:
    """pydantic's location without its position in our tuple and without the labels of a union's members."""
    path: list[str | int] = []
    location = error["loc"][1:]
    for number, part in enumerate(location):
        if (isinstance(data, dict) and part in data) or (isinstance(data, list) and part in range(len(data))):
            data = data[part]
            path.append(part)
        elif isinstance(data, dict) and error["type"] == "missing" and number == len(location) - 1:
            path.append(part)
    return tuple(path)


def _worth_telling(found: list[_Found]) -> Iterable[_Found]:
    """Of a union, each member complains: keep those that got furthest, and one for a value."""
    told: set[Path] = set()
    for each in found:
        outdone = any(
            other.path[: len(each.path)] == each.path and (other.path != each.path or not other.mismatch)
            for other in found
        )
        if each.mismatch and (outdone or each.path in told):
            continue
        told.add(each.path)
        yield each


def _tell(found: _Found, annotation: Any, document: Document, root: Path) -> None:
    path = root + found.path
    at, default, holder = annotation, MISSING, None
    for part in found.path:
        holder = at
        at, default = _inside(at, part)
    absent = found.kind == "missing" and found.path[-1:] == found.error["loc"][-1:]
    seen = "nothing" if absent else got(document.at(path))
    near = _nearest(document.at(path), at)
    example = f"write {_example(path, at, near)}" if near else f"write for example {_example(path, at, default)}"
    slip = NO_SPACE_IN_TEXT.match(text) if isinstance(text := document.at(path), str) else None
    if found.kind in ("unexpected_keyword_argument", "extra_forbidden") and found.path:
        document.report(path, unknown_key(str(found.path[-1]), _keys(holder)), key=True)
    elif found.mismatch and slip and slip["name"] in _keys(at):
        document.report(path, spaced(text))
    elif found.mismatch:
        document.report(path, f"asked for {described(at)}, got {seen}; {example}")
    else:
        message = found.error["msg"].replace("Input should", "a value that should")
        said = one_line(str(found.error.get("ctx", {}).get("error") or message))
        said = said if re.search("got|unknown", said) else f"got {seen}: {said}"
        document.report(path, said if "write" in said else f"{said}; {example}")


def unknown_key(name: str, known: Iterable[str]) -> str:
    """As `unknown`, of a key, which in braces may be one that wants a space: `{steps:3}` has the key `steps:3`.

    >>> unknown_key("steps:3", ["seed", "steps"])
    'asked for `name: value`, got `steps:3`; write a space after the colon, `steps: 3`'
    """
    slip, known = NO_SPACE_IN_TEXT.match(name), list(known)
    return spaced(name) if slip and slip["name"] in known else unknown(name, known, "key")


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """Says that there is no such name, which is the nearest, and which there are.

    >>> unknown("sed", ["seed", "steps"], "key")
    'unknown key `sed`; write `seed` (known: seed, steps)'
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, 1, 0.5)
    if not known:
        return f"unknown {what} `{name}`; there is none to write here, remove it"
    return (
        f"unknown {what} `{name}`; write {f'`{near[0]}`' if near else 'a known one, or remove it'} (known: "
        f"{', '.join(known)})"
    )


def got(value: Any) -> str:
    """A value in words, for `got ...`.

    >>> got("abc"), got(True), got([1, 2]), got(None)
    ("the text 'abc'", 'true', 'a list of 2', 'nothing (null)')
    """
    if value is None:
        return "nothing (null)"
    if isinstance(value, str):
        return f"the text {value if len(value) <= 40 else value[:37] + '...'!r}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"a mapping with the keys {', '.join(list(value)[:5])}" if value else "an empty mapping"
    text = _plain(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _bare(annotation: Any) -> Any:
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _members(annotation: Any) -> list[Any]:
    """The members of a union, or the annotation alone; unions within are flattened."""
    bare = _bare(annotation)
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        return [member for each in typing.get_args(bare) for member in _members(each)]
    return [annotation]


def _hints(dataclass: Any) -> dict[str, Any]:
    return typing.get_type_hints(dataclass, include_extras=True)


def _keys(annotation: Any) -> list[str]:
    """The keys that a mapping for this annotation may have."""
    classes = [_bare(member) for member in _members(annotation)]
    return [
        key_of(field.name)
        for each in classes
        if dataclasses.is_dataclass(each)
        for field in dataclasses.fields(each)
        if field.init
    ]


def fields_of(annotation: Any) -> list[tuple[str, Any]]:
    """Names and annotations of the fields that a mapping for this annotation may have; none if they cannot be read."""
    classes = [each for each in map(_bare, _members(annotation)) if dataclasses.is_dataclass(each)]
    try:
        return [(field.name, _hints(each)[field.name]) for each in classes for field in dataclasses.fields(each)]
    except (NameError, TypeError, KeyError):
        return []


def _inside(annotation: Any, part: str | int) -> tuple[Any, Any]:
    """Annotation and default of a field, an item or an entry; (None, MISSING) if the annotation knows none."""
    for member in map(_bare, _members(annotation)):
        arguments = typing.get_args(member)
        if isinstance(part, int) and typing.get_origin(member) in (tuple, list) and arguments:
            varied = typing.get_origin(member) is tuple and arguments[-1] is not ...
            return arguments[min(part, len(arguments) - 1) if varied else 0], MISSING
        if isinstance(part, str) and dataclasses.is_dataclass(member):
            for field in dataclasses.fields(member):
                if key_of(field.name) == part:
                    made = field.default_factory() if field.default_factory is not MISSING else field.default
                    return _hints(member)[field.name], made
        elif isinstance(part, str) and typing.get_origin(member) is dict:
            return arguments[1], MISSING
    return None, MISSING


_WORDS = {float: "a number", int: "a whole number", str: "a text", bool: "true or false", type(None): "null"}


def _unit(annotation: Any) -> str:
    """Of a number, if its annotation says it."""
    return next((each.unit for each in getattr(annotation, "__metadata__", ()) if getattr(each, "unit", "")), "")


def described(annotation: Any) -> str:
    """What an annotation asks for, in words.

    >>> described(float | str | None), described(typing.Literal["a", "b"]), described(tuple[datetime.date, ...])
    ('a number or a text', "one of 'a', 'b'", 'a list, each a date')
    """
    members = _members(annotation)
    if len(members) > 1:
        return " or ".join(dict.fromkeys(described(member) for member in members if member is not type(None)))
    bare, arguments = _bare(annotation), typing.get_args(_bare(annotation))
    origin = typing.get_origin(bare)
    if origin is Literal:
        return f"one of {', '.join(repr(argument) for argument in arguments)}"
    if bare is datetime.date:
        return "a date"
    if dataclasses.is_dataclass(bare):
        return f"a mapping with the keys {', '.join(_keys(bare))}" if _keys(bare) else "an empty mapping"
    if origin is tuple and arguments and arguments[-1] is not ...:
        return f"a list of {len(arguments)}: {', '.join(described(argument) for argument in arguments)}"
    if origin in (tuple, list):
        return f"a list, each {described(arguments[0])}"
    if origin is dict:
        return f"a mapping from names to values, each {described(arguments[1])}"
    if bare in _WORDS:
        unit = _unit(annotation)
        return f"{_WORDS[bare]} ({unit})" if unit else _WORDS[bare]
    return "a value" if bare in (Any, None) else f"a value for {getattr(bare, '__name__', bare)}"


def _nearest(value: Any, annotation: Any) -> str | None:
    """The one of a `Literal`'s words, or the date, that a text was probably meant to be.

    >>> _nearest("Scool", Literal["household", "school"] | None), _nearest("x", Literal["household", "school"])
    ('school', None)
    >>> _nearest("2020-3-1", datetime.date | int), _nearest("20/03/2020", datetime.date | int)
    ('2020-03-01', '2020-03-20')
    >>> _nearest("2023-02-31", datetime.date)
    '2023-02-28'
    """
    if isinstance(value, str) and datetime.date in map(_bare, _members(annotation)):
        return _date_meant(value)
    if isinstance(value, str) and any(_unit(member) == "days" for member in _members(annotation)):
        return _days_meant(value)
    choices = [typing.get_args(each) for each in map(_bare, _members(annotation)) if typing.get_origin(each) is Literal]
    words = {str(word).lower(): str(word) for each in choices for word in each}
    near = difflib.get_close_matches(value.lower(), words, 1, 0.5) if isinstance(value, str) else []
    return words[near[0]] if near else None


def _days_meant(text: str) -> str | None:
    """A time in another unit, as whole days.

    >>> _days_meant("2 weeks"), _days_meant("month"), _days_meant("1e3")
    ('14', '30', None)
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d*)?)?\s*(day|daily|week|month|quarter|year)(?:s|ly)?", text.strip().lower())
    days = {"day": 1, "daily": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}
    return f"{max(1, round(float(found[1] or 1) * days[found[2]]))}" if found else None


def _date_meant(text: str) -> str | None:
    """A date written in another way, as YAML takes it."""
    parts = [int(each) for each in re.findall(r"\d{1,4}", text)]
    if len(parts) != 3:
        return None
    year, month, day = parts if parts[0] > 31 else reversed(parts)
    for nearest in (day, 30, 29, 28):  # a day that the month has not is meant as its last
        try:
            return datetime.date(year, month, min(day, nearest)).isoformat()
        except ValueError:
            if not 28 < day <= 31:
                return None
    return None


def _example(path: Path, annotation: Any, default: Any) -> str:
    """What could be written: the default if that can be shown, else something that the annotation allows."""
    value = _written(default) if default not in (MISSING, None) else None
    value = value or _sample(annotation)
    name = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    return f"`- {value}`" if path and isinstance(path[-1], int) else f"`{name}: {value}`" if name else f"`{value}`"


def _written(value: Any) -> str | None:
    """A default as YAML on one line, or None if it would be long."""
    if isinstance(value, str | int | float | datetime.date):
        return _plain(value) or None
    if isinstance(value, tuple | list) and value and all(isinstance(item, str | int | float) for item in value):
        text = f"[{', '.join(map(_plain, value))}]"
        return text if len(text) <= 40 else None
    return None


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(str(value), str(value))


def _sample(annotation: Any) -> str:
    member = next((each for each in _members(annotation) if _bare(each) is not type(None)), annotation)
    bare, arguments = _bare(member), typing.get_args(_bare(member))
    origin = typing.get_origin(bare)
    if origin is Literal:
        return _plain(arguments[0])
    if dataclasses.is_dataclass(bare):
        wanted = [field for field in dataclasses.fields(bare) if field.init][:1]
        return f"{{{', '.join(f'{key_of(field.name)}: {_sample(_hints(bare)[field.name])}' for field in wanted)}}}"
    if origin in (tuple, list):
        items = arguments if arguments[-1] is not ... and origin is tuple else arguments[:1]
        return f"[{', '.join(map(_sample, items))}]"
    if origin is dict:
        return f"{{name: {_sample(arguments[1])}}}"
    low = next(
        (each.low for each in getattr(member, "__metadata__", ()) if getattr(each, "low", None) is not None), None
    )
    return {
        float: f"{max(low or 0, 0.5):g}",
        int: f"{max(low or 0, 1):g}",
        str: "text",
        bool: "true",
        datetime.date: "2020-02-01",
    }.get(bare, "...")


def json_schemas(annotations: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """JSON schemas by name, and the definitions that they share.

    Args:
        annotations: name -> a frozen dataclass.
    Returns:
        name -> schema, and the content of "$defs".
    """
    from pydantic import TypeAdapter

    mode: Literal["validation"] = "validation"
    adapters = [(name, mode, _adapter(each)) for name, each in annotations.items()]
    wrapped, shared = TypeAdapter.json_schemas(adapters)
    definitions = shared.get("$defs", {})
    schemas = {name: wrapped[name, mode]["prefixItems"][0] for name in annotations}
    return schemas, definitions
