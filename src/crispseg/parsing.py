"""YAML and JSON from anybody, read within bounds: plain values, or one line that says why not.

A recipe, a label table or a model's card may come from a stranger. A few hundred bytes of YAML can name each other so
often that they unfold to gigabytes, and a few thousand brackets exhaust the interpreter's stack. So size, depth and
what a text unfolds to are looked at first; what remains are mappings, lists, texts, numbers, booleans and null.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

__all__ = [
    "MAX_DEPTH",
    "MAX_JSON_BYTES",
    "MAX_YAML_BYTES",
    "TextError",
    "parse_json",
    "parse_whole",
    "parse_yaml",
    "read_text",
]

MAX_YAML_BYTES = 100_000
"""The largest packaged text has 12 KB. PyYAML takes about a second for 100 KB."""

MAX_JSON_BYTES = 16_000_000
"""Of one text, such as a model's card or a line of a journal."""

MAX_DEPTH = 40
"""Of lists and mappings in each other; recipes and cards need about six."""

_MAX_VALUES = 100_000  # what a text's aliases unfold to
_MAX_DIGITS = 40  # of a number in YAML; Python takes quadratic time for long ones


class TextError(ValueError):
    """A text is not what was expected; the message is one line, without the text's name."""


def read_text(path: str | os.PathLike[str], max_bytes: int = MAX_JSON_BYTES) -> str:
    """Read a file as UTF-8, unless it is larger than texts of its kind are.

    Args:
        path: of the file.
        max_bytes: that are read at most.

    Raises:
        OSError: if it cannot be read.
        TextError: if it is larger, or not UTF-8.
    """
    with Path(path).open("rb") as file:
        data = file.read(max_bytes + 1)  # not by the size that the system gives: that of /dev/zero is 0
    if len(data) > max_bytes:
        raise TextError(f"is larger than {_in_words(max_bytes)}, which no file of this kind is")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(f"is not UTF-8 text ({_encoding_in_words(data, error.start)}); save it as UTF-8") from error


def _encoding_in_words(data: bytes, at: int) -> str:
    """Where a text is not UTF-8, and what it probably is: an editor of Windows wrote it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "it begins as UTF-16 does"
    line = data.count(b"\n", 0, at) + 1
    text = data[data.rfind(b"\n", 0, at) + 1 :].split(b"\n")[0].decode("cp1252", errors="replace").strip()
    guess = f": Latin-1 by its looks, where it says {text:.60}" if text.isprintable() else ""
    return f"line {line}, byte {at} is {data[at]:#04x}{guess}"


def parse_yaml(text: str) -> Any:
    r"""Read YAML into plain values, strictly: a key that occurs twice is an error, and ``1e-3`` is a number.

    Args:
        text: of one document.

    Returns:
        Mappings, lists, texts, numbers, booleans and None. Dates stay text.

    Raises:
        TextError: if it is no YAML, or more than the bounds of this module allow.

    Example:
        >>> parse_yaml("lr: 1e-3")
        {'lr': 0.001}
        >>> parse_yaml("classes: [sky]\nclasses: [road]")
        Traceback (most recent call last):
        ...
        crispseg.parsing.TextError: key 'classes' occurs twice, in lines 1 and 2; keep one
    """
    if len(text) > MAX_YAML_BYTES:
        raise TextError(f"is larger than {_in_words(MAX_YAML_BYTES)}, which no YAML here is")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_unfolded(node, {})
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise TextError(_one_line(error)) from error
    except TextError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # !!bool x, "\Uffffffff"
        raise TextError(f"is not YAML: a value is none of its kind ({error!r})") from error


def parse_json(text: str | bytes, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read JSON into plain values, strictly: no key twice, no NaN, no half characters.

    Args:
        text: of one value.
        max_bytes: of `text`.

    Raises:
        TextError: if it is no JSON, or more than the bounds of this module allow.

    Example:
        >>> parse_json('{"channels": 256}')
        {'channels': 256}
        >>> parse_json('{"channels": NaN}')
        Traceback (most recent call last):
        ...
        crispseg.parsing.TextError: NaN is no number of JSON
    """
    if len(text) > max_bytes:
        raise TextError(f"is larger than {_in_words(max_bytes)}, which no JSON here is")
    try:
        values = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise TextError(f"lists and objects are in each other more than {MAX_DEPTH} deep") from None
    except TextError:
        raise
    except UnicodeDecodeError as error:
        raise TextError(f"is not UTF-8 text (byte {error.start})") from error
    except ValueError as error:
        raise TextError(f"is not JSON ({' '.join(str(error).split())})") from error
    _check_json(values)
    return values


