"""What can be asked of a run that waits for another plan. Data only."""

from __future__ import annotations

from typing import ClassVar

from agenticflow.core.decider import Command

__all__ = ["Propose"]


class Propose(Command, frozen=True, kw_only=True):
    """Another plan, or why there is none. One that comes too late changes nothing."""

    words: ClassVar[str] = "plan"
    number: int
    """Of the request it answers."""
    requested_by: str
    modifications: bytes = b"\xc0"
    """Encoded, or a reference; null when there are ``problems``."""
    reason: str = ""
    problems: tuple[str, ...] = ()
    """What is wrong with it as far as whoever hands it in can tell, or why there is none."""
