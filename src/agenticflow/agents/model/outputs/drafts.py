"""An answer with a form while it is spoken: values that grow, each of them fitting as far as it goes. Pure."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec

from agenticflow.agents.model.deltas import Delta, ResponseRestarted, TextDelta
from agenticflow.agents.model.outputs.expected import Expected
from agenticflow.agents.model.outputs.extraction import NOTHING, decoded
from agenticflow.agents.model.outputs.prefix import JsonPrefix

__all__ = ["Draft", "Drafts"]

T = TypeVar("T")
MAX_DRAFT_CHARS: Final = 1024 * 1024
"""Of an answer as far as drafts are made of it."""
_GROWTH: Final = 8
"""The next draft is made when the answer has grown by one of so many parts: all drafts together cost what a few whole answers do."""


class Draft(msgspec.Struct, frozen=True):
    """What an answer says so far."""

    data: Any
    """Plain data: names whose values have not come are not there, and the text that is spoken now is there as far as it has come."""
    value: Any = None
    """The same in the form asked for, once everything that it requires is there; ``None`` before."""


class Drafts(Generic[T]):
    """Deltas go in, drafts come out. Mutable, private to who asks the model."""

    __slots__ = ("_due", "_expected", "_is_over", "_made_of", "_prefix")

    def __init__(self, expected: Expected[T]) -> None:
        self._expected = expected
        self._begin()

    def _begin(self) -> None:
        self._prefix = JsonPrefix()
        self._due = 1
        self._is_over = False
        """Whether the last draft was made: what is said after it is not looked at."""
        self._made_of = ""

    def add(self, delta: Delta) -> None:
        """Take one more. An answer that is asked for again begins anew."""
        if isinstance(delta, TextDelta):
            self._prefix.add(delta.text)
        elif isinstance(delta, ResponseRestarted):
            self._begin()

    def next(self) -> Draft | None:
        """Return what the answer says now; ``None`` when that is nothing new, too little more, or nothing that fits."""
        prefix = self._prefix
        is_due = prefix.is_over or prefix.length >= self._due
        if self._is_over or not is_due or prefix.length > MAX_DRAFT_CHARS:
            return None
        self._is_over = prefix.is_over
        self._due = prefix.length + 1 + prefix.length // _GROWTH
        for text in prefix.closed():
            if text == self._made_of:
                return None
            value = decoded(text)
            found = None if value is NOTHING else self._expected.begun(value)
            if found is not None:
                self._made_of = text
                return Draft(*found)
        return None
