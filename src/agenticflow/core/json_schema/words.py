"""How it is told that a value does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

__all__ = ["closest", "missing_words", "short", "unknown_words"]

SHOWN_CHARS: Final = 80
SHOWN_ITEMS: Final = 40
"""Of something that holds others: more of them would be cut off anyway, and writing out a million of them takes its time."""


def short(value: object) -> str:
    """Return ``value`` in at most 80 characters."""
    if isinstance(value, str):
        text = repr(value[: SHOWN_CHARS + 1])
    elif isinstance(value, (list, tuple, Mapping)) and len(value) > SHOWN_ITEMS:
        text = f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value):,}"
    else:
        try:
            text = repr(value)
        except (RecursionError, ValueError):  # nested without end, or a number of more digits than Python writes
            text = f"a very large {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"


def closest(name: object, known: Iterable[object]) -> str:
    """Return the text among ``known`` that somebody who wrote ``name`` may have meant; empty when none is near."""
    texts = [one for one in known if isinstance(one, str)]
    close = get_close_matches(name, texts, n=1) if isinstance(name, str) and len(name) <= SHOWN_CHARS else []
    return close[0] if close else ""


def missing_words(schema: object) -> str:
    """Return how it is told of a place that what ``schema`` describes is not there."""
    words: list[str] = []
    if isinstance(schema, Mapping):
        words = [str(schema[key]) for key in ("type", "description") if isinstance(schema.get(key), str)]
    told = ": ".join(words)
    return f"is missing ({told})" if told else "is missing"


def unknown_words(name: object, known: Iterable[object]) -> str:
    """Return how it is told of a place that nobody asks for its last ``name``, only for what is ``known``."""
    names = [str(one) for one in known]
    close = closest(name, names)
    rest = f"did you mean {close!r}?" if close else f"there are {', '.join(names) or 'no fields'}"
    return f"is not asked for; {rest}"
