"""Values held against a JSON Schema, with every mistake in words that a model can mend its call by. Pure.

For schemas that come from elsewhere: written by hand, or by another framework. Checked are ``type``, ``enum``, ``const``, ``properties``,
``required``, ``additionalProperties``, ``items``, ``prefixItems``, ``uniqueItems``, bounds of numbers, lengths and counts, ``multipleOf``,
``anyOf``, ``oneOf``, ``allOf`` and references inside the schema. ``UNCHECKED`` are keywords that would have to be obeyed and are not:
patterns, because one that comes from outside can keep a process busy for ever, and what hardly anybody writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from itertools import islice
from operator import ge, gt, le, lt
from typing import Final

__all__ = [
    "MAX_PROBLEMS",
    "UNCHECKED",
    "JsonSchema",
    "missing_words",
    "problems_in",
    "schema_mistakes",
    "short",
    "unknown_words",
]

JsonSchema = Mapping[str, object]
MAX_PROBLEMS: Final = 20
"""Mistakes that are told at once."""
MAX_SCHEMA_DEPTH: Final = 60
"""References and values one inside the other."""
SHOWN_CHARS: Final = 80
UNCHECKED: Final = frozenset(
    {
        *("pattern", "patternProperties", "not", "if", "then", "else", "contains", "dependentSchemas", "dependentRequired"),
        *("unevaluatedProperties", "unevaluatedItems", "propertyNames", "minProperties", "maxProperties", "$dynamicRef"),
    }
)  # fmt: skip


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


_TYPES: Final[Mapping[str, Callable[[object], bool]]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": _is_list,
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or _is_whole(value)),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_NUMBERS: Final[tuple[tuple[str, Callable[[float, float], bool], str], ...]] = (
    ("minimum", lt, "below the minimum"),
    ("maximum", gt, "above the maximum"),
    ("exclusiveMinimum", le, "not above"),
    ("exclusiveMaximum", ge, "not below"),
)


def problems_in(value: object, schema: object, path: str = "", root: JsonSchema | None = None) -> list[str]:
    """Return what in ``value`` does not fit ``schema``, at most ``MAX_PROBLEMS``; empty when it fits.

    ``path`` names the value; references begin at ``root``, by default the schema itself.
    """
    top = root if root is not None else schema if isinstance(schema, Mapping) else {}
    return list(islice(_Check(top).problems(value, schema, path, 0), MAX_PROBLEMS))


def missing_words(path: str, schema: object) -> str:
    """Return how it is told that what ``schema`` describes is not there."""
    words: list[str] = []
    if isinstance(schema, Mapping):
        words = [str(schema[key]) for key in ("type", "description") if isinstance(schema.get(key), str)]
    told = ": ".join(words)
    return f"{path!r} is missing ({told})" if told else f"{path!r} is missing"


def unknown_words(path: str, names: Iterable[str]) -> str:
    """Return how it is told that nobody asks for the last name of ``path``, only for ``names``."""
    known = list(names)
    close = get_close_matches(path.rpartition(".")[2], known, n=1)
    rest = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known) or 'no params'}"
    return f"{path!r} is not asked for; {rest}"


def schema_mistakes(schema: JsonSchema) -> list[str]:
    """Return why ``schema`` cannot be the schema of a tool's params; empty when it can."""
    if not isinstance(schema, Mapping):
        return [f"it is {short(schema)}, not a mapping"]
    mistakes: list[str] = []
    if schema.get("type") != "object":
        mistakes.append(f"its type is {schema.get('type')!r}, not 'object': params have names")
    mistakes += _mistakes(schema, schema, "", 0)
    return mistakes[:MAX_PROBLEMS]


def _mistakes(schema: object, root: JsonSchema, path: str, depth: int) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    where = f"at {path}: " if path else ""
    if not isinstance(schema, Mapping) or depth > MAX_SCHEMA_DEPTH:
        yield f"{where}{short(schema)} is no schema"
        return
    for keyword in schema:
        if keyword in UNCHECKED:
            yield f"{where}{keyword!r} is not checked here: check it in the tool and leave it out"
    reference = schema.get("$ref")
    if reference is not None and _resolved(reference, root) is None:
        yield f"{where}the reference {reference!r} leads nowhere"
    names = schema.get("type")
    for name in names if isinstance(names, (list, tuple)) else [names]:
        if name is not None and name not in _TYPES:
            yield f"{where}there is no type {name!r}; there are {', '.join(_TYPES)}"
    for keyword in ("properties", "$defs", "definitions"):
        inner = schema.get(keyword)
        if isinstance(inner, Mapping):
            for name, one in inner.items():
                yield from _mistakes(one, root, f"{path}.{name}".lstrip("."), depth + 1)
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from _mistakes(schema[keyword], root, f"{path}[]", depth + 1)
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for one in _schemas(schema.get(keyword)):
            yield from _mistakes(one, root, path, depth + 1)


def _resolved(reference: object, root: JsonSchema) -> object:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: object = root
    for part in reference[1:].strip("/").split("/") if len(reference) > 1 else ():
        if not isinstance(found, Mapping):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found


