"""Those outside: a client that starts the workflow and sends signals, an operator who answers, somebody who pauses or aborts it.

Between them and the orchestrators lies a network that loses, repeats and delays: they ask again until they are answered, with the same
ids, and remember what they were told, because an acknowledged command has to be in the history.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from agenticflow.app.execution import WorkflowHandle
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.core.decider import Fact
from agenticflow.errors import (
    AgenticFlowError,
    CommandRefused,
    ConcurrencyConflict,
    OutcomeUnknown,
    TemporaryError,
    WorkflowExecutionError,
    WorkflowNotFoundError,
)
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.state import TaskStatus
from agenticflow.testing.crashes.cases import CrashCase, Resolution
from agenticflow.testing.simulation.faults import FaultKind
from agenticflow.testing.simulation.loop import SimulatedLoop
from agenticflow.testing.simulation.process import SimulatedProcess

__all__ = ["WORKFLOW_ID", "Network", "Outside"]

WORKFLOW_ID: Final = "simulated"
PATIENCE_SECONDS: Final = 3.0
AGAIN_SECONDS: Final = 0.3
PAUSE_SECONDS: Final = 2.5
LOOK_SECONDS: Final = 0.02
"""How long it takes the operator to see what is asked."""
Ask = Callable[[Orchestrator], Awaitable[Any]]


class Network(Protocol):
    """The way from outside to an orchestrator."""

    def fate_of_message(self) -> tuple[FaultKind, float] | None:
        """Return what goes wrong with the next message, and by how much."""

    def receiver(self) -> SimulatedProcess | None:
        """Return the process that takes messages now."""

    def tell(self, what: str) -> None:
        """Put it down for the story."""


@dataclass
class _Reply:
    value: object = None
    error: AgenticFlowError | None = None


class Outside:
    """Everybody who is no process."""

    def __init__(self, case: CrashCase, loop: SimulatedLoop, network: Network, context: contextvars.Context) -> None:
        self._case = case
        self._loop = loop
        self._network = network
        self._context = context
        self._tasks: list[asyncio.Task[None]] = []
        self.acknowledged_start = False
        self.acknowledged_signals: set[int] = set()
        """Numbers of those that an orchestrator said it has recorded."""
        self.has_paused = False
        self.has_aborted = False
        self.outcome: object = None
        """What the client was told in the end."""
        self.has_outcome = False

    # --- who does what ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the workflow, send the signals."""
        self._spawn(self._start())

    def begin_again(self) -> None:
        """What was acknowledged may be gone: everybody starts over, with the same ids."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self.acknowledged_start = False
        self.acknowledged_signals.clear()
        self._spawn(self._start())
        if self.has_paused:
            self._spawn(self._go_on())

    def pause(self) -> None:
        """Pause the run, and have it go on later."""
        self.has_paused = True
        self._spawn(self._pause())

    def abort(self) -> None:
        """Abort the run."""
        self.has_aborted = True
        self._spawn(self._abort())

    def observe(self, workflow_id: str, fact: Fact) -> None:
        """The operator is asked something."""
        if isinstance(fact, f.TaskOutcomeUnknown):
            self._spawn(self._resolve(workflow_id, fact.task_key))
        elif isinstance(fact, f.ApprovalRequired):
            self._spawn(self._answer(workflow_id, fact.task_key))

    def fetch_outcome(self) -> None:
        """The run has ended: learn how."""
        self._spawn(self._fetch_outcome())

    async def _start(self) -> None:
        case = self._case
        await self.ask("start", lambda o: o.start_workflow(case.definition, case.input, workflow_id=WORKFLOW_ID))
        self.acknowledged_start = True
        for name in dict.fromkeys(signal.name for signal in case.signals):
            self._spawn(self._signals(name))

    async def _signals(self, name: str) -> None:
        """Send the signals of a name one after the other: whoever takes them takes them in order."""
        mine = [(number, signal) for number, signal in enumerate(self._case.signals) if signal.name == name]
        begun = self._loop.time()
        for number, signal in sorted(mine, key=lambda one: one[1].after_seconds):
            await asyncio.sleep(begun + signal.after_seconds - self._loop.time())
            send = partial(_send_signal, name=name, value=signal.value, signal_id=f"{name}-{number}")
            sent = await self.ask(f"signal {name}", send)
            if sent.error is None:
                self.acknowledged_signals.add(number)

    async def _resolve(self, workflow_id: str, task_key: str) -> None:
        """Say what became of it, until somebody hears it: a run that is told to end takes no answer before it has stopped."""
        is_unknown = True
        while is_unknown:
            await asyncio.sleep(LOOK_SECONDS)
            said = self._case.resolve(task_key)
            resolve = partial(_resolve, workflow_id=workflow_id, task_key=task_key, value=said.value)
            reply = await self.ask(f"resolve {task_key}", partial(resolve, decision=said.decision))
            if said.decision == "run_again" and "is being undone" in str(reply.error):
                # It has not happened, and will not.
                reply = await self.ask(f"resolve {task_key}", partial(resolve, decision="failed"))
            if reply.error is None:
                return
            await asyncio.sleep(AGAIN_SECONDS)
            still = await self.ask(
                f"look at {task_key}", partial(_is_unknown, workflow_id=workflow_id, task_key=task_key)
            )
            is_unknown = still.value is True

    async def _answer(self, workflow_id: str, task_key: str) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        said = self._case.answer(task_key) if self._case.answer is not None else Resolution("approved")
        if said.decision == "approved":
            await self.ask(f"approve {task_key}", lambda o: o.approve(workflow_id, task_key, value=said.value))
        else:
            await self.ask(f"reject {task_key}", lambda o: o.reject(workflow_id, task_key))

    async def _pause(self) -> None:
        await self.ask("pause", lambda o: o.pause(WORKFLOW_ID))
        await asyncio.sleep(PAUSE_SECONDS)
        await self._go_on()

    async def _go_on(self) -> None:
        await self.ask("resume", lambda o: o.resume(WORKFLOW_ID))

    async def _abort(self) -> None:
        await self.ask("abort", lambda o: o.abort(WORKFLOW_ID, "enough"))

    async def _fetch_outcome(self) -> None:
        case = self._case

        async def result(orchestrator: Orchestrator) -> object:
            handle = await orchestrator.start_workflow(case.definition, case.input, workflow_id=WORKFLOW_ID)
            return await _outcome_of(handle)

        reply = await self.ask("result", result)
        if not self.has_outcome and reply.error is None:
            self.outcome, self.has_outcome = reply.value, True

    # --- the way there and back ---------------------------------------------------------------------------------------

    async def ask(self, what: str, request: Ask) -> _Reply:
        """Ask until there is an answer; a refusal is one."""
        while True:
            answer: asyncio.Future[_Reply] = self._loop.create_future()
            self._send(what, request, answer)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    reply = await answer
            except TimeoutError:
                continue
            if isinstance(reply.error, TemporaryError | OutcomeUnknown | ConcurrencyConflict | WorkflowNotFoundError):
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if reply.error is not None and not isinstance(reply.error, CommandRefused):
                raise reply.error
            return reply

    def _send(self, what: str, request: Ask, answer: asyncio.Future[_Reply]) -> None:
        fate = self._network.fate_of_message()
        kind, amount = fate or (None, 0.0)
        if kind is not None:
            self._network.tell(f"{kind.value}: {what}")
        if kind is FaultKind.MESSAGE_LOST:
            return
        deliver = partial(self._deliver, request, answer, is_reply_lost=kind is FaultKind.REPLY_LOST)
        self._loop.call_later(amount if kind is FaultKind.DELAYED else 0, deliver)
        if kind is FaultKind.DUPLICATED:
            self._loop.call_later(amount, deliver)

    def _deliver(self, request: Ask, answer: asyncio.Future[_Reply], *, is_reply_lost: bool) -> None:
        process = self._network.receiver()
        if process is not None:
            process.spawn(self._serve(process.orchestrator, request, answer, is_reply_lost=is_reply_lost))

    async def _serve(
        self, orchestrator: Orchestrator, request: Ask, answer: asyncio.Future[_Reply], *, is_reply_lost: bool
    ) -> None:
        try:
            reply = _Reply(await request(orchestrator))
        except AgenticFlowError as error:
            reply = _Reply(error=error)
        if not is_reply_lost:
            # From here on it is on its way, whatever becomes of the process.
            self._loop.call_soon(_arrive, answer, reply, context=self._context)

    def _spawn(self, work: Any) -> None:
        self._tasks.append(self._loop.create_task(work, context=self._context.copy()))


def _arrive(answer: asyncio.Future[_Reply], reply: _Reply) -> None:
    if not answer.done():
        answer.set_result(reply)


async def _resolve(
    orchestrator: Orchestrator, *, workflow_id: str, task_key: str, value: object, decision: str
) -> None:
    await orchestrator.resolve(workflow_id, task_key, decision, value=value)


async def _is_unknown(orchestrator: Orchestrator, *, workflow_id: str, task_key: str) -> bool:
    task = (await orchestrator.get_workflow_state(workflow_id)).tasks.get(task_key)
    return task is not None and task.status is TaskStatus.UNKNOWN


async def _send_signal(orchestrator: Orchestrator, *, name: str, value: object, signal_id: str) -> None:
    await orchestrator.signal(WORKFLOW_ID, name, value, signal_id=signal_id)


async def _outcome_of(handle: WorkflowHandle) -> object:
    try:
        return await handle.result()
    except WorkflowExecutionError as error:
        return (error.status, sorted(error.failed))
