"""JSON in the words of a model, which likes to say something before and after it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final, NoReturn

import msgspec

__all__ = ["NOTHING", "candidates", "decoded"]

MAX_TRIES: Final = 50
"""Places where JSON could begin that are tried; words of a model are no reason to try for ever."""

_FENCED: Final = re.compile(r"```[\w-]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_BEGINS: Final = re.compile(r"[{\[]")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_scanner: Final = json.JSONDecoder(parse_constant=_no_number)


def candidates(text: str) -> Iterator[object]:
    """Yield the JSON values in ``text``, the likeliest first: all of it, what stands in a fence, what stands between words."""
    whole = decoded(text)
    if whole is not NOTHING:
        yield whole
        return
    for fenced in _FENCED.finditer(text):
        value = decoded(fenced[1])
        if value is not NOTHING:
            yield value
    at = tries = 0
    while tries < MAX_TRIES and (begin := _BEGINS.search(text, at)) is not None:
        tries += 1
        at = begin.end()
        try:
            _, end = _scanner.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            continue
        value = decoded(text[begin.start() : end])
        if value is not NOTHING:
            yield value
        at = end


NOTHING: Final = object()
"""What a text says that is no JSON."""


def decoded(text: str) -> object:
    """Return the value that ``text`` is. The strict reader decides: the other takes numbers and characters that have no form at rest."""
    try:
        value: object = msgspec.json.decode(text.strip())
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return NOTHING
    return value
