"""Schemas as providers want them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agenticflow.core.json_schema import JsonSchema, inner_schemas

__all__ = ["closed"]

_WHOLES: Final = frozenset({"allOf", "not", "if", "patternProperties", "dependentSchemas"})
"""What puts forms together, excludes some, or asks for fields that are listed nowhere: closing a part would change the whole."""


def closed(schema: JsonSchema) -> dict[str, object]:
    """Return ``schema`` with every object that lists its fields closed to others, as providers demand of forms they hold answers to.

    One that puts forms together (``allOf``, ``if``) or excludes some (``not``) stays as it is: closing a part would change the whole.
    """
    plain = dict(schema)
    return plain if _is_whole(plain) else _closed(plain)


def _is_whole(schema: JsonSchema) -> bool:
    inner = (one for _, one in inner_schemas(schema))
    return not _WHOLES.isdisjoint(schema) or any(_is_whole(one) for one in inner if isinstance(one, Mapping))


def _closed(schema: JsonSchema) -> dict[str, object]:
    copied = {keyword: _closed_value(keyword, value) for keyword, value in schema.items()}
    if "properties" in copied:
        copied.setdefault("additionalProperties", False)
    return copied


def _closed_value(keyword: str, value: object) -> object:
    if keyword in {"properties", "$defs", "definitions"} and isinstance(value, Mapping):
        return {name: _closed(inner) if isinstance(inner, Mapping) else inner for name, inner in value.items()}
    if keyword in {"anyOf", "oneOf", "prefixItems"} and isinstance(value, list):
        return [_closed(inner) if isinstance(inner, Mapping) else inner for inner in value]
    if keyword in {"items", "additionalProperties"} and isinstance(value, Mapping):
        return _closed(value)
    return value
