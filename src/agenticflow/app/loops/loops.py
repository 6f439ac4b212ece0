"""The loops of an engine: performed for tasks, run by themselves, looked at, ended.

A loop's id is the effect key of the task that it works for, so every attempt, of every run of the chain, finds it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar, Unpack, cast

import msgspec

from agenticflow.agents.agent import Agent
from agenticflow.agents.asked.doors import AskedAgent, Conversing, RunOptions
from agenticflow.agents.asked.given import check_options
from agenticflow.agents.loop.conversation import Conversation
from agenticflow.agents.loop.facts import KIND, EndLoop
from agenticflow.agents.loop.guest import LoopGuest
from agenticflow.agents.loop.results import AgentResult, AgentUpdate
from agenticflow.agents.loop.state import LoopState
from agenticflow.agents.model.outputs import Expected
from agenticflow.agents.model.parts import Message, user
from agenticflow.agents.session.session import AgentSession
from agenticflow.agents.spending.purse import Accounts
from agenticflow.app.execution import WorkflowHandle
from agenticflow.app.loops.driver import Driver
from agenticflow.app.loops.place import MAX_DEPTH, Place, Superseded, nested_id, raised
from agenticflow.app.loops.request import PROMPT, Asked, asked_in, params_of
from agenticflow.app.loops.speakers import Speakers
from agenticflow.app.loops.undoing.undoing import Undoing, is_undoing
from agenticflow.app.loops.updates import Subscription, Updates
from agenticflow.core import codec
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.context import TaskContext, effect_key
from agenticflow.core.results import ErrorInfo
from agenticflow.core.values import BlobMissing
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    BudgetExceeded,
    CommandRefused,
    InvalidInput,
    WorkflowExecutionError,
    WorkflowNotFoundError,
)
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.resilience.retry import RetryPolicy
from agenticflow.runtime.host import Host
from agenticflow.storage.store import Store
from agenticflow.tools.execution.pipeline import get_tool_pipeline

__all__ = ["AgentRun", "EngineLoops"]

log = logging.getLogger("agenticflow.engine")

T = TypeVar("T")
TASK: Final = "run"
"""The one task of the workflow that ``Agent.run`` starts."""
STOP_SECONDS: Final = 5.0
GIVE_UP_SECONDS: Final = 60.0
"""How long the end of a loop whose task was told to stop waits for a store that is away; then the next start ends it."""
LOOK_SECONDS: Final = 0.5
QUIET_SECONDS: Final = 60.0
"""How long somebody else who drives a loop may be silent, before it is taken up again."""
DEFAULT_SECONDS: Final = 3_600.0


class Starts(Protocol):
    """What is needed of an orchestrator to run an agent by itself."""

    async def start_workflow(
        self, definition: Any, context: object = None, *, workflow_id: str | None = None
    ) -> WorkflowHandle: ...


class AgentRun:
    """An agent at work that was started by itself: look at it, then ask for the result."""

    def __init__(self, loops: EngineLoops, agent: Agent, handle: WorkflowHandle, updates: Subscription | None) -> None:
        self._loops = loops
        self._agent = agent
        self._handle = handle
        self._updates = updates
        self._ending: asyncio.Task[AgentResult] | None = None
        if updates is not None:
            self._ending = asyncio.ensure_future(self._end())
            self._ending.add_done_callback(_seen)

    @property
    def workflow_id(self) -> str:
        """The run, for whoever wants to look at it or step in."""
        return self._handle.workflow_id

    async def _end(self) -> AgentResult:
        try:
            return await self._loops.result_of(self._agent, self._handle)
        finally:
            if self._updates is not None:
                self._updates.end()

    def __aiter__(self) -> AsyncIterator[AgentUpdate]:
        """Yield what happens until the agent is done. Raises ``BoundExceeded`` for who is too slow; the agent does not wait."""
        if self._updates is None:
            raise InvalidInput("nobody looks at this run", hint="start it with agent.run_stream(…)")
        return aiter(self._updates)

    async def result(self) -> AgentResult:
        """Wait for the end and return what it came to; see ``Agent.run`` for what it raises."""
        return await (asyncio.shield(self._ending) if self._ending is not None else self._end())


class EngineLoops:
    """Drives the loops of agents that are registered with one orchestrator."""

    def __init__(self, host: Host, store: Store, clock: Clock, accounts: Accounts) -> None:
        host.add_guest(LoopGuest())
        self.host = host
        self.clock = clock
        self.speakers = Speakers()
        self.updates = Updates()
        self.pipeline = get_tool_pipeline()
        self.starts: Starts | None = None
        """The orchestrator, once there is one around the engine."""
        self._accounts = accounts
        self._store = store
        self._life = ambient.ids.next_id()
        self._ending: set[asyncio.Task[None]] = set()
        """Ends of loops whose tasks were told to stop."""
        self._awaited: Counter[str] = Counter()
        """Loops whose result somebody here waits for, and how many do."""
        self._results: dict[str, AgentResult] = {}
        self._errors: dict[str, Exception] = {}
        """Of these."""
        self._live: dict[str, tuple[Any, Any]] = {}
        """By workflow that somebody here waits for: the session and the context that it was started with, as objects of this process."""

    # --- tasks ------------------------------------------------------------------------------------------------------

    async def perform(self, agent: AskedAgent, task_type: str, params: Mapping[str, Any], context: TaskContext) -> Any:
        """Work on a task to the end and return the answer, or go on where another attempt stopped."""
        if is_undoing(task_type, context):
            return await Undoing(self, self._store, context).undo(agent)
        asked = asked_in(task_type, params)
        session, shared = self._live.get(context.workflow_id, (None, None))
        if session is None and asked.session_id:
            session = AgentSession(asked.session_id, store=self._store, clock=self.clock)
        return await self._at(agent, asked, session, shared if shared is not None else asked.context, context)

    async def answer(
        self, agent: AskedAgent, query: Any, session: Conversing, shared: Any, context: TaskContext
    ) -> Any:
        """The same for a task that has its conversation and what is shared at hand."""
        return await self._at(agent, asked_in(TASK, {PROMPT: query}), session, shared, context)

    async def _at(
        self, agent: AskedAgent, asked: Asked, session: Conversing | None, shared: Any, context: TaskContext
    ) -> Any:
        of_run = await self._accounts.of_run(context.workflow_id, context.run_no)
        place = Place(
            self,
            context.effect_key,
            asked,
            context,
            self._life,
            parent=(f"workflow-{context.workflow_id}/{context.run_no}", context.task_key),
            shared=shared,
            session=session,
            purse=await of_run.for_task(asked.budget, self.speakers.of(agent).definition.budget, context.effect_key),
        )
        return await self._driven(agent, place)

    async def perform_within(self, agent: AskedAgent, place: Place, call_id: str, prompt: str) -> Any:
        """Drive the loop of ``agent`` as a part of that at ``place``; return its answer."""
        if place.depth >= MAX_DEPTH:
            raise BoundExceeded(
                f"{agent.agent_id!r} would be asked inside of {MAX_DEPTH} agents that ask each other",
                hint="answer without it; agents that are tools of each other need instructions that come to an end",
            )
        loop_id = nested_id(place.stream_id, call_id)
        inner = Place(
            self,
            loop_id,
            Asked(user(prompt)),
            place.context,
            self._life,
            parent=(place.stream_id, call_id),
            shared=place.shared,
            session=None,
            purse=await place.purse.within(self.speakers.of(agent).definition.budget, loop_id),
            path=f"{place.key_of(call_id)}/",
            depth=place.depth + 1,
        )
        return await self._driven(agent, inner)

    async def _driven(self, agent: AskedAgent, place: Place) -> Any:
        try:
            driver, state = await self._to_the_end(agent, place)
        except Exception as error:
            if place.loop_id in self._awaited:
                self._errors[place.loop_id] = error
            await self._remember(place)
            if not isinstance(error, BudgetExceeded):  # somebody may allow more, and have it go on
                await place.close_purses()
            raise
        messages = await driver.messages(state)
        await place.remember(state, messages)
        await place.close_purses()
        if place.loop_id in self._awaited:
            self._errors.pop(place.loop_id, None)
            self._results[place.loop_id] = _result(state, place.context.workflow_id, messages)
        return await place.pure(state, _output)

    async def _to_the_end(self, agent: AskedAgent, place: Place) -> tuple[Driver, LoopState]:
        while True:
            driver = Driver(agent, place)
            try:
                return driver, await driver.run()
            except Superseded:
                await self._elsewhere(place)

    async def _elsewhere(self, place: Place) -> None:
        """Wait until whoever drives the loop now has ended it, or gives no sign of life: then it is taken up here again."""
        version, quiet = -1, 0.0
        while quiet < QUIET_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            self.host.actors.pop(place.stream_id, None)  # what is in memory is behind what is recorded elsewhere
            state = await place.state()
            if not state.is_open:
                return
            quiet = 0.0 if state.version != version else quiet + LOOK_SECONDS
            version = state.version

    async def _remember(self, place: Place) -> None:
        """The loop came to nothing: what was said is kept all the same, so that the conversation goes on from there.

        Not so what a guardrail refused, and what nobody has answered.
        """
        if place.session is None or not place.stream_id:
            return
        try:
            state = await place.state()
            if not state.is_open and place.keeps(state) and state.turns > state.first_turns:
                await place.remember(state, await place.pure(state, Conversation().of))
        except AgenticFlowError as error:
            log.warning("what was said in %s is not in its session: %s", place.stream_id, error)

    # --- agents by themselves -------------------------------------------------------------------------------------------

    async def run(self, agent: Any, prompt: Any, **options: Unpack[RunOptions]) -> AgentResult:
        """See ``Agent.run``."""
        return await (await self._started(agent, prompt, options, is_watched=False)).result()

    async def run_stream(self, agent: Any, prompt: Any, **options: Unpack[RunOptions]) -> AgentRun:
        """See ``Agent.run_stream``."""
        return await self._started(agent, prompt, options, is_watched=True)

    def run_sync(self, run: Callable[[], Awaitable[AgentResult]]) -> AgentResult:
        """Refuse: an agent that is registered with an orchestrator works on that one's event loop."""
        raise InvalidInput(
            "the agent is registered with an orchestrator, which works on an event loop",
            hint="await agent.run(…) there; run_sync is for agents by themselves",
        )

    async def _started(self, agent: Agent, prompt: Any, options: RunOptions, *, is_watched: bool) -> AgentRun:
        assert self.starts is not None, "an engine has an orchestrator around it before agents get at it"
        speaker = self.speakers.of(agent)  # what cannot work is told before anything is recorded
        check_options(options)
        given = params_of(prompt, options)
        speaker.check_choice(asked_in(TASK, given).tool_choice)
        workflow_id = options.get("workflow_id") or f"{agent.agent_id}-{ambient.ids.next_id()}"
        loop_id = effect_key(workflow_id, TASK, 0)
        session, context = options.get("session"), options.get("context")
        if context is not None or not isinstance(session, str | None):
            self._live[workflow_id] = (None if isinstance(session, str) else session, context)
        self._awaited[loop_id] += 1
        updates = self.updates.subscribe(workflow_id) if is_watched else None
        seconds = options.get("timeout_seconds")
        seconds = DEFAULT_SECONDS if seconds is None else seconds
        try:
            definition = _definition_for(agent.agent_id, seconds, tuple(sorted(given)))
            handle = await self.starts.start_workflow(definition, given, workflow_id=workflow_id)
        except BaseException:
            if updates is not None:
                updates.end()
            self._forget(workflow_id, loop_id)
            raise
        return AgentRun(self, agent, handle, updates)

    async def result_of(self, agent: Agent, handle: WorkflowHandle) -> AgentResult:
        """Wait for the end of a run that was started here; return what the agent came to."""
        loop_id = effect_key(handle.workflow_id, TASK, 0)
        try:
            output = cast("Mapping[str, Any]", await handle.result())[TASK]
        except WorkflowExecutionError:
            await self._kept(handle.workflow_id)
            state = await self._last(loop_id)
            if state is not None and state.error is not None and not state.is_cancelled:
                # As it was raised here; after a restart, as it was recorded.
                raise self._errors.get(loop_id) or raised(state.error) from None
            raise
        else:
            kept = self._results.get(loop_id)
            if kept is None:
                state = await self._last(loop_id)
                if state is None:  # retention has let go of it, and not of the run
                    kept = AgentResult(output=None, agent=agent.agent_id, workflow_id=handle.workflow_id)
                else:
                    kept = _result(state, handle.workflow_id, await self._conversation(state))
            return msgspec.structs.replace(kept, output=self._typed(agent, kept.agent, output))
        finally:
            self._forget(handle.workflow_id, loop_id)

    async def _kept(self, workflow_id: str) -> None:
        """Wait a while until what was said in a run that was told to stop is in its session: what is asked next goes on from there."""
        name = _name_of_end(workflow_id)
        ending = {task for task in self._ending if task.get_name() == name}
        if ending:
            await asyncio.wait(ending, timeout=STOP_SECONDS)

    def _forget(self, workflow_id: str, loop_id: str) -> None:
        """One who waited does not any more: with the last of them goes what is kept for them."""
        self._awaited[loop_id] -= 1
        if self._awaited[loop_id] <= 0:
            del self._awaited[loop_id]
            self._live.pop(workflow_id, None)
            self._results.pop(loop_id, None)
            self._errors.pop(loop_id, None)

    def _typed(self, agent: Agent, name: str, output: Any) -> Any:
        expected: Expected[Any] | None = self.speakers.find(agent, name).expected
        return output if expected is None else expected.made(output)

    # --- looking ----------------------------------------------------------------------------------------------------

    async def _last(self, loop_id: str) -> LoopState | None:
        row = await self._store.get_run(loop_id, kind=KIND)
        return None if row is None else cast("LoopState", await self.host.read(row.stream_id))

    async def _conversation(self, state: LoopState) -> list[Message]:
        said = Conversation()
        with state.values.gathering():
            while True:
                try:
                    return list(said.of(state))
                except BlobMissing as missing:
                    await self.host.fetch(state.stream_id, missing)

    async def conversation(self, workflow_id: str, task_key: str = TASK, generation: int = 0) -> list[Message]:
        """Return what was said in the loop that works, or worked, on a task. Raises ``WorkflowNotFoundError`` when there is none."""
        state = await self._last(effect_key(workflow_id, task_key, generation))
        if state is None:
            raise WorkflowNotFoundError(f"no agent has begun to work on {task_key!r} of {workflow_id!r} in a loop")
        return await self._conversation(state)

    # --- ends -------------------------------------------------------------------------------------------------------

    def give_up(self, place: Place) -> None:
        """Have the loop ended and its conversation kept, soon, by somebody who is not cancelled."""
        task = asyncio.create_task(self._given_up(place), name=_name_of_end(place.context.workflow_id))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _given_up(self, place: Place) -> None:
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await place.steadily(lambda: self.host.submit(place.stream_id, place.cancelled()))
                await place.settle_rest()
                await self._remember(place)
        except (AgenticFlowError, TimeoutError) as error:
            log.warning("the loop %s is not ended now: %s", place.stream_id, error)

    async def clear(self) -> int:
        """After a start: end loops whose runs are over, which a crash has left open; return how many."""
        cleared = 0
        while ended := await self._clear():
            cleared += ended  # those that worked as a call of these are next
        return cleared

    async def _clear(self) -> int:
        cleared = 0
        after: str | None = None
        while rows := await self._store.list_runs(kind=KIND, is_open=True, after=after, limit=1_000):
            after = rows[-1].stream_id
            for row in rows:
                state: LoopState = await self.host.read(row.stream_id)
                if state.is_open and not await self._is_wanted(state):
                    with suppress(CommandRefused):  # it has ended in this moment, and its run with it
                        await self.host.submit(state.stream_id, _orphaned(state, self.clock.now_ns()))
                        cleared += 1
        return cleared

    async def _is_wanted(self, state: LoopState) -> bool:
        if state.parent is None:
            return True
        try:
            parent = await self.host.read(state.parent[0])
        except WorkflowNotFoundError:
            return False
        return bool(parent.is_open)

    async def close(self) -> None:
        """Finish what is being ended; let go of models."""
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=STOP_SECONDS)
        for task in self._ending:
            task.cancel()
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=1)
        self.updates.close()
        await self.speakers.close()


