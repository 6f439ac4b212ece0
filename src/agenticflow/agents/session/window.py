"""The window of a conversation: what a model sees of it, folded from its events, and the decisions about it. Pure.

The window holds the newest items, as many as the last ``add_items`` wanted kept and at most 32 MiB, and never begins with the outcome of
a tool call whose call has left it. Adding depends on nothing, so it never meets a conflict; taking back and summarizing do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from agenticflow.agents.session.facts import (
    SESSION_FACTS,
    AddItems,
    ChangeMetadata,
    ClearSession,
    PopItem,
    SessionCleared,
    SessionItem,
    SessionItemPopped,
    SessionItemsAdded,
    SessionMetadataChanged,
    SessionSummarized,
    SummarizeItems,
)
from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.core.guests import decode_snapshot
from agenticflow.core.values import reference_in
from agenticflow.errors import BoundExceeded, CommandRefused, InvalidInput

__all__ = ["Numbered", "SessionDecider", "SessionWindow", "first_whole", "without_orphans"]

MAX_WINDOW_BYTES: Final = 32 * 1024 * 1024
MAX_METADATA_BYTES: Final = 64 * 1024
MAX_METADATA_KEYS: Final = 100
EVENT_BYTES: Final = 192 * 1024
"""Of items that share an event; a single one is never larger (``core.values.store_form``)."""


class Numbered(NamedTuple):
    """An item of the window."""

    number: int
    """The first item ever added is 1; a summary has the number of the last one that it stands for."""
    data: bytes
    """The item encoded, or the reference to a large one."""
    opens: tuple[str, ...]
    closes: str
    size: int
    """In bytes, also when the item is large and kept apart."""


class _Kept(msgspec.Struct, array_like=True):
    """A window as a snapshot keeps it."""

    items: list[Numbered]
    metadata: dict[str, bytes]
    added: int
    era: int
    summaries: int
    created_at: int
    updated_at: int


class SessionWindow:
    """What is seen of a conversation, and what is known about it. Times in nanoseconds since the epoch."""

    __slots__ = (
        "added",
        "created_at",
        "era",
        "items",
        "metadata",
        "size_bytes",
        "stored_bytes",
        "stream_id",
        "summaries",
        "updated_at",
    )

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.items: list[Numbered] = []
        self.metadata: dict[str, bytes] = {}
        self.added = 0
        """Items ever added; the number of the newest."""
        self.era = 0
        """How often the beginning was replaced: by clearing, or by a summary."""
        self.summaries = 0
        self.created_at = 0
        self.updated_at = 0
        self.size_bytes = 0
        """Of the items in the window, large ones at their real size."""
        self.stored_bytes = 0
        """Of the items as a snapshot has them, large ones as references. Counted along: adding a message asks for it."""

    def replace_items(self, items: list[Numbered]) -> None:
        """Have these in the window from now on."""
        self.items = items
        self.size_bytes = sum(item.size for item in items)
        self.stored_bytes = sum(len(item.data) for item in items)


class SessionDecider:
    """Decides over the stream of one conversation."""

    codec: FactCodec = SESSION_FACTS

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> SessionWindow:
        """Return the window before the first event, or as it was in ``snapshot``. Raises ``CorruptStore``."""
        window = SessionWindow(stream_id)
        if snapshot is not None:
            kept = decode_snapshot(stream_id, snapshot, _Kept)
            window.replace_items(kept.items)
            window.metadata = kept.metadata
            window.added, window.era, window.summaries = kept.added, kept.era, kept.summaries
            window.created_at, window.updated_at = kept.created_at, kept.updated_at
        return window

    def snapshot(self, state: SessionWindow) -> bytes:
        """Return the window in a form ``initial`` takes."""
        return msgspec.msgpack.encode(
            _Kept(
                items=state.items,
                metadata=state.metadata,
                added=state.added,
                era=state.era,
                summaries=state.summaries,
                created_at=state.created_at,
                updated_at=state.updated_at,
            )
        )

    def decide(self, state: SessionWindow, command: Command) -> Sequence[Fact]:
        """Return what becomes true; empty when there is nothing to take back or to clear.

        Raises ``CommandRefused`` when what was summarized is not there any more, ``BoundExceeded`` for too much metadata.
        """
        match command:
            case AddItems():
                return [SessionItemsAdded(items, command.keep) for items in _portions(command.items)]
            case PopItem():
                return [SessionItemPopped()] if state.items else []
            case ClearSession():
                return [SessionCleared()] if state.items else []
            case SummarizeItems():
                if command.era != state.era or not state.items or state.items[-1].number < command.through:
                    raise CommandRefused(
                        f"what was summarized of {state.stream_id!r} was cleared, taken back or summarized meanwhile",
                        hint="nothing was changed; summarize again",
                    )
                return [SessionSummarized(command.summary, command.through)]
            case ChangeMetadata():
                return self._change_metadata(state, command)
            case _:
                raise InvalidInput(
                    f"a session takes no {type(command).__name__}", hint="it takes AddItems, PopItem and the like"
                )

    def advance(self, state: SessionWindow, now: int) -> Sequence[Fact]:
        """Nothing follows by itself."""
        return ()

    def evolve(self, state: SessionWindow, fact: Fact, version: int, at: int) -> None:
        """Take ``fact`` into the window."""
        state.created_at = state.created_at or at
        state.updated_at = at
        match fact:
            case SessionItemsAdded():
                for item in fact.items:
                    state.added += 1
                    added = _numbered(state.added, item)
                    state.items.append(added)
                    state.size_bytes += added.size
                    state.stored_bytes += len(added.data)
                _trim(state, fact.keep)
            case SessionItemPopped():
                taken = state.items.pop()
                state.size_bytes -= taken.size
                state.stored_bytes -= len(taken.data)
            case SessionSummarized():
                rest = [item for item in state.items if item.number > fact.through]
                state.replace_items([_numbered(fact.through, fact.summary), *rest])
                state.era += 1
                state.summaries += 1
            case SessionCleared():
                state.replace_items([])
                state.era += 1
            case _:
                assert isinstance(fact, SessionMetadataChanged)
                _merge(state.metadata, {name: bytes(value) for name, value in fact.values.items()})

    def _change_metadata(self, state: SessionWindow, command: ChangeMetadata) -> Sequence[Fact]:
        after = dict(state.metadata)
        _merge(after, command.values)
        if after == state.metadata:
            return []
        size = sum(len(name.encode()) + len(value) for name, value in after.items())
        if len(after) > MAX_METADATA_KEYS or size > MAX_METADATA_BYTES:
            raise BoundExceeded(
                f"the metadata of {state.stream_id!r} would have {len(after):,} names and {size:,} bytes, the limits are "
                f"{MAX_METADATA_KEYS:,} and {MAX_METADATA_BYTES:,}",
                hint="keep what is large in a memory (agenticflow.MemoryStore) and its key here",
            )
        return [SessionMetadataChanged({name: msgspec.Raw(value) for name, value in command.values.items()})]


def _portions(items: Sequence[SessionItem]) -> Iterator[tuple[SessionItem, ...]]:
    """Yield the items in portions that fit into an event each."""
    portion: list[SessionItem] = []
    size = 0
    for item in items:
        if portion and size + len(bytes(item.data)) > EVENT_BYTES:
            yield tuple(portion)
            portion, size = [], 0
        portion.append(item)
        size += len(bytes(item.data))
    if portion:
        yield tuple(portion)


def without_orphans(items: Sequence[Numbered], cut: int) -> list[Numbered]:
    """Return the items from ``cut`` on without those that need one before it: models refuse the outcome of a call that they do not see."""
    if not cut:
        return list(items)
    lost = {name for item in items[:cut] for name in item.opens}
    whole: list[Numbered] = []
    for item in items[cut:]:
        # Nothing that is needed stands before the first one, and its call may have left before its outcome came.
        if item.closes and (item.closes in lost or not whole):
            lost.update(item.opens)
        else:
            lost.difference_update(item.opens)
            whole.append(item)
    return whole


def first_whole(items: Sequence[Numbered], cut: int) -> int:
    """Return the first place at or after ``cut`` where the items fall into two parts that do not need each other."""
    opened_at: dict[str, int] = {}
    for at, item in enumerate(items):
        opened_at.update(dict.fromkeys(item.opens, at))
        if at >= cut and opened_at.get(item.closes, cut) < cut:
            cut = at + 1
    return cut


def _trim(state: SessionWindow, keep: int) -> None:
    """Let the oldest items leave the window until it is within its bounds."""
    items, size, cut = state.items, state.size_bytes, 0
    while cut < len(items) and (len(items) - cut > keep or size > MAX_WINDOW_BYTES):
        size -= items[cut].size
        cut += 1
    if cut:
        state.replace_items(without_orphans(items, cut))


def _merge(metadata: dict[str, bytes], values: dict[str, bytes]) -> None:
    for name, value in values.items():
        if value == codec.NULL:
            metadata.pop(name, None)
        else:
            metadata[name] = value


def _numbered(number: int, item: SessionItem) -> Numbered:
    # bytes of its own: what comes out of a decoder keeps the whole message alive
    data = bytes(item.data)
    reference = reference_in(data)
    return Numbered(number, data, item.opens, item.closes, len(data) if reference is None else reference.size)
