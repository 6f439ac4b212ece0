"""Deciding a recorded run anew: what was asked of it then is asked of today's decider, in that order, and its facts are compared. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agenticflow.app.cassettes import Cassette, CassetteEvent
from agenticflow.app.cassettes.hiding import Hiding
from agenticflow.app.cassettes.spelling import spell
from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact
from agenticflow.core.values import MAX_AT_HAND_BYTES, Values, store_form
from agenticflow.errors import AgenticFlowError, CorruptStore, InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.comparison import Difference, compare_tasks
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.guest import WorkflowGuest, stream_of
from agenticflow.orchestration.plan import Plan
from agenticflow.orchestration.planning.planner import Planners
from agenticflow.orchestration.state import RunState
from agenticflow.testing.cassettes.asked import commands_behind
from agenticflow.testing.cassettes.report import Drift

__all__ = ["compare_definitions", "initial_state", "redecide", "show", "shown"]

GUEST: Final = WorkflowGuest()
MAX_SHOWN_CHARS: Final = 300
SHOWN_FOLLOWING: Final = 3
_OF_DEFINITION: Final = ("definition", "name", "deadline")
"""What of the start follows from the definition alone; that another was given is told on its own."""


def initial_state(cassette: Cassette, guest: WorkflowGuest = GUEST) -> RunState:
    """Return the state before the first event, with all large values at hand."""
    first = cassette.events[0].fact
    name = first.workflow_id if isinstance(first, f.WorkflowStarted) else cassette.workflow_id
    state = guest.initial(stream_of(name, cassette.run_no))
    state.values = Values(MAX_AT_HAND_BYTES)
    for name, data in cassette.blobs.items():
        state.values.put(name, data)
    return state


def show(value: object) -> Any:
    """Return a decoded value as it is compared and told: secrets hidden as they are in the cassette, also those of today."""
    return spell(Hiding().hide(value))


def redecide(cassette: Cassette, plan: Plan | None, planners: Planners | None = None) -> tuple[int, Drift | None]:
    """Return how many events were decided the same, and the first that was not. ``plan`` is decided by instead of the recorded one;
    ``planners`` know the function of a workflow as code.

    Raises ``InvalidInput``, ``CorruptStore`` and ``BlobMissing`` for a cassette that no run can have left behind.
    """
    state, events = initial_state(cassette, WorkflowGuest(planners)), cassette.events
    start: c.StartRun | None = None
    at = 0
    while at < len(events):
        commands = list(commands_behind(state, events, at))
        if not commands:
            event = events[at]
            raise InvalidInput(
                f"the cassette is damaged: event {event.version}, {event.event_type!r}, does not come of {event.cause!r:.50}",
                hint="export the run again",
            )
        if plan is not None and start is None and isinstance(commands[0], c.StartRun):
            stored, blobs = store_form(plan.encoded)
            for blob in blobs:
                state.values.put(*blob)
            start = msgspec.structs.replace(commands[0], definition=stored)
            commands = [start]
        ignored = _OF_DEFINITION if at == 0 and plan is not None else ()
        command = _likeliest(state, commands, events, at)
        count, drift = _compare(state, command, events, at, ignored)
        at += count
        if drift is not None:
            return at, drift
    return at, None


def _likeliest(state: RunState, commands: Sequence[Command], events: Sequence[CassetteEvent], at: int) -> Command:
    if len(commands) > 1:
        for command in commands:
            try:
                facts = GUEST.decide(state, command)
            except AgenticFlowError:
                continue
            if facts and all(_said(fact) == _said(event.fact) for fact, event in zip(facts, events[at:], strict=False)):
                return command
    return commands[0]


def _compare(
    state: RunState,
    command: Command,
    events: Sequence[CassetteEvent],
    at: int,
    ignored: Sequence[str],
) -> tuple[int, Drift | None]:
    """Decide ``command`` and what follows, as the engine does; return how many facts are as recorded, and the first that is not."""
    count = 0
    facts: Sequence[Fact] | None = None
    while True:
        try:
            facts = GUEST.decide(state, command) if facts is None else GUEST.advance(state, command.now)
        except CorruptStore:
            raise
        except AgenticFlowError as error:
            return count, _drift(events, at + count, str(show(f"{type(error).__name__}: {error.message}")), ())
        if not facts:
            if state.planner is not None and (words := state.planner.waits_for(state.stream_id)) is not None:
                return count, _drift(events, at + count, words, ())
            # The first fact was caused by the command, so there is one.
            return count, None if count else _drift(events, at, "nothing", ())
        for place, fact in enumerate(facts):
            event = events[at + count] if at + count < len(events) else None
            decided = _as_given(fact, event.fact) if event is not None else fact
            if event is None or _said(decided, ignored) != _said(event.fact, ignored):
                return count, _drift(events, at + count, decided, facts[place + 1 :], ignored)
            GUEST.evolve(state, decided, event.version, event.at)
            count += 1


def _as_given(fact: Fact, recorded: Fact) -> Fact:
    """Of an answer that the run added to only the fingerprint was recorded: that is not decided anew."""
    given = getattr(recorded, "given", None)
    return msgspec.structs.replace(fact, given=given) if given is not None and type(fact) is type(recorded) else fact


def _said(fact: Fact, ignored: Sequence[str] = ()) -> Any:
    payload = codec.decode(GUEST.codec.encode(fact))
    if isinstance(payload, dict):
        # What an older release left out is null today.
        payload = {name: value for name, value in payload.items() if name not in ignored and value is not None}
    return {fact.event_type: show(payload)}


def _drift(
    events: Sequence[CassetteEvent],
    at: int,
    now: Fact | str,
    rest: Sequence[Fact],
    ignored: Sequence[str] = (),
) -> Drift:
    """Return that ``now``, a fact or why there is none, is decided where another event is recorded, or none."""
    recorded = [event.fact for event in events[at : at + 1 + SHOWN_FOLLOWING]]
    key = next((str(key) for one in [*recorded[:1], now] if (key := getattr(one, "task_key", None))), "")
    follows = [f"then recorded: {_named(one)}" for one in recorded[1:]]
    follows += [f"then now: {_named(one)}" for one in rest[:SHOWN_FOLLOWING]]
    then = _said(recorded[0], ignored) if recorded else "nothing more"
    said = now if isinstance(now, str) else _said(now, ignored)
    if isinstance(now, Fact) and recorded and type(now) is type(recorded[0]):
        then, said = _without_equals(now.event_type, then, said)
    before, after = (one if isinstance(one, str) else shown(_without_trace(one)) for one in (then, said))
    return Drift(at + 1, key, "decision", before, after, tuple(follows))


def _without_trace(said: Any) -> Any:
    """Leave out of a payload where an error came from: it would leave no room for the rest."""
    return {
        event_type: {
            name: {part: words for part, words in value.items() if part not in ("trace", "kinds")}
            if name == "error" and isinstance(value, dict)
            else value
            for name, value in payload.items()
        }
        for event_type, payload in said.items()
    }


def _without_equals(event_type: str, left: Any, right: Any) -> tuple[Any, Any]:
    """Leave out of two payloads what is equal in both, but the key of the task."""
    mine, theirs = left[event_type], right[event_type]
    other = {name for name in {*mine, *theirs} if mine.get(name, ...) != theirs.get(name, ...)} | {"task_key"}
    return tuple({event_type: {name: one[name] for name in one if name in other}} for one in (mine, theirs))  # type: ignore[return-value]  # two of them


def _named(fact: Fact) -> str:
    return f"{fact.event_type} {getattr(fact, 'task_key', '')}".rstrip()


def shown(said: Any) -> str:
    """Return what a shower made of a value, short enough for a line."""
    text = json.dumps(said, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"


# --- definitions --------------------------------------------------------------------------------------------------------


def compare_definitions(left: WorkflowDefinition, right: WorkflowDefinition) -> list[Difference]:
    """Return how two definitions differ, secrets hidden: the workflow's own fields first, then task by task."""
    left, right = _shareable(left), _shareable(right)
    found: list[Difference] = []
    for field in msgspec.structs.fields(WorkflowDefinition):
        mine, theirs = getattr(left, field.name), getattr(right, field.name)
        if field.name != "tasks" and mine != theirs:
            found.append(Difference("", field.name, repr(mine)[:MAX_SHOWN_CHARS], repr(theirs)[:MAX_SHOWN_CHARS]))
    tasks, others = ({task.task_id: task for task in one.tasks} for one in (left, right))
    for task_id in dict.fromkeys([*tasks, *others]):
        found.extend(compare_tasks(tasks.get(task_id), others.get(task_id)))
    return found


def _shareable(definition: WorkflowDefinition) -> WorkflowDefinition:
    hiding = Hiding()
    hiding.keeps_references = True
    return msgspec.msgpack.decode(hiding.hide_encoded(definition.encoded(), ""), type=WorkflowDefinition)
