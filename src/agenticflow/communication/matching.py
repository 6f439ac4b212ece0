"""Patterns of event types. Pure: compiled once for a subscription, asked once for an event type.

An event type is read as tokens between dots. In a pattern

========  =================================================================================
``*``     inside a token: any run of characters, also none, never a dot; ``order.*.paid``, ``task_*``
``?``     one character that is no dot
``[ab]``  one of these characters; ``[!ab]`` one of the others, never a dot
``>``     as the whole last token: one or more tokens, whatever they are; ``order.>``
``*``     as the whole pattern: every event type, dots or not, as ``>`` alone
========  =================================================================================

Upper and lower case differ. One token and the rest are NATS's subjects, wildcards inside a token are those of file names.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import Final

from agenticflow.errors import InvalidInput

__all__ = ["EventPattern", "EventPatterns"]

MAX_PATTERN: Final = 512
MAX_PATTERNS: Final = 100
"""Patterns of one subscription."""
_WILD: Final = re.compile(r"[*?\[]")
_EVERYTHING: Final = ("*", ">")


class EventPattern:
    """A compiled pattern. Raises ``InvalidInput`` for text that can never match or says two things."""

    __slots__ = ("_has_rest", "_tokens", "is_exact", "text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text:
            raise InvalidInput(f"{text!r} is no pattern", hint='write await bus.subscribe("task_completed", handler)')
        if len(text) > MAX_PATTERN:
            raise InvalidInput(f"a pattern has at most {MAX_PATTERN} characters, not {len(text)}")
        self.text = text
        tokens = text.split(".")
        if "" in tokens:
            raise InvalidInput(
                f"the pattern {text!r} has nothing between two dots", hint="write 'order.*' or 'order.>'"
            )
        if any(">" in part and part != ">" for part in tokens) or ">" in tokens[:-1]:
            raise InvalidInput(
                f"the pattern {text!r} has '>' in the middle",
                hint="it stands for the rest: 'order.>' is everything below order",
            )
        if any("**" in token for token in tokens):
            raise InvalidInput(
                f"the pattern {text!r} has '**'", hint="'*' is one token, 'order.>' is everything below order"
            )
        self._has_rest = text in _EVERYTHING or tokens[-1] == ">"
        """Whether any further tokens, at least one, may follow ``_tokens``."""
        if self._has_rest:
            tokens.pop()
        self._tokens: tuple[str | re.Pattern[str], ...] = tuple(
            re.compile(fnmatch.translate(token)) if _WILD.search(token) else token for token in tokens
        )
        self.is_exact = not self._has_rest and all(isinstance(token, str) for token in self._tokens)
        """Whether it matches no type but the one it is."""

    def matches(self, event_type: str) -> bool:
        """Whether events of this type are meant."""
        if self.is_exact:
            return event_type == self.text
        given = event_type.split(".")
        count = len(self._tokens)
        if len(given) <= count if self._has_rest else len(given) != count:
            return False
        return all(
            token == part if isinstance(token, str) else token.match(part) is not None
            for token, part in zip(self._tokens, given, strict=False)
        )

    def __repr__(self) -> str:
        return f"EventPattern({self.text!r})"


class EventPatterns(EventPattern):
    """Several patterns as one: it means what any of them means. Raises ``InvalidInput`` for none, too many, and a wrong one."""

    __slots__ = ("_any",)

    def __init__(self, texts: Sequence[str]) -> None:
        if not isinstance(texts, (list, tuple)) or not 1 <= len(texts) <= MAX_PATTERNS:
            raise InvalidInput(f"{texts!r:.80} is no pattern", hint=f"give a text, or a list of 1 to {MAX_PATTERNS}")
        self._any = tuple(EventPattern(text) for text in dict.fromkeys(texts))
        self.text = " | ".join(one.text for one in self._any)
        self.is_exact = len(self._any) == 1 and self._any[0].is_exact

    def matches(self, event_type: str) -> bool:
        """Whether any of them means this type."""
        return any(one.matches(event_type) for one in self._any)
