"""One attempt at a loop: look at the state, do what is open, have it recorded, until the agent has its answer.

The state decides; this performs. Whatever is asked of the world is asked after it was recorded that it is wanted, and counts when it is
recorded what came of it, so another attempt goes on exactly there. A loop is open while an attempt of its task is: failures end it, an
engine that stops and a question to a person do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from agenticflow.agents.asked.doors import AskedAgent
from agenticflow.agents.guardrails import GuardrailKind
from agenticflow.agents.loop.conversation import Conversation, cut_for_summary, cut_of_first, unique_calls
from agenticflow.agents.loop.facts import (
    Compact,
    ConversationCompacted,
    GiveFeedback,
    JudgeAnswer,
    LoopStarted,
    ModelAnswered,
    RecordAnswer,
)
from agenticflow.agents.loop.guest import stream_of_loop
from agenticflow.agents.loop.results import TurnBegan
from agenticflow.agents.loop.state import LoopState
from agenticflow.agents.loop.summaries import SUMMARY_SYSTEM, summary_message, transcript
from agenticflow.agents.model.deltas import ResponseFold
from agenticflow.agents.model.parts import Message, pack_messages, system, user
from agenticflow.agents.model.requests import ModelRequest, ToolChoice, tool_choice_of
from agenticflow.agents.model.responses import FinishReason, ModelResponse
from agenticflow.app.loops.calls import Calls
from agenticflow.app.loops.place import MAX_RUNS, Place, Superseded, raised
from agenticflow.app.loops.speakers import Speaker
from agenticflow.app.loops.spending import Claims, reconcile
from agenticflow.app.loops.updates import Heard
from agenticflow.core import codec
from agenticflow.core.context import CancelReason
from agenticflow.core.results import describe_error
from agenticflow.core.types import Blobs
from agenticflow.core.values import store_form
from agenticflow.errors import (
    CommandRefused,
    ContentRefused,
    ContextTooLong,
    DefinitionError,
    InvalidInput,
    ModelOutputInvalid,
)
from agenticflow.resilience.budgets import Claim

__all__ = ["Driver"]

T = TypeVar("T")
CHARS_PER_TOKEN: Final = 4
LEAST_CHARS: Final = 2_000
"""Of a conversation: less of it is not worth a summary."""


class Driver:
    """Drives the loop of ``agent`` at one place, for one attempt."""

    def __init__(self, agent: AskedAgent, place: Place) -> None:
        self._agent = agent
        self._place = place
        self._said = Conversation()
        self._rails_passed = False

    async def run(self) -> LoopState:
        """Drive the loop to its end and return its state. Raises what it ends with, and ``Interrupted`` when it asks a person."""
        place = self._place
        state = await self._open()
        place.watch_end()
        try:
            while state.is_open:
                if await self._listen(state):
                    state = await place.state()
                    continue
                speaker = await self._speaker(state)
                if state.calls:
                    messages = await self.messages(state)
                    await Calls(place, speaker, messages).make(await place.state())
                elif state.is_answered:
                    await self._judge(state, speaker)
                else:
                    await self._turn(state, speaker)
                state = await place.state()
        except asyncio.CancelledError:
            if place.context.cancel_reason is not CancelReason.DRAIN and not place.is_closing:
                place.give_up()
            raise
        except Superseded:
            raise
        except Exception as error:
            await place.end(describe_error(error))
            await place.settle_rest()
            raise
        finally:
            place.unwatch_end()
        if state.error is not None:
            raise raised(state.error)
        return state

    # --- the beginning ----------------------------------------------------------------------------------------------

    async def _open(self) -> LoopState:
        """Begin the loop, or take it up where another attempt left it: return its state, decoded as far as it is needed."""
        place = self._place
        before: LoopState | None = None
        for run_no in range(place.first_run, place.first_run + MAX_RUNS):
            place.stream_id, place.run_no = stream_of_loop(place.loop_id, run_no), run_no
            # what has begun goes on as it was recorded: nobody asks for instructions and for what was said before again
            start, blobs = (None, ()) if await place.has_begun() else await self._start(before)
            try:
                await place.start(start, blobs)
            except CommandRefused:
                before = await place.state()
                await self._reconcile(before)
                if before.error is None or place.is_same_attempt(before.driver):
                    return before
                self._said = Conversation()
                before = await place.state()
                messages = await self.messages(before)
                if place.keeps(before):
                    await place.remember(before, messages)
                continue
            state = await place.state()
            place.claims = Claims(place.stream_id, state.version)
            if state.version > 1:
                await self._reconcile(state)
            await self.messages(state)
            return state
        raise CommandRefused(f"the loop {place.loop_id!r} has ended {MAX_RUNS:,} times", hint="start it anew")

    async def _start(self, before: LoopState | None) -> tuple[LoopStarted, Blobs]:
        """Return how the loop begins, after the run ``before`` when that came to nothing, and the large values in it."""
        place = self._place
        speaker = place.speakers.of(self._agent) if before is None else place.speakers.find(self._agent, before.agent)
        policy = speaker.definition.loop
        if before is None:
            earlier = await place.earlier_messages()
            messages = [*earlier, place.asked.message]
            callers: tuple[str, ...] = ()
            choice = place.asked.tool_choice or speaker.definition.tool_choice
            speaker.check_choice(choice)
            turns, asked_from, kept_from = 0, len(earlier), len(earlier)
        else:
            messages = list(self._said.of(before))
            choice, callers = before.tool_choice, tuple(sorted(before.callers))
            turns = before.turns if before.turns < before.max_turns else 0
            asked_from, kept_from = before.asked_from, len(messages) if place.keeps(before) else before.kept_from
        instructions, large = store_form(codec.encode(await speaker.instructions(place.shared)))
        packed, larger = store_form(pack_messages(messages))
        start = LoopStarted(
            agent=speaker.name,
            instructions=instructions,
            messages=packed,
            driver=place.driver,
            max_turns=place.asked.max_turns or policy.max_turns,
            parent=place.parent,
            turns=turns,
            asked_from=asked_from,
            kept_from=kept_from,
            max_repairs=policy.max_repairs,
            max_equal_calls=policy.max_equal_calls,
            tool_choice=choice,
            callers=callers,
        )
        return start, (*large, *larger)

    async def _speaker(self, state: LoopState) -> Speaker:
        """Return who speaks now; what it asks for costs its own budget from now on, when it took over and has one."""
        speaker = self._place.speakers.find(self._agent, state.agent)
        await self._place.spend_as(speaker.name, self._own_budget(speaker))
        return speaker

    def _own_budget(self, speaker: Speaker) -> Any:
        """Return the budget of an agent that took over; that of the first one is the loop's."""
        return None if speaker.name == self._agent.agent_id else speaker.definition.budget

    async def _reconcile(self, state: LoopState) -> None:
        """Settle what others who drove the loop have reserved, in the budgets of all agents that have spoken."""
        place = self._place
        for name in sorted({*state.callers, state.agent}):  # who passed the conversation on has called a tool for it
            with suppress(DefinitionError, InvalidInput):  # gone since; what it has reserved stays counted
                speaker = place.speakers.find(self._agent, name)
                await place.spend_as(name, self._own_budget(speaker))
        for purse in place.purses:
            await reconcile(purse, state)
        await place.rest()

    async def messages(self, state: LoopState) -> list[Message]:
        """Return the conversation; large values are fetched."""
        return await self._place.pure(state, self._said.of)

    async def _listen(self, state: LoopState) -> bool:
        """Take what people have said to the task meanwhile into the conversation; return whether it was anything."""
        if state.calls or self._place.path:  # it is said to the task, and a loop inside another is not that
            return False
        heard = state.feedback
        news = [one for one in self._place.context.feedback if one.number > heard]
        for one in news:
            words = one.value if isinstance(one.value, str) else msgspec.json.encode(one.value).decode()
            message = pack_messages([user(f"{one.given_by} says: {words}")])
            await self._place.submit(GiveFeedback, number=one.number, message=message)
        return bool(news)

    # --- a turn -----------------------------------------------------------------------------------------------------

    async def _turn(self, state: LoopState, speaker: Speaker) -> None:
        messages = await self.messages(state)
        limit = speaker.definition.loop.compact_after_tokens
        if limit is not None and self._said.chars > limit * CHARS_PER_TOKEN and await self._compact(state, speaker):
            return
        place = self._place
        place.tell(TurnBegan(speaker.name, state.turns + 1))
        request = await self._request(state, speaker, messages)
        claim = place.claims.turn(state)
        try:
            response = await self._past_rails(speaker, lambda: self._ask(speaker, request, claim))
        except ContextTooLong:
            if await self._compact(state, speaker):
                return
            raise
        await self._record(state, speaker, response)
        await place.purse.settle_answer(claim, speaker.model.identity, response.usage, response.lost_usage)

    async def _request(self, state: LoopState, speaker: Speaker, messages: Sequence[Message]) -> ModelRequest:
        policy, model = speaker.definition.loop, speaker.model
        told = await self._place.pure(state, lambda one: codec.decode(one.values.resolve(one.instructions)))
        speaker.check_choice(state.choice)  # the program may have changed since it was recorded
        choice, forced = tool_choice_of(state.choice)
        expected = None if state.has_to_call else speaker.expected
        return ModelRequest(
            messages=(system(str(told)), *messages),
            tools=speaker.specs,
            tool_choice=choice,
            forced_tool=forced,
            output=expected.spec if expected is not None and model.abilities.has_output_schemas else None,
            temperature=policy.temperature,
            max_output_tokens=policy.max_output_tokens,
            seed=policy.seed,
            reasoning_effort=policy.reasoning_effort,
        )

    async def _past_rails(self, speaker: Speaker, work: Callable[[], Any]) -> ModelResponse:
        """Ask the model, for the first time beside the guardrails of the input: what they refuse is not answered."""
        place = self._place
        if place.has_spoken or not speaker.has_rails(GuardrailKind.INPUT):
            response: ModelResponse = await work()
        else:
            response = await speaker.rails.around(place.shared, place.asked.text, work)
        place.has_spoken = True
        return response

    async def _ask(self, speaker: Speaker, request: ModelRequest, claim: Claim) -> ModelResponse:
        """Return the model's whole answer, shown to whoever looks as it is spoken."""
        place = self._place
        expected = None if request.tool_choice is ToolChoice.REQUIRED else speaker.expected

        async def ask() -> ModelResponse:
            fold, heard = ResponseFold(), Heard(speaker.name, expected)
            async with aclosing(speaker.model.stream(request)) as deltas:
                async for delta in deltas:
                    fold.add(delta)
                    heard.add(delta)
                    if place.is_watched:
                        for update in heard.updates():
                            place.tell(update)
            return fold.response()

        limit = request.max_output_tokens
        return await place.purse.model_call(speaker.model.identity, claim, self._said.chars, limit, ask)

    async def _record(self, state: LoopState, speaker: Speaker, response: ModelResponse) -> None:
        place, turn = self._place, state.turns
        message = unique_calls(response.message, turn, state.call_ids, self._said.call_ids)
        packed, blobs = store_form(pack_messages([message]))
        answer = ModelAnswered(
            message=packed,
            model=speaker.model.identity,
            finish_reason=response.finish_reason,
            calls=tuple(place.asked_call(speaker, part) for part in message.tool_calls),
            usage=response.usage,
            lost_usage=response.lost_usage,
            attempts=response.attempts,
            response_id=response.response_id,
        )
        output: bytes | None = None
        problems: tuple[str, ...] = ()
        is_answer = not answer.calls and not state.has_to_call and not _is_refused(response)
        if is_answer and not speaker.has_rails(GuardrailKind.OUTPUT):
            try:
                output, large = store_form(codec.encode(_read(speaker, message)))
                blobs += large
            except ModelOutputInvalid as error:
                problems = error.problems
        await place.submit(RecordAnswer, turn=turn, answer=answer, output=output, problems=problems, blobs=blobs)

    async def _judge(self, state: LoopState, speaker: Speaker) -> None:
        """Look at the last answer: whether it has its form, and whether the guardrails let it pass."""
        place = self._place
        message = (await self.messages(state))[-1]
        if state.finish_reason is FinishReason.CONTENT_FILTER:
            raise ContentRefused(
                f"{speaker.model.identity!r} would not answer {speaker.name!r}",
                hint="ask for something else",
                text=message.text,
            )
        try:
            output = _read(speaker, message)
        except ModelOutputInvalid as error:
            await place.submit(JudgeAnswer, problems=error.problems)
            return
        await speaker.rails.check(GuardrailKind.OUTPUT, place.shared, output)
        encoded, blobs = store_form(codec.encode(output))
        await place.submit(JudgeAnswer, output=encoded, blobs=blobs)

    # --- a conversation that has grown too long ---------------------------------------------------------------------

    async def _compact(self, state: LoopState, speaker: Speaker) -> bool:
        """Have the oldest part of the conversation summarized; return whether there was enough of it."""
        place = self._place
        entries, left = cut_for_summary(state.entries), []
        if entries:
            old = self._said.first(entries)
            asked_from = kept_from = 0
        else:  # what it began with, the conversation before it, say
            entries, first = 1, self._said.first(1)
            cut = cut_of_first(first, state.asked_from)
            if not cut:
                return False
            old, left = first[:cut], first[cut:]
            asked_from, kept_from = max(0, state.asked_from - cut + 1), max(0, state.kept_from - cut + 1)
        is_history = bool(left) and len(old) == state.asked_from
        claim = place.claims.summary(state)
        response = await self._summarized(speaker, claim, transcript(old))
        summary = summary_message(response.text)
        message, blobs = store_form(pack_messages([summary, *left]))
        compacted = ConversationCompacted(
            entries=entries,
            message=message,
            model=speaker.model.identity,
            usage=response.usage,
            asked_from=asked_from,
            kept_from=kept_from,
        )
        await place.submit(Compact, compacted=compacted, blobs=blobs)
        await place.purse.settle_answer(claim, speaker.model.identity, response.usage, response.lost_usage)
        if is_history:
            await place.summarized(summary)
        return True

    async def _summarized(self, speaker: Speaker, claim: Claim, text: str) -> ModelResponse:
        """Ask for a summary of what was said; of the newest half of it, and so on, when the model does not read that much either."""
        while True:
            request = ModelRequest(messages=(system(SUMMARY_SYSTEM), user(text)))
            ask = partial(speaker.model.respond, request)
            try:
                return await self._place.purse.model_call(speaker.model.identity, claim, len(text), None, ask)
            except ContextTooLong:
                if len(text) < LEAST_CHARS:
                    raise
                text = f"…{text[len(text) // 2 :]}"


def _is_refused(response: ModelResponse) -> bool:
    return response.finish_reason is FinishReason.CONTENT_FILTER


def _read(speaker: Speaker, message: Message) -> Any:
    """Return the answer in ``message``: words, or what they say as plain data. Raises ``ModelOutputInvalid``."""
    return message.text if speaker.expected is None else speaker.expected.read(message.text)
