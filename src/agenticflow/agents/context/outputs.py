"""What a model answered, as data: JSON found in fences and prose, and made into the type that was asked for. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NoReturn, TypeVar, get_origin

import msgspec

from agenticflow.errors import BoundExceeded, InvalidInput

__all__ = ["parse_output", "structured_text"]

T = TypeVar("T")
MAX_OUTPUT_CHARS: Final = 1024 * 1024
MAX_ATTEMPTS: Final = 500
"""Places at which JSON is looked for: a text full of brackets that are none must not cost the square of its length."""


def structured_text(text: str) -> str:
    """Return the JSON in ``text`` without the fence and the prose around it; ``text`` itself when there is none, or more than one.

    What is JSON as it stands stays as it is, byte for byte.
    """
    found = list(_found_in(text)) if len(text) <= MAX_OUTPUT_CHARS else []
    return found[0][0] if len(found) == 1 else text


def parse_output(text: str, output_type: type[T] | None = None) -> Any:
    """Return what the model's answer says as ``output_type``: a dataclass, a struct, a pydantic model, ``list[int]`` and the like; as
    plain data without one.

    Of several pieces of JSON the first one that fits is taken. Raises ``InvalidInput`` when there is none, or none fits, with what
    is wrong and where: it may be shown to the model. ``BoundExceeded`` above 1 MiB.
    """
    if len(text) > MAX_OUTPUT_CHARS:
        raise BoundExceeded(
            f"an answer of {len(text):,} characters passes the limit of {MAX_OUTPUT_CHARS:,}",
            hint="ask for less at once",
        )
    problem = ""
    for _, value in _found_in(text):
        if output_type is None:
            return value
        try:
            return _converted(value, output_type)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            problem = problem or str(error)
    wanted = "JSON" if output_type is None else _name_of(output_type)
    if problem:
        raise InvalidInput(f"the answer is no {wanted}: {problem}", hint="say what is wrong to the model and ask again")
    raise InvalidInput(
        f"there is no JSON in the answer {text[:60]!r}",
        hint=f"ask for nothing but {wanted} and show the model an example",
    )


def _found_in(text: str) -> Iterator[tuple[str, Any]]:
    """Yield each outermost JSON object or array as text and value; a text that is JSON as a whole, of whatever kind, is the only one."""
    try:
        value = _DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        pass
    else:
        yield text, value
        return
    at, attempts = 0, 0
    while attempts < MAX_ATTEMPTS and (at := _next_bracket(text, at)) >= 0:
        attempts += 1
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        yield text[at:end], value
        at = end


def _next_bracket(text: str, start: int) -> int:
    places = [place for place in (text.find("{", start), text.find("[", start)) if place >= 0]
    return min(places, default=-1)


def _converted(value: object, output_type: type[T]) -> T:
    validate = getattr(output_type, "model_validate", None)
    if validate is not None:
        # pydantic's error is a ValueError
        validated: T = validate(value)
        return validated
    return msgspec.convert(value, output_type)


def _name_of(output_type: type[T]) -> str:
    return str(output_type) if get_origin(output_type) is not None else output_type.__name__


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)
