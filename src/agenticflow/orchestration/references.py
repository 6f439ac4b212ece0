"""References: ``"${load.rows[0].price}"`` inside params, conditions and outputs, resolved against what a run knows.

A text that is one reference becomes the value itself; a reference inside a longer text becomes its words. ``$${`` is a
literal ``${``. Parsing happens when a definition is made, resolving when a task starts; nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from agenticflow.errors import DefinitionError, InvalidInput

__all__ = ["Lookup", "Reference", "Template", "compile_template", "literal", "parse_reference"]

Lookup = Callable[[str], object]
"""Gives the value of a root name. Raises ``KeyError`` when there is none."""

MAX_DEPTH: Final = 100
"""Far below the interpreter's own limit, so that what could be written can be resolved, however deep the caller's stack is."""
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_ROOT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_\-]*)|\[(-?\d+)\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")


class Reference(msgspec.Struct, frozen=True):
    """A root name and the way from there: keys of mappings and indexes of lists."""

    root: str
    path: tuple[str | int, ...] = ()

    def resolve(self, lookup: Lookup) -> object:
        """Return what stands there. Raises ``InvalidInput`` that names the step at which nothing was found."""
        try:
            value = lookup(self.root)
        except KeyError:
            raise InvalidInput(f"{self} leads nowhere: there is no {self.root!r} here") from None
        for index, step in enumerate(self.path):
            try:
                value = value[step]  # type: ignore[index]  # what does not take the step raises
            except (KeyError, IndexError, TypeError):
                reached = Reference(self.root, self.path[:index])
                raise InvalidInput(f"{self} leads nowhere: {reached} {_describe(value)}, it has no {step!r}") from None
        return value

    def __str__(self) -> str:
        return (
            "${" + self.root + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path) + "}"
        )


def _describe(value: object) -> str:
    if isinstance(value, Mapping):
        return f"is an object with the keys {', '.join(map(repr, list(value)[:8])) or '(none)'}"
    if isinstance(value, list):
        return f"is a list of {len(value)}"
    return f"is {value!r:.60}"


def parse_reference(text: str) -> Reference:
    """Return the reference written in ``text``, without the braces. Raises ``DefinitionError``."""
    stripped = text.strip()
    root = _ROOT.match(stripped)
    if root is None:
        raise DefinitionError(
            f"{'${' + text + '}'} is no reference", hint="write ${task_id}, ${task_id.key} or ${task_id[0]}"
        )
    path: list[str | int] = []
    position = root.end()
    while position < len(stripped):
        step = _STEP.match(stripped, position)
        if step is None:
            raise DefinitionError(
                f"{'${' + text + '}'} is no reference: {stripped[position:]!r} is no step",
                hint="steps are .key, [0] and ['any key']",
            )
        name, index, single, double = step.groups()
        path.append(
            int(index) if index is not None else next(part for part in (name, single, double) if part is not None)
        )
        position = step.end()
    return Reference(root.group(), tuple(path))


class Template:
    """Plain data with references in it, ready to be resolved often."""

    __slots__ = ("_data", "references")

    def __init__(self, data: object, references: tuple[Reference, ...]) -> None:
        self._data = data
        self.references = references

    def resolve(self, lookup: Lookup) -> object:
        """Return the data with every reference replaced; containers are new, so the caller may change them."""
        return _resolve(self._data, lookup)


def compile_template(data: object) -> Template:
    """Return ``data`` ready for resolving. Raises ``DefinitionError`` for a malformed reference."""
    compiled = _compile(data)
    return Template(compiled, tuple(_references(compiled)))


def literal(data: object) -> object:
    """Return ``data`` so that a template of it resolves to ``data`` itself: nothing in it is a reference."""
    if isinstance(data, str):
        return data.replace("${", "$${")
    if isinstance(data, Mapping):
        return {key: literal(item) for key, item in data.items()}
    if isinstance(data, (list, tuple)):
        return [literal(item) for item in data]
    return data


def _compile(data: object, depth: int = 0) -> object:
    if depth > MAX_DEPTH:
        raise DefinitionError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(data, str):
        return _compile_text(data)
    if isinstance(data, Mapping):
        return {key: _compile(item, depth + 1) for key, item in data.items()}
    if isinstance(data, (list, tuple)):
        return [_compile(item, depth + 1) for item in data]
    return data


class _Text:
    """Text with references between literal parts."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[str | Reference]) -> None:
        self.parts = parts


def _compile_text(text: str) -> object:
    if "${" not in text:
        return text
    parts: list[str | Reference] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        if literal := text[end : match.start()]:
            parts.append(literal)
        if match.group() == "$${":
            parts.append("${")
        elif match.group(1) is not None:
            parts.append(parse_reference(match.group(1)))
        else:
            raise DefinitionError(
                f"{text!r} has a reference that is not closed", hint="write ${name}, or $${ for the text itself"
            )
        end = match.end()
    if end < len(text):
        parts.append(text[end:])
    if len(parts) == 1 and isinstance(parts[0], Reference):
        return parts[0]
    if any(isinstance(part, Reference) for part in parts):
        return _Text(parts)
    return "".join(part for part in parts if isinstance(part, str))


def _references(compiled: object) -> Iterator[Reference]:
    if isinstance(compiled, Reference):
        yield compiled
    elif isinstance(compiled, _Text):
        yield from (part for part in compiled.parts if isinstance(part, Reference))
    elif isinstance(compiled, dict):
        for item in compiled.values():
            yield from _references(item)
    elif isinstance(compiled, list):
        for item in compiled:
            yield from _references(item)


def _resolve(compiled: object, lookup: Lookup) -> object:
    if isinstance(compiled, Reference):
        return compiled.resolve(lookup)
    if isinstance(compiled, _Text):
        return "".join(part if isinstance(part, str) else str(part.resolve(lookup)) for part in compiled.parts)
    if isinstance(compiled, dict):
        return {key: _resolve(item, lookup) for key, item in compiled.items()}
    if isinstance(compiled, list):
        return [_resolve(item, lookup) for item in compiled]
    return compiled
