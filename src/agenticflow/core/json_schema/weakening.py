"""Schemas that take whatever another one takes, and more: the part of it that is understood, and what the beginning of a value fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from agenticflow.core.json_schema.keywords import (
    LISTS_OF_SCHEMAS,
    RULES,
    SCHEMAS,
    SCHEMAS_BY_NAME,
    is_understood,
)

__all__ = ["beginning_of", "understood_part"]

_REVERSING: Final = frozenset({"not", "if", "then", "else", "contains", "minContains", "maxContains"})
"""What takes less when a schema in it takes more."""
_LATER: Final = frozenset({"required", "dependentRequired", "minItems", "minProperties"})
"""What a value fits only when all of it is there."""


def understood_part(schema: Mapping[str, object]) -> dict[str, object]:
    """Return ``schema`` without what is not understood, for values that its owner checks once more.

    Left out are keywords that are not known and patterns that are not understood, and then also what would take less because of that.
    Other mistakes stay, to be told.
    """
    lost: list[str] = []
    part = _known(schema, lost)
    return _monotone(part) if lost else part


def beginning_of(schema: Mapping[str, object]) -> dict[str, object]:
    """Return what every value fits that may yet become one that fits ``schema``: objects without some of their fields, lists without the
    rest. What is there already, texts and numbers, is held to all that is said of it."""
    return _begun(_monotone(schema))


def _begun(schema: Mapping[str, object]) -> dict[str, object]:
    return _inside(
        {
            keyword: said
            for keyword, said in schema.items()
            if keyword not in _LATER
            and not (keyword == "const" and _has_parts(said))
            and not _has_choices(keyword, said)
        },
        _begun,
    )


def _has_choices(keyword: str, said: object) -> bool:
    """Whether one of the values to choose from is there bit by bit."""
    return keyword == "enum" and any(map(_has_parts, _listed(said)))


def _has_parts(value: object) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _known(schema: Mapping[str, object], lost: list[str]) -> dict[str, object]:
    part: dict[str, object] = {}
    for keyword, said in schema.items():
        if not is_understood(keyword) or (keyword == "pattern" and RULES["pattern"](said)):
            lost.append(keyword)
            continue
        if keyword == "patternProperties" and isinstance(said, Mapping):
            fine = {name: one for name, one in said.items() if not RULES["pattern"](name)}
            if len(fine) < len(said):
                lost.append(keyword)
            part[keyword] = fine
        else:
            part[keyword] = said
    return _inside(part, lambda inner: _known(inner, lost))


def _monotone(schema: Mapping[str, object]) -> dict[str, object]:
    part = {keyword: said for keyword, said in schema.items() if keyword not in _REVERSING}
    if "oneOf" in part:
        part["allOf"] = [*_listed(part.get("allOf")), {"anyOf": part.pop("oneOf")}]
    if "patternProperties" in part:
        part.pop("additionalProperties", None)
    return _inside(part, _monotone)


def _inside(
    schema: Mapping[str, object], change: Callable[[Mapping[str, object]], dict[str, object]]
) -> dict[str, object]:
    """Return ``schema`` with each schema that stands in it changed."""

    def changed(one: object) -> object:
        return change(one) if isinstance(one, Mapping) else one

    part: dict[str, object] = {}
    for keyword, said in schema.items():
        if keyword in SCHEMAS:
            part[keyword] = changed(said)
        elif keyword in LISTS_OF_SCHEMAS:
            part[keyword] = [changed(one) for one in _listed(said)] if isinstance(said, (list, tuple)) else said
        elif keyword in SCHEMAS_BY_NAME and isinstance(said, Mapping):
            part[keyword] = {name: changed(one) for name, one in said.items()}
        else:
            part[keyword] = said
    return part


def _listed(said: object) -> list[object]:
    return list(said) if isinstance(said, (list, tuple)) else []
