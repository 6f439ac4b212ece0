"""The calls of one answer: made side by side, asked about where somebody has to allow them, each with one result in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from agenticflow.agents.asked.doors import AskedAgent, nested
from agenticflow.agents.guardrails import GuardrailKind
from agenticflow.agents.loop.facts import (
    KEPT_BACK,
    AgentHandedOff,
    BeginCall,
    CallEnding,
    EndCall,
    HandOff,
    ToolCallEnded,
)
from agenticflow.agents.loop.results import HandedOff, ToolCalled, ToolReturned
from agenticflow.agents.loop.state import LoopState
from agenticflow.agents.model.parts import Message, ToolCallPart
from agenticflow.app.loops.place import Place
from agenticflow.app.loops.speakers import Speaker
from agenticflow.core import codec
from agenticflow.core.interrupts import Ask, Interrupted, Reply, interrupt_in
from agenticflow.core.tools import LOCAL_OWNER, Caller, ToolCall, ToolResult, tool_effect_key
from agenticflow.core.types import Blobs
from agenticflow.core.values import store_form
from agenticflow.errors import GuardrailTripwireTriggered
from agenticflow.resilience.budgets import Claim

__all__ = ["Calls"]

_CUT_OFF: Final = frozenset({"cancelled", "outcome_unknown"})
MAX_SHOWN_BYTES: Final = 12 * 1024
"""Of the arguments that a person is shown."""
MAX_REFUSAL_CHARS: Final = 2_000
"""Of what a model is told of a guardrail."""


class Calls:
    """Makes the open calls of the last answer."""

    def __init__(self, place: Place, speaker: Speaker, messages: Sequence[Message]) -> None:
        self._place = place
        self._claims: dict[str, Claim] = {}
        self._speaker = speaker
        answer = next(message for message in reversed(messages) if message.tool_calls)
        self._parts = {part.call_id: part for part in answer.tool_calls}
        self._caller: Caller = msgspec.structs.replace(
            LOCAL_OWNER, agent_id=speaker.name, session=place.session, context=place.shared
        )

    async def make(self, state: LoopState) -> None:
        """Make them, at most so many at once as the agent may, and a handoff last.

        Raises ``Interrupted`` with all that people are asked, when everything else has ended.
        """
        speaker = self._speaker
        self._claims = self._place.claims.calls(state)
        todo = [self._parts[call.asked.call_id] for call in state.open_calls]
        handoffs = [part for part in todo if part.name in speaker.handoffs]
        seats = asyncio.Semaphore(speaker.definition.loop.max_parallel_calls)

        async def seated(part: ToolCallPart) -> None:
            async with seats:
                await self._make(part)

        await _all([seated(part) for part in todo if part.name not in speaker.handoffs])
        for extra in handoffs[1:]:
            await self._end(extra, "you hand off to one agent at a time: the first one goes on", CallEnding.REFUSED)
        if handoffs:
            await self._hand_off(handoffs[0])

    async def _make(self, part: ToolCallPart) -> None:
        place, name = self._place, part.name
        call = ToolCall(
            name,
            part.arguments,
            call_id=part.call_id,
            effect_key=tool_effect_key(place.stream_id, name, part.arguments, part.call_id),
            deadline=place.context.deadline,
        )
        definition = self._speaker.tools.get(name).definition
        if definition.needs_approval:
            allowed = await self._allowed(call)
            if allowed is None:
                return
            call = allowed
        await self._check(part, call, GuardrailKind.TOOL_INPUT, {"tool": name, "params": call.params})
        claim = self._claims[part.call_id]
        await place.purse.cover_call(claim)
        place.tell(ToolCalled(self._speaker.name, part.call_id, name, dict(call.params)))
        if definition.effect == "at_most_once":
            await place.submit(BeginCall, call_id=part.call_id, approved_by=call.approved_by)
        result = await self._invoked(call)
        ending = CallEnding.SUCCEEDED
        if result.error is not None:
            ending = CallEnding.INTERRUPTED if result.error.code in _CUT_OFF else CallEnding.FAILED
        else:
            await self._check(part, call, GuardrailKind.TOOL_OUTPUT, {"tool": name, "result": result.value})
        text = result.text()
        if call.params != part.arguments:
            changed = msgspec.json.encode(codec.decode(codec.encode(call.params))).decode()
            text = f"(called with {changed}, as {call.approved_by} changed it)\n{text}"
        await self._end(part, text, ending, attempts=result.attempts, called=call)
        await place.purse.settle_call(claim)

    async def _invoked(self, call: ToolCall) -> ToolResult:
        nested.set(self._nested)
        return await self._place.pipeline.invoke(call, self._caller, self._speaker.tools)

    async def _nested(self, agent: AskedAgent, call_id: str, prompt: str) -> object:
        return await self._place.means.perform_within(agent, self._place, call_id, prompt)

    async def _check(self, part: ToolCallPart, call: ToolCall, kind: GuardrailKind, value: Mapping[str, Any]) -> None:
        """Raise when a guardrail refuses the call or its result. The loop ends with that, and the call as it is known to have ended."""
        speaker = self._speaker
        if not speaker.has_rails(kind):
            return
        try:
            await speaker.rails.check(kind, self._place.shared, value)
        except GuardrailTripwireTriggered as refused:
            is_made = kind is GuardrailKind.TOOL_OUTPUT
            words = KEPT_BACK if is_made else "this call was not made"
            ending = CallEnding.SUCCEEDED if is_made else CallEnding.REFUSED
            end, blobs = _ended(part, f"{words}: {refused.message}"[:MAX_REFUSAL_CHARS], ending, 1, call)
            self._place.refused.append((end, blobs))
            raise

    # --- people -----------------------------------------------------------------------------------------------------

    async def _allowed(self, call: ToolCall) -> ToolCall | None:
        """Return the call as somebody has allowed it, ``None`` when it has its result. Raises ``Interrupted`` while nobody has answered."""
        place = self._place
        part = self._parts[call.call_id]
        key = place.key_of(call.call_id)
        reply: Reply | None = place.context.replies.get(key)
        if reply is None:
            refusal = await place.pipeline.refusal(
                msgspec.structs.replace(call, approved_by="nobody yet"), self._caller, self._speaker.tools
            )
            if refusal is not None:  # nobody is asked about what would be refused anyway
                await self._end(part, ToolResult.failure(refusal).text(), CallEnding.FAILED)
                return None
            raise Interrupted.of([self._question(call, key)], task_key=place.context.task_key)
        if not reply.is_approved:
            why = f": {reply.comment}" if reply.comment else ""
            await self._end(part, f"{reply.by or 'somebody'} did not allow this call{why}", CallEnding.DENIED)
            return None
        edited = reply.value.get("params") if isinstance(reply.value, Mapping) else None
        params = cast("Mapping[str, object]", edited) if isinstance(edited, Mapping) else call.params
        return msgspec.structs.replace(call, params=params, approved_by=reply.by or "somebody")

    def _question(self, call: ToolCall, key: str) -> Ask:
        params: object = call.params
        if len(codec.encode(params)) > MAX_SHOWN_BYTES:
            params = f"{msgspec.json.encode(codec.decode(codec.encode(params))).decode()[:MAX_SHOWN_BYTES]} …"
        return Ask.of(
            {"agent": self._speaker.name, "tool": call.name, "params": params},
            key=key,
            question=f"May {self._speaker.name} call {call.name}?",
            on_rejection="return",
        )

    # --- ends -------------------------------------------------------------------------------------------------------

    async def _end(
        self, part: ToolCallPart, text: str, ending: CallEnding, *, attempts: int = 1, called: ToolCall | None = None
    ) -> None:
        end, blobs = _ended(part, text, ending, attempts, called)
        place = self._place
        await place.submit(EndCall, end=end, blobs=blobs)
        place.tell(ToolReturned(self._speaker.name, part.call_id, part.name, text, end.is_error))

    async def _hand_off(self, part: ToolCallPart) -> None:
        place = self._place
        to = place.speakers.of(self._speaker.handoffs[part.name])
        instructions, blobs = store_form(codec.encode(await to.instructions(place.shared)))
        handed = AgentHandedOff(part.call_id, to.name, instructions, to.definition.tool_choice)
        await place.submit(HandOff, hand_off=handed, blobs=blobs)
        place.tell(HandedOff(self._speaker.name, to.name))


def _ended(
    part: ToolCallPart, text: str, ending: CallEnding, attempts: int, called: ToolCall | None
) -> tuple[ToolCallEnded, Blobs]:
    """Return how a call ended, as it is recorded, and the large values in that."""
    content, blobs = store_form(codec.encode(text))
    params = b""
    if called is not None and called.params != part.arguments:
        params, large = store_form(codec.encode(called.params))
        blobs += large
    end = ToolCallEnded(part.call_id, content, ending, attempts, "" if called is None else called.approved_by, params)
    return end, blobs


async def _all(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do all of it side by side, to the end of each, whatever becomes of the others.

    Raises the first error, a guardrail's before others; with none but questions, one ``Interrupted`` with all of these.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    if not tasks:
        return
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # seen, so that nobody is warned about it
        raise
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    asked = [interrupt for error in errors if (interrupt := interrupt_in(error)) is not None]
    failed = [error for error in errors if interrupt_in(error) is None]
    if failed:
        raise next((one for one in failed if isinstance(one, GuardrailTripwireTriggered)), failed[0])
    if asked:
        raise Interrupted(list(dict.fromkeys(ask for one in asked for ask in one.asks)))
