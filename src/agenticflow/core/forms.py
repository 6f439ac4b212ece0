"""Forms: what a person's answer has to look like, as a part of JSON Schema that anybody can draw a form from. Pure.

Keywords are ``type``, ``enum``, ``const``, ``properties``, ``required``, ``additionalProperties`` (true or false), ``items``,
``minItems``, ``maxItems``, ``minLength``, ``maxLength``, ``minimum``, ``maximum``, ``exclusiveMinimum``, ``exclusiveMaximum``; ``title``,
``description``, ``default`` and ``examples`` are for whoever draws. Another keyword is a mistake, not something that is passed over: what
a form says holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import ge, gt, le, lt
from typing import Final

from agenticflow.core import codec
from agenticflow.errors import AgenticFlowError

__all__ = ["MAX_FORM_BYTES", "Form", "form_problems", "misfit"]

Form = Mapping[str, object]
MAX_FORM_BYTES: Final = 16 * 1024
MAX_DEPTH: Final = 20
_SHOWN_CHARS: Final = 80


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


_TYPES: Final[Mapping[str, Callable[[object], bool]]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": _is_list,
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_whole(value) or (isinstance(value, float) and value.is_integer()),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_KEYWORDS: Final[Mapping[str, Callable[[object], bool]]] = {
    "type": lambda value: isinstance(value, str) or (_is_list(value) and bool(value)),
    "enum": lambda value: _is_list(value) and bool(value),
    "const": lambda _: True,
    "properties": lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value),
    "required": lambda value: isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value),
    "additionalProperties": lambda value: isinstance(value, bool),
    "items": lambda value: isinstance(value, Mapping),
    **dict.fromkeys(
        ("minItems", "maxItems", "minLength", "maxLength"),
        lambda value: isinstance(value, int) and _is_whole(value) and value >= 0,
    ),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    **dict.fromkeys(("title", "description"), lambda value: isinstance(value, str)),
    "default": lambda _: True,
    "examples": _is_list,
}
_BOUNDS: Final[tuple[tuple[str, Callable[[float, float], bool], str], ...]] = (
    ("minimum", lt, "below the minimum"),
    ("maximum", gt, "above the maximum"),
    ("exclusiveMinimum", le, "not above"),
    ("exclusiveMaximum", ge, "not below"),
)


# --- the form itself ----------------------------------------------------------------------------------------------------


def form_problems(form: object) -> list[str]:
    """Return, in words, what is wrong with ``form``; empty when answers can be held against it."""
    problems = list(_problems(form, "answer", 0))
    if not problems:
        try:
            size = len(codec.encode(form))
        except AgenticFlowError as error:
            return [str(error)]
        if size > MAX_FORM_BYTES:
            problems.append(f"it has {size:,} bytes, above the limit of {MAX_FORM_BYTES:,}")
    return problems


def _problems(form: object, path: str, depth: int) -> Iterator[str]:
    if not isinstance(form, Mapping):
        yield f"{path}: a form is a mapping like {{'type': 'string'}}, not {_short(form)}"
        return
    if depth > MAX_DEPTH:
        yield f"{path}: it is nested more than {MAX_DEPTH} deep"
        return
    for keyword, value in form.items():
        is_fine = _KEYWORDS.get(keyword)
        if is_fine is None:
            yield f"{path}: the keyword {keyword!r} is not known; there are {', '.join(_KEYWORDS)}"
        elif not is_fine(value):
            yield f"{path}: {keyword} cannot be {_short(value)}"
        elif keyword == "type":
            for name in _names(value):
                if name not in _TYPES:
                    yield f"{path}: the type {name!r} is not known; there are {', '.join(_TYPES)}"
        elif keyword == "properties" and isinstance(value, Mapping):
            for name, inner in value.items():
                yield from _problems(inner, f"{path}.{name}", depth + 1)
        elif keyword == "items":
            yield from _problems(value, f"{path}[]", depth + 1)
        elif keyword == "default" and (words := misfit({**form, "default": None}, value, path)) is not None:
            yield f"the default: {words}"


def _names(types: object) -> list[object]:
    return list(types) if isinstance(types, (list, tuple)) else [types]


# --- an answer against it -----------------------------------------------------------------------------------------------


def misfit(form: Form, value: object, path: str = "answer") -> str | None:
    """Return, in words that name the field, the first thing in ``value`` that ``form`` does not take; ``None`` when it fits."""
    return next(_misfits(form, value, path), None)


def _misfits(form: Form, value: object, path: str) -> Iterator[str]:
    """Yield what does not fit; only the first is ever asked for."""
    if "type" in form:
        names = [str(name) for name in _names(form["type"])]
        if not any(name in _TYPES and _TYPES[name](value) for name in names):
            yield f"{path} is {_short(value)}, not {' or '.join(names)}"
    allowed = form.get("enum")
    if isinstance(allowed, (list, tuple)) and not any(_is_same(value, one) for one in allowed):
        yield f"{path} is {_short(value)}, not one of {', '.join(map(_short, allowed))}"
    if "const" in form and not _is_same(value, form["const"]):
        yield f"{path} is {_short(value)}, not {_short(form['const'])}"
    if isinstance(value, str):
        yield from _out_of_bounds(form, len(value), path, "Length", "characters")
    elif isinstance(value, (list, tuple)):
        yield from _out_of_bounds(form, len(value), path, "Items", "items")
        inner = form.get("items")
        if isinstance(inner, Mapping):
            for index, item in enumerate(value):
                yield from _misfits(inner, item, f"{path}[{index}]")
    elif isinstance(value, Mapping):
        yield from _misfits_inside(form, value, path)
    elif isinstance(value, (int, float)) and _is_number(value):
        yield from _wrong_numbers(form, value, path)


def _misfits_inside(form: Form, value: Mapping[object, object], path: str) -> Iterator[str]:
    required, properties = form.get("required"), form.get("properties")
    for name in required if isinstance(required, (list, tuple)) else ():
        if name not in value:
            yield f"{path}.{name} is missing"
    known = properties if isinstance(properties, Mapping) else {}
    for name, item in value.items():
        inner = known.get(name)
        if isinstance(inner, Mapping):
            yield from _misfits(inner, item, f"{path}.{name}")
        elif form.get("additionalProperties") is False:
            yield f"{path}.{name} is not asked for; there are {', '.join(map(str, known)) or 'no fields'}"


def _out_of_bounds(form: Form, size: int, path: str, suffix: str, unit: str) -> Iterator[str]:
    least, most = form.get(f"min{suffix}"), form.get(f"max{suffix}")
    if isinstance(least, int) and size < least:
        yield f"{path} has {size:,} {unit}, below the least of {least:,}"
    if isinstance(most, int) and size > most:
        yield f"{path} has {size:,} {unit}, above the most of {most:,}"


def _wrong_numbers(form: Form, value: float, path: str) -> Iterator[str]:
    for keyword, is_wrong, words in _BOUNDS:
        bound = form.get(keyword)
        if isinstance(bound, (int, float)) and is_wrong(value, bound):
            yield f"{path} is {value}, {words} {bound}"


def _is_same(left: object, right: object) -> bool:
    """Equal, and of one kind all the way down: ``True`` is not 1."""
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(_is_same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
    return left == right and isinstance(left, bool) is isinstance(right, bool)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"
