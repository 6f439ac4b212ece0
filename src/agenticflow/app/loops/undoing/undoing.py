"""What an agent's calls did, undone: each that succeeded by the tool that its own tool names with ``compensate=``, the last first.

It is the built-in task ``undo`` of an agent that asks models, for ``Compensation("clerk", "undo")``. What was called is read from the
events of the loops, so a summary hides nothing of it, and agents that worked as tools are looked into. Each undoing call stands in the
journal of the compensation: another attempt does not make it again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, Final, cast

import msgspec

from agenticflow.agents.asked.agent_tool import AgentTool
from agenticflow.agents.asked.doors import AskedAgent
from agenticflow.agents.loop.facts import (
    KEPT_BACK,
    LOOP_FACTS,
    AgentHandedOff,
    CallEnding,
    LoopStarted,
    ModelAnswered,
    ToolCallEnded,
    ToolCallStarted,
)
from agenticflow.agents.loop.guest import stream_of_loop
from agenticflow.agents.model.parts import ToolCallPart, unpack_messages
from agenticflow.app.loops.place import MAX_DEPTH, MAX_RUNS, Means, nested_id
from agenticflow.app.loops.speakers import Speaker
from agenticflow.core import codec
from agenticflow.core.context import TaskContext, effect_key
from agenticflow.core.decider import Fact
from agenticflow.core.engine import EffectClass
from agenticflow.core.journal import MAX_KEY_CHARS
from agenticflow.core.tools import LOCAL_OWNER, ToolCall, tool_effect_key
from agenticflow.core.values import BlobMissing
from agenticflow.errors import PermanentError
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.state import undo_key
from agenticflow.storage.store import Store
from agenticflow.tools.registry import ToolRegistry, get_tool_registry

__all__ = ["UNDO", "Undoing", "is_undoing"]

UNDO: Final = "undo"
"""The type of the task that undoes."""
PAGE_EVENTS: Final = 500
MAX_NAMED: Final = 10


def is_undoing(task_type: str, context: TaskContext) -> bool:
    """Whether the task is the compensation of another one that undoes its calls."""
    return task_type == UNDO and context.task_key.startswith(undo_key(""))


class _Made(msgspec.Struct, frozen=True):
    """A call that has happened, or may have."""

    stream_id: str
    call_id: str
    name: str
    params: Mapping[str, object]
    text: str
    """What came of it, as a model was shown it."""
    speaker: Speaker
    is_known: bool = True


class Undoing:
    """Undoes calls, in the name of one attempt of a compensation."""

    def __init__(self, means: Means, store: Store, context: TaskContext) -> None:
        self._means = means
        self._store = store
        self._context = context

    async def undo(self, agent: AskedAgent) -> list[dict[str, object]]:
        """Undo what the agent's loops have called for the task that is compensated; return what was undone, by what.

        Raises ``PermanentError`` when the task has no loop, and, after everything else is undone, for calls that no tool undoes any more
        and those of which nobody knows whether they happened; whatever an undoing tool ends with.
        """
        context = self._context
        task_key = context.task_key.removeprefix(undo_key(""))
        run = await self._means.host.read(stream_of(context.workflow_id, context.run_no))
        loop_id = effect_key(context.workflow_id, task_key, run.generation_of(task_key))
        made = [one async for one in self._made(agent, loop_id, 0)]
        if not await self._store.read_page(stream_of_loop(loop_id, 1), 0, 1):
            raise PermanentError(
                f"no calls of agent {agent.agent_id!r} are recorded for task {task_key!r}",
                hint='Compensation(agent, "undo") is for tasks that this agent does by asking its model',
            )
        undone: list[dict[str, object]] = []
        left: list[str] = []
        for one in reversed(made):
            tools = self._who_undoes(one)
            if one.is_known and tools is not None:
                undone.append(await self._undone(one, tools))
            elif one.is_known:
                left.append(f"there is no tool {_undoer_of(one)!r} to undo {one.name} ({one.call_id})")
            else:
                left.append(f"nobody knows whether {one.name} ({one.call_id}) happened")
        if left:
            more = f", and {len(left) - MAX_NAMED} more" if len(left) > MAX_NAMED else ""
            raise PermanentError(
                f"not every call for task {task_key!r} is undone: {'; '.join(left[:MAX_NAMED])}{more}",
                hint="everything else is; undo these by hand if they happened and say 'completed', or give the agent the tool that does it "
                "and say 'run_again'",
            )
        return undone

    # --- what was called --------------------------------------------------------------------------------------------

    async def _made(self, agent: AskedAgent, loop_id: str, depth: int) -> AsyncIterator[_Made]:
        """Yield the calls of tools that can be undone, in the order in which they ended."""
        for run_no in range(1, MAX_RUNS + 1):
            stream_id = stream_of_loop(loop_id, run_no)
            speaker: Speaker | None = None
            asked: dict[str, ToolCallPart] = {}
            started: set[str] = set()
            async for fact in self._facts(stream_id):
                match fact:
                    case LoopStarted(agent=name) | AgentHandedOff(agent=name):
                        speaker = self._means.speakers.find(agent, name)
                    case ModelAnswered(message=message):
                        for one in unpack_messages(await self._value(stream_id, message)):
                            asked.update((part.call_id, part) for part in one.tool_calls)
                    case ToolCallStarted(call_id):
                        started.add(call_id)
                    case ToolCallEnded() if speaker is not None and fact.call_id in asked:
                        part = asked[fact.call_id]
                        tool = speaker.tools.find(part.name)
                        if isinstance(tool, AgentTool) and depth < MAX_DEPTH:
                            async for inner in self._made(tool.agent, nested_id(stream_id, fact.call_id), depth + 1):
                                yield inner
                        elif tool is not None and tool.definition.compensate:
                            is_known = fact.ending is CallEnding.SUCCEEDED
                            if is_known or (fact.ending is CallEnding.INTERRUPTED and fact.call_id in started):
                                yield await self._read(stream_id, fact, part, speaker, is_known=is_known)
                    case _:
                        continue
            if speaker is None:
                return

    async def _read(
        self, stream_id: str, fact: ToolCallEnded, part: ToolCallPart, speaker: Speaker, *, is_known: bool
    ) -> _Made:
        params: Mapping[str, object] = part.arguments
        text = str(codec.decode(await self._value(stream_id, fact.content)))
        if fact.params:
            params = cast("Mapping[str, object]", codec.decode(await self._value(stream_id, fact.params)))
            text = text.partition("\n")[2]  # before it stands that it was called otherwise
        return _Made(stream_id, part.call_id, part.name, params, text, speaker, is_known)

    async def _facts(self, stream_id: str) -> AsyncIterator[Fact]:
        after = 0
        while page := await self._store.read_page(stream_id, after, PAGE_EVENTS):
            for stored in page:
                yield LOOP_FACTS.decode(stored.event_type, stored.data, stored.schema_version)
            after = page[-1].version

    async def _value(self, stream_id: str, data: bytes) -> bytes:
        host = self._means.host
        state = await host.read(stream_id)
        with state.values.gathering():
            while True:
                try:
                    return cast("bytes", state.values.resolve(data))
                except BlobMissing as missing:
                    await host.fetch(stream_id, missing)

    # --- undone -----------------------------------------------------------------------------------------------------

    async def _undone(self, made: _Made, tools: ToolRegistry) -> dict[str, object]:
        name = _undoer_of(made)
        definition = tools.get(name).definition
        call = ToolCall(
            name,
            _params_for(definition.input_schema, made),
            call_id=f"undo-{made.call_id}",
            effect_key=tool_effect_key(made.stream_id, name, made.params, f"undo-{made.call_id}"),
            deadline=self._context.deadline,
            # who let the call be made has let it be undone
            approved_by=f"compensation of {self._context.task_id}",
        )
        key = f"{made.stream_id}:{made.call_id}"
        if len(key) > MAX_KEY_CHARS:
            key = blake2b(key.encode(), digest_size=16).hexdigest()
        is_once = definition.effect is EffectClass.AT_MOST_ONCE
        value = await self._context.journal.call(
            key,
            partial(self._call, call, tools, made),
            effect="at_most_once" if is_once else "idempotent",
            request={"tool": name, "params": call.params},
        )
        return {"call": made.name, "call_id": made.call_id, "undone_by": name, "result": value}

    async def _call(self, call: ToolCall, tools: ToolRegistry, made: _Made) -> object:
        caller = msgspec.structs.replace(LOCAL_OWNER, agent_id=made.speaker.name)
        return (await self._means.pipeline.invoke(call, caller, tools)).unwrap()

    def _who_undoes(self, made: _Made) -> ToolRegistry | None:
        """Return where the tool is that undoes the call, among those of the agent or else of the process; ``None`` when it is nowhere."""
        for tools in (made.speaker.tools, get_tool_registry()):
            if tools.find(_undoer_of(made)) is not None:
                return tools
        return None


def _undoer_of(made: _Made) -> str:
    return made.speaker.tools.get(made.name).definition.compensate


def _params_for(schema: Mapping[str, Any], made: _Made) -> dict[str, object]:
    """Return what the undoing tool takes of what the call was given, and what came of it as ``result``."""
    takes: Mapping[str, Any] = schema.get("properties", {})
    params = {name: value for name, value in made.params.items() if name in takes}
    if "result" in takes and "result" not in made.params and not made.text.startswith(KEPT_BACK):
        params["result"] = made.text
        if takes["result"].get("type") != "string":
            try:
                params["result"] = msgspec.json.decode(made.text.encode())
            except msgspec.DecodeError:
                params["result"] = made.text
    return params
