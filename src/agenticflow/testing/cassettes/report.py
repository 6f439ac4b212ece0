"""What a replay found, for a log of CI."""

from __future__ import annotations

from typing import Final

import msgspec

from agenticflow.orchestration.comparison import Difference

__all__ = ["Drift", "DriftReport"]

SHOWN: Final = 20


class Drift(msgspec.Struct, frozen=True):
    """One thing that is not as it was recorded."""

    event: int
    """Number of the recorded event, from 1; one more than there are for what follows after the last."""
    task_key: str
    """Empty for what belongs to the run as a whole."""
    what: str
    """``decision`` of the engine, ``result`` or ``error`` of a handler."""
    recorded: str
    """In words; ``"-"`` for nothing."""
    now: str
    follows: tuple[str, ...] = ()
    """What was recorded, and is decided now, after that."""

    def __str__(self) -> str:
        where = f", task {self.task_key!r}" if self.task_key else ""
        lines = [f"event {self.event}{where}: {self.what}", f"  recorded: {self.recorded}", f"  now:      {self.now}"]
        return "\n".join([*lines, *(f"  {line}" for line in self.follows)])


class DriftReport(msgspec.Struct):
    """What a replay did and found."""

    workflow_id: str
    run_no: int
    release: str
    """That the cassette was exported by."""
    events: int
    """Recorded events that were decided anew and are the same."""
    recorded_events: int
    calls: int = 0
    """Handlers that were called."""
    differences: list[Drift] = []
    """The first decision that is another (nothing after it can be compared), then what handlers gave, in their order."""
    definition: list[Difference] = []
    """How today's definition differs from the recorded one. No drift by itself: what counts is what is decided by it."""
    skipped: list[str] = []
    """In words, whose handlers were not called, and why."""
    redacted: int = 0
    """Values that were hidden when the run was exported."""
    left_out: list[str] = []
    """In words, what belongs to the run and is not in the cassette."""

    @property
    def is_same(self) -> bool:
        """Whether everything went as it was recorded."""
        return not self.differences

    def assert_no_drift(self) -> None:
        """Raise ``AssertionError`` with the report unless everything went as it was recorded."""
        if self.differences:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        count = len(self.differences)
        found = f"{count:,} difference{'' if count == 1 else 's'}" if count else "no drift"
        did = f"{self.events:,} of {self.recorded_events:,} events decided the same, {self.calls:,} handlers called"
        lines = [f"{self.workflow_id} run {self.run_no} (release {self.release}): {found}; {did}"]
        lines += _some("definition: ", [str(one) for one in self.definition])
        lines += _some("", [str(one) for one in self.differences])
        lines += _some("not called: ", self.skipped)
        lines += _some("not in the cassette: ", self.left_out)
        if self.redacted:
            hidden, it = ("1 value was", "it") if self.redacted == 1 else (f"{self.redacted:,} values were", "them")
            lines.append(f"{hidden} hidden at the export: what depends on {it} may differ for that")
        return "\n".join(lines)


def _some(head: str, found: list[str]) -> list[str]:
    more = [f"{head}… and {len(found) - SHOWN:,} more"] if len(found) > SHOWN else []
    return [f"{head}{one}" for one in found[:SHOWN]] + more
