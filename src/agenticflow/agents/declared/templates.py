"""Instructions in Markdown files: ``${name}`` stands for what a run knows, ``$${`` for the sign itself, and nothing is evaluated."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from agenticflow.core import codec
from agenticflow.errors import AgenticFlowError, DefinitionError, InvalidInput
from agenticflow.orchestration.references import Reference, parse_reference

__all__ = ["InstructionTemplate", "instructions_file"]

MAX_TEMPLATE_BYTES: Final = 1024 * 1024
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")


class InstructionTemplate:
    """A text with references in it. ``place`` names where it stands, for people."""

    __slots__ = ("_parts", "place", "text")

    def __init__(self, text: str, place: str = "the template") -> None:
        """Raises ``DefinitionError`` with the line of a reference that is none."""
        self.text = text
        self.place = place
        self._parts: list[str | Reference] = []
        end = 0
        for match in _REFERENCE.finditer(text):
            self._parts.append(text[end : match.start()])
            end = match.end()
            if match[0] == "$${":
                self._parts.append("${")
                continue
            line = text.count("\n", 0, match.start()) + 1
            if match[1] is None:
                raise DefinitionError(
                    f"{place} line {line}: a reference is not closed", hint="write ${name}, or $${ for the sign itself"
                )
            try:
                self._parts.append(parse_reference(match[1]))
            except DefinitionError as error:
                raise DefinitionError(f"{place} line {line}: {error.message}", hint=error.hint) from None
        self._parts.append(text[end:])

    @property
    def names(self) -> frozenset[str]:
        """The names that have to be known when it is rendered."""
        return frozenset(part.root for part in self._parts if isinstance(part, Reference))

    def render(self, known: Mapping[str, Any]) -> str:
        """Return the text with every reference replaced: texts as they are, everything else as JSON.

        Raises ``InvalidInput`` for a reference that leads nowhere.
        """
        texts: list[str] = []
        for part in self._parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            try:
                value = part.resolve(lambda root: _plain(known[root]))
            except InvalidInput as error:
                names = ", ".join(sorted(known)) or "nothing"
                raise InvalidInput(f"{self.place}: {error.message}", hint=f"known here: {names}") from None
            texts.append(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
        return "".join(texts)

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, InstructionTemplate) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"InstructionTemplate({self.place!r})"


def instructions_file(path: str | PathLike[str]) -> InstructionTemplate:
    """Read the Markdown file at ``path`` as a template. Raises ``DefinitionError`` when it cannot be read or is over 1 MiB."""
    file = Path(path)
    try:
        if file.stat().st_size > MAX_TEMPLATE_BYTES:
            raise DefinitionError(
                f"{file.name!r} is larger than {MAX_TEMPLATE_BYTES:,} bytes", hint="is it the right file?"
            )
        return InstructionTemplate(file.read_text(encoding="utf-8-sig"), file.name)
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{file.name!r} is not a text in UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise DefinitionError(
            f"the instructions {str(path)!r} cannot be read: {error.strerror or error}", hint="check the path"
        ) from error


def _plain(value: Any) -> object:
    """Return what references can lead into: of a context its fields, as far as they are data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.name[0] != "_"}
        return {name: _data(item) for name, item in fields.items()}
    return _data(value)


def _data(value: Any) -> object:
    try:
        return codec.decode(codec.encode(value))
    except AgenticFlowError:
        return f"({type(value).__name__})"
