"""Who is suspected of killing the process, and may be in work beside whom.

What may lose only one process more is in work beside no other suspect: should the process die then, it is known whose doing that was.
Work that nobody suspects goes on beside all of them.
"""

from __future__ import annotations

from collections import deque

from agenticflow.runtime.activities.attempts import Attempt

__all__ = ["Isolation"]

ALONE = 2


class Isolation:
    """Suspected attempts in work, and those that wait for others to end, in order."""

    def __init__(self) -> None:
        self._inside: set[Attempt] = set()
        self._is_exclusive = False
        self.waiting: deque[Attempt] = deque()

    def enter(self, attempt: Attempt) -> bool:
        """Let a suspected attempt in, or have it wait behind the others that do."""
        is_alone = attempt.effect.caution == ALONE
        if self.waiting or self._is_exclusive or (is_alone and self._inside):
            self.waiting.append(attempt)
            return False
        self._inside.add(attempt)
        self._is_exclusive = is_alone
        return True

    def leave(self, attempt: Attempt) -> list[Attempt]:
        """The attempt, which was let in, is in work no more, or not now. Return who has waited and may ask again, in order."""
        self._inside.remove(attempt)
        self._is_exclusive = False
        waiting, self.waiting = list(self.waiting), deque()
        return waiting
