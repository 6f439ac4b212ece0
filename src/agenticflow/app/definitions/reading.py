"""A YAML or JSON file as plain data that remembers the line of everything in it.

Text comes in; a ``Document`` goes out. What the data means is nobody's business here: this room only refuses what cannot be read, with the
line where reading stopped. Nothing in a document is ever executed, and a document cannot grow beyond its bounds by pointing at itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from agenticflow.app.definitions.documents import Document, Way
from agenticflow.errors import DefinitionError

__all__ = ["read_document"]

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
MAX_NODES: Final = 200_000
"""Aliases repeat what they point at, so a short text can stand for a very long one."""
MAX_DEPTH: Final = 100


def read_document(path: Path) -> Document:
    """Read the file at ``path``: JSON when its name ends so, else YAML. Raises ``DefinitionError`` with the place of the mistake."""
    text = _text(path)
    if path.suffix == ".json":
        data = _json(path, text)
        try:
            # JSON is (nearly) YAML, and that parser knows lines; where it does not agree, mistakes are told without them.
            return Document(path, data, _YamlReader(path, text).read()[1])
        except DefinitionError:
            return Document(path, data, {})
    data, lines = _YamlReader(path, text).read()
    return Document(path, data, lines)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DefinitionError(
                f"{str(path)!r} is larger than {MAX_FILE_BYTES:,} bytes", hint="is it the right file?"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{str(path)!r} is not a text in UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise DefinitionError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def _json(path: Path, text: str) -> object:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in pairs:
            if key in found:
                raise DefinitionError(f"{path.name}: the key {key!r} stands twice in one object")
            found[key] = value
        return found

    try:
        data: object = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise DefinitionError(f"{path.name} line {error.lineno}: {error.msg} (column {error.colno})") from error
    except RecursionError as error:
        raise DefinitionError(f"{path.name} is nested too deeply") from error
    return data


class _YamlReader:
    """Turns the tree of YAML's own parser into plain data, noting lines on the way."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._lines: dict[Way, int] = {}
        self._nodes = 0

    def read(self) -> tuple[object, dict[Way, int]]:
        loader: yaml.SafeLoader | None = None
        try:
            loader = self._loader = yaml.SafeLoader(self._text)
            node: Any = loader.get_single_node()
            data = None if node is None else self._value(node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"{self._path.name} line {mark.line + 1}" if mark is not None else self._path.name
            raise DefinitionError(f"{where}: {error.problem or error.context}") from error
        except yaml.YAMLError as error:
            raise DefinitionError(f"{self._path.name}: {' '.join(str(error).split())}") from error
        except RecursionError as error:
            raise DefinitionError(f"{self._path.name} is nested too deeply") from error
        finally:
            if loader is not None:
                loader.dispose()
        return data, self._lines

    def _value(self, node: yaml.Node, way: Way) -> object:
        self._nodes += 1
        if self._nodes > MAX_NODES or len(way) > MAX_DEPTH:
            raise self._wrong(node, "the document is too large or refers to itself")
        self._lines.setdefault(way, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*way, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, way)
        try:
            value: object = self._loader.construct_object(node, deep=True)
        except ValueError as error:  # a date that is none, say
            raise self._wrong(node, f"{node.value!r} is no valid value: {error}") from error
        return value

    def _mapping(self, node: yaml.MappingNode, way: Way) -> dict[str, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._wrong(key, "a key must be a text")
            if key.value in seen:
                raise self._wrong(key, f"the key {key.value!r} stands twice in one mapping")
            seen.add(key.value)
        self._loader.flatten_mapping(node)
        found: dict[str, object] = {}
        for key, item in node.value:
            # The key as it is written: YAML 1.1 would make true of `on`.
            inner = (*way, key.value)
            self._lines[inner] = key.start_mark.line + 1
            found[key.value] = self._value(item, inner)
        return found

    def _wrong(self, node: yaml.Node, what: str) -> DefinitionError:
        return DefinitionError(f"{self._path.name} line {node.start_mark.line + 1}: {what}")
