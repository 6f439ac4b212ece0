"""Handlers that run in processes of their own: spawned, reused, told to terminate, then killed.

A child owns no store and exits when its parent is gone. It leads a session of its own, so that what its handlers start is told to stop and
killed with it: ``TERM`` to all of them, ``KILL`` after a grace, or at once when the parent has died. What goes in and out is encoded by the
one codec; multiprocessing only starts the interpreter. The function is found by module and name, so it must stand at the top level of a
module.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.binding import Handler
from agenticflow.core.context import TaskContext
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind, describe_error
from agenticflow.errors import NotSerializable, ResourceLimitExceeded, TaskTimeout, UsageError
from agenticflow.runtime.activities.restraints import bounds_of, enter_child, restrained

__all__ = ["ProcessPool"]

KILL_AFTER_SECONDS: Final = 5.0
EXIT_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.02
"""How often one looks whether what was told to terminate is gone."""


class _Call(msgspec.Struct):
    module: str
    name: str
    handler: str
    params: dict[str, object]
    values: dict[str, object]
    """What else the handler looks up: results and keys of the input."""


class _Child:
    """One spawned interpreter and the pipe to it. Its methods block: they are called in the pool's threads."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self.process: SpawnProcess = spawn.Process(
            target=_serve, args=(theirs,), daemon=True, name="agenticflow-worker"
        )
        self.process.start()
        theirs.close()

    def call(self, request: bytes) -> Outcome:
        """Return how the handler ended; a child that dies on the way gives ``UNKNOWN``."""
        try:
            self._pipe.send_bytes(request)
            return msgspec.msgpack.decode(self._pipe.recv_bytes(), type=Outcome)
        except (EOFError, OSError):
            self.process.join(EXIT_SECONDS)
            code = self.process.exitcode
            message = f"the process of the handler ended with exit code {code}"
            if code == -signal.SIGXCPU:
                message += ", because it went on after its processor time was used up"
            return Outcome(OutcomeKind.UNKNOWN, error=ErrorInfo("ProcessDied", message, kinds=("ProcessDied",)))

    def terminate(self) -> None:
        """TERM now, KILL when that did not help: to the process and to what its handlers have started."""
        self._signal(signal.SIGTERM)
        for _ in range(round(KILL_AFTER_SECONDS / LOOK_SECONDS)):
            if self.process.is_alive():
                self.process.join(LOOK_SECONDS)
            elif self._signal(0):
                time.sleep(LOOK_SECONDS)
            else:
                return
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """End an idle child: it exits when its pipe closes, and takes with it what its handlers have left behind."""
        self._pipe.close()
        self.process.join(EXIT_SECONDS)
        if self._signal(0):
            self.terminate()

    def _signal(self, number: int) -> bool:
        """Send to all of the session, with 0 nothing; return whether anybody is there."""
        pid = self.process.pid
        assert pid is not None  # it was started
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
                return True
        # Nothing is left, or the interpreter has not come so far yet.
        if not self.process.is_alive():
            return False
        if number:
            (self.process.terminate if number == signal.SIGTERM else self.process.kill)()
        return True


class ProcessPool:
    """At most one child per core, started when first needed."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit or os.cpu_count() or 1
        """How many calls the caller may make at once."""
        self._idle: list[_Child] = []
        self._threads: ThreadPoolExecutor | None = None

    async def run(
        self, handler: Handler, params: dict[str, object], values: dict[str, object], kill: asyncio.Future[None]
    ) -> Outcome:
        """Call ``handler`` with ``params``, and ``values`` to look up, in a child. When ``kill`` is done first, the child
        is terminated and the outcome is ``UNKNOWN``; when the function's own time limit passes first, it is ``TIMED_OUT``.
        Raises ``NotSerializable`` for values that cannot go there."""
        function = handler.function
        call = _Call(function.__module__, getattr(function, "__qualname__", handler.name), handler.name, params, values)
        request = codec.encode(call)
        loop = asyncio.get_running_loop()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(2 * self.limit, thread_name_prefix="agenticflow-process")
        threads = self._threads
        try:
            child = self._idle.pop()  # asked for, not looked at: calls by hand come from several threads
        except IndexError:
            child = await loop.run_in_executor(threads, _Child)
        running = loop.run_in_executor(threads, child.call, request)
        bounds = bounds_of(function)
        limit = bounds.timeout_seconds if bounds is not None else None
        is_late = is_told = False
        try:
            waited: set[asyncio.Future[Any]] = {running, kill}
            await asyncio.wait(waited, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            is_late = not running.done() and not kill.done()
        finally:
            if not running.done():
                is_told = True
                threads.submit(child.terminate)
        outcome = await running
        is_unknown = outcome.kind is OutcomeKind.UNKNOWN
        if is_unknown or (outcome.error is not None and outcome.error.code == ResourceLimitExceeded.code):
            if not is_told:
                threads.submit(
                    child.terminate
                )  # what it had taken or started may still be there: not for the next call
        elif child.process.is_alive() and not is_told:
            self._idle.append(child)
        if is_late and is_unknown:
            late = TaskTimeout(f"{handler.name!r} was not done within its bound of {limit:g} s, and was killed")
            return Outcome(OutcomeKind.TIMED_OUT, error=describe_error(late))
        return outcome

    def close(self) -> None:
        """End all idle children."""
        for child in self._idle:
            child.close()
        self._idle.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None


def _serve(pipe: Connection) -> None:
    """Main of a child: answer calls until the pipe closes."""
    enter_child()
    if sys.platform != "win32":
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()
    handlers: dict[tuple[str, str], Handler] = {}
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe: that is how a child is told to go
        while True:
            call = msgspec.msgpack.decode(pipe.recv_bytes(), type=_Call)
            pipe.send_bytes(codec.encode(_answer(call, handlers)))
    if sys.platform != "win32":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)  # what handlers have left behind


def _exit_with(sentinel: Any) -> None:
    wait([sentinel])
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)  # nobody is left who would do it after a grace
    os._exit(1)


def _answer(call: _Call, handlers: dict[tuple[str, str], Handler]) -> Outcome:
    try:
        handler = handlers.get((call.module, call.name))
        if handler is None:
            target: Any = importlib.import_module(call.module)
            for part in call.name.split("."):
                target = getattr(target, part)
            target = getattr(target, "function", target)
            handler = handlers[call.module, call.name] = Handler(target, name=call.handler)
        with restrained(bounds_of(handler.function), call.handler):
            value = handler.function(**handler.arguments(call.params, _context_of(call)))
            if inspect.iscoroutine(value):
                value = asyncio.run(value)
            encoded = codec.encode(value)
        return Outcome(OutcomeKind.SUCCEEDED, value=encoded)
    except (UsageError, NotSerializable, ResourceLimitExceeded) as error:
        return Outcome(OutcomeKind.FAILED, error=describe_error(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a handler raises is its outcome
        return Outcome(OutcomeKind.FAILED, error=describe_error(error, trace=traceback.format_exc(limit=-8)))


def _context_of(call: _Call) -> TaskContext:
    """Stands in for the context of the attempt, which stays where the engine is."""
    return TaskContext(
        workflow_id="",
        run_no=0,
        task_id=call.handler,
        task_key=call.handler,
        agent_id="",
        attempt=0,
        generation=0,
        deadline=None,
        params=call.params,
        results=call.values,
        encoded_input=codec.NULL,
    )