class _Check:
    __slots__ = ("_root",)

    def __init__(self, root: JsonSchema) -> None:
        self._root = root

    def problems(self, value: object, schema: object, path: str, depth: int) -> Iterator[str]:
        if depth > MAX_SCHEMA_DEPTH:
            yield f"{_named(path)} is nested too deeply"
            return
        if schema is False:
            yield f"{_named(path)} is not asked for"
        if not isinstance(schema, Mapping):
            return
        if "$ref" in schema:
            yield from self.problems(value, _resolved(schema["$ref"], self._root), path, depth + 1)
        names = schema.get("type")
        if names is not None:
            allowed = [str(name) for name in names] if isinstance(names, (list, tuple)) else [str(names)]
            if not any(_TYPES[name](value) for name in allowed if name in _TYPES):
                yield f"{_named(path)} is {short(value)}, not {' or '.join(allowed)}"
                return
        choices = schema.get("enum")
        if isinstance(choices, (list, tuple)) and not any(_is_same(value, one) for one in choices):
            close = (
                get_close_matches(value, [c for c in choices if isinstance(c, str)], n=1)
                if isinstance(value, str)
                else []
            )
            yield f"{_named(path)} is {short(value)}, not one of {', '.join(map(short, choices))}" + (
                f"; did you mean {close[0]!r}?" if close else ""
            )
        if "const" in schema and not _is_same(value, schema["const"]):
            yield f"{_named(path)} is {short(value)}, not {short(schema['const'])}"
        yield from self._combined(value, schema, path, depth)
        if isinstance(value, str):
            yield from _sizes(schema, len(value), path, "Length", "characters")
        elif isinstance(value, (list, tuple)):
            yield from self._in_list(value, schema, path, depth)
        elif isinstance(value, Mapping):
            yield from self._in_object(value, schema, path, depth)
        elif isinstance(value, (int, float)) and _is_number(value):
            yield from _wrong_numbers(schema, value, path)

    def _combined(self, value: object, schema: JsonSchema, path: str, depth: int) -> Iterator[str]:
        for one in _schemas(schema.get("allOf")):
            yield from self.problems(value, one, path, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            options = _schemas(schema.get(keyword))
            if not options:
                continue
            tried = [list(islice(self.problems(value, one, path, depth + 1), MAX_PROBLEMS)) for one in options]
            fitting = sum(not problems for problems in tried)
            if not fitting:
                yield from _nearest(tried)
            elif keyword == "oneOf" and fitting > 1:
                yield f"{_named(path)} is {short(value)}, which fits {fitting} of its forms and has to fit one"

    def _in_list(
        self, value: list[object] | tuple[object, ...], schema: JsonSchema, path: str, depth: int
    ) -> Iterator[str]:
        yield from _sizes(schema, len(value), path, "Items", "items")
        first = _schemas(schema.get("prefixItems"))
        rest = schema.get("items")
        for index, item in enumerate(value):
            inner = first[index] if index < len(first) else rest
            yield from self.problems(item, inner, f"{path}[{index}]", depth + 1)
        if schema.get("uniqueItems") is True:
            for index, item in enumerate(value):
                if any(_is_same(item, other) for other in value[:index]):
                    yield f"{_named(f'{path}[{index}]')} is there twice"

    def _in_object(self, value: Mapping[object, object], schema: JsonSchema, path: str, depth: int) -> Iterator[str]:
        properties = schema.get("properties")
        known: Mapping[object, object] = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required")
        for name in required if isinstance(required, (list, tuple)) else ():
            if name not in value:
                yield missing_words(_below(path, name), known.get(name))
        rest = schema.get("additionalProperties")
        for name, item in value.items():
            if name in known:
                yield from self.problems(item, known[name], _below(path, name), depth + 1)
            elif rest is False:
                yield unknown_words(_below(path, name), map(str, known))
            else:
                yield from self.problems(item, rest, _below(path, name), depth + 1)


def _schemas(given: object) -> list[object]:
    return list(given) if isinstance(given, (list, tuple)) else []


def _nearest(tried: list[list[str]]) -> list[str]:
    """Of several forms none fits: tell the mistakes of the one that comes nearest, and how many there are."""
    fewest = min(tried, key=len)
    if all(len(problems) == 1 for problems in tried):
        return [" and ".join(dict.fromkeys(problems[0] for problems in tried))]
    return fewest


def _sizes(schema: JsonSchema, size: int, path: str, suffix: str, unit: str) -> Iterator[str]:
    least, most = schema.get(f"min{suffix}"), schema.get(f"max{suffix}")
    if isinstance(least, int) and size < least:
        yield f"{_named(path)} has {size:,} {unit}, below the least of {least:,}"
    if isinstance(most, int) and size > most:
        yield f"{_named(path)} has {size:,} {unit}, above the most of {most:,}"


def _wrong_numbers(schema: JsonSchema, value: float, path: str) -> Iterator[str]:
    for keyword, is_wrong, words in _NUMBERS:
        bound = schema.get(keyword)
        if isinstance(bound, (int, float)) and is_wrong(value, bound):
            yield f"{_named(path)} is {value}, {words} {bound}"
    factor = schema.get("multipleOf")
    if isinstance(factor, (int, float)) and factor > 0 and not _is_multiple(value, factor):
        yield f"{_named(path)} is {value}, not a multiple of {factor}"


def _is_multiple(value: float, factor: float) -> bool:
    """Whether it is one as written: 0.3 is one of 0.1."""
    written, by = Decimal(str(value)), Decimal(str(factor))
    return written.is_finite() and (written / by).normalize().as_tuple().exponent in range(1_000)


def _is_same(left: object, right: object) -> bool:
    """Equal, and of one kind all the way down: ``True`` is not 1."""
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(_is_same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
    return left == right and isinstance(left, bool) is isinstance(right, bool)


def _below(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _named(path: str) -> str:
    return repr(path) if path else "the value"


def short(value: object) -> str:
    """Return ``value`` in at most 80 characters."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"
