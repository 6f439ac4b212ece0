"""The texts in a value that a guardrail looks at: a message, a list of items, the arguments of a tool. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from agenticflow.core import codec
from agenticflow.errors import AgenticFlowError, BoundExceeded, InvalidInput

__all__ = ["texts_in"]

MAX_CHARS: Final = 1024 * 1024
MAX_TEXTS: Final = 100_000
MAX_DEPTH: Final = 50


def texts_in(value: Any, *, with_names: bool = True) -> list[str]:
    """Return every text in ``value``, names in mappings included unless told otherwise; objects are looked into as they would be recorded.

    Raises ``BoundExceeded`` for more than 1 MiB of text, 100,000 texts or 50 levels: what cannot be looked through must not pass.
    Raises ``InvalidInput`` for what has no form on the wire.
    """
    found: list[str] = []
    size = 0
    for text in _walk(value, with_names, 0):
        size += len(text)
        found.append(text)
        if size > MAX_CHARS or len(found) > MAX_TEXTS:
            raise BoundExceeded(
                f"more than {MAX_CHARS:,} characters or {MAX_TEXTS:,} texts are too much to look through",
                hint="send less at once",
            )
    return found


def _walk(value: Any, with_names: bool, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise BoundExceeded(f"a value nested deeper than {MAX_DEPTH} is not looked through", hint="send it flatter")
    if isinstance(value, str):
        yield value
    elif isinstance(value, (bytes, bytearray)):
        yield bytes(value).decode("utf-8", "replace")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if with_names:
                yield from _walk(name, with_names, depth + 1)
            yield from _walk(item, with_names, depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _walk(item, with_names, depth + 1)
    elif value is not None and not isinstance(value, (bool, int, float, msgspec.UnsetType)):
        try:
            plain = codec.decode(codec.encode(value))
        except AgenticFlowError as error:
            raise InvalidInput(f"a {type(value).__name__} cannot be looked into", hint="give plain data") from error
        yield from _walk(plain, with_names, depth + 1)
