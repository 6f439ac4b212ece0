"""What can be asked of a workflow run. Data only; the run decider answers with facts, or refuses.

Values are encoded already, and a large one is a blob reference (``core.values``). ``words`` is what people call the request: a run that
does not take it says so.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from agenticflow.core.decider import Command
from agenticflow.core.results import ErrorInfo
from agenticflow.orchestration.approvals.commands import Approve, Delegate, Reject
from agenticflow.orchestration.facts import PlannedStep
from agenticflow.orchestration.replanning.terms import ReplanTerms
from agenticflow.orchestration.state import Heard

__all__ = [
    "Abort",
    "Approve",
    "CancelTask",
    "Delegate",
    "GiveFeedback",
    "Modify",
    "NextRunStarted",
    "Pause",
    "Plan",
    "Reject",
    "Resolve",
    "Resume",
    "RetryTask",
    "SetResult",
    "Signal",
    "SkipTask",
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
    answers: bytes | None = None
    feedback: tuple[Heard, ...] = ()
    """What people said to the run before."""
    parent: tuple[str, str, int] | None = None
    depth: int = 0
    first_generation: int = 0
    replan: ReplanTerms | None = None
    undone_for: ErrorInfo | None = None
    """Why the run before is undone: that is all this one does."""
    course: bytes | None = None
    """Then what that did: an encoded ``Course``, or a reference."""
    steps: tuple[PlannedStep, ...] = ()
    """Then of a workflow as code its steps."""


class NextRunStarted(Command, frozen=True, kw_only=True):
    """The run that continues this one is there."""


class Plan(Command, frozen=True, kw_only=True):
    """Ask the function of a workflow as code what follows: after a restart, or when it has become known here."""


class Signal(Command, frozen=True, kw_only=True):
    """Send ``value`` (encoded) under the name ``signal``."""

    words: ClassVar[str] = "signal"
    signal: str
    value: bytes
    requested_by: str


class Pause(Command, frozen=True, kw_only=True):
    """Schedule nothing new."""

    words: ClassVar[str] = "pause"
    requested_by: str
    reason: str = ""


class Resume(Command, frozen=True, kw_only=True):
    """Schedule again."""

    words: ClassVar[str] = "resume"
    requested_by: str
    reason: str = ""


class Abort(Command, frozen=True, kw_only=True):
    """End the run; handlers get ``grace_seconds`` to stop."""

    words: ClassVar[str] = "abort"
    requested_by: str
    reason: str = ""
    grace_seconds: float = 10.0


class Resolve(Command, frozen=True, kw_only=True):
    """A person says what became of a task whose outcome is unknown."""

    words: ClassVar[str] = "decision about a task"
    task_key: str
    decision: Literal["completed", "failed", "run_again"]
    requested_by: str
    value: bytes = b"\xc0"
    reason: str = ""


class CancelTask(Command, frozen=True, kw_only=True):
    """A task is not wanted any more; the run goes on without it."""

    words: ClassVar[str] = "cancelled task"
    task_id: str
    requested_by: str
    reason: str = ""


class SkipTask(Command, frozen=True, kw_only=True):
    """Go on as if the condition of the task did not hold."""

    words: ClassVar[str] = "skipped task"
    task_key: str
    requested_by: str
    reason: str = ""


class RetryTask(Command, frozen=True, kw_only=True):
    """Try a task now whose last attempt failed: its retry is due later, or it has failed for good."""

    words: ClassVar[str] = "retry"
    task_key: str
    requested_by: str
    reason: str = ""


class SetResult(Command, frozen=True, kw_only=True):
    """Take ``value`` (encoded) as the result of a task that nobody works on."""

    words: ClassVar[str] = "result from a person"
    task_key: str
    value: bytes
    requested_by: str
    reason: str = ""


class GiveFeedback(Command, frozen=True, kw_only=True):
    """Tell the handlers of a run something; ``feedback`` is encoded. Without a ``task_key`` it is for all of them."""

    words: ClassVar[str] = "feedback"
    feedback: bytes
    requested_by: str
    task_key: str = ""
    reason: str = ""


class Modify(Command, frozen=True, kw_only=True):
    """Change tasks that have not started."""

    words: ClassVar[str] = "modification"
    modifications: bytes
    """Encoded, or a reference."""
    requested_by: str
    reason: str = ""
    definition: str
    """Content hash of the definition that whoever asks has seen."""
    expected_version: int | None = None
