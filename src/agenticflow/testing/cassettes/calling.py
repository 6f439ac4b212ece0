"""Calling today's handlers with recorded inputs, once per task, and comparing what they give with what was recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import msgspec

from agenticflow.app.cassettes import Cassette
from agenticflow.core import codec
from agenticflow.core.binding import Handler, RunsIn
from agenticflow.core.context import CancelReason, TaskContext
from agenticflow.core.decider import Fact
from agenticflow.core.engine import ActivityInput, EffectClass, Performer, RunActivity
from agenticflow.core.interrupts import Replies, interrupt_in
from agenticflow.core.results import describe_error
from agenticflow.errors import AgenticFlowError, InvalidInput
from agenticflow.orchestration import facts as f
from agenticflow.testing.cassettes.asked import ended_token
from agenticflow.testing.cassettes.redeciding import GUEST, initial_state, show, shown
from agenticflow.testing.cassettes.report import Drift
from agenticflow.testing.fakes import MemoryJournals

__all__ = ["Calls", "call_handlers"]

LIMIT_SECONDS: Final = 60.0
"""Of a handler whose task has no limit of its own."""
MAX_DRIFTS: Final = 1_000
_ENDS: Final = (f.TaskCompleted, f.TaskFailed, f.TaskRetryScheduled, f.TaskReassigned)


class Calls(msgspec.Struct):
    """What came of calling handlers."""

    count: int = 0
    differences: list[Drift] = []
    skipped: dict[str, None] = {}


class _End(msgspec.Struct, frozen=True):
    event: int
    fact: Fact


async def call_handlers(cassette: Cassette, performers: Sequence[Performer], *, with_at_most_once: bool) -> Calls:
    """Call the handler of each task that ended by one, in their recorded order, one after the other."""
    ends = _ends(cassette)
    calls, state = Calls(), initial_state(cassette)
    threads = ThreadPoolExecutor(1, thread_name_prefix="agenticflow-replay")
    try:
        for event in cassette.events:
            fact = event.fact
            try:
                GUEST.evolve(state, fact, event.version, event.at)
                if not isinstance(fact, f.TaskScheduled) or event.version not in ends:
                    continue
                orders = [one for one in GUEST.effects(state, fact, event.version) if isinstance(one, RunActivity)]
                if not orders:
                    continue
                task_id = state.tasks[fact.task_key].node.task.task_id
                given: ActivityInput | AgenticFlowError
                try:
                    given = GUEST.inputs(state, fact.task_key)
                except AgenticFlowError as error:
                    given = error
                end = ends[event.version]
                value = end.fact.result if isinstance(end.fact, f.TaskCompleted) else None
                recorded = None if value is None else state.values.resolve(bytes(value))
            except (LookupError, AttributeError, TypeError) as error:
                raise InvalidInput(
                    f"the cassette is damaged: event {event.version} does not fit what was before it",
                    hint="export the run again",
                ) from error
            handler = _handler(orders[0], performers)
            reason = _why_not(orders[0], handler, end.fact, with_at_most_once=with_at_most_once)
            if handler is None or reason:
                calls.skipped[f"task {task_id!r}: {reason}"] = None
                continue
            calls.count += 1
            now = await _call(orders[0], handler, given, threads)
            then = _recorded(end.fact, recorded)
            if now != then and len(calls.differences) < MAX_DRIFTS:
                what = "result" if {*now, *then} == {"result"} else "error"
                calls.differences.append(Drift(end.event, fact.task_key, what, shown(then), shown(now)))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
    return calls


def _ends(cassette: Cassette) -> dict[int, _End]:
    """Return the last end of each task that a handler gave it, by the token of the attempt."""
    found: dict[str, tuple[int, _End]] = {}
    for event in cassette.events:
        fact, token = event.fact, ended_token(event)
        if token is None or not isinstance(fact, _ENDS) or fact.token != token:
            continue
        found[fact.task_key] = token, _End(event.version, fact)
    return dict(found.values())


def _handler(order: RunActivity, performers: Sequence[Performer]) -> Handler | None:
    wanted = frozenset(order.capabilities)
    for performer in performers:
        is_meant = (
            performer.performer_id == order.performer_id if order.performer_id else wanted <= performer.capabilities
        )
        if is_meant and (handler := performer.handler_for(order.task_type)) is not None:
            return handler
    return None


def _why_not(order: RunActivity, handler: Handler | None, end: Fact, *, with_at_most_once: bool) -> str:
    if handler is None:
        return "none of the handlers given is its own"
    if order.effect is EffectClass.AT_MOST_ONCE and not with_at_most_once:
        return "at-most-once work"
    error = getattr(end, "error", None)
    if error is not None and (error.code in ("timeout", "stalled") or error.type == "OutcomeUnknown"):
        return "it ended by its time limit, or nobody knows how"
    return ""


def _recorded(end: Fact, value: bytes | None) -> dict[str, Any]:
    return (
        {"result": show(codec.decode(value))} if value is not None else {"error": show(str(getattr(end, "error", "")))}
    )


async def _call(
    order: RunActivity,
    handler: Handler,
    given: ActivityInput | AgenticFlowError,
    threads: ThreadPoolExecutor,
) -> dict[str, Any]:
    """Return what the handler gives, in a form that can be compared: ``result`` or ``error``."""
    if isinstance(given, AgenticFlowError):
        return {"error": show(str(describe_error(given)))}
    context = TaskContext(
        workflow_id=given.workflow_id,
        run_no=given.run_no,
        task_id=given.task_id,
        task_key=order.task_key,
        agent_id=order.performer_id,
        attempt=order.attempt,
        generation=order.generation,
        deadline=order.deadline,
        params=given.params,
        results=given.results,
        encoded_input=given.encoded_input,
        feedback=given.feedback,
    )
    context.replies = Replies(given.replies)
    context.journals = MemoryJournals()  # empty: what the handler did then is not in a cassette, and is done again
    limit = order.timeout_seconds or LIMIT_SECONDS
    clock = asyncio.timeout(limit)
    try:
        arguments = handler.arguments(given.params, context)
        async with clock:
            if handler.runs_in is RunsIn.LOOP:
                value = await handler.function(**arguments)  # type: ignore[misc]  # RunsIn.LOOP means a coroutine function
            else:
                call = partial(handler.function, **arguments)
                value = await asyncio.get_running_loop().run_in_executor(threads, call)
        return {"result": show(codec.decode(codec.encode(value)))}
    except (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its outcome
        if clock.expired():
            context.cancel_reason = CancelReason.TIMEOUT
            context.is_cancelled = True
            return {"error": f"it was not done within {limit:g} s"}
        if (interrupt := interrupt_in(error)) is not None:
            return {"asks": [show(codec.decode(ask)) for _, ask in interrupt.asks]}
        return {"error": show(str(describe_error(error)))}
