"""What is known of the planning of one run: which steps have ended, in which order, and how far its function has been asked.

Part of the state of a run (``orchestration.state``), so it is folded and mutable. What its function has become hangs here too, as a cache:
it is thrown away with the state and made anew from the record.
"""

from __future__ import annotations

from agenticflow.orchestration.facts import PlanClosed

__all__ = ["Planning"]


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
        self.drive: object | None = None
        """The function on its way (``planning.driving``): a cache."""
