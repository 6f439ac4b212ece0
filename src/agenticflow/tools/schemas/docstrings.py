"""What a docstring says about a function: its purpose, each parameter, what it returns. Google, NumPy and Sphinx style. Pure.

Text that follows none of them is description; a docstring is never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from typing import Final

import msgspec

__all__ = ["Docstring", "read_docstring"]

_PARAMETERS: Final = frozenset({"args", "arguments", "parameters", "params", "other parameters", "keyword args"})
_RETURNS: Final = frozenset({"returns", "return", "yields"})
_OTHERS: Final = frozenset(
    {"raises", "example", "examples", "note", "notes", "warning", "warnings", "see also", "references", "todo"}
)
_FIELD: Final = re.compile(r":(?:param|parameter|arg|argument)\s+(?:[^:]*?\s)?(\*{0,2}\w+)\s*:\s*(.*)")
_RETURN_FIELD: Final = re.compile(r":returns?\s*:\s*(.*)")
_ANY_FIELD: Final = re.compile(r":\w+[^:]*:")
_GOOGLE_ENTRY: Final = re.compile(r"(\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY_ENTRY: Final = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")


class Docstring(msgspec.Struct, frozen=True):
    """The parts of a docstring, each on one line or several."""

    description: str
    parameters: Mapping[str, str]
    returns: str


class _Section(msgspec.Struct):
    kind: str
    lines: list[str]
    is_numpy: bool = False


def read_docstring(text: str | None) -> Docstring:
    """Return what ``text`` says."""
    parameters: dict[str, str] = {}
    returns = ""
    description: list[str] = []
    for section in _sections(cleandoc(text or "").splitlines()):
        if section.kind == "description":
            description, fields, told = _fields(section.lines)
            parameters.update(fields)
            returns = told or returns
        elif section.kind == "parameters":
            parameters.update(_numpy_entries(section.lines) if section.is_numpy else _google_entries(section.lines))
        elif section.kind == "returns":
            returns = _return_of(section)
    return Docstring("\n".join(description).strip(), parameters, returns)


def _sections(lines: list[str]) -> Iterator[_Section]:
    current = _Section("description", [])
    number = 0
    while number < len(lines):
        line = lines[number]
        kind = _kind_of(line)
        following = lines[number + 1].strip() if number + 1 < len(lines) else ""
        if kind and not line[:1].isspace():
            is_numpy = len(following) > 2 and set(following) == {"-"}
            if is_numpy or line.rstrip().endswith(":"):
                yield current
                current = _Section(kind, [], is_numpy)
                number += 2 if is_numpy else 1
                continue
        current.lines.append(line)
        number += 1
    yield current


def _kind_of(line: str) -> str:
    word = line.strip().removesuffix(":").lower()
    if word in _PARAMETERS:
        return "parameters"
    if word in _RETURNS:
        return "returns"
    return "other" if word in _OTHERS else ""


def _fields(lines: list[str]) -> tuple[list[str], dict[str, str], str]:
    """Take Sphinx fields out of ``lines``; return what is left, the parameters and what is returned."""
    left: list[str] = []
    found: dict[str, list[str]] = {}
    returns: list[str] = []
    target = left
    for line in lines:
        if field := _FIELD.match(line):
            target = found.setdefault(field[1].lstrip("*"), [])
            target.append(field[2])
        elif told := _RETURN_FIELD.match(line):
            target = returns
            target.append(told[1])
        elif _ANY_FIELD.match(line):
            target = []  # :raises …: and the like
        elif target is not left and line.strip() and line[0].isspace():
            target.append(line)
        else:
            target = left
            target.append(line)
    return left, {name: _joined(words) for name, words in found.items()}, _joined(returns)


def _google_entries(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    entry: list[str] = []
    margin: int | None = None
    for line in lines:
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        margin = indent if margin is None else margin
        match = _GOOGLE_ENTRY.match(line.strip())
        if match and indent <= margin:
            entry = found.setdefault(match[1].lstrip("*"), [])
            entry.append(match[2])
        else:
            entry.append(line)
    return {name: _joined(words) for name, words in found.items()}


def _numpy_entries(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in lines:
        if line.strip() and not line[0].isspace() and (match := _NUMPY_ENTRY.match(line)):
            names = [name.strip().lstrip("*") for name in match[1].split(",")]
            for name in names:
                found[name] = []
        else:
            for name in names:
                found[name].append(line)
    return {name: _joined(words) for name, words in found.items()}


def _return_of(section: _Section) -> str:
    lines = section.lines
    if section.is_numpy and lines and any(line[:1].isspace() for line in lines[1:]):
        lines = lines[1:]  # the first names the type
    return _joined(lines)


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