def parse_whole(text: str) -> int | None:
    """A whole number from 0 on, of a command line or the environment; None if it is none, or longer than any here.

    Example:
        >>> parse_whole("100"), parse_whole("-1"), parse_whole("9" * 5000)
        (100, None, None)
    """
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None


class _Loader(yaml.SafeLoader):
    """Plain values alone, as deep as `MAX_DEPTH`."""

    # Neither dates nor sets, binary data, ordered mappings or pairs: no recipe and no table has any.
    yaml_constructors = {  # noqa: RUF012 # as in the base class
        tag: made
        for tag, made in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }
    # Of implicit tags, timestamps are left out. PyYAML follows YAML 1.1, where 1:30 is 90.
    yaml_implicit_resolvers = {  # noqa: RUF012 # as in the base class
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As in the base class, which calls itself for every level."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TextError(f"lists and mappings are in each other more than {MAX_DEPTH} deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As in the base class, after looking for keys that occur twice."""
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    raise TextError(f"key {key.value!r} occurs twice, in lines {seen[key.value]} and {line}; keep one")
                seen[key.value] = line
        return super().construct_mapping(node, deep=deep)

    def construct_scalar(self, node: Any) -> Any:
        """As in the base class; without half characters, which no file can hold, and endless numbers."""
        value = super().construct_scalar(node)
        if isinstance(value, str):
            _check_characters(value)
            if len(value) > _MAX_DIGITS and node.tag.endswith((":int", ":float")):
                raise TextError(f"the number {value[:10]}… in line {node.start_mark.line + 1} is {len(value)} long")
        return value


_MERGE = "tag:yaml.org,2002:merge"
# PyYAML follows YAML 1.1, where a number with an exponent needs a point and the exponent a sign.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _check_unfolded(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """How many values a node is, and how deep, with all aliases replaced; each node is looked at once."""
    number = id(node)
    if number in known:
        found = known[number]
        if found is None:
            raise TextError("an alias stands inside of what it names")
        return found
    known[number] = None  # until it is known
    values, depth = 1, 0
    for child in _children(node):
        of_child = _check_unfolded(child, known)
        values, depth = values + of_child[0], max(depth, of_child[1])
        if values > _MAX_VALUES:
            raise TextError(f"its aliases unfold to more than {_MAX_VALUES} values")
    if depth >= MAX_DEPTH:
        raise TextError(f"lists and mappings are in each other more than {MAX_DEPTH} deep")
    known[number] = values, depth + 1
    return values, depth + 1


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"is not YAML: character {error.position} is {error.character:#04x}, which no text holds"
    problem = getattr(error, "problem", None) or str(error)
    mark = getattr(error, "problem_mark", None)
    if mark is not None and "'\\t'" in problem:
        return f"is not YAML: line {mark.line + 1} has a tab where YAML takes spaces alone; put spaces in its place"
    if mark is not None and (at := _comment_before(mark)) is not None:
        return f"is not YAML: line {at} has a # in a mapping or list, which begins a comment; put the value in quotes"
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
    return "is not YAML: " + " ".join(f"{problem}{where}".split())


def _comment_before(mark: yaml.Mark) -> int | None:
    """The line of a value like ``#ff0000`` in ``{…}`` that hides the closing bracket, at most a line above a fault."""
    lines = (mark.buffer or "").splitlines() if isinstance(mark.buffer, str) else []
    for number in (mark.line, mark.line + 1):
        before, sharp, hidden = lines[number - 1].partition(" #") if 0 < number <= len(lines) else ("", "", "")
        if sharp and any(
            before.count(opens) > before.count(shuts) and shuts in hidden for opens, shuts in ("{}", "[]")
        ):
            return number
    return None


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise TextError(f"key {name!r} occurs twice; keep one")
        values[name] = value
    return values


def _no_number(text: str) -> NoReturn:
    raise TextError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:_MAX_DIGITS])


def _check_json(values: Any) -> None:
    """Depth and characters, without recursion."""
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        holds_more = False
        for value in level:
            if isinstance(value, str):
                _check_characters(value)
            elif isinstance(value, dict):
                holds_more = True
                deeper += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                holds_more = True
                deeper += value
        if not holds_more:
            return
        level = deeper
    raise TextError(f"lists and objects are in each other more than {MAX_DEPTH} deep")


def _check_characters(text: str) -> None:
    r"""JSON and YAML can write half of a character, ``\ud800``, which no file and no terminal can take."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise TextError(f"{text[:40]!a} holds half a character")


def _in_words(count: int) -> str:
    return f"{count // 1_000_000} MB" if count >= 1_000_000 else f"{count // 1000} KB"
