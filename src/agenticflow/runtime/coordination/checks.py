"""Checks: asks the check function of a handler whether work whose outcome is unknown has happened, and submits what it says.

Off the path of decisions: the answer is a command like a person's, refused when somebody was faster. Asked once per unknown outcome and
life of the process, and never while the handler may still be at work; what a check cannot say is left to a person.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Literal

from agenticflow.core import codec
from agenticflow.core.binding import Check, Handler, RunsIn
from agenticflow.core.clocks import Clock
from agenticflow.core.context import TaskContext
from agenticflow.core.engine import CheckActivity, EffectClass, OutcomeChecked, RunActivity
from agenticflow.core.plain import called
from agenticflow.core.redaction import redact_text
from agenticflow.core.results import NOT_HAPPENED, Happened
from agenticflow.core.types import Blobs
from agenticflow.core.values import store_form
from agenticflow.errors import (
    AgenticFlowError,
    CommandRefused,
    ConcurrencyConflict,
    DefinitionError,
    OutcomeUnknown,
    TemporaryError,
)
from agenticflow.runtime.host import Host

__all__ = ["Checks"]

log = logging.getLogger("agenticflow.engine")

MAX_CHECKS: Final = 8
"""At once."""
MAX_LEFT: Final = 1_000
MAX_WORDS: Final = 300
MAX_RERUNS: Final = 5
"""How often a task may have been run again for a check to have it run again: after that a person looks at it."""
SUBMITS: Final = 20
SUBMIT_AGAIN_SECONDS: Final = 0.2
STOP_SECONDS: Final = 1.0

Key = tuple[str, int]


class Checks:
    """The checks of one process. ``find`` says which handler performs an effect here, ``is_here`` whether an attempt is in work."""

    def __init__(
        self, host: Host, clock: Clock, find: Callable[[RunActivity], Handler | None], is_here: Callable[[Key], bool]
    ) -> None:
        self._host = host
        self._clock = clock
        self._find = find
        self._is_here = is_here
        self._context = contextvars.copy_context()
        self.waiting: dict[Key, CheckActivity] = {}
        """Until the handler has ended, or somebody with a handler is there."""
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._left: dict[Key, str] = {}
        """Why a person has to decide after all, of the last ``MAX_LEFT``."""
        self._turns = asyncio.Semaphore(MAX_CHECKS)
        self._threads: ThreadPoolExecutor | None = None
        self._is_stopping = False

    def ask(self, stream_id: str, effect: CheckActivity) -> None:
        """Have the work checked as soon as that can be done."""
        key = stream_id, effect.of.token
        if self._is_stopping or key in self._running:
            return
        handler = None if self._is_here(key) else self._find(effect.of)
        if handler is None:
            self.waiting[key] = effect
            return
        self.waiting.pop(key, None)
        self._left.pop(key, None)
        if handler.check is None:
            return
        task = asyncio.get_running_loop().create_task(
            self._checked(stream_id, effect.of, handler.check), context=self._context.copy()
        )
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))

    def attempt_ended(self, stream_id: str, token: int) -> None:
        """The handler of an attempt is at work no more."""
        if (effect := self.waiting.get((stream_id, token))) is not None:
            self.ask(stream_id, effect)

    def look_again(self) -> None:
        """There are other handlers than before."""
        for (stream_id, _), effect in list(self.waiting.items()):
            self.ask(stream_id, effect)

    def standing(self, stream_id: str) -> dict[int, str]:
        """Return, by token, how the checks of one execution stand, in words."""
        found = {
            token: f"its check function {words}" for (stream, token), words in self._left.items() if stream == stream_id
        }
        for key in self.waiting:
            if key[0] == stream_id:
                ends = "its handler has ended" if self._is_here(key) else "its handler is registered here"
                found[key[1]] = f"if it has a check function, that is asked as soon as {ends}"
        for stream, token in self._running:
            if stream == stream_id:
                found[token] = "its check function is being asked"
        return found

    def _leave(self, stream_id: str, effect: RunActivity, words: str) -> None:
        """A person has to decide."""
        log.warning(
            "the check function of %r in %r %s; a person has to decide", effect.task_key, stream_id, words[:MAX_WORDS]
        )
        self._left[stream_id, effect.token] = words[:MAX_WORDS]
        if len(self._left) > MAX_LEFT:
            del self._left[next(iter(self._left))]

    async def stop(self) -> None:
        """Ask no more; what is not answered is asked again by the next life."""
        self._is_stopping = True
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=STOP_SECONDS)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _checked(self, stream_id: str, effect: RunActivity, check: Check) -> None:
        try:
            async with self._turns, asyncio.timeout(check.timeout_seconds):
                answer = await self._answer(stream_id, effect, check.handler)
            command = self._command(effect, answer)
        except TimeoutError:
            self._leave(stream_id, effect, f"was not done within {check.timeout_seconds:g} s")
        except Exception as error:  # noqa: BLE001 - whatever a check raises, it says nothing about what it looked for
            self._leave(stream_id, effect, f"failed: {type(error).__name__}: {redact_text(str(error))}")
        else:
            if command is not None:
                await self._submit(stream_id, command, f"{effect.task_key!r} in {stream_id!r}")
            elif answer is NOT_HAPPENED:
                self._leave(stream_id, effect, f"says that it did not happen, in {effect.generation + 1} runs")
            else:
                self._leave(stream_id, effect, "cannot say whether it happened")

    async def _answer(self, stream_id: str, effect: RunActivity, check: Handler) -> object:
        given = await self._host.inputs(stream_id, effect.task_key)
        context = TaskContext(
            workflow_id=given.workflow_id,
            run_no=given.run_no,
            task_id=given.task_id,
            task_key=effect.task_key,
            agent_id=effect.performer_id,
            attempt=effect.attempt,
            generation=effect.generation,
            deadline=None,
            params=given.params,
            results=given.results,
            encoded_input=given.encoded_input,
            feedback=given.feedback,
            # A check looks and changes nothing: tools that must not happen twice are refused to it.
            effect=EffectClass.PURE,
        )
        call = partial(check.function, **check.arguments(check.picked(given.params), context))
        if check.runs_in is RunsIn.LOOP:
            return await call()  # type: ignore[misc]  # RunsIn.LOOP means a coroutine function
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MAX_CHECKS, thread_name_prefix="agenticflow-check")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, contextvars.copy_context().run, called, call)

    def _command(self, effect: RunActivity, answer: object) -> OutcomeChecked | None:
        """Return what is decided; ``None`` leaves it to a person. Raises ``DefinitionError`` for what is no answer."""
        decision: Literal["completed", "run_again"]
        value = codec.NULL
        blobs: Blobs = ()
        if isinstance(answer, Happened):
            decision = "completed"
            value, blobs = store_form(codec.encode(answer.value))
        elif answer is NOT_HAPPENED:
            if effect.generation >= MAX_RERUNS:
                return None
            decision = "run_again"
        elif answer is None:
            return None
        else:
            raise DefinitionError(
                f"it returned {answer!r:.80}", hint="return Happened(value), NOT_HAPPENED, or None when it cannot say"
            )
        return OutcomeChecked(
            now=self._clock.now_ns(),
            task_key=effect.task_key,
            token=effect.token,
            decision=decision,
            value=value,
            checked_by=f"check of {effect.performer_id}",
            blobs=blobs,
        )

    async def _submit(self, stream_id: str, command: OutcomeChecked, what: str) -> None:
        for _ in range(SUBMITS):
            try:
                await self._host.submit(stream_id, command)
            except CommandRefused as refusal:
                log.info("the answer of the check of %s came too late: %s", what, refusal)
                return
            except (ConcurrencyConflict, OutcomeUnknown, TemporaryError) as error:
                if self._host.is_closing:
                    return
                log.warning("cannot record the answer of the check of %s, trying again: %s", what, error)
                await asyncio.sleep(SUBMIT_AGAIN_SECONDS)
            except AgenticFlowError as error:
                log.error("the answer of the check of %s was not recorded: %s", what, error)
                return
            else:
                return
