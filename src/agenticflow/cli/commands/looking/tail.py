"""``agenticflow events tail``: the latest events of the whole store, and those to come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from agenticflow.cli.access import reading
from agenticflow.cli.commands.runs import demand_run, event_detail, event_json
from agenticflow.cli.exits import Exit
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, moment, print_json, printable
from agenticflow.core.events import RecordedEvent
from agenticflow.errors import InvalidInput
from agenticflow.storage.event_store import decode_event
from agenticflow.storage.store import Store

__all__ = ["tail"]

PAGE: Final = 1_000
LOOK_SECONDS: Final = 0.2
WIDEN: Final = 4
"""Positions have gaps, and patterns leave events out: when a stretch has too few, one so many times as long is looked at."""


def tail(
    patterns: Sequence[str], *, workflow_id: str | None, count: int, follows: bool, store: str | None, form: Format
) -> int:
    """Print the last ``count`` events that match, and with ``follows`` those to come until somebody interrupts."""
    for pattern in patterns:
        if not pattern.strip():
            raise InvalidInput(f"{pattern!r} is no pattern", hint="write --type 'task_*', or --type order.placed")
    return run_async(_tail(store, _Wanted(patterns, workflow_id), count, follows, form))


class _Wanted:
    """Which events are shown."""

    def __init__(self, patterns: Sequence[str], workflow_id: str | None) -> None:
        self._patterns = patterns
        self.workflow_id = workflow_id
        self._stream = None if workflow_id is None else f"workflow-{workflow_id}/"

    def has(self, event_type: str, stream_id: str) -> bool:
        if self._stream is not None and not stream_id.startswith(self._stream):
            return False
        return not self._patterns or any(fnmatchcase(event_type, pattern) for pattern in self._patterns)


async def _tail(url: str | None, wanted: _Wanted, count: int, follows: bool, form: Format) -> int:
    async with reading(url) as (orchestrator, store):
        if wanted.workflow_id is not None:
            await demand_run(orchestrator, wanted.workflow_id)
        position = await store.last_position()
        for event in await _latest(store, wanted, count, position):
            _print(event, form)
        while follows:
            while page := await store.scan_page(position, PAGE):
                for stored in page:
                    if wanted.has(stored.event_type, stored.stream_id):
                        _print(decode_event(stored, store.schemas), form)
                position = page[-1].position
            await asyncio.sleep(LOOK_SECONDS)
    return Exit.OK


async def _latest(store: Store, wanted: _Wanted, count: int, last: int) -> list[RecordedEvent]:
    """Return the last ``count`` matching events up to ``last``: looked for from the end, in ever longer stretches."""
    if count == 0:
        return []
    length = max(count, PAGE)
    while True:
        start = max(last - length, 0)
        found: deque[RecordedEvent] = deque(maxlen=count)
        after = start
        while after < last and (page := await store.scan_page(after, PAGE)):
            for stored in page:
                if stored.position <= last and wanted.has(stored.event_type, stored.stream_id):
                    found.append(decode_event(stored, store.schemas))
            after = page[-1].position
        if len(found) == count or start == 0:
            return list(found)
        length *= WIDEN


def _print(event: RecordedEvent, form: Format) -> None:
    if form is Format.JSON:
        print_json({"stream_id": event.stream_id, **event_json(event)}, is_line=True)
        return
    payload = event.payload
    key = str(payload.get("task_key", payload.get("signal", "")))
    line = f"{event.position:>8}  {moment(event.timestamp)}  {event.stream_id:<30}  {event.event_type:<24}  {key:<16}  "
    print(printable(line + event_detail(payload)).rstrip(), flush=True)
