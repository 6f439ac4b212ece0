"""A conversation that agents share and come back to: ``AgentSession("user-42", store=store)``.

It has the shape of the OpenAI Agents SDK's ``Session`` protocol (``session_id``, ``session_settings``, ``get_items``, ``add_items``,
``pop_item``, ``clear_session``), so ``Runner.run(agent, text, session=session)`` takes it. Everything that was said stays in the store as
events; what is read is the window of the newest items.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from agenticflow.agents.session.facts import (
    AddItems,
    ChangeMetadata,
    ClearSession,
    PopItem,
    SummarizeItems,
    stream_of_session,
)
from agenticflow.agents.session.items import encode_items
from agenticflow.agents.session.places import Place, ProcessPlace, StorePlace
from agenticflow.agents.session.window import Numbered, SessionWindow, first_whole, without_orphans
from agenticflow.core import codec
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.ids import check_id
from agenticflow.errors import CommandRefused, InvalidInput, TaskTimeout
from agenticflow.storage.store import Store

__all__ = ["AgentSession", "SessionInfo", "Summarizer"]

log = logging.getLogger("agenticflow.sessions")

DEFAULT_ITEMS: Final = 50
MAX_ITEMS: Final = 10_000
SUMMARY_SECONDS: Final = 120.0
MAX_SUMMARY_SECONDS: Final = 3_600.0
MAX_NAME_CHARS: Final = 200

Summarizer = Callable[[Sequence[Any]], Awaitable[Any]]
"""Takes the oldest items, returns one that stands for them: an item, or its text."""


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a conversation. Times in nanoseconds since the epoch, 0 before anything happened."""

    session_id: str
    items: int
    """In the window."""
    size_bytes: int
    added: int
    """Items ever added."""
    summaries: int
    created_at: int
    updated_at: int
    metadata: dict[str, Any]


