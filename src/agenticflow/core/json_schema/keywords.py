"""The words of JSON Schema that are understood, and what may stand behind each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Final

from agenticflow.core.json_schema.patterns import BadPattern, Pattern

__all__ = ["NOTES", "RULES", "TYPES", "inner_schemas", "is_understood", "step"]

TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")
NOTES: Final = frozenset(
    {
        *(
            "$schema",
            "$id",
            "$comment",
            "title",
            "description",
            "default",
            "examples",
            "example",
            "deprecated",
            "format",
        ),
        *("readOnly", "writeOnly", "discriminator", "externalDocs", "contentEncoding", "contentMediaType"),
    }
)
"""Words that say nothing about whether a value fits. So do those that begin with ``x-``, as OpenAPI has it."""
SCHEMAS: Final = (
    *("items", "contains", "additionalProperties", "propertyNames", "not"),
    *("if", "then", "else"),
)
LISTS_OF_SCHEMAS: Final = ("prefixItems", "allOf", "anyOf", "oneOf")
SCHEMAS_BY_NAME: Final = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_COUNTS: Final = (
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("minContains", "maxContains"),
)
_LIMITS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")

Rule = Callable[[object], str]
"""Says what something has to be that it is not; empty when it is."""


def is_understood(keyword: str) -> bool:
    """Whether ``keyword`` may stand in a schema: values are held to it, or it says nothing about them."""
    return keyword in RULES or keyword in NOTES or keyword.startswith("x-")


def _is_number(value: object) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and (isinstance(value, int) or isfinite(value))
    )


def _count(said: object) -> str:
    is_one = isinstance(said, int) and not isinstance(said, bool) and said >= 0
    return "" if is_one else "a whole number of at least 0"


def _limit(said: object) -> str:
    return "" if _is_number(said) else "a number"


def _step(said: object) -> str:
    return "" if isinstance(said, (int, float)) and _is_number(said) and said > 0 else "a number above 0"


def _types(said: object) -> str:
    names = said if isinstance(said, (list, tuple)) else (said,)
    is_known = bool(names) and all(isinstance(name, str) and name in TYPES for name in names)
    return "" if is_known else f"one of {', '.join(TYPES)}, or a list of them"


def _choices(said: object) -> str:
    return "" if isinstance(said, (list, tuple)) and said else "a list of values"


def _names(said: object) -> str:
    is_fine = isinstance(said, (list, tuple)) and all(isinstance(name, str) for name in said)
    return "" if is_fine else "a list of names"


def _names_by_name(said: object) -> str:
    is_fine = isinstance(said, Mapping) and all(isinstance(name, str) and not _names(said[name]) for name in said)
    return "" if is_fine else "lists of names by name"


def _by_name(said: object) -> str:
    is_fine = isinstance(said, Mapping) and all(isinstance(name, str) for name in said)
    return "" if is_fine else "a mapping from names to schemas"


def _by_pattern(said: object) -> str:
    return _by_name(said) or next((words for one in said if (words := _pattern(one))), "")  # type: ignore[attr-defined]  # it is a mapping


def _pattern(said: object) -> str:
    try:
        if isinstance(said, str):
            Pattern(said)
            return ""
    except BadPattern as error:
        return f"a pattern that is understood: {error}"
    return "a pattern"


def _flag(said: object) -> str:
    return "" if isinstance(said, bool) else "true or false"


def _list_of_schemas(said: object) -> str:
    return "" if isinstance(said, (list, tuple)) and said else "a list of schemas"


def _anything(said: object) -> str:
    return ""


RULES: Final[Mapping[str, Rule]] = {
    "type": _types,
    "enum": _choices,
    "const": _anything,
    "$ref": _anything,
    "required": _names,
    "dependentRequired": _names_by_name,
    "pattern": _pattern,
    "uniqueItems": _flag,
    "multipleOf": _step,
    **dict.fromkeys(_COUNTS, _count),
    **dict.fromkeys(_LIMITS, _limit),
    **dict.fromkeys(SCHEMAS, _anything),
    **dict.fromkeys(LISTS_OF_SCHEMAS, _list_of_schemas),
    **dict.fromkeys(SCHEMAS_BY_NAME, _by_name),
    "patternProperties": _by_pattern,
}
"""What values are held to."""


def inner_schemas(schema: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield every schema that stands in ``schema`` itself, with the way to it: ``/properties/name``."""
    for keyword, said in schema.items():
        if keyword in SCHEMAS:
            yield step(keyword), said
        elif keyword in LISTS_OF_SCHEMAS and isinstance(said, (list, tuple)):
            yield from ((f"{step(keyword)}{step(index)}", one) for index, one in enumerate(said))
        elif keyword in SCHEMAS_BY_NAME and isinstance(said, Mapping):
            yield from ((f"{step(keyword)}{step(name)}", one) for name, one in said.items())


def step(name: object) -> str:
    """Return ``name`` as a step of a JSON pointer."""
    return f"/{str(name).replace('~', '~0').replace('/', '~1')}"
