"""The conformance kit of conversations: what ``AgentSession`` promises, tried over a backend.

A backend proves itself with the same place as for ``event_store_kit``::

    class TestMyStore(SessionKit):
        async def open_store(self, schemas=None):
            return await MyStore.open("…", schemas=schemas)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from agenticflow.agents.session import AgentSession
from agenticflow.errors import BoundExceeded, CommandRefused, InvalidInput, NotSerializable, StoreUnavailable
from agenticflow.storage.retention import RetentionPolicy
from agenticflow.testing.event_store_kit.place import Place, refused, versions

__all__ = ["SessionKit"]

MANY: Final = 400
LARGE_CHARS: Final = 300_000


def said(text: object, role: str = "user") -> dict[str, Any]:
    """Return a message."""
    return {"role": role, "content": str(text)}


def texts(items: Sequence[Any]) -> list[str]:
    """Return what the messages say."""
    return [item["content"] for item in items]


class SessionKit(Place):
    """What conversations promise over any store."""

    async def test_items_come_back_in_order_and_equal(self) -> None:
        async with self.store() as store:
            session = AgentSession("a", store=store)
            items = [
                said("hi", "user"),
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"q": 1}'},
                {"type": "function_call_output", "call_id": "c1", "output": "42"},
                {"role": "assistant", "content": [{"type": "output_text", "text": "42", "annotations": []}], "n": 1.5},
            ]
            await session.add_items(items[:2])
            await session.add_items(items[2:])
            await session.add_items([])
            assert await session.get_items() == items
            assert await session.get_items(limit=2) == items[-2:]
            assert await session.get_items(limit=0) == []
            assert await session.get_items(limit=99) == items

    async def test_what_comes_back_is_a_copy(self) -> None:
        async with self.store() as store:
            session = AgentSession("a", store=store)
            item = said("one")
            await session.add_items([item])
            item["content"] = "changed"
            (await session.get_items())[0]["content"] = "changed"
            assert texts(await session.get_items()) == ["one"]

    async def test_the_newest_is_taken_back_first(self) -> None:
        async with self.store() as store:
            session = AgentSession("a", store=store)
            await session.add_items([said(number) for number in range(3)])
            assert await session.pop_item() == said(2)
            assert await session.pop_item() == said(1)
            await session.add_items([said("again")])
            assert texts(await session.get_items()) == ["0", "again"]
            assert [await session.pop_item() for _ in range(3)] == [said("again"), said(0), None]
            assert await session.get_items() == []

    async def test_a_rewind_of_what_was_just_added_restores_what_was_there(self) -> None:
        """As the Agents SDK does before it tries again: look at the tail, take it back, compare, add once more."""
        async with self.store() as store:
            session = AgentSession("a", store=store)
            await session.add_items([said("before")])
            added = [said("question"), said("half an answer", "assistant")]
            await session.add_items(added)
            assert await session.get_items(limit=2) == added
            assert [await session.pop_item() for _ in added] == added[::-1]
            await session.add_items(added)
            assert await session.get_items() == [said("before"), *added]

    async def test_conversations_do_not_know_each_other(self) -> None:
        async with self.store() as store:
            names = ("a", "A", "a/b", "a#1", "ü", "session-a")
            for name in names:
                await AgentSession(name, store=store).add_items([said(name)])
            for name in names:
                assert texts(await AgentSession(name, store=store).get_items()) == [name]

    async def test_sessions_of_one_id_are_one_conversation(self) -> None:
        async with self.store() as store:
            first, second = AgentSession("a", store=store), AgentSession("a", store=store)
            await first.add_items([said(1)])
            assert texts(await second.get_items()) == ["1"]
            await second.add_items([said(2)])
            assert await first.pop_item() == said(2)
            assert texts(await second.get_items()) == ["1"]
            await first.clear_session()
            assert await second.get_items() == []

    async def test_many_who_add_at_once_lose_nothing_and_keep_the_order_of_each(self) -> None:
        async with self.store() as store:
            sessions = [AgentSession("a", max_items=10_000, store=store) for _ in range(10)]

            async def talk(number: int) -> None:
                for count in range(20):
                    await sessions[number].add_items([said(f"{number}:{count}:{part}") for part in range(2)])

            await asyncio.gather(*(talk(number) for number in range(10)))
            found = texts(await AgentSession("a", max_items=10_000, store=store).get_items())
            assert len(found) == 400
            for number in range(10):
                own = [text for text in found if text.startswith(f"{number}:")]
                assert own == [f"{number}:{count}:{part}" for count in range(20) for part in range(2)]
            pairs = [found[at : at + 2] for at in range(0, 400, 2)]
            assert all(pair[0][:-1] == pair[1][:-1] for pair in pairs), "what is added at once stays together"

    async def test_many_who_take_back_at_once_get_each_item_once(self) -> None:
        async with self.store() as store:
            sessions = [AgentSession("a", store=store) for _ in range(5)]
            await sessions[0].add_items([said(number) for number in range(20)])
            taken = await asyncio.gather(*(sessions[number % 5].pop_item() for number in range(25)))
            assert sorted(int(item["content"]) for item in taken if item is not None) == list(range(20))
            assert taken.count(None) == 5

    async def test_who_adds_and_takes_back_at_once_ends_where_some_order_would(self) -> None:
        async with self.store() as store:
            sessions = [AgentSession("a", max_items=1_000, store=store) for _ in range(4)]
            popped: list[Any] = []

            async def work(session: AgentSession, name: int) -> None:
                for count in range(15):
                    if (name * 7 + count * 3) % 5 < 2:
                        popped.append(await session.pop_item())
                    else:
                        await session.add_items([said(f"{name}:{count}")])

            await asyncio.gather(*(work(session, name) for name, session in enumerate(sessions)))
            left = texts(await sessions[0].get_items())
            gone = [item["content"] for item in popped if item is not None]
            info = await sessions[0].info()
            assert len(left) + len(gone) == info.added
            assert len({*left, *gone}) == info.added

    async def test_the_oldest_leave_a_full_window(self) -> None:
        async with self.store() as store:
            session = AgentSession("a", max_items=5, store=store)
            for number in range(12):
                await session.add_items([said(number)])
            assert texts(await session.get_items()) == ["7", "8", "9", "10", "11"]
            assert texts(await session.get_items(limit=2)) == ["10", "11"]
            await session.add_items([said(number) for number in range(20, 30)])
            assert texts(await session.get_items()) == ["25", "26", "27", "28", "29"]
            assert await session.pop_item() == said(29)
            assert texts(await session.get_items()) == ["25", "26", "27", "28"]

    async def test_a_new_session_object_reads_a_window_and_not_a_history(self) -> None:
        async with self.store() as store:
            writer = AgentSession("a", max_items=10, store=store)
            for number in range(MANY):
                await writer.add_items([said(number)])
            del writer
            snapshot = await store.get_snapshot("session-a")
            assert snapshot is not None
            assert MANY - snapshot.version <= 2 * 64, (
                "what is folded beyond the snapshot does not grow with the history"
            )
            reader = AgentSession("a", max_items=10, store=store)
            assert texts(await reader.get_items()) == [str(number) for number in range(MANY - 10, MANY)]
            assert await versions(store, "session-a") == list(range(1, MANY + 1)), "and the history is all there"

    async def test_a_conversation_is_there_when_the_store_is_opened_again(self) -> None:
        async with self.store() as store:
            session = AgentSession("a", max_items=7, store=store)
            for number in range(100):
                await session.add_items([said(number)])
            await session.pop_item()
            await session.set_metadata(user="ann", visits=[1, 2])
            before = (await session.get_items(), await session.info())
            second = await self.reopened(store)
            try:
                again = AgentSession("a", max_items=7, store=second)
                assert (await again.get_items(), await again.info()) == before
                await again.add_items([said("more")])
                assert (await again.get_items())[-1] == said("more")
            finally:
                await second.close()

    async def test_large_items_come_back_and_are_kept_by_compaction(self) -> None:
        async with self.store() as store:
            session = AgentSession("a", store=store)
            large = said("x" * LARGE_CHARS)
            await session.add_items([said("small"), large, said("y" * LARGE_CHARS)])
            await store.compact(RetentionPolicy(archive_after_days=0, delete_after_days=0), now=2**62)
            other = AgentSession("a", store=store)
            assert (await other.get_items())[1] == large
            assert await other.pop_item() == said("y" * LARGE_CHARS)
            assert await other.pop_item() == large

    async def test_with_a_command_id_items_are_added_once(self) -> None:
        async with self.store() as store:
            session = AgentSession("a", store=store)
            for _ in range(3):
                await session.add_items([said("once")], command_id="effect-1")
            await AgentSession("a", store=store).add_items([said("once")], command_id="effect-1")
            await AgentSession("b", store=store).add_items([said("another")], command_id="effect-1")
            assert texts(await session.get_items()) == ["once"]
            assert texts(await AgentSession("b", store=store).get_items()) == ["another"]

    async def test_clearing_forgets_items_and_keeps_metadata(self) -> None:
        async with self.store() as store:
            session = AgentSession("a", store=store)
            await session.clear_session()
            await session.add_items([said("one")])
            await session.set_metadata({"user": "ann"})
            await session.clear_session()
            assert await session.get_items() == []
            assert await session.pop_item() is None
            assert await session.get_metadata() == {"user": "ann"}
            await session.set_metadata(user=None, topic="tea")
            assert await session.get_metadata() == {"topic": "tea"}

    async def test_a_full_window_is_summarized_before_more_is_added(self) -> None:
        async with self.store() as store:
            heard: list[list[str]] = []

            async def summarize(items: Sequence[Any]) -> str:
                heard.append(texts(items))
                return f"{len(items)} items"

            session = AgentSession("a", max_items=10, store=store, summarizer=summarize)
            for number in range(11):
                await session.add_items([said(number)])
            assert heard == [["0", "1", "2", "3", "4"]]
            right = ["5 items", "5", "6", "7", "8", "9", "10"]
            assert texts(await session.get_items()) == right
            assert texts(await AgentSession("a", max_items=10, store=store).get_items()) == right
            assert (await session.info()).summaries == 1
            assert await session.pop_item() == said(10)

    async def test_a_summary_of_what_is_gone_by_then_changes_nothing(self) -> None:
        async with self.store() as store:
            other = AgentSession("a", store=store)

            async def summarize(items: Sequence[Any]) -> str:
                await other.clear_session()
                await other.add_items([said("new")])
                return "old things"

            session = AgentSession("a", store=store, summarizer=summarize)
            await session.add_items([said(number) for number in range(6)])
            with refused(CommandRefused):
                await session.summarize(keep_items=2)
            assert texts(await session.get_items()) == ["new"]

    async def test_what_is_added_during_a_summary_stays(self) -> None:
        async with self.store() as store:
            other = AgentSession("a", store=store)

            async def summarize(items: Sequence[Any]) -> dict[str, Any]:
                await other.add_items([said("meanwhile")])
                return said("summary", "developer")

            session = AgentSession("a", store=store, summarizer=summarize)
            await session.add_items([said(number) for number in range(6)])
            assert await session.summarize(keep_items=2)
            assert texts(await session.get_items()) == ["summary", "4", "5", "meanwhile"]

    async def test_what_cannot_be_kept_is_refused_and_nothing_added(self) -> None:
        async with self.store() as store:
            session = AgentSession("a", store=store)
            for wrong in (["text"], [None], [[1]], [{1: 2}], "text", {"role": "user"}):
                with refused(InvalidInput):
                    await session.add_items(wrong)
            with refused(NotSerializable):
                await session.add_items([said("fine"), {"role": "user", "content": [object()]}])
            with refused(BoundExceeded):
                await session.add_items([said("fine"), said("x" * (9 * 1024 * 1024))])
            with refused(BoundExceeded):
                await session.add_items([said("x" * 60_000) for _ in range(100)])
            with refused(InvalidInput):
                await session.get_items(limit=-1)
            assert await session.get_items() == []
            assert await versions(store, "session-a") == []

    async def test_a_closed_store_keeps_no_conversation(self) -> None:
        async with self.store() as store:
            session = AgentSession("a", store=store)
            await session.add_items([said("one")])
            await store.close()
            for call in (session.get_items, session.pop_item, session.info, session.clear_session):
                with refused(StoreUnavailable):
                    await call()
            with refused(StoreUnavailable):
                await session.add_items([said("two")])
