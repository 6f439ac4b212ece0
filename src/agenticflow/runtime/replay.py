"""Replay: the state of an execution at any of its versions, and views folded from the whole log, both from the events alone.

Reads only, in pages, and keeps nothing: what is being decided, snapshots and the state in memory have no part in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from agenticflow.core.engine import Guest
from agenticflow.core.events import EventPredicate, RecordedEvent
from agenticflow.core.values import Values
from agenticflow.errors import InvalidInput, WorkflowNotFoundError
from agenticflow.runtime.loading import Loader
from agenticflow.storage.event_store import decode_event
from agenticflow.storage.store import Store

__all__ = ["project", "state_at"]

V = TypeVar("V")
PAGE_EVENTS: Final = 1_000


async def state_at(store: Store, guest: Guest[Any], stream_id: str, version: int | None = None) -> Any:
    """Return the state of the execution after event ``version`` of its stream (from 1), by default after the last.

    Raises ``WorkflowNotFoundError`` when there is no such stream, ``InvalidInput`` when it has not so many events, ``CorruptStore``
    when one of them, or a value it refers to, cannot be read.
    """
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 1):
        raise InvalidInput(f"{version!r:.80} is no version of {stream_id!r}", hint="give a whole number, from 1")
    state = guest.initial(stream_id)
    state.values = Values()
    at = await Loader(store, state.values).fold(guest, state, stream_id, upto=version)
    if not at:
        raise WorkflowNotFoundError(
            f"there is no {stream_id!r} in this store", hint="`agenticflow runs list` shows what there is"
        )
    if version is not None and at != version:
        raise InvalidInput(f"{stream_id!r} has {at:,} events, there is no version {version:,}")
    return state


async def project(
    store: Store,
    initial: V,
    fold: Callable[[V, RecordedEvent], V],
    *,
    predicate: EventPredicate | None = None,
    upto_position: int | None = None,
) -> tuple[V, int]:
    """Fold every matching event of the store into a view; return it, and the position up to which it is complete.

    ``fold(view, event)`` returns the next view and must be pure: run again it gives the same. To keep a view current, subscribe a bus
    from the position that is returned.
    """
    position = upto_position if upto_position is not None else await store.last_position()
    view, after = initial, 0
    while page := await store.scan_page(after, PAGE_EVENTS, predicate):
        for event in (decode_event(stored, store.schemas) for stored in page if stored.position <= position):
            if predicate is None or predicate.matches(event):
                view = fold(view, event)
        after = page[-1].position
        if after >= position:
            break
    return view, position
