"""JSON Schema as far as answers of models need it: whether a schema can be held to, and what of a value does not fit. Pure.

A keyword that is not known is a mistake that is told before the call, never one that is passed over: what a schema says holds. Forms for
people (``core.forms``) are a smaller part of the same, which everybody can draw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Final

__all__ = ["closed", "misfits", "schema_problems"]

MAX_SCHEMA_DEPTH: Final = 40
MAX_TOLD: Final = 10
"""Problems that are told at once: enough for a repair."""
_SHOWN_CHARS: Final = 80
_ROOT: Final = "answer"

Schema = Mapping[str, object]
_Check = Callable[[Schema, object, str, Schema, int], Iterator[str]]

_NOTES: Final = frozenset(
    ("$comment", "$defs", "$id", "$schema", "default", "definitions", "deprecated", "description", "discriminator",
     "examples", "format", "readOnly", "title", "writeOnly", "contentEncoding", "contentMediaType")
)  # fmt: skip
"""Keywords that say nothing about whether a value fits, or are looked at together with another one."""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Callable[[object], bool]]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def schema_problems(schema: object) -> list[str]:
    """Return, in words, why answers cannot be held to ``schema``; empty when they can."""
    if not isinstance(schema, Mapping):
        return [f"a schema is a mapping like {{'type': 'object'}}, not {_short(schema)}"]
    return list(_problems(schema, _ROOT, schema, 0))[:MAX_TOLD]


def _problems(schema: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        yield f"{path}: a schema is a mapping, not {_short(schema)}"
        return
    if depth > MAX_SCHEMA_DEPTH:
        yield f"{path}: it is nested more than {MAX_SCHEMA_DEPTH} deep"
        return
    for keyword, value in schema.items():
        if keyword not in _CHECKS and keyword not in _NOTES:
            yield f"{path}: the keyword {keyword!r} is not known"
        elif keyword == "type" and not all(isinstance(name, str) and name in _TYPES for name in _listed(value)):
            yield f"{path}: the type {_short(value)} is not known; there are {', '.join(_TYPES)}"
        elif keyword == "$ref" and _resolved(value, root) is None:
            yield f"{path}: {_short(value)} leads nowhere; there are references to #/$defs/NAME"
        elif keyword == "pattern" and not _compiles(value):
            yield f"{path}: the pattern {_short(value)} is no regular expression"
        elif keyword in _SIZES and not (_is_number(value) and isinstance(value, int) and value >= 0):
            yield f"{path}: {keyword} is {_short(value)}, not a whole number of at least 0"
        elif keyword in _LIMITS and not _is_number(value):
            yield f"{path}: {keyword} is {_short(value)}, not a number"
        elif keyword in {"enum", "required", "anyOf", "oneOf", "allOf", "prefixItems"} and not isinstance(value, list):
            yield f"{path}: {keyword} is {_short(value)}, not a list"
        elif keyword in {"properties", "$defs", "definitions"} and not isinstance(value, Mapping):
            yield f"{path}: {keyword} is {_short(value)}, not a mapping"
    for where, inner in _inner(schema):
        yield from _problems(inner, f"{path}{where}", root, depth + 1)


def _inner(schema: Schema) -> Iterator[tuple[str, object]]:
    for keyword in ("properties", "$defs", "definitions"):
        group = schema.get(keyword)
        if isinstance(group, Mapping):
            yield from ((f".{name}", inner) for name, inner in group.items())
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        group = schema.get(keyword)
        if isinstance(group, list):
            yield from ((f"({keyword} {index})", inner) for index, inner in enumerate(group))
    for keyword in ("items", "additionalProperties", "not"):
        if keyword in schema:
            yield f"[{keyword}]", schema[keyword]


def _compiles(pattern: object) -> bool:
    if not isinstance(pattern, str):
        return False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _resolved(reference: object, root: Schema) -> Schema | None:
    if not isinstance(reference, str) or not reference.startswith(("#/$defs/", "#/definitions/")):
        return None
    _, group, name = reference.split("/", 2)
    known = root.get(group)
    found = known.get(name) if isinstance(known, Mapping) else None
    return found if isinstance(found, Mapping) else None


# --- a value against it -------------------------------------------------------------------------------------------------


def misfits(schema: Schema, value: object) -> list[str]:
    """Return, in words that name the place, what of ``value`` does not fit; the first ten. The schema has no problems."""
    found: list[str] = []
    for problem in _misfits(schema, value, _ROOT, schema, 0):
        found.append(problem)
        if len(found) == MAX_TOLD:
            break
    return found


def _misfits(schema: object, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    if schema is True:
        return
    if not isinstance(schema, Mapping):
        yield f"{path} is not asked for"
        return
    if depth > 10 * MAX_SCHEMA_DEPTH:
        yield f"{path} is nested too deeply"
        return
    for keyword in schema:
        check = _CHECKS.get(keyword)
        if check is not None:
            yield from check(schema, value, path, root, depth + 1)


def _check_type(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    names = [str(name) for name in _listed(schema["type"])]
    if not any(_TYPES[name](value) for name in names):
        yield f"{path} is {_short(value)}, not {' or '.join(names)}"


def _check_enum(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    allowed = _listed(schema["enum"])
    if not any(_is_same(value, one) for one in allowed):
        yield f"{path} is {_short(value)}, not one of {', '.join(map(_short, allowed))}"


def _check_const(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    if not _is_same(value, schema["const"]):
        yield f"{path} is {_short(value)}, not {_short(schema['const'])}"


def _check_required(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{path}.{name} is missing" for name in _listed(schema["required"]) if name not in value)


def _check_properties(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    properties = schema["properties"]
    if not isinstance(value, Mapping) or not isinstance(properties, Mapping):
        return
    for name, item in value.items():
        if name in properties:
            yield from _misfits(properties[name], item, f"{path}.{name}", root, depth)


def _check_others(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    if not isinstance(value, Mapping):
        return
    known = schema.get("properties")
    names = known if isinstance(known, Mapping) else {}
    others = schema["additionalProperties"]
    for name, item in value.items():
        if name in names:
            continue
        if others is False:
            yield f"{path}.{name} is not asked for; there are {', '.join(map(str, names)) or 'no fields'}"
        else:
            yield from _misfits(others, item, f"{path}.{name}", root, depth)


def _check_items(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    if isinstance(value, list):
        first = len(_listed(schema.get("prefixItems", [])))
        for index, item in enumerate(value[first:], first):
            yield from _misfits(schema["items"], item, f"{path}[{index}]", root, depth)


def _check_first_items(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    if isinstance(value, list):
        for index, (inner, item) in enumerate(zip(_listed(schema["prefixItems"]), value, strict=False)):
            yield from _misfits(inner, item, f"{path}[{index}]", root, depth)


def _check_unique(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    is_wanted = schema["uniqueItems"] is True and isinstance(value, list)
    items = _listed(value) if is_wanted else []
    if any(_is_same(item, other) for index, item in enumerate(items) for other in items[:index]):
        yield f"{path} has an item twice"


def _check_pattern(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    if isinstance(value, str) and re.search(str(schema["pattern"]), value) is None:
        yield f"{path} is {_short(value)}, which does not match {schema['pattern']!r}"


def _check_any(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    reasons: list[str] = []
    for inner in _listed(schema["anyOf"]):
        reason = next(_misfits(inner, value, path, root, depth), None)
        if reason is None:
            return
        reasons.append(reason)
    yield f"{path} fits none of {len(reasons)} forms: {'; '.join(reasons)}"


def _check_one(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    reasons = [next(_misfits(inner, value, path, root, depth), None) for inner in _listed(schema["oneOf"])]
    fitting = reasons.count(None)
    if not fitting:
        yield f"{path} fits none of {len(reasons)} forms: {'; '.join(filter(None, reasons))}"
    elif fitting > 1:
        yield f"{path} fits {fitting} forms, and only one is meant"


def _check_all(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    for inner in _listed(schema["allOf"]):
        yield from _misfits(inner, value, path, root, depth)


def _check_not(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    if next(_misfits(schema["not"], value, path, root, depth), None) is None:
        yield f"{path} is {_short(value)}, which it must not be"


def _check_reference(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
    yield from _misfits(_resolved(schema["$ref"], root), value, path, root, depth)


def _size(keyword: str, kind: type[Sized], unit: str) -> _Check:
    is_least = keyword.startswith("min")

    def check(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
        bound = schema[keyword]
        if not isinstance(value, kind) or not isinstance(bound, int):
            return
        size = len(value)
        if size < bound if is_least else size > bound:
            yield f"{path} has {size:,} {unit}, {'below the least' if is_least else 'above the most'} of {bound:,}"

    return check


def _limit(keyword: str, words: str) -> _Check:
    def check(schema: Schema, value: object, path: str, root: Schema, depth: int) -> Iterator[str]:
        bound = schema[keyword]
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not isinstance(bound, (int, float)):
            return
        is_wrong = {
            "minimum": value < bound,
            "maximum": value > bound,
            "exclusiveMinimum": value <= bound,
            "exclusiveMaximum": value >= bound,
            "multipleOf": bool(bound) and value % bound != 0,
        }
        if is_wrong[keyword]:
            yield f"{path} is {value}, {words} {bound}"

    return check


_SIZES: Final[Mapping[str, _Check]] = {
    "minLength": _size("minLength", str, "characters"),
    "maxLength": _size("maxLength", str, "characters"),
    "minItems": _size("minItems", list, "items"),
    "maxItems": _size("maxItems", list, "items"),
    "minProperties": _size("minProperties", dict, "fields"),
    "maxProperties": _size("maxProperties", dict, "fields"),
}
_LIMITS: Final[Mapping[str, _Check]] = {
    "minimum": _limit("minimum", "below the minimum"),
    "maximum": _limit("maximum", "above the maximum"),
    "exclusiveMinimum": _limit("exclusiveMinimum", "not above"),
    "exclusiveMaximum": _limit("exclusiveMaximum", "not below"),
    "multipleOf": _limit("multipleOf", "not a multiple of"),
}
_CHECKS: Final[Mapping[str, _Check]] = {
    "type": _check_type,
    "enum": _check_enum,
    "const": _check_const,
    "required": _check_required,
    "properties": _check_properties,
    "additionalProperties": _check_others,
    "items": _check_items,
    "prefixItems": _check_first_items,
    "uniqueItems": _check_unique,
    "pattern": _check_pattern,
    "anyOf": _check_any,
    "oneOf": _check_one,
    "allOf": _check_all,
    "not": _check_not,
    "$ref": _check_reference,
    **_SIZES,
    **_LIMITS,
}


# --- as providers want it -----------------------------------------------------------------------------------------------


def closed(schema: Schema) -> dict[str, object]:
    """Return ``schema`` with every object that lists its fields closed to others, as providers demand of forms they hold answers to.

    One that puts forms together (``allOf``) or excludes some (``not``) stays as it is: closing a part would change the whole.
    """
    plain = dict(schema)
    return plain if _has_any(plain, ("allOf", "not")) else _closed(plain)


def _has_any(schema: Schema, keywords: tuple[str, ...]) -> bool:
    inner = (one for _, one in _inner(schema))
    return any(keyword in schema for keyword in keywords) or any(
        _has_any(one, keywords) for one in inner if isinstance(one, Mapping)
    )


def _closed(schema: Schema) -> dict[str, object]:
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


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _is_same(left: object, right: object) -> bool:
    """Equal, and of one kind all the way down: ``True`` is not 1."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
    return left == right and isinstance(left, bool) is isinstance(right, bool)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"
