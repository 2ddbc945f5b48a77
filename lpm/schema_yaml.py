"""YAML with places: every value of a config knows the line and column, or the `--set`, that it came from."""

from __future__ import annotations

import dataclasses
import io
import re
import warnings
from collections.abc import Iterable
from typing import Any

from lpm.errors import InputError

Path = tuple[str | int, ...]

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTENT = re.compile(r"\s*[^\s#]")  # of a line that is neither empty nor a comment
_NO_SPACE = re.compile(r"\s*(- )?(?P<name>[A-Za-z_][\w-]*):(?P<value>(?!//)[^\s:#].*?)\s*(\s#.*)?$")
NO_SPACE_IN_TEXT = re.compile(r"(?P<name>[A-Za-z_]\w*):(?P<value>[^\s:].*)", re.DOTALL)
_TOO_MANY = 100_000  # values: a few nested aliases would otherwise stand for billions
_NUMBERS = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}


@dataclasses.dataclass
class Document:
    """A config's values as plain Python, the places they came from, and the problems found so far.

    Args:
        name: the file's name, as in messages.
        data: dicts, lists, text, numbers, booleans and None; a date is still a text.
        keys, values: path -> (line, column), counted from 1.
        overrides: path -> the text of the `--set` that gave the value.
        options: dotted path -> the option that gave the value instead of a `--set`, such as --seed.
        problems: one line each.
    """

    name: str
    data: Any = None
    keys: dict[Path, tuple[int, int]] = dataclasses.field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = dataclasses.field(default_factory=dict)
    overrides: dict[Path, str] = dataclasses.field(default_factory=dict)
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)

    def at(self, path: Path) -> Any:
        """The value at a path; None where there is none."""
        value = self.data
        for part in path:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def place(self, path: Path, key: bool = False) -> str:
        """`file:line:column` of a value or its key, or `--set key=value`; of what is around it if it is not there."""
        for length in range(len(path), -1, -1):
            around = path[:length]
            if around in self.overrides:
                return f"--set {self.overrides[around]}"
            if around in self.values:
                of_key = key or (length < len(path) and around in self.keys)
                line, column = (self.keys if of_key else self.values).get(around, self.values[around])
                return f"{self.name}:{line}:{column}"
        return f"{self.name}:1:1"

    def report(self, path: Path, message: str, key: bool = False) -> None:
        """Note a problem with the value at a path, or with its key."""
        option = self.options.get(dotted(path)) if path in self.overrides else None
        if option:
            advice = one_line(message).replace(f"`{path[-1]}: ", f"`{option} ")
            self.problems.append(f"{option}: {advice}")
        else:
            self.problems.append(f"{self.place(path, key)} {dotted(path)}: {one_line(message)}")

    def in_order(self) -> list[str]:
        """The problems as one reads: the command line's, the file's from top to bottom, then those of other files.

        >>> Document("a.yaml", problems=["b.csv:1:1 c", "a.yaml:12:3 b", "a.yaml:2:9 a", "--set x"]).in_order()
        ['--set x', 'a.yaml:2:9 a', 'a.yaml:12:3 b', 'b.csv:1:1 c']
        """

        def rank(problem: str) -> tuple[int, int, int]:
            if problem.startswith("--"):
                return (0, 0, 0)
            place = re.match(rf"{re.escape(self.name)}:(\d+):(\d+) ", problem)
            return (1, int(place[1]), int(place[2])) if place else (2, 0, 0)

        return sorted(self.problems, key=rank)


def dotted(path: Path) -> str:
    """A path as one writes it after `--set`.

    >>> dotted(("settings", "schedule", 2, "from"))
    'settings.schedule.2.from'
    """
    return ".".join(str(part) for part in path) or "config"


def one_line(text: str) -> str:
    return " ".join(text.split())


def parse(raw: bytes, name: str) -> Document:
    """A config's bytes as a document; its problems, if any, are in the document.

    Args:
        raw: UTF-8.
        name: what messages call the file.
    Raises:
        InputError: if it is no YAML at all.

    >>> document = parse(b"run: {steps: 3, seed: no}", "a.yaml")
    >>> document.data, document.place(("run", "seed"))
    ({'run': {'steps': 3, 'seed': 'no'}}, 'a.yaml:1:23')
    """
    text = _decoded(raw, name)
    document = Document(name)
    node = _composed(text, name)
    if node is not None:
        try:
            document.data = _value(node, (), document, frozenset())
        except RecursionError:
            raise InputError(f"{name}:1:1 config: got values nested too deeply to read; write them flatter") from None
    return document


