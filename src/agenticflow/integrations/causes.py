"""What an error of a foreign library was made of: frameworks wrap what their tools and models raise, some of it more than once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["causes_of"]

MAX_CAUSES: Final = 10


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then what it was raised from or while handling, and so on; of a group of one error that one."""
    one: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if one is None:
            return
        yield one
        if isinstance(one, BaseExceptionGroup) and len(one.exceptions) == 1:
            one = one.exceptions[0]
        else:
            one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
