"""What can be asked of a workflow run. Data only; the run decider answers with facts, or refuses.

Values are encoded already, and a large one is a blob reference (``core.values``).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from agenticflow.core.decider import Command
from agenticflow.orchestration.approvals.commands import Approve, Delegate, Reject

__all__ = [
    "Abort",
    "Approve",
    "CancelTask",
    "Delegate",
    "NextRunStarted",
    "Pause",
    "Reject",
    "Resolve",
    "Resume",
    "Signal",
    "StartRun",
]


class StartRun(Command, frozen=True, kw_only=True):
    """Begin run ``run_no`` of ``workflow_id``."""

    opens_stream: ClassVar[bool] = True
    workflow_id: str
    run_no: int
    definition: bytes
    """Encoded, or a reference."""
    input: bytes
    seed: str
    fingerprint: str
    requested_by: str
    kept: bytes | None = None
    generations: dict[str, int] = {}
    signals: bytes | None = None
    parent: tuple[str, str, int] | None = None
    depth: int = 0
    first_generation: int = 0


class NextRunStarted(Command, frozen=True, kw_only=True):
    """The run that continues this one is there."""


class Signal(Command, frozen=True, kw_only=True):
    """Send ``value`` (encoded) under the name ``signal``."""

    signal: str
    value: bytes
    requested_by: str


class Pause(Command, frozen=True, kw_only=True):
    """Schedule nothing new."""

    requested_by: str
    reason: str = ""


class Resume(Command, frozen=True, kw_only=True):
    """Schedule again."""

    requested_by: str
    reason: str = ""


class Abort(Command, frozen=True, kw_only=True):
    """End the run; handlers get ``grace_seconds`` to stop."""

    requested_by: str
    reason: str = ""
    grace_seconds: float = 10.0


class Resolve(Command, frozen=True, kw_only=True):
    """A person says what became of a task whose outcome is unknown."""

    task_key: str
    decision: Literal["completed", "failed", "run_again"]
    requested_by: str
    value: bytes = b"\xc0"
    reason: str = ""


class CancelTask(Command, frozen=True, kw_only=True):
    """A task is not wanted any more; the run goes on without it."""

    task_id: str
    requested_by: str
    reason: str = ""
