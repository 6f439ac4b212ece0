"""Opening, closing, opening again, giving up waiting, and damage."""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import Awaitable, Callable

from agenticflow.core.codec import content_hash
from agenticflow.core.events import AgenticEvent, EventPredicate
from agenticflow.errors import ConcurrencyConflict, CorruptStore, StoreOwned, StoreUnavailable
from agenticflow.storage.commits import Committed
from agenticflow.storage.rows import Blob, Snapshot
from agenticflow.testing.event_store_kit.place import (
    Place,
    collect,
    commit,
    everything,
    fact,
    refused,
    run_row,
    versions,
)

__all__ = ["LifetimeCases"]


class LifetimeCases(Place):
    """What holds beyond one object's life."""

    async def test_what_was_committed_is_there_when_the_store_is_opened_again(self) -> None:
        async with self.store() as store:
            blob = Blob(content_hash(b"kept"), b"kept")
            snapshot = Snapshot(stream_id="a", version=2, data=b"folded")
            await commit(
                store, "a", fact(payload={"n": 1}), fact(payload={"n": 2}), rows=(run_row("a"), snapshot, blob)
            )
            await commit(store, "b", fact())
            before = await everything(store)
            second = await self.reopened(store)
            try:
                assert await everything(second) == before
                assert await second.get_run("a") == run_row("a")
                assert await second.get_snapshot("a") == snapshot
                assert await second.get_blob(blob.hash) == b"kept"
                assert await second.last_position() == before[-1].position
            finally:
                await second.close()

    async def test_versions_and_positions_go_on_when_the_store_is_opened_again(self) -> None:
        async with self.store() as store:
            before = await commit(store, "a", fact(), fact())
            second = await self.reopened(store)
            try:
                with refused(ConcurrencyConflict) as caught:
                    await commit(second, "a", fact(), expected=0)
                assert caught.error.actual == 2
                after = await commit(second, "a", fact(), expected=2)
                other = await commit(second, "new", fact(), expected=0)
                assert (after.version, other.version) == (3, 1)
                assert before.position < after.position < other.position
            finally:
                await second.close()

    async def test_the_run_index_keeps_its_order_when_the_store_is_opened_again(self) -> None:
        async with self.store() as store:
            for name in "abc":
                await commit(store, "x", rows=(run_row(name),))
            second = await self.reopened(store)
            try:
                await commit(second, "x", rows=(run_row("a", status="PAUSED"), run_row("d")))
                assert [row.execution_id for row in await second.list_runs()] == ["d", "c", "b", "a"]
            finally:
                await second.close()

    async def test_a_closed_store_says_so(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact())
            await store.close()
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: commit(store, "a", fact()),
                lambda: store.append("a", [AgenticEvent("happened")]),
                lambda: store.read_page("a", 0, 1),
                lambda: store.scan_page(0, 1),
                store.last_position,
                lambda: store.get_run("a"),
                store.list_runs,
                lambda: store.get_snapshot("a"),
                lambda: store.get_blob("a"),
                lambda: collect(store.read_stream("a")),
                lambda: collect(store.query_events(EventPredicate())),
                lambda: collect(store.stream_events()),
            ]
            for call in calls:
                with refused(StoreUnavailable) as caught:
                    await call()
                assert caught.error.hint

    async def test_a_closed_store_is_not_the_only_writer_any_more(self) -> None:
        async with self.store() as store:
            assert store.is_exclusive <= type(self).is_exclusive, (
                "who shares a place does not say that nobody else writes"
            )
            await store.close()
            assert not store.is_exclusive

    async def test_closing_twice_does_nothing(self) -> None:
        async with self.store() as store:
            await store.close()
            await store.close()

    async def test_closing_finishes_what_was_accepted(self) -> None:
        async with self.store() as store:
            work = [asyncio.create_task(commit(store, f"s{number}", fact())) for number in range(50)]
            await asyncio.sleep(0)  # every task has asked
            await store.close()
            results = await asyncio.gather(*work, return_exceptions=True)
            assert all(isinstance(result, Committed) for result in results), results
            second = await self.reopened(store)
            try:
                assert len(await everything(second)) == 50
            finally:
                await second.close()

    async def test_who_asks_while_the_store_closes_gets_an_answer(self) -> None:
        async with self.store() as store:
            closing = asyncio.create_task(store.close())
            results: list[object] = []
            for number in range(20):
                await asyncio.sleep(0)
                try:
                    results.append(await commit(store, f"s{number}", fact()))
                except StoreUnavailable as error:
                    results.append(error)
            await closing
            assert isinstance(results[-1], StoreUnavailable)

    async def test_a_caller_who_gives_up_does_not_disturb_the_others(self) -> None:
        async with self.store() as store:
            work = [asyncio.create_task(commit(store, f"s{number}", fact())) for number in range(40)]
            await asyncio.sleep(0)
            for task in work[::2]:
                task.cancel()
            results = await asyncio.gather(*work, return_exceptions=True)
            assert all(isinstance(result, Committed) for result in results[1::2])
            await commit(store, "after", fact())
            for number in range(40):
                assert await versions(store, f"s{number}") in ([1], [] if number % 2 == 0 else [1])

    async def test_a_caller_who_gave_up_may_ask_again_with_the_same_command_id(self) -> None:
        async with self.store() as store:
            for number in range(10):
                name = f"command-{number}"
                task = asyncio.create_task(commit(store, "a", fact(name), command_id=name))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
                await commit(store, "a", fact(name), command_id=name)
            types = [event.event_type for event in await store.read_page("a", 0, 99)]
            assert types == [f"command-{number}" for number in range(10)]

    async def test_every_commit_around_closing_is_answered_truly(self) -> None:
        async with self.store() as store:

            async def ask(number: int) -> Committed:
                for _ in range(number):
                    await asyncio.sleep(0)
                return await commit(store, f"s{number}", fact())

            work = [asyncio.create_task(ask(number)) for number in range(40)]
            for _ in range(10):
                await asyncio.sleep(0)
            await store.close()
            results = await asyncio.gather(*work, return_exceptions=True)
            assert all(isinstance(result, Committed | StoreUnavailable) for result in results), results
            second = await self.reopened(store)
            try:
                written = {event.stream_id for event in await everything(second)}
                assert written == {f"s{n}" for n, result in enumerate(results) if isinstance(result, Committed)}
            finally:
                await second.close()

    async def test_a_reader_who_gives_up_does_not_disturb_the_others(self) -> None:
        async with self.store() as store:
            await commit(store, "a", *[fact()] * 3_000)
            reading = [asyncio.create_task(collect(store.read_stream("a"))) for _ in range(10)]
            await asyncio.sleep(0)
            for task in reading[::2]:
                task.cancel()
            await asyncio.wait(reading)
            assert [len(await task) for task in reading[1::2]] == [3_000] * 5

    async def test_an_open_place_cannot_be_opened_again(self) -> None:
        if not (self.is_exclusive and self.survives_reopen):
            raise unittest.SkipTest("this backend is shared by its openers or has no place, and declares it")
        async with self.store() as store:
            await commit(store, "a", fact())
            with refused(StoreOwned) as caught:
                await self.open_store()
            assert caught.error.hint
            second = await self.reopened(store)
            try:
                assert await versions(second, "a") == [1]
            finally:
                await second.close()

    async def test_openers_of_a_shared_place_share_its_streams(self) -> None:
        if self.is_exclusive:
            raise unittest.SkipTest("this backend has one opener at a time, and declares it")
        async with self.store() as store:
            other = await self.open_store()
            try:
                first = await commit(store, "a", fact(), fact(), command_id="c")
                with refused(ConcurrencyConflict):
                    await commit(other, "a", fact(), expected=0)
                assert (await commit(other, "a", fact(), expected=2)).version == 3
                assert (await commit(other, "a", fact(), command_id="c")).version == first.version
                assert await versions(store, "a") == [1, 2, 3]
            finally:
                await other.close()

    async def test_a_damaged_store_is_refused_and_left_untouched(self) -> None:
        if not self.can_be_damaged:
            raise unittest.SkipTest("this backend cannot be damaged from outside, and declares it")
        async with self.store() as store:
            await commit(store, "a", fact())
        before = await self.damage()
        with refused(CorruptStore) as caught:
            await self.open_store()
        assert caught.error.hint
        assert await self.evidence() == before