class AgentSession:
    """The history of one conversation: at most ``max_items`` of it are seen, the oldest leave first.

    With an open ``store`` it is there after a restart, and any number of sessions with the same id, in any task, are one conversation.
    Without one it lives in this object only, and says so (``is_attached``, a line in the log).

    With a ``summarizer`` the oldest half of a full window gives way to a summary before more is added; without one it is forgotten.
    ``clean_outputs`` takes fences and prose off JSON in the assistant's answers when they are added.
    """

    def __init__(
        self,
        session_id: str,
        max_items: int = DEFAULT_ITEMS,
        *,
        store: Store | None = None,
        summarizer: Summarizer | None = None,
        summary_seconds: float = SUMMARY_SECONDS,
        clean_outputs: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Raises ``InvalidInput`` for arguments that make no sense. Nothing is read before the first call."""
        if isinstance(max_items, bool) or not isinstance(max_items, int) or not 1 <= max_items <= MAX_ITEMS:
            raise InvalidInput(f"max_items is {max_items!r}", hint=f"give 1 to {MAX_ITEMS:,}")
        if store is not None and not isinstance(store, Store):
            raise InvalidInput(
                f"a session is kept in an open store, not in a {type(store).__name__}",
                hint='write AgentSession("user-42", store=await open_store("sqlite:///state.db"))',
            )
        if summarizer is not None and not callable(summarizer):
            raise InvalidInput(
                f"the summarizer is a {type(summarizer).__name__}, not a function",
                hint="give it async def summarize(items) -> str",
            )
        if not 0 < summary_seconds <= MAX_SUMMARY_SECONDS:
            raise InvalidInput(
                f"summary_seconds is {summary_seconds!r}",
                hint=f"give more than 0 and at most {MAX_SUMMARY_SECONDS:,.0f}",
            )
        stream_of_session(session_id)  # refused here, and not only by the first use
        self.session_id = session_id
        self.session_settings: Any = None
        """The Agents SDK's own, when its user sets them; not looked at here."""
        self.max_items = max_items
        self.summarizer = summarizer
        self.summary_seconds = summary_seconds
        self.clean_outputs = clean_outputs
        self.is_attached = store is not None
        """Whether a store keeps it."""
        self._place: Place = ProcessPlace(session_id) if store is None else StorePlace.of(session_id, store)
        self._clock = clock
        self._has_said = store is not None
        self._is_summarizing = False

    def is_kept_in(self, store: Store) -> bool:
        """Whether it is ``store`` that keeps it."""
        return isinstance(self._place, StorePlace) and self._place.store is store

    # --- the protocol ---------------------------------------------------------------------------------------------------

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """Return the newest items, oldest first, as copies: all of the window, or exactly the last ``limit`` when there are so many.

        Everything that was committed before the call is in it, whoever wrote it. Raises ``InvalidInput`` for a negative limit.
        """
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise InvalidInput(f"limit is {limit!r:.80}", hint="give 0 or more, or leave it out")
        window = await self._place.current()
        if limit is None:
            return await self._decoded(self._seen(window))
        return await self._decoded(window.items[max(0, len(window.items) - limit) :])

    async def add_items(self, items: Iterable[Any], *, command_id: str | None = None) -> None:
        """Add the items after what is there, all or none of them, and return once they are durable.

        Sessions that add at the same time lose nothing and keep the order of each. With a ``command_id`` they are added once, however
        often it is asked for: a handler that may run again gives its ``context.effect_key``. With a full window and a summarizer the
        summary is made first; when that fails the items are added all the same, and the log says why.

        Raises:
            InvalidInput, NotSerializable: something is no item, or has no form on the wire.
            BoundExceeded: an item over 8 MiB, or more than 10,000 or 4 MiB at once; nothing was added.
            OutcomeUnknown: the disk failed in the middle; ask again with the same ``command_id``.
        """
        if command_id is not None:
            check_id(command_id, "a command")
        encoded, blobs = encode_items(items, cleans=self.clean_outputs)
        if not encoded:
            return
        self._say()
        if self.summarizer is not None and not self._is_summarizing:
            window = await self._place.current()
            if len(window.items) + len(encoded) > self.max_items:
                await self._try_to_summarize()
        command = AddItems(now=self._now(), items=encoded, keep=self.max_items, blobs=blobs)
        await self._place.add(command, command_id)

    async def pop_item(self) -> Any:
        """Take the newest item back and return it, equal to what was added; ``None`` when there is none.

        The history keeps that it was said, and that it was taken back. Of several who take back at once each gets an item of its own.
        """
        settled = await self._place.settle(PopItem(now=self._now()))
        if settled.newest is None:
            return None
        return codec.decode(await self._place.resolve(settled.newest.data))

    async def clear_session(self) -> None:
        """Begin anew: no item is seen any more. The metadata stay, and so does the history in the store."""
        await self._place.settle(ClearSession(now=self._now()))

    # --- summaries ------------------------------------------------------------------------------------------------------

    def needs_summarization(self) -> bool:
        """Whether four fifths of the window are full, as far as this object knows: since it last read or wrote."""
        return len(self._place.window.items) * 5 >= self.max_items * 4

    async def summarize(self, keep_items: int | None = None) -> bool:
        """Let a summary stand for all but the newest ``keep_items`` (half of ``max_items`` when left out); return whether there was
        anything to summarize.

        The ``summarizer`` is asked outside any lock: others add meanwhile. A tool call and its outcome stay on one side.

        Raises:
            InvalidInput: there is no summarizer, or it returned no item.
            TaskTimeout: it took longer than ``summary_seconds``.
            CommandRefused: the items were cleared, taken back or summarized by somebody else meanwhile.
        """
        if self.summarizer is None:
            raise InvalidInput(
                f"session {self.session_id!r} has no summarizer", hint="write AgentSession(…, summarizer=summarize)"
            )
        keep = self.max_items // 2 if keep_items is None else keep_items
        if isinstance(keep, bool) or not isinstance(keep, int) or keep < 0:
            raise InvalidInput(f"keep_items is {keep_items!r}", hint="give 0 or more, or leave it out")
        window = await self._place.current()
        era = window.era
        old = window.items[: first_whole(window.items, max(0, len(window.items) - keep))]
        if len(old) < 2:
            return False
        try:
            async with asyncio.timeout(self.summary_seconds):
                answer = await self.summarizer(await self._decoded(old))
        except TimeoutError as error:
            raise TaskTimeout(
                f"the summarizer of session {self.session_id!r} took longer than {self.summary_seconds:g} s",
                hint="nothing was changed; give it more time with summary_seconds=",
            ) from error
        item = {"role": "system", "content": answer} if isinstance(answer, str) else answer
        [summary], blobs = encode_items([item])
        command = SummarizeItems(now=self._now(), summary=summary, through=old[-1].number, era=era, blobs=blobs)
        await self._place.settle(command)
        return True

    async def mark(self) -> tuple[int, int] | None:
        """Return how far the conversation goes now, for ``let_stand``; ``None`` when nothing was said."""
        window = await self._place.current()
        return (window.items[-1].number, window.era) if window.items else None

    async def let_stand(self, summary: Any, mark: tuple[int, int]) -> None:
        """Let ``summary``, an item, stand for all that was said up to ``mark``. What was said since stays as it is.

        Raises ``CommandRefused`` when that was cleared, taken back or summarized meanwhile.
        """
        [encoded], blobs = encode_items([summary])
        through, era = mark
        command = SummarizeItems(now=self._now(), summary=encoded, through=through, era=era, blobs=blobs)
        await self._place.settle(command)

    async def _try_to_summarize(self) -> None:
        self._is_summarizing = True
        try:
            await self.summarize()
        except CommandRefused:
            log.info("session %r changed while its summary was made: the summary is dropped", self.session_id)
        except Exception as error:  # noqa: BLE001 what was said must be kept, whatever the summarizer raises
            log.warning("session %r was not summarized, its oldest items are forgotten: %r", self.session_id, error)
        finally:
            self._is_summarizing = False

    # --- metadata -------------------------------------------------------------------------------------------------------

    async def set_metadata(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Remember values under names, beside the items; ``None`` takes a name away, other names stay.

        Raises ``InvalidInput`` for a name that is none, ``NotSerializable``, ``BoundExceeded`` above 100 names or 64 KiB.
        """
        given = {**(values or {}), **more}
        for name in given:
            if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS:
                raise InvalidInput(
                    f"{name!r:.80} is no name of metadata", hint=f"use a text of 1 to {MAX_NAME_CHARS} characters"
                )
        if not given:
            return
        encoded = {name: codec.encode(value) for name, value in given.items()}
        await self._place.settle(ChangeMetadata(now=self._now(), values=encoded))

    async def get_metadata(self) -> dict[str, Any]:
        """Return what is remembered, as copies."""
        return _metadata_in(await self._place.current())

    async def info(self) -> SessionInfo:
        """Return what is known about the conversation."""
        window = await self._place.current()
        return SessionInfo(
            session_id=self.session_id,
            items=len(window.items),
            size_bytes=window.size_bytes,
            added=window.added,
            summaries=window.summaries,
            created_at=window.created_at,
            updated_at=window.updated_at,
            metadata=_metadata_in(window),
        )

    # --- inside -----------------------------------------------------------------------------------------------------------

    def _seen(self, window: SessionWindow) -> list[Numbered]:
        """Return what of the window this session sees: others may keep more."""
        return without_orphans(window.items, max(0, len(window.items) - self.max_items))

    async def _decoded(self, items: Sequence[Numbered]) -> list[Any]:
        """Return the items as data. ``items`` is this call's own: the window goes on meanwhile."""
        encoded = [item.data if item.size == len(item.data) else await self._place.resolve(item.data) for item in items]
        found = codec.decode(codec.encode_array(encoded))  # all at once: a long conversation is read before every turn
        assert isinstance(found, list)
        return found

    def _say(self) -> None:
        if not self._has_said:
            self._has_said = True
            log.warning(
                "session %r has no store: it is gone with this process (AgentSession(…, store=store))", self.session_id
            )

    def _now(self) -> int:
        return (self._clock or ambient.clock).now_ns()

    def __repr__(self) -> str:
        where = "" if self.is_attached else ", in this process only"
        return f"AgentSession({self.session_id!r}, max_items={self.max_items}{where})"


def _metadata_in(window: SessionWindow) -> dict[str, Any]:
    return {name: codec.decode(value) for name, value in window.metadata.items()}