def _name_of_end(workflow_id: str) -> str:
    return f"end of {workflow_id}"


def _seen(task: asyncio.Task[Any]) -> None:
    """Whoever asks for the result is told of the error; nobody has to."""
    if not task.cancelled():
        task.exception()


def _result(state: LoopState, workflow_id: str, messages: Sequence[Message]) -> AgentResult:
    return AgentResult(
        output=None,
        agent=state.agent,
        workflow_id=workflow_id,
        messages=tuple(messages[state.asked_from :]),
        turns=state.turns,
        usage=state.tokens,
        finish_reason=state.finish_reason,
    )


def _output(state: LoopState) -> Any:
    return None if state.output is None else codec.decode(state.values.resolve(state.output))


def _orphaned(state: LoopState, now: int) -> EndLoop:
    error = ErrorInfo("TaskCancelled", "the run that it worked for is over", "cancelled")
    return EndLoop(now=now, driver=state.driver, error=error, is_cancelled=True)


@lru_cache(maxsize=256)
def _definition_for(agent_id: str, seconds: float, given: tuple[str, ...]) -> WorkflowDefinition:
    """Return the workflow of one task for the agent. Its loop has retries of its own for models and tools: the task is tried twice more."""
    task = TaskDefinition(
        TASK,
        agent_id,
        TASK,
        params={name: f"${{input.{name}}}" for name in given},
        timeout_seconds=seconds,
        # an answer without its form was given back already
        retry_policy=RetryPolicy(max_attempts=3, permanent_errors=("ModelOutputInvalid",)),
    )
    return WorkflowDefinition([task], name=f"agent-{agent_id}")
