"""Our run, as Prefect's pages show it: one task run for each task, submitted when ours is scheduled, ended when ours ends.

A reader of the recorded events and nothing else: what it shows late, or not at all, changes nothing of the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, Final, cast

from prefect import allow_failure, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait
from prefect.logging import get_logger
from prefect.states import Cancelled, Completed, Failed, State

from agenticflow.core.events import EventPredicate, RecordedEvent
from agenticflow.orchestration.guest import stream_of
from agenticflow.storage.event_store import EventStore

__all__ = ["Mirror"]

log = get_logger("agenticflow")

MAX_SHOWN: Final = 1_000
"""Task runs of one flow run: each takes Prefect some hundredths of a second and a thread while it is open."""
LAST_SECONDS: Final = 60.0
"""For Prefect to record what has ended, after our run has."""

Ending = Callable[[], State[None]]
"""Makes the last state of a task run, in its thread: one that is older than the state that says it runs is passed over by Prefect."""

_BEGINS: Final = frozenset({"task_scheduled", "timer_set", "signal_awaited", "approval_required"})
_CANCELS: Final = frozenset({"task_cancelled"})
_COMPLETES: Final = frozenset({"task_completed", "timer_fired", "approval_granted", "task_result_given"})
_FAILS: Final = frozenset({"task_failed", "approval_rejected"})


class Mirror:
    """Shows the chain of runs of one workflow, from its run ``run_no`` on."""

    def __init__(
        self, store: EventStore, workflow_id: str, run_no: int, dependencies: Mapping[str, Iterable[str]]
    ) -> None:
        self._store = store
        self._workflow_id = workflow_id
        self._run_no = self._first_run = run_no
        self._version = 0
        self._moves_on = False
        self._dependencies = dependencies
        self._endings: dict[str, Future[Ending]] = {}
        self._shown: dict[str, Any] = {}
        self._of_task: dict[str, list[Any]] = {}
        self._left_out = 0

    async def follow(self) -> None:
        """Show what is recorded, and what comes, until cancelled."""
        while True:
            selected = EventPredicate(stream_id=stream_of(self._workflow_id, self._run_no))
            live = cast("AsyncGenerator[RecordedEvent, None]", self._store.stream_events(selected))
            async with aclosing(live) as events:
                async for event in events:
                    self._take(event)
                    if self._moves_on:
                        break
            self._next_run()

    async def finish(self) -> None:
        """Show the rest of what is recorded; what has no end there is cancelled. Waits until Prefect has it, for a minute at most."""
        while True:
            async for event in self._store.read_stream(
                stream_of(self._workflow_id, self._run_no), from_version=self._version + 1
            ):
                self._take(event)
            if not self._moves_on:
                break
            self._next_run()
        self.close("the run ended without it")
        if self._left_out:
            log.warning("%d tasks of %s are not shown: %d are", self._left_out, self._workflow_id, MAX_SHOWN)
        left = await asyncio.to_thread(wait, list(self._shown.values()), timeout=LAST_SECONDS)
        if left.not_done:
            log.warning("Prefect has not recorded the end of %d tasks of %s", len(left.not_done), self._workflow_id)

    def close(self, why: str) -> None:
        """Let no thread wait any more: what is open is shown as cancelled. A second call does nothing."""
        for ending in self._endings.values():
            _set(ending, lambda: Cancelled(message=why))

    def _next_run(self) -> None:
        self._run_no += 1
        self._version = 0
        self._moves_on = False

    def _take(self, event: RecordedEvent) -> None:
        if event.version <= self._version:
            return
        self._version = event.version
        kind, payload = event.event_type, event.payload
        key = str(payload.get("task_key", ""))
        if kind in _BEGINS:
            self._begin(key)
        elif kind in _COMPLETES:
            self._end(key, Completed)
        elif kind in _FAILS:
            why = _words(payload.get("error") or payload.get("reason"))
            self._end(key, lambda: Failed(message=why))
        elif kind in _CANCELS:
            self._end(key, Cancelled)
        elif kind == "tasks_cancelled":
            keys = payload.get("task_keys", ())
            for each in keys if isinstance(keys, (tuple, list)) else ():
                self._end(str(each), Cancelled)
        elif kind == "task_skipped":
            self._begin(key)
            reason = str(payload.get("reason", ""))
            self._end(key, lambda: Completed(name="Skipped", message=reason))
        elif kind == "workflow_continued":
            self._moves_on = True

    def _begin(self, key: str) -> None:
        name = self._name(key)
        if name in self._endings:
            return  # another attempt
        if len(self._endings) >= MAX_SHOWN:
            self._left_out += 1
            return
        ending = self._endings[name] = Future()
        shown = _task_run(key, name, ending).submit(wait_for=self._before(key))
        self._shown[name] = shown
        self._of_task.setdefault(_task_id(key), []).append(shown)

    def _end(self, key: str, ended: Ending) -> None:
        ending = self._endings.get(self._name(key))
        if ending is not None:
            _set(ending, ended)

    def _name(self, key: str) -> str:
        return key if self._run_no == self._first_run else f"{key} of run {self._run_no}"

    def _before(self, key: str) -> list[Any]:
        """Return the task runs of what ``key`` depends on. Whether their failure matters, our run has decided."""
        before = self._dependencies.get(_task_id(key), ())
        return [allow_failure(shown) for task_id in before for shown in self._of_task.get(task_id, ())]


def _task_id(key: str) -> str:
    """Return the id of a task: its key, without what says which item or iteration is meant."""
    return key.partition("[")[0]


def _task_run(key: str, name: str, ending: Future[Ending]) -> Any:
    """Return a task that lasts until there is an ending. There always is one: ``Mirror.close`` brings it."""

    def last() -> State[None]:
        return ending.result()()

    return task(last, name=_task_id(key), task_run_name=lambda: name, cache_policy=NO_CACHE, persist_result=False)


def _set(ending: Future[Ending], ended: Ending) -> None:
    if not ending.done():
        ending.set_result(ended)


def _words(error: object) -> str:
    if isinstance(error, Mapping):
        return f"{error.get('type', 'Error')}: {error.get('message', '')}"
    return str(error or "failed")
