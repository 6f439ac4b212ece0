"""The decider of loops, a guest of the engine: what an answer, a result, a refusal or the end of patience makes true.

Nothing follows from its facts by itself: whoever drives the loop looks at the state and does what is open. So an attempt that goes on
where another one stopped needs nothing but the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from agenticflow.agents.loop.facts import (
    KIND,
    LOOP_FACTS,
    AgentHandedOff,
    AskedCall,
    BeginCall,
    CallEnding,
    Compact,
    ConversationCompacted,
    EndCall,
    EndLoop,
    FeedbackTaken,
    GiveFeedback,
    HandOff,
    JudgeAnswer,
    LoopCommand,
    LoopEnded,
    LoopStarted,
    LoopTakenUp,
    ModelAnswered,
    OutputRefused,
    RecordAnswer,
    StartLoop,
    ToolCallEnded,
    ToolCallStarted,
)
from agenticflow.agents.loop.state import Entry, LoopState, OpenCall, Said, restored, saved
from agenticflow.agents.model.parts import pack_messages, user
from agenticflow.agents.model.requests import tool_choice_of
from agenticflow.agents.model.responses import FinishReason
from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import Execution, Summary, TimersDue
from agenticflow.core.guests import TasklessGuest
from agenticflow.core.results import describe_error
from agenticflow.errors import AgentLooped, CommandRefused, InvariantError, MaxTurnsExceeded, ModelOutputInvalid

__all__ = ["LoopGuest", "stream_of_loop"]

MAX_PROBLEMS: Final = 20
_CUT_OFF: Final = "interrupted: whoever waited for this call did not any more; it may be made again"
_NOT_KNOWN: Final = (
    "interrupted: the process ended, or was told to stop, while this was being done. Nobody can say whether it has happened, "
    "and it must not happen twice: find out before you do it again"
)


def stream_of_loop(loop_id: str, run_no: int) -> str:
    """Return where a run of the loop is recorded."""
    return f"{KIND}-{loop_id}/{run_no}"


class LoopGuest(TasklessGuest[LoopState]):
    """Decides over the streams ``loop-<id>/<run no>``. Holds nothing."""

    kind = KIND
    codec = LOOP_FACTS

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> LoopState:
        return LoopState(stream_id) if snapshot is None else restored(stream_id, snapshot)

    def decide(self, state: LoopState, command: Command) -> Sequence[Fact]:
        if isinstance(command, TimersDue):
            return ()
        if not isinstance(command, LoopCommand):
            raise InvariantError(f"a loop does not know the command {type(command).__name__}")
        if isinstance(command, StartLoop):
            return _start(state, command)
        if not state.is_open or state.driver != command.driver:
            raise CommandRefused(
                f"the loop {state.stream_id!r} "
                + ("has ended" if not state.is_open else f"is driven by {state.driver!r} now"),
                hint="look at its state",
            )
        match command:
            case RecordAnswer():
                return _answered(state, command)
            case JudgeAnswer(output=output, problems=problems):
                if not state.is_answered:
                    raise CommandRefused(f"there is no answer to judge in {state.stream_id!r}")
                return _judged(state, output, problems)
            case BeginCall(call_id=call_id, approved_by=approved_by):
                return () if _open(state, call_id).is_started else (ToolCallStarted(call_id, approved_by),)
            case EndCall(end=end):
                call = state.calls.get(end.call_id)
                return () if call is not None and call.result is not None else (_checked(state, end),)
            case HandOff(hand_off=hand_off):
                _open(state, hand_off.call_id)
                return (hand_off,)
            case GiveFeedback(number=number, message=message):
                _demand_no_open_calls(state)
                return (FeedbackTaken(number, message),) if number > state.feedback else ()
            case Compact(compacted=compacted):
                return _compacted(state, compacted)
            case EndLoop():
                return _given_up(state, command)
            case _:
                raise InvariantError(f"a loop does not know the command {type(command).__name__}")

    def advance(self, state: LoopState, now: int) -> Sequence[Fact]:
        """The last turn has been taken when its calls have ended."""
        if state.is_open and state.turns >= state.max_turns and not state.calls and not state.is_answered:
            error = MaxTurnsExceeded(
                f"the agent {state.agent!r} has taken {state.turns} turns and is not done",
                hint="allow more with loop=LoopPolicy(max_turns=…), or give it a smaller task",
            )
            return (LoopEnded(error=describe_error(error)),)
        return ()

    def evolve(self, state: LoopState, fact: Fact, version: int, at: int) -> None:
        match fact:
            case ModelAnswered():
                _take_answer(state, fact)
            case ToolCallStarted(call_id):
                state.calls[call_id].is_started = True
            case ToolCallEnded(call_id, content, ending):
                state.end_call(call_id, content, ending)
            case AgentHandedOff(call_id, agent, instructions, tool_choice):
                state.agent, state.instructions, state.tool_choice = agent, instructions, tool_choice
                state.end_call(call_id, _words(f"The agent {agent!r} goes on from here."), CallEnding.HANDED_OFF)
            case OutputRefused(message):
                state.entries.append(Said(message))
                state.repairs += 1
                state.is_answered = False
            case FeedbackTaken(number, message):
                state.entries.append(Said(message))
                state.feedback = number
                state.is_answered = False
            case ConversationCompacted():
                summary: list[Entry] = [Said(fact.message)]
                state.entries[: fact.entries] = summary
                state.left_out += fact.entries
                state.summaries += 1
                state.asked_from, state.kept_from = fact.asked_from, fact.kept_from
                state.add_usage(fact.model, fact.usage)
            case LoopTakenUp(driver):
                state.driver = driver
            case LoopStarted():
                _take_start(state, fact)
                state.started_at = at
            case LoopEnded(output, error, is_cancelled):
                state.output, state.error, state.is_cancelled = output, error, is_cancelled
                state.is_answered = False
                state.ended_at = at
            case _:
                raise InvariantError(f"a loop does not know the fact {type(fact).__name__}")
        state.version = version

    # --- what the engine asks ---------------------------------------------------------------------------------------

    def summary(self, state: LoopState) -> Summary:
        execution = Execution.of(state.stream_id)
        return Summary(
            execution_id=execution.id,
            run_no=execution.run_no,
            name=state.agent,
            status=state.status,
            is_open=state.is_open,
            started_at=state.started_at,
            ended_at=state.ended_at,
        )

    def snapshot(self, state: LoopState) -> bytes:
        return saved(state)


# --- decisions ----------------------------------------------------------------------------------------------------------


def _start(state: LoopState, command: StartLoop) -> Sequence[Fact]:
    if state.version == 0:
        if command.start is None:
            raise CommandRefused(f"the loop {state.stream_id!r} has not begun", hint="say how it begins")
        return (command.start,)
    if not state.is_open:
        raise CommandRefused(f"the loop {state.stream_id!r} has ended", hint="go on in its next run")
    if state.driver == command.driver:
        return ()
    return (LoopTakenUp(command.driver), *(_cut_off(call) for call in state.open_calls if _is_in_doubt(call)))


def _answered(state: LoopState, command: RecordAnswer) -> Sequence[Fact]:
    answer = command.answer
    if state.calls or state.is_answered or state.turns != command.turn:
        raise CommandRefused(f"{state.stream_id!r} waits for no answer of a model")
    refused = [
        ToolCallEnded(call.call_id, _words(call.refusal), CallEnding.REFUSED) for call in answer.calls if call.refusal
    ]
    if not answer.calls:
        if state.has_to_call and answer.finish_reason is not FinishReason.CONTENT_FILTER:
            return (answer, *_without_a_call(state))
        if command.output is None and not command.problems:
            return (answer,)  # somebody looks at it first
        return (answer, *_judged(state, command.output, command.problems))
    repeated = _repeated(state, answer.calls)
    if repeated <= state.max_equal_calls:
        return (answer, *refused)
    if repeated == state.max_equal_calls + 1:
        words = f"you have called exactly this {repeated - 1} times in a row: it is not made again. Do something else, or answer"
        return (
            answer,
            *(ToolCallEnded(call.call_id, _words(words), CallEnding.REFUSED) for call in answer.calls),
        )
    error = AgentLooped(
        f"the agent {state.agent!r} calls the same again and again: {', '.join(call.name for call in answer.calls)[:200]}",
        hint="mend its instructions or the tool's results, or allow more with loop=LoopPolicy(max_equal_calls=…)",
    )
    cut = (ToolCallEnded(call.call_id, _words(_CUT_OFF), CallEnding.INTERRUPTED) for call in answer.calls)
    return (answer, *cut, LoopEnded(error=describe_error(error)))


def _judged(state: LoopState, output: bytes | None, problems: Sequence[str]) -> Sequence[Fact]:
    if not problems:
        return (LoopEnded(output=output),)
    wrong = "\n".join(f"- {problem}" for problem in problems[:MAX_PROBLEMS])
    told = f"That does not have the form asked for:\n{wrong}\nAnswer again, with the mended JSON only."
    error = ModelOutputInvalid(
        f"the answer of {state.agent!r} does not have its form: {'; '.join(problems[:MAX_PROBLEMS])}",
        hint="ask for a simpler form, or another model",
        problems=problems,
    )
    return _given_back(state, told, error)


def _without_a_call(state: LoopState) -> Sequence[Fact]:
    name = tool_choice_of(state.choice)[1]
    what = f"the tool {name!r}" if name else "a tool"
    error = ModelOutputInvalid(
        f"{state.agent!r} has to call {what}, and its model answers in words",
        hint='ask a model that can be made to call tools, or leave it to the model: tool_choice="auto"',
        problems=[f"it calls {what} nowhere"],
    )
    return _given_back(state, f"Call {what} before you answer.", error)


def _given_back(state: LoopState, told: str, error: ModelOutputInvalid) -> Sequence[Fact]:
    """Have the model answer again, or end with the error when it was told often enough."""
    if state.repairs >= state.max_repairs:
        return (LoopEnded(error=describe_error(error)),)
    return (OutputRefused(pack_messages([user(told)])),)


def _compacted(state: LoopState, compacted: ConversationCompacted) -> Sequence[Fact]:
    _demand_no_open_calls(state)
    left = state.entries[compacted.entries :]
    is_first = compacted.entries == 1  # of the first entry something may be left
    if not 0 < compacted.entries <= len(state.entries) or not (isinstance(left[0], Said) if left else is_first):
        raise CommandRefused(
            f"a summary cannot stand for {compacted.entries} of {len(state.entries)} entries of {state.stream_id!r}",
            hint="calls and their results stay together",
        )
    return (compacted,)


def _given_up(state: LoopState, command: EndLoop) -> Sequence[Fact]:
    known = {end.call_id: end for end in command.ends}
    ended = (known.get(call.asked.call_id) or _cut_off(call) for call in state.open_calls)
    return (*ended, LoopEnded(error=command.error, is_cancelled=command.is_cancelled))


def _checked(state: LoopState, end: ToolCallEnded) -> ToolCallEnded:
    _open(state, end.call_id)
    return end


def _open(state: LoopState, call_id: str) -> OpenCall:
    call = state.calls.get(call_id)
    if call is None or call.result is not None:
        raise CommandRefused(f"the call {call_id!r} of {state.stream_id!r} is not open", hint="it has its result")
    return call


def _demand_no_open_calls(state: LoopState) -> None:
    if state.calls:
        raise CommandRefused(f"calls of {state.stream_id!r} are open", hint="when they have ended")


def _is_in_doubt(call: OpenCall) -> bool:
    """Whether nobody can say if the call has happened."""
    return call.is_started and call.asked.is_at_most_once


def _cut_off(call: OpenCall) -> ToolCallEnded:
    words = _NOT_KNOWN if _is_in_doubt(call) else _CUT_OFF
    return ToolCallEnded(call.asked.call_id, _words(words), CallEnding.INTERRUPTED)


def _words(text: str) -> bytes:
    return codec.encode(text)


def _digest(calls: Sequence[AskedCall]) -> str:
    return blake2b("\0".join(sorted(call.digest for call in calls)).encode(), digest_size=16).hexdigest()


def _repeated(state: LoopState, calls: Sequence[AskedCall]) -> int:
    """Return how often in a row exactly these calls are asked for, this time included."""
    digest, times = state.repeated
    return times + 1 if digest == _digest(calls) else 1


# --- folding ------------------------------------------------------------------------------------------------------------


def _take_start(state: LoopState, fact: LoopStarted) -> None:
    state.agent, state.instructions, state.driver, state.parent = (
        fact.agent,
        fact.instructions,
        fact.driver,
        fact.parent,
    )
    state.max_turns, state.max_repairs, state.max_equal_calls = fact.max_turns, fact.max_repairs, fact.max_equal_calls
    state.tool_choice, state.callers = fact.tool_choice, set(fact.callers)
    state.first_turns = fact.turns
    state.turns, state.asked_from, state.kept_from = fact.turns, fact.asked_from, fact.kept_from
    state.entries.append(Said(fact.messages))


def _take_answer(state: LoopState, fact: ModelAnswered) -> None:
    state.entries.append(Said(fact.message))
    state.turns += 1
    state.finish_reason = fact.finish_reason
    state.add_usage(fact.model, fact.usage, fact.lost_usage)
    used = fact.usage if fact.usage is None or fact.lost_usage is None else fact.usage + fact.lost_usage
    state.last_used = (fact.model, used)
    state.is_answered = not fact.calls
    if fact.calls:
        state.repeated = (_digest(fact.calls), _repeated(state, fact.calls))
        state.repairs = 0
        state.calls = {call.call_id: OpenCall(call) for call in fact.calls}
        state.call_ids.update(state.calls)
        if not all(call.refusal for call in fact.calls):
            state.callers.add(state.agent)
