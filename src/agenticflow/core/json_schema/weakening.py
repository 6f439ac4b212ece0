"""The part of somebody else's schema that is understood here: it takes whatever the whole takes, and perhaps more."""

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

__all__ = ["understood_part"]

_REVERSING: Final = frozenset({"not", "if", "then", "else", "contains", "minContains", "maxContains"})
"""What takes less when a schema in it takes more."""


def understood_part(schema: Mapping[str, object]) -> dict[str, object]:
    """Return ``schema`` without what is not understood, for values that its owner checks once more.

    Left out are keywords that are not known and patterns that are not understood, and then also what would take less because of that.
    Other mistakes stay, to be told.
    """
    lost: list[str] = []
    part = _known(schema, lost)
    return _monotone(part) if lost else part


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
