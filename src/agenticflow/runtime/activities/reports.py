"""What suspects report last, kept in the store: so people see how far an attempt came whose process died with it.

Only of tasks that have lost a process already (``orchestration.suspicion``): a write costs as much as a commit. One is on its way at a
time, and what is reported meanwhile goes with the next, so that a handler that reports all the time costs no more than the store takes.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from agenticflow.core.clocks import Clock
from agenticflow.core.context import LAST_REPORTS, LastReport, last_report_key
from agenticflow.errors import AgenticFlowError
from agenticflow.runtime.activities.attempts import Attempt
from agenticflow.storage.store import Store

__all__ = ["LastReports"]

log = logging.getLogger("agenticflow.engine")

KEPT_NANOSECONDS: Final = 90 * 86_400 * 1_000_000_000
"""A letter that nobody decides about for so long is shown without it."""


class LastReports:
    """Follows the suspects among the attempts of this process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}
        """Who writes, or removes, the report of an attempt."""

    def follow(self, attempt: Attempt) -> None:
        """Keep whatever the handler of ``attempt``, which is about to begin, reports from now on."""
        if attempt.context is not None:
            attempt.context.heard = partial(self._heard, attempt)

    def forget(self, attempt: Attempt) -> None:
        """The attempt has ended by itself, and its outcome says what became of it."""
        if attempt.context is not None:
            attempt.context.heard = None
        self._spawn(attempt, self._tasks.get(attempt))

    async def close(self) -> None:
        """Finish what is being written."""
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=5)

    def _heard(self, attempt: Attempt) -> None:
        # From whatever thread, and from one that was given up and still reports when everything else has ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._write_soon, attempt)

    def _write_soon(self, attempt: Attempt) -> None:
        if attempt not in self._tasks and attempt.context is not None and attempt.context.heard is not None:
            self._tasks[attempt] = self._loop.create_task(self._write(attempt))

    def _spawn(self, attempt: Attempt, before: asyncio.Task[None] | None) -> None:
        self._tasks[attempt] = self._loop.create_task(self._remove(attempt, before))

    async def _write(self, attempt: Attempt) -> None:
        written = -1
        try:
            while attempt.context is not None and (said := attempt.context.progress) and said.number > written:
                written, now = said.number, self._clock.now_ns()
                report = LastReport(said.fraction, said.message, attempt.effect.attempt, now)
                await self._store.put_value(
                    LAST_REPORTS,
                    last_report_key(attempt.stream_id, attempt.effect.task_key),
                    msgspec.msgpack.encode(report),
                    now=now,
                    expires_at=now + KEPT_NANOSECONDS,
                )
        except AgenticFlowError as error:
            log.warning("what %s reports is not kept: %s", attempt.effect.task_key, error, extra=attempt.log_fields)
        finally:
            if self._tasks.get(attempt) is asyncio.current_task():
                del self._tasks[attempt]

    async def _remove(self, attempt: Attempt, before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            await self._store.delete_value(LAST_REPORTS, last_report_key(attempt.stream_id, attempt.effect.task_key))
        except AgenticFlowError as error:
            # It is shown with no letter, and goes by itself.
            log.debug("what %s has reported is kept: %s", attempt.effect.task_key, error, extra=attempt.log_fields)
        finally:
            del self._tasks[attempt]
