"""Operations on runs, on what waits for people, and on the process itself."""

from __future__ import annotations

import os
from typing import ClassVar, Final

import msgspec

from agenticflow.app.commands.operation import Operation, Steered
from agenticflow.app.engine.explaining import why_answer
from agenticflow.app.engine.liveness import liveness_answer
from agenticflow.app.execution import WorkflowHandle
from agenticflow.app.steering import LOCAL_OWNER
from agenticflow.errors import BoundExceeded
from agenticflow.observability.metrics import render
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.inbox.listing import ApprovalRequest
from agenticflow.orchestration.interventions.intervention import UserIntervention
from agenticflow.runtime.ownership import MAX_FRAME_BYTES
from agenticflow.storage.retention import KEEP_ALL, RetentionPolicy

__all__ = [
    "AnswerRequest",
    "Approve",
    "Cancel",
    "CancelTask",
    "Compact",
    "DelegateRequest",
    "DiscardLetter",
    "Fork",
    "Intervene",
    "Liveness",
    "Metrics",
    "Pause",
    "Ping",
    "Reject",
    "RejectRequest",
    "Resolve",
    "Resume",
    "RetryLetter",
    "Signal",
    "Start",
    "Unpause",
    "Waits",
    "Why",
]

MAX_SHOWN: Final = 1_000
"""Of differences in one answer."""
PAGE_BYTES: Final = MAX_FRAME_BYTES - 10_000
"""Of metrics in one answer."""
A_MEASURE: Final = "task_execution_duration"
"""A metric that is declared as soon as an engine is measured."""


class Start(Operation, frozen=True, kw_only=True):
    """Start a run; whoever owns the store performs it as far as it has the handlers."""

    name: ClassVar[str] = "start"
    definition: WorkflowDefinition
    input: object = None
    workflow_id: str | None = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return await _stands(
            await orchestrator.start_workflow(self.definition, self.input, workflow_id=self.workflow_id)
        )


class Signal(Operation, frozen=True, kw_only=True):
    """Send a signal to a run."""

    name: ClassVar[str] = "signal"
    workflow_id: str
    signal: str
    value: object = None
    signal_id: str | None = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        await orchestrator.signal(self.workflow_id, self.signal, self.value, signal_id=self.signal_id)
        return await _run(orchestrator, self.workflow_id)


class Pause(Operation, frozen=True, kw_only=True):
    """Schedule nothing new in a run."""

    name: ClassVar[str] = "pause"
    workflow_id: str
    reason: str = ""

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        await orchestrator.pause(self.workflow_id, reason=self.reason)
        return await _run(orchestrator, self.workflow_id)


class Unpause(Operation, frozen=True, kw_only=True):
    """Schedule again."""

    name: ClassVar[str] = "unpause"
    workflow_id: str
    reason: str = ""

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        await orchestrator.resume(self.workflow_id, reason=self.reason)
        return await _run(orchestrator, self.workflow_id)


class Cancel(Operation, frozen=True, kw_only=True):
    """End a run."""

    name: ClassVar[str] = "cancel"
    workflow_id: str
    reason: str = ""
    grace_seconds: float = 10.0

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        await orchestrator.abort(self.workflow_id, self.reason, grace_seconds=self.grace_seconds)
        return await _run(orchestrator, self.workflow_id)


class Resume(Operation, frozen=True, kw_only=True):
    """Open the next run of a workflow whose run has ended without its result."""

    name: ClassVar[str] = "resume"
    workflow_id: str
    from_task: str | None = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return await _stands(await orchestrator.resume_workflow(self.workflow_id, self.from_task))


class Fork(Operation, frozen=True, kw_only=True):
    """Start another workflow where a run stands, or stood."""

    name: ClassVar[str] = "fork"
    workflow_id: str
    run_no: int | None = None
    at_version: int | None = None
    from_task: str | None = None
    has_input: bool = False
    """Whether ``input`` is its input; else it has that of the run."""
    input: object = None
    definition: WorkflowDefinition | None = None
    new_workflow_id: str | None = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        arguments = {name: getattr(self, name) for name in self.__struct_fields__[1:] if name != "has_input"}
        if not self.has_input:
            del arguments["input"]
        return await _stands(await orchestrator.fork_workflow(self.workflow_id, **arguments))


class Resolve(Operation, frozen=True, kw_only=True):
    """Say what became of a task whose outcome is unknown."""

    name: ClassVar[str] = "resolve"
    workflow_id: str
    task_key: str
    decision: str
    value: object = None
    reason: str = ""

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        await orchestrator.resolve(self.workflow_id, self.task_key, self.decision, value=self.value, reason=self.reason)
        return await _run(orchestrator, self.workflow_id)


class CancelTask(Operation, frozen=True, kw_only=True):
    """Go on without a task."""

    name: ClassVar[str] = "cancel_task"
    workflow_id: str
    task_id: str
    reason: str = ""

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        await orchestrator.cancel_task(self.workflow_id, self.task_id, reason=self.reason)
        return await _run(orchestrator, self.workflow_id)


class Approve(Operation, frozen=True, kw_only=True):
    """Say yes to what a task asks."""

    name: ClassVar[str] = "approve"
    workflow_id: str
    task_key: str
    value: object = None
    comment: str = ""
    by: str | None = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        given = {} if self.by is None else {"approved_by": self.by}
        await orchestrator.approve(self.workflow_id, self.task_key, value=self.value, comment=self.comment, **given)
        return await _run(orchestrator, self.workflow_id)


