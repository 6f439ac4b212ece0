"""What is known of the planning of one run: which steps have ended, in which order, and how far its function has been asked.

Part of the state of a run (``orchestration.state``), so it is folded and mutable. What its function has become hangs here too, as a cache:
it is thrown away with the state and made anew from the record.
"""

from __future__ import annotations

from typing import Protocol

from agenticflow.orchestration.facts import PlanClosed

__all__ = ["Planning"]


class Driven(Protocol):
    """The function of a run on its way, as its planner keeps it here."""

    @property
    def turns(self) -> int:
        """How many ends of steps it knows."""

    def recorded(self, *, steps: int = 0, cancels: int = 0, patches: int = 0) -> list[tuple[str, bytes]]:
        """The first so many of what it asked for are recorded; return the large values that have to be stored with them."""

    def close(self) -> None:
        """Nobody drives it any more."""


class Planning:
    """Made when a run of a workflow as code starts."""

    __slots__ = ("closed", "drive", "driven", "patches", "settled")

    def __init__(self) -> None:
        self.settled: list[str] = []
        """Keys of the steps that have ended, in order: what its function is told, one after the other."""
        self.driven = -1
        """How many ends the function knew when it last asked for something; -1 when it never has."""
        self.patches: dict[str, None] = {}
        """Changes of the code that this run goes the new way at."""
        self.closed: PlanClosed | None = None
        self.drive: Driven | None = None
        """The function on its way (``planning.driving``): a cache."""