def _decoded(raw: bytes, name: str) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        byte = raw[error.start]
        raise InputError(
            f"{name}:{_line_and_column(before)} config: asked for text in UTF-8, got the byte 0x{byte:02x}; "
            "save the file as UTF-8"
        ) from None
    bad = _UNPRINTABLE.search(text)
    if bad:
        where = _line_and_column(text[: bad.start()])
        raise InputError(
            f"{name}:{where} config: asked for text, got the character {bad.group()!r}; write the line anew without it"
        )
    return text


def _line_and_column(before: str) -> str:
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def _composed(text: str, name: str) -> Any:
    """ruamel.yaml's tree of nodes, which keep their marks; YAML 1.2, so that `no` is a text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return YAML(pure=True).compose(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if error.context_mark and re.search("end of stream|stream end|document end", str(error.problem)):
            mark = error.context_mark
        slip = _without_space(text.splitlines(), error)
        if slip:
            line, column, written = slip
            raise InputError(f"{name}:{line}:{column} config: {spaced(written)}") from None
        where = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise InputError(f"{name}:{where} config: {_syntax(error)}") from None
    except RecursionError:
        raise InputError(f"{name}:1:1 config: got values nested too deeply to read; write them flatter") from None
    except (YAMLError, ValueError, LookupError, AttributeError, TypeError, AssertionError) as error:
        raise InputError(
            f"{name}:1:1 config: asked for YAML, got {one_line(str(error))}; write `name: value` lines"
        ) from None


def _without_space(lines: list[str], error: Any) -> tuple[int, int, str] | None:
    """Line, column and text of a `name:value` at which YAML stumbled, maybe only on the next line: it read one text."""
    for mark in (error.context_mark, error.problem_mark):
        here = min(mark.line, len(lines) - 1) if mark else -1
        before = next((number for number in range(here - 1, -1, -1) if _CONTENT.match(lines[number])), -1)
        for number in (here, before):
            found = _NO_SPACE.match(lines[number]) if number >= 0 else None
            if found:
                return number + 1, found.end("name") + 1, found["name"] + ":" + found["value"]
    return None


def spaced(written: str) -> str:
    """What to say of `name:value`, which YAML takes for one text.

    >>> spaced("agents:3000")
    'asked for `name: value`, got `agents:3000`; write a space after the colon, `agents: 3000`'
    """
    name, _, value = written.partition(":")
    return (
        f"asked for `name: value`, got `{one_line(written)[:60]}`; write a space after the colon, "
        f"`{name}: {one_line(value)[:60]}`"
    )


def _syntax(error: Any) -> str:
    problem = one_line(str(error.problem or error.context or "something else"))
    if r"'\t'" in problem:
        return "asked for YAML, got a tab where a value or key begins; write spaces to indent"
    if "single document" in str(error.context):
        return "asked for one YAML document, got a second one (after `---`); write each in its own file"
    if "mapping values are not allowed" in problem:
        return (
            "asked for YAML, got a second `: ` in a line or a key indented unlike its neighbours; "
            "write `name: value`, texts with `: ` in quotes"
        )
    context = f" {one_line(error.context)}" if error.context else ""
    return (
        f"asked for YAML, got a mistake{context} ({problem}); write `name: value` lines, "
        "and close every quote and bracket"
    )


def _value(node: Any, path: Path, document: Document, above: frozenset[int]) -> Any:
    """A node as plain Python; notes where it stands, and what is wrong with it."""
    from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

    document.values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if id(node) in above:
        document.report(path, "got an alias of the value that it stands in; write the value out")
        return None
    if len(document.values) > _TOO_MANY:
        raise InputError(
            f"{document.place(path)} config: got more than {_TOO_MANY} values; write long tables in a data file"
        )
    above = above | {id(node)}
    if not isinstance(node, ScalarNode):
        _tagged(node, path, document)
    if isinstance(node, MappingNode):
        return _mapping(node, path, document, above)
    if isinstance(node, SequenceNode):
        return [_value(item, (*path, position), document, above) for position, item in enumerate(node.value)]
    return _scalar(node, path, document)


def _mapping(node: Any, path: Path, document: Document, above: frozenset[int]) -> dict[str, Any]:
    from ruamel.yaml.nodes import ScalarNode

    values: dict[str, Any] = {}
    for key, item in node.value:
        line, column = key.start_mark.line + 1, key.start_mark.column + 1
        here = f"{document.name}:{line}:{column}"
        if not isinstance(key, ScalarNode):
            document.problems.append(
                f"{here} {dotted(path)}: asked for a name as a key, got a list or mapping; write `name: value`"
            )
        elif str(key.tag).endswith(":merge"):
            document.problems.append(f"{here} {dotted(path)}: got the merge key `<<`; write the keys out")
        elif key.value in values:
            first = document.keys[*path, key.value][0]
            again = dotted((*path, key.value))
            document.problems.append(
                f"{here} {again}: got the key a second time (first on line {first}); write it once"
            )
        else:
            document.keys[*path, key.value] = (line, column)
            values[key.value] = _value(item, (*path, key.value), document, above)
    return values


def _scalar(node: Any, path: Path, document: Document) -> Any:
    tag, text = str(node.tag).removeprefix("tag:yaml.org,2002:"), str(node.value)
    try:
        if tag == "int":
            sign, digits = re.fullmatch("([-+]?)0*(?=.)(.*)", text.replace("_", "")).groups()  # type: ignore[union-attr]
            based = digits[:1] in ("x", "o", "b")
            return int(f"{sign}0{digits}", 0) if based else int(sign + digits)
        if tag == "float":
            return float(_NUMBERS.get(text.lower(), text.replace("_", "")))
        if tag == "bool":
            return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError, AttributeError):
        document.report(
            path, f"asked for a value of type {tag}, got {text[:40]!r}; write it without `!!{tag}`, or shorter"
        )
        return None
    if tag == "null":
        return None
    _tagged(node, path, document)
    return text


def _tagged(node: Any, path: Path, document: Document) -> None:
    """A config is made of plain values: `!name` means nothing in it."""
    tag = str(node.tag).removeprefix("tag:yaml.org,2002:")
    if tag not in ("str", "timestamp", "value", "map", "seq", "int", "float", "bool"):
        document.report(path, f"got the tag {tag}; write the value without it")


def override(document: Document, texts: Iterable[str]) -> None:
    """Put the values of `--set key=value` in their places; what is wrong with them goes to the document's problems.

    >>> document = parse(b"run: {steps: 3}", "a.yaml")
    >>> override(document, ["run.steps=7", "settings.rate=1e-3"])
    >>> document.data, document.place(("run", "steps"))
    ({'run': {'steps': 7}, 'settings': {'rate': 0.001}}, '--set run.steps=7')
    """
    for text in texts:
        dots, equals, value = text.partition("=")
        shown, path = one_line(text), tuple(part.strip() for part in dots.split("."))
        if not equals or not all(path):
            document.problems.append(
                f"--set {shown} override: asked for key=value, got {shown!r}; write for example --set run.seed=3"
            )
            continue
        try:
            parsed = parse(value.encode("utf-8", "surrogateescape"), "value")
        except InputError as error:
            parsed = Document("value", problems=error.problems)
        if parsed.problems:
            document.problems += [f"--set {shown} {dots}: {problem.split(': ', 1)[1]}" for problem in parsed.problems]
        else:
            _put(document, path, parsed.data, shown)


def _put(document: Document, names: tuple[str, ...], value: Any, shown: str) -> None:
    """Set one value, making the mappings on its way."""
    holder = document.data = document.data if isinstance(document.data, dict | list) else {}
    path: Path = ()
    for name in names:
        part: Any = int(name) if isinstance(holder, list) and name.isdigit() else name
        complaint = _cannot_hold(holder, part, path)
        if complaint:
            option = document.options.get(".".join(names))
            document.problems.append(f"{option or f'--set {shown} {dotted((*path, part))}'}: {complaint}")
            return
        path = (*path, part)
        inner = holder.get(part) if isinstance(holder, dict) else holder[part]
        if len(path) < len(names) and inner is not None:
            holder = inner
            continue
        holder[part] = value if len(path) == len(names) else {}
        holder = holder[part]
        for places in (document.keys, document.values, document.overrides):
            for old in [place for place in places if place[: len(path)] == path]:
                del places[old]
        document.overrides[path] = shown


def _cannot_hold(holder: Any, part: str | int, path: Path) -> str:
    """Why a value can have no such key or position; nothing if it can."""
    if isinstance(holder, dict):
        return ""
    if not isinstance(holder, list):
        return f"got a single value in the file, which has no `{part}`; write --set {dotted(path)}=VALUE"
    if isinstance(part, int) and part < len(holder):
        return ""
    asked = f"a position from 0 to {len(holder) - 1}" if holder else "a list that is not empty"
    return f"asked for {asked}, got {str(part)!r}; write such a position, or the whole list"