class Reject(Operation, frozen=True, kw_only=True):
    """Say no to what a task asks."""

    name: ClassVar[str] = "reject"
    workflow_id: str
    task_key: str
    comment: str = ""
    by: str | None = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        given = {} if self.by is None else {"rejected_by": self.by}
        await orchestrator.reject(self.workflow_id, self.task_key, comment=self.comment, **given)
        return await _run(orchestrator, self.workflow_id)


class Intervene(Operation, frozen=True, kw_only=True):
    """Step into a run: whatever a ``UserIntervention`` may be."""

    name: ClassVar[str] = "intervene"
    workflow_id: str
    intervention: UserIntervention

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        found = await orchestrator.intervene(self.workflow_id, self.intervention)
        return {**await _run(orchestrator, self.workflow_id), "differences": [str(one) for one in found[:MAX_SHOWN]]}


class _RequestOperation(Operation, frozen=True, kw_only=True):
    approval_id: str
    comment: str = ""
    by: str = LOCAL_OWNER


class AnswerRequest(_RequestOperation, frozen=True, kw_only=True):
    """Say yes to a request, with a value or to what it proposes."""

    name: ClassVar[str] = "answer_request"
    value: object = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return _request(
            await orchestrator.approvals.answer(self.approval_id, self.value, comment=self.comment, by=self.by)
        )


class RejectRequest(_RequestOperation, frozen=True, kw_only=True):
    """Say no to a request."""

    name: ClassVar[str] = "reject_request"

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return _request(await orchestrator.approvals.reject(self.approval_id, comment=self.comment, by=self.by))


class DelegateRequest(_RequestOperation, frozen=True, kw_only=True):
    """Hand a request on."""

    name: ClassVar[str] = "delegate_request"
    to: str

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return _request(
            await orchestrator.approvals.delegate(self.approval_id, self.to, comment=self.comment, by=self.by)
        )


class _LetterOperation(Operation, frozen=True, kw_only=True):
    letter_id: str
    is_event: bool = False
    """Whether it is a letter of the bus: an event that a subscriber gave up."""
    by: str = LOCAL_OWNER
    reason: str = ""


class RetryLetter(_LetterOperation, frozen=True, kw_only=True):
    """Run a task in quarantine again, or give an event to its subscriber again."""

    name: ClassVar[str] = "retry_letter"

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        if self.is_event:
            bus = await orchestrator.dead_letters.bus()
            return {"letter_id": self.letter_id, "is_closed": await bus.retry_dead_letter(self.letter_id)}
        await orchestrator.dead_letters.retry(self.letter_id, by=self.by, reason=self.reason)
        return {"letter_id": self.letter_id, "is_closed": True}


class DiscardLetter(_LetterOperation, frozen=True, kw_only=True):
    """Have a task in quarantine failed for good, or close the letter of an event."""

    name: ClassVar[str] = "discard_letter"

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        if self.is_event:
            bus = await orchestrator.dead_letters.bus()
            await bus.discard_dead_letter(
                self.letter_id, reason=f"{self.by}: {self.reason}" if self.reason else self.by
            )
        else:
            await orchestrator.dead_letters.discard(self.letter_id, by=self.by, reason=self.reason)
        return {"letter_id": self.letter_id, "is_closed": True}


class Compact(Operation, frozen=True, kw_only=True):
    """Archive and delete what a retention policy lets go, and give back what nobody needs."""

    name: ClassVar[str] = "compact"
    policy: RetentionPolicy = KEEP_ALL

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return msgspec.structs.asdict(await orchestrator.compact(self.policy))


class Waits(Operation, frozen=True, kw_only=True):
    """Tell what a run waits for; only its owner knows of handlers that are missing."""

    name: ClassVar[str] = "waits"
    workflow_id: str
    run_no: int | None = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        execution = await orchestrator.get_execution(self.workflow_id, self.run_no)
        return {"pid": os.getpid(), "waits_for": execution.waits_for}


class Why(Operation, frozen=True, kw_only=True):
    """Tell what each branch of a run waits for; only its owner knows what is in hand."""

    name: ClassVar[str] = "why"
    workflow_id: str
    task_key: str | None = None
    run_no: int | None = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return why_answer(await orchestrator.why(self.workflow_id, self.task_key, self.run_no))


class Liveness(Operation, frozen=True, kw_only=True):
    """Tell which open runs wait for nothing that will come."""

    name: ClassVar[str] = "liveness"

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return liveness_answer(await orchestrator.check_liveness())


class Ping(Operation, frozen=True, kw_only=True):
    """Tell who is there."""

    name: ClassVar[str] = "ping"

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return {"pid": os.getpid()}


class Metrics(Operation, frozen=True, kw_only=True):
    """Tell what this process measures, as text for Prometheus."""

    name: ClassVar[str] = "metrics"

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        text = render()
        if len(text.encode()) > PAGE_BYTES:
            raise BoundExceeded(
                f"the metrics of this process are {len(text):,} characters, too many for one answer",
                hint="use labels with fewer values; inside the program agenticflow.observability.render() has them all",
            )
        return {"pid": os.getpid(), "is_measured": f"# TYPE {A_MEASURE} " in text, "text": text}


async def _run(orchestrator: Steered, workflow_id: str) -> dict[str, object]:
    execution = await orchestrator.get_execution(workflow_id)
    return {"workflow_id": workflow_id, "run_no": execution.run_no, "status": execution.status.value}


async def _stands(handle: WorkflowHandle) -> dict[str, object]:
    status = await handle.status()
    return {"workflow_id": handle.workflow_id, "run_no": handle.run_no, "status": status.value}


def _request(view: ApprovalRequest) -> dict[str, object]:
    answer: dict[str, object] = msgspec.to_builtins(view)
    return answer
