"""What the engine does with each attempt of a run, as reasons why it waits: the part of the answer that is in no store."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final, Protocol

import msgspec

from agenticflow.core.context import effect_key
from agenticflow.core.engine import Execution, RunChild
from agenticflow.errors import WorkflowNotFoundError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.planning.planner import Planners
from agenticflow.orchestration.state import RunState
from agenticflow.orchestration.waiting import (
    BeingCancelled,
    HandedOut,
    InQueue,
    InWork,
    NeedsCode,
    NeedsPermit,
    NextRun,
    NotRegistered,
    OutcomeInQuestion,
    Paused,
    Reason,
    SubWorkflow,
    Wait,
    branch_waits,
    sentence,
    unblocked_by,
    waits_of,
)
from agenticflow.resilience.gate import GateState
from agenticflow.runtime.activities.attempts import Attempt
from agenticflow.runtime.activities.dispatcher import Dispatcher
from agenticflow.runtime.coordination.children import Children
from agenticflow.runtime.coordination.gates import Gatekeeper
from agenticflow.runtime.host import Host
from agenticflow.storage.store import Store

__all__ = ["MAX_WAITS", "Explained", "Held", "explain", "gate_state", "held_reasons", "why_answer"]

MAX_DEPTH: Final = 5
"""Sub-workflows of sub-workflows that are followed."""
MAX_FOLLOWED: Final = 100
"""Sub-workflows of one run that are followed."""


PAGE: Final = 1_000
MAX_WAITS: Final = 200
"""Of branches, and of breaches, in one answer to another process."""
MAX_SENTENCE_CHARS: Final = 2_000
_BEGINNINGS: Final[Mapping[type, str]] = {
    Paused: f.WorkflowPaused.event_type,
    BeingCancelled: f.WorkflowCancelRequested.event_type,
    NextRun: f.WorkflowContinuing.event_type,
}
"""What a run as a whole waits for, and the event it began with: its state does not keep the moment."""


class Held(Protocol):
    """The parts of an engine that are asked."""

    @property
    def store(self) -> Store: ...
    @property
    def host(self) -> Host: ...
    @property
    def dispatcher(self) -> Dispatcher: ...
    @property
    def gates(self) -> Gatekeeper: ...
    @property
    def children(self) -> Children: ...
    @property
    def planners(self) -> Planners: ...
    @property
    def workflows(self) -> Container[str]: ...


class Explained(msgspec.Struct, frozen=True):
    """What a run waits for, branch by branch."""

    workflow_id: str
    run_no: int
    status: str
    is_performed: bool
    """Whether the process that answers runs the store; else only the history is known."""
    waits: tuple[Wait, ...]


async def explain(
    engine: Held, stream_id: str, task_key: str | None, *, performs: bool, depth: int = MAX_DEPTH
) -> Explained:
    """Return what the run waits for, or one task of it. Raises ``WorkflowNotFoundError``, ``InvalidInput`` for an unknown task."""
    await engine.host.read(stream_id)  # what a gate or child says is asked while the run is in memory
    held = await held_reasons(engine, stream_id) if performs else None
    state: RunState = await engine.host.read(stream_id)
    waits = waits_of(state, held) if task_key is None else branch_waits(state, task_key, held)
    if task_key is None and (words := engine.planners.waits_for(stream_id)) is not None:
        waits = [Wait("", NeedsCode(words)), *waits]
    workflow_id, run_no, status = state.workflow_id, state.run_no, state.status.value
    version = state.version
    generations = {wait.task_key: state.generation_of(wait.task_key) for wait in waits if wait.task_key}
    followed: list[Wait] = []
    for number, wait in enumerate(waits):
        if not wait.task_key and (event_type := _BEGINNINGS.get(type(wait.reason))) is not None:
            wait = msgspec.structs.replace(wait, since=await _last(engine.store, stream_id, version, event_type))
        if isinstance(wait.reason, InWork) and number < MAX_FOLLOWED:
            loop_id = effect_key(workflow_id, wait.task_key, generations[wait.task_key])
            wait = msgspec.structs.replace(wait, reason=await _in_loop(engine, wait.reason, loop_id))
        if isinstance(wait.reason, SubWorkflow) and depth and number < MAX_FOLLOWED:
            inner = await _inside(engine, wait.reason, performs=performs, depth=depth - 1)
            followed.append(msgspec.structs.replace(wait, reason=inner))
        else:
            followed.append(wait)
    return Explained(workflow_id, run_no, status, performs, tuple(followed))


async def _last(store: Store, stream_id: str, version: int, event_type: str) -> int | None:
    """Return when the last event of this type was recorded, looking back from ``version``."""
    while version > 0:
        before = max(version - PAGE, 0)
        for stored in reversed(await store.read_page(stream_id, before, PAGE)):
            if stored.event_type == event_type:
                return stored.timestamp
        version = before
    return None


async def _inside(engine: Held, reason: SubWorkflow, *, performs: bool, depth: int) -> SubWorkflow:
    """Return the reason with what the child waits for."""
    row = await engine.store.get_run(reason.workflow_id)
    if row is None:
        return reason
    try:
        child = await explain(engine, stream_of(row.execution_id, row.run_no), None, performs=performs, depth=depth)
    except WorkflowNotFoundError:  # its row is there and its events are archived
        return reason
    return SubWorkflow(reason.workflow_id, child.waits)


async def _in_loop(engine: Held, reason: InWork, loop_id: str) -> InWork:
    """Return the reason with what the agent does, when it is one that asks a model."""
    row = await engine.store.get_run(loop_id, kind="loop")
    if row is None or not row.is_open:
        return reason
    # late: programs without agents that ask a model load nothing of them
    from agenticflow.agents.loop.guest import LoopGuest

    if row.kind not in engine.host.actors.guests:
        engine.host.add_guest(LoopGuest())
    try:
        doing = (await engine.host.read(row.stream_id)).doing
    except WorkflowNotFoundError:  # it was deleted in this moment
        return reason
    return msgspec.structs.replace(reason, doing=doing)


async def held_reasons(engine: Held, stream_id: str) -> Mapping[int, Reason]:
    """Return what this process does with each attempt of the run, by token."""
    gates = {token: gate for gate, stream, token in engine.gates.waiting() if stream == stream_id}
    permits: dict[int, Reason] = {
        token: _permit(await gate_state(engine.host, gate), gate, f"{stream_id}@{token}")
        for token, gate in gates.items()
    }
    found: dict[int, Reason] = {}
    for attempt in engine.dispatcher.attempts(stream_id):
        found[attempt.effect.token] = _reason(attempt)
    for (stream, effect), words in engine.dispatcher.kept():
        if stream == stream_id:
            found[effect.token] = NotRegistered(words)
    for token, words in engine.dispatcher.checks.standing(stream_id).items():
        found[token] = OutcomeInQuestion(words)
    missing = set(engine.children.missing(stream_id))
    for parent, request, _ in engine.children.watched():
        if parent == stream_id:
            found[request.token] = _child(request, missing)
    return {**found, **{token: reason for token, reason in permits.items() if token in found}}


async def gate_state(host: Host, gate: str) -> GateState:
    """Return who holds the key of a gate and who waits for it."""
    try:
        state: GateState = await host.read(gate)
    except WorkflowNotFoundError:  # the store has not taken the first request yet
        return GateState(gate)
    return state


def _reason(attempt: Attempt) -> Reason:
    performer, effect = attempt.seat.performer, attempt.effect
    if attempt in attempt.seat.queue:
        ahead = attempt.seat.queue.index(attempt)
        return InQueue(performer.performer_id, ahead, performer.concurrency)
    kind = InWork if attempt.started_at else HandedOut
    return kind(performer.performer_id, effect.attempt)


def _permit(gate: GateState, stream_id: str, holder: str) -> Reason:
    key = Execution.of(stream_id).id
    queue = [waiting.holder for waiting in gate.queue]
    ahead = queue.index(holder) if holder in queue else 0
    return NeedsPermit(key, tuple(name.rpartition("@")[0] for name in gate.holders if name != holder), ahead)


def _child(request: RunChild, missing: set[str]) -> Reason:
    words = f"task {request.task_key!r} waits for a workflow {request.name!r}, which is not registered here"
    return NotRegistered(words) if words in missing else SubWorkflow(request.execution_id)


def why_answer(found: Explained) -> dict[str, object]:
    """Return what a run waits for as plain data, at most ``MAX_WAITS`` branches of it, each with its sentence."""
    waits = [
        {
            "task": wait.task_key,
            "reason": msgspec.to_builtins(wait.reason),
            "since": wait.since,
            "until": wait.until,
            "unblocked_by": unblocked_by(wait, found.workflow_id),
            "sentence": sentence(wait, found.workflow_id)[:MAX_SENTENCE_CHARS],
        }
        for wait in found.waits[:MAX_WAITS]
    ]
    return {
        "workflow_id": found.workflow_id,
        "run_no": found.run_no,
        "status": found.status,
        "is_performed": found.is_performed,
        "waits": waits,
        "more": max(len(found.waits) - MAX_WAITS, 0),
    }
