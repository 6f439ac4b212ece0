"""Limits by key: how many attempts hold a key at once, and how many start within a time. Data; ``orchestration.gate`` keeps them."""

from __future__ import annotations

from typing import Final

import msgspec

from agenticflow.errors import DefinitionError

__all__ = ["Limit"]

MAX_KEY_CHARS: Final = 200
MAX_PERIOD_SECONDS: Final = 86_400


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most ``max_concurrent`` attempts with this ``key`` in work at once, and at most ``rate`` starts in any ``per_seconds``.

    ``Limit("openai", max_concurrent=10)``, ``Limit("mail-${customer}", rate=5, per_seconds=60)``. The key may hold references; limits with
    the same key are one limit, over all tasks and runs of the store, and the numbers asked for last are those in force.
    """

    key: str
    max_concurrent: int | None = None
    rate: int | None = None
    per_seconds: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not 1 <= len(self.key) <= MAX_KEY_CHARS:
            raise DefinitionError(
                f"{self.key!r:.60} is no key of a limit", hint=f"give a text of 1 to {MAX_KEY_CHARS} characters"
            )
        for name in ("max_concurrent", "rate"):
            number = getattr(self, name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise DefinitionError(
                    f"{name} of the limit {self.key!r} is {number!r}", hint="give a whole number of at least 1"
                )
        if self.max_concurrent is None and self.rate is None:
            raise DefinitionError(
                f"the limit {self.key!r} limits nothing", hint="give max_concurrent=, or rate= with per_seconds="
            )
        seconds = self.per_seconds
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= MAX_PERIOD_SECONDS:
            raise DefinitionError(
                f"per_seconds of the limit {self.key!r} is {seconds!r}",
                hint=f"give seconds above 0, at most {MAX_PERIOD_SECONDS:,}",
            )
