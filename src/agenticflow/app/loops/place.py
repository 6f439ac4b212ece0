"""Where one attempt at a loop works: its stream, its task, its conversation, whoever looks; and how its commands get there."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Any, Final, Protocol, TypeVar

import msgspec

from agenticflow import errors
from agenticflow.agents.asked.agent_tool import tool_name_of
from agenticflow.agents.asked.doors import AskedAgent, Conversing
from agenticflow.agents.loop.facts import AskedCall, EndLoop, LoopCommand, LoopStarted, StartLoop, ToolCallEnded
from agenticflow.agents.loop.items import items_of, messages_of
from agenticflow.agents.loop.results import AgentUpdate
from agenticflow.agents.loop.state import LoopState
from agenticflow.agents.model.parts import Message, ToolCallPart
from agenticflow.agents.session.session import AgentSession
from agenticflow.agents.spending.purse import Purse
from agenticflow.app.loops.request import Asked
from agenticflow.app.loops.speakers import Speaker, Speakers
from agenticflow.app.loops.spending import Claims
from agenticflow.app.loops.updates import Updates
from agenticflow.core import codec
from agenticflow.core.clocks import Clock
from agenticflow.core.context import TaskContext
from agenticflow.core.engine import EffectClass
from agenticflow.core.interrupts import MAX_NAME_CHARS
from agenticflow.core.results import ErrorInfo
from agenticflow.core.types import Blobs
from agenticflow.core.values import BlobMissing
from agenticflow.errors import (
    AgenticFlowError,
    CommandRefused,
    ConcurrencyConflict,
    GuardrailTripwireTriggered,
    OutcomeUnknown,
    PermanentError,
    TemporaryError,
    WorkflowNotFoundError,
)
from agenticflow.resilience.budgets import Budget
from agenticflow.runtime.coordination.steady import asked_until_there
from agenticflow.runtime.host import Host
from agenticflow.tools.execution.pipeline import ToolPipeline

__all__ = ["Means", "Place", "Superseded", "nested_id", "raised"]

log = logging.getLogger("agenticflow.engine")

T = TypeVar("T")
MAX_DOUBTS: Final = 100
MAX_RUNS: Final = 1_000
"""Of one loop: each failed attempt that was made again is one."""
MAX_DEPTH: Final = 20
"""Agents inside of each other, each as a tool of the one before."""
_CUT: Final = "somebody told the task to stop"


class Superseded(Exception):
    """Somebody else drives the loop now: a second engine over the same store, that took this attempt for one of a dead process."""


class Means(Protocol):
    """What all loops of an engine share."""

    @property
    def host(self) -> Host: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def speakers(self) -> Speakers: ...
    @property
    def updates(self) -> Updates: ...
    @property
    def pipeline(self) -> ToolPipeline: ...
    def give_up(self, place: Place) -> None:
        """Have the loop ended and its conversation kept, soon, by somebody who is not cancelled."""

    async def perform_within(self, agent: AskedAgent, place: Place, call_id: str, prompt: str) -> Any:
        """Drive the loop of ``agent`` as a part of that at ``place``; return its answer."""


def nested_id(stream_id: str, call_id: str) -> str:
    """Return the id of the loop that works as a call of another one: equal for all attempts of it.

    A call belongs to one run of the loop. In the next it has its result, and a model may give its id to another.
    """
    return blake2b(f"{stream_id}\0{call_id}".encode(), digest_size=16).hexdigest()


def _budget_name(loop_id: str, agent_id: str) -> str:
    """Return how the budget of an agent in a loop is called: readable, and another for each agent."""
    name = tool_name_of(agent_id)
    return f"{loop_id}-{name}" if name == agent_id else f"{loop_id}-{name}-{nested_id(loop_id, agent_id)[:8]}"


class Place:
    """Where one attempt works."""

    first_run: Final = 1

    def __init__(
        self,
        means: Means,
        loop_id: str,
        asked: Asked,
        context: TaskContext,
        life: str,
        *,
        parent: tuple[str, str],
        shared: Any,
        session: Conversing | None,
        purse: Purse,
        path: str = "",
        depth: int = 0,
    ) -> None:
        self.means = means
        self.host = means.host
        self.speakers = means.speakers
        self.pipeline = means.pipeline
        self.loop_id = loop_id
        self.stream_id = ""
        self.run_no = 0
        self.claims = Claims("", 0)
        """What its calls are claimed as, once it is taken up."""
        self.asked = asked
        self.context = context
        self.parent = parent
        self.shared = shared
        """What tools and instructions see."""
        self.session = session
        self.purse = purse
        """Of who speaks now: that of the loop, or one inside it of an agent that took over and has a budget of its own."""
        purse.steadily = self.steadily
        self._purse_of_loop = purse
        self._inner_purses: dict[str, Purse] = {}
        """Of agents that took over."""
        self.path = path
        """Of a loop inside another: the calls that lead to it, for the keys of questions."""
        self.depth = depth
        """How many loops it is inside of."""
        self.driver = f"{context.run_no}.{context.attempt}:{life}"
        """Says which attempt drives, and in which life of the process."""
        self._read_to: tuple[int, int] | None = None
        """How far its session was read when the loop began."""
        self._end: asyncio.Future[LoopState] | None = None
        self.refused: list[tuple[ToolCallEnded, Blobs]] = []
        """Calls that guardrails ended, and with them the loop; with the large values in that."""
        self._remembered: set[str] = set()
        """Runs of the loop that are in the session."""
        self.has_spoken = False
        """Whether the model was asked already: then the input has passed its guardrails."""

    def now(self) -> int:
        return self.means.clock.now_ns()

    @property
    def is_closing(self) -> bool:
        """Whether the engine stops: what is left open then is taken up after the next start."""
        return self.host.is_closing

    def key_of(self, call_id: str) -> str:
        """Return the key of what people are asked about a call: each call has its own, in every run of the loop and inside others."""
        key = f"{self.path}{call_id}" if self.run_no == self.first_run else f"{self.path}{self.run_no}:{call_id}"
        if len(key) <= MAX_NAME_CHARS:
            return key
        return f"{key[: MAX_NAME_CHARS - 33]}-{blake2b(key.encode(), digest_size=16).hexdigest()}"

    def is_same_attempt(self, driver: str) -> bool:
        """Whether ``driver`` was this attempt, perhaps in an earlier life of the process."""
        return driver.partition(":")[0] == self.driver.partition(":")[0]

    # --- the stream -------------------------------------------------------------------------------------------------

    async def state(self) -> LoopState:
        """Return the state as it is recorded. Not to be kept across an await."""
        end = self._end
        if end is not None and end.done() and not end.cancelled() and end.exception() is None:
            return end.result()
        state: LoopState = await self.steadily(lambda: self.host.read(self.stream_id))
        return state

    def watch_end(self) -> None:
        """Have the state at hand when the loop ends: it leaves memory then, and would have to be read again."""
        self._end = asyncio.get_running_loop().create_future()
        self.host.actors.of(self.stream_id).ended.append(self._end)

    def unwatch_end(self) -> None:
        """Nobody drives the loop here any more."""
        end, self._end = self._end, None
        if end is None:
            return
        if not end.done():
            actor = self.host.actors.get(self.stream_id)
            if actor is not None and end in actor.ended:
                actor.ended.remove(end)
            end.cancel()
        elif not end.cancelled():
            end.exception()  # seen, so that nobody is warned about it

    async def submit(self, command: Callable[..., LoopCommand], **fields: Any) -> None:
        """Have a command decided; return when it is durable. Raises ``Superseded`` when somebody else drives the loop now."""
        doubts: list[AgenticFlowError] = []
        try:
            await self.steadily(
                lambda: self.host.submit(self.stream_id, command(now=self.now(), driver=self.driver, **fields)), doubts
            )
        except CommandRefused as refusal:
            if (await self.state()).driver != self.driver:
                raise Superseded from refusal
            if not any(isinstance(doubt, OutcomeUnknown) for doubt in doubts):
                raise
            # it was recorded the first time: every command is refused when it comes again

    async def has_begun(self) -> bool:
        """Whether this run of the loop is recorded."""
        try:
            await self.steadily(lambda: self.host.read(self.stream_id))
        except WorkflowNotFoundError:
            return False
        return True

    async def start(self, start: LoopStarted | None, blobs: Blobs) -> None:
        """Have the loop begun, or taken up. Raises ``CommandRefused`` when it has ended."""
        await self.steadily(
            lambda: self.host.submit(
                self.stream_id, StartLoop(now=self.now(), driver=self.driver, start=start, blobs=blobs)
            )
        )

    async def steadily(self, ask: Callable[[], Awaitable[T]], doubts: list[AgenticFlowError] | None = None) -> T:
        """Ask the store, again and again while it is away: that delays the attempt, and is no outcome of it.

        The time limit of the attempt ends it, and so does the engine when it stops. ``doubts`` takes down what went wrong meanwhile.
        """

        def doubt(error: AgenticFlowError) -> None:
            if doubts is not None and len(doubts) < MAX_DOUBTS:
                doubts.append(error)

        return await asked_until_there(ask, self.host, self.stream_id or self.loop_id, doubt)

    async def pure(self, state: LoopState, read: Callable[[LoopState], T]) -> T:
        """Return what ``read`` finds in the state; large values that it asks for are fetched."""
        try:
            return read(state)
        except BlobMissing:
            with state.values.gathering():
                while True:
                    try:
                        return read(state)
                    except BlobMissing as missing:
                        await self.host.fetch(self.stream_id, missing)

    async def end(self, error: ErrorInfo) -> None:
        """Record that the loop comes to nothing. What cannot be recorded now is found open, and taken up, later."""
        try:
            blobs = tuple(blob for _, more in self.refused for blob in more)
            await self.submit(EndLoop, error=error, ends=tuple(end for end, _ in self.refused), blobs=blobs)
        except (CommandRefused, ConcurrencyConflict, OutcomeUnknown, Superseded, TemporaryError):
            return  # it has ended, or is another's, or the store is away: then so is the report of the attempt

    def give_up(self) -> None:
        """Somebody told the task to stop: have the loop ended, and the conversation kept."""
        self.means.give_up(self)

    def cancelled(self) -> EndLoop:
        """Return the command that ends the loop of a task that was told to stop."""
        why = self.context.cancel_reason
        said = _CUT if why is None else f"{_CUT}: {why}"
        return EndLoop(
            now=self.now(), driver=self.driver, error=ErrorInfo("TaskCancelled", said, "cancelled"), is_cancelled=True
        )

    # --- what its calls cost ----------------------------------------------------------------------------------------

    @property
    def purses(self) -> tuple[Purse, ...]:
        """All that its calls may have cost, that of the loop last."""
        return (*self._inner_purses.values(), self._purse_of_loop)

    async def spend_as(self, agent_id: str, budget: Budget | str | None) -> None:
        """Have the calls from now on cost the ``budget`` of the agent that took over as well; that of who spoke before rests meanwhile.

        Without one they cost what the loop's calls do. Raises ``InvalidInput`` for the id of a budget that is not there.
        """
        inner = self._inner_purses.get(agent_id)
        if inner is self.purse or (budget is None and self.purse is self._purse_of_loop):
            return
        await self.rest()
        if budget is not None:
            name = _budget_name(self.loop_id, agent_id)
            opened = await self._purse_of_loop.within(budget, name, kind="handoff")
            opened.steadily = self.steadily
            self.purse = self._inner_purses.setdefault(agent_id, opened)

    async def rest(self) -> None:
        """Nobody who took over speaks now: their budgets are closed until they do again."""
        self.purse = self._purse_of_loop
        for purse in self._inner_purses.values():
            await purse.close()

    async def settle_rest(self) -> None:
        """Say of all calls that broke off that nobody knows what they have cost."""
        for purse in self.purses:
            await purse.settle_rest()

    async def close_purses(self) -> None:
        """Nobody spends here any more."""
        for purse in self.purses:
            await purse.close()

    # --- the conversation before and after -----------------------------------------------------------------------------

    async def earlier_messages(self) -> list[Message]:
        """Return what was said in the session before."""
        session = self.session
        if session is None:
            return []
        if isinstance(session, AgentSession):
            mark = session.mark
            self._read_to = await (mark() if self.is_of_others else self.steadily(mark))
        if self.is_of_others:
            return messages_of(await session.get_items())
        return messages_of(await self.steadily(session.get_items))

    async def summarized(self, summary: Message) -> None:
        """Let the summary stand in the session too, for what was read of it: it would have to be made again for each prompt."""
        session, mark = self.session, self._read_to
        if not isinstance(session, AgentSession) or mark is None:
            return
        self._read_to = None
        try:
            await session.let_stand(items_of([summary])[0], mark)
        except AgenticFlowError as error:
            # Somebody has changed it meanwhile; what is recorded of the loop is enough for it.
            log.info("the summary made in %s is not in its session: %s", self.stream_id, error)

    @property
    def is_of_others(self) -> bool:
        """Whether another store keeps the session: when that one is closed, waiting for it may have no end. The task is tried again."""
        return isinstance(self.session, AgentSession) and not self.session.is_kept_in(self.host.store)

    def keeps(self, state: LoopState) -> bool:
        """Whether what was said in a run of the loop that came to nothing is in the session, or will be.

        Not what a guardrail refused; and a draft loses it with the attempt.
        """
        is_refused = state.error is not None and state.error.type == GuardrailTripwireTriggered.__name__
        return isinstance(self.session, AgentSession) and not is_refused

    async def remember(self, state: LoopState, messages: list[Message]) -> None:
        """Add what was asked and came of it to the session, once for each run of the loop, also when it is asked again."""
        session = self.session
        if session is None or state.stream_id in self._remembered:
            return
        self._remembered.add(state.stream_id)
        items = items_of(messages[state.kept_from :])
        if isinstance(session, AgentSession):
            kept, once = session, f"loop-{state.stream_id}"
            add = partial(kept.add_items, items, command_id=once)
            await (add() if self.is_of_others else self.steadily(add))
        elif state.error is None:
            await session.add_items(items)  # a draft: kept with the result of the task

    # --- whoever looks ----------------------------------------------------------------------------------------------

    @property
    def is_watched(self) -> bool:
        """Whether anybody looks."""
        return self.means.updates.are_wanted(self.context.workflow_id)

    def tell(self, update: AgentUpdate) -> None:
        """Show it to whoever looks."""
        if not self.is_watched:
            return
        seen = msgspec.structs.replace(update, task=self.context.task_key)
        self.means.updates.tell(self.context.workflow_id, seen)

    # --- calls ------------------------------------------------------------------------------------------------------

    def asked_call(self, speaker: Speaker, part: ToolCallPart) -> AskedCall:
        """Return what a model asks for, as far as the loop decides about it."""
        refusal = ""
        is_at_most_once = False
        tool = speaker.tools.find(part.name)
        if part.is_malformed:
            refusal = f"the arguments are no JSON object: {part.malformed[:200]!r}. Write them again"
        elif tool is not None:
            is_at_most_once = tool.definition.effect is EffectClass.AT_MOST_ONCE
        elif part.name not in speaker.handoffs:
            known = ", ".join([*speaker.tools.names(), *speaker.handoffs]) or "none"
            refusal = f"there is no tool {part.name!r}; there are: {known}"
        return AskedCall(part.call_id, part.name, _digest(part), is_at_most_once, refusal)


def _digest(part: ToolCallPart) -> str:
    told = codec.encode([part.name, part.arguments, part.malformed], is_canonical=True)
    return blake2b(told, digest_size=16).hexdigest()


def raised(info: ErrorInfo) -> AgenticFlowError:
    """Return the error that ``info`` is the record of: of its own class where that is one of ours."""
    kind = getattr(errors, info.type, None)
    if inspect.isclass(kind) and issubclass(kind, AgenticFlowError):
        with suppress(TypeError):  # for one that needs more than its words
            return kind(info.message, **info.told)
    return (PermanentError if info.is_permanent else TemporaryError)(str(info))
