"""Appending: order, versions, conflicts, races, and that a commit is all or nothing."""

from __future__ import annotations

import asyncio

from agenticflow.core.clocks import VectorClock
from agenticflow.core.codec import content_hash
from agenticflow.core.events import AgenticEvent
from agenticflow.core.types import NO_STREAM
from agenticflow.errors import ConcurrencyConflict, InvalidInput
from agenticflow.storage.commits import Commit, Committed, NewEvent
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

__all__ = ["AppendingCases"]


class AppendingCases(Place):
    """What ``commit`` and ``append`` promise."""

    async def test_versions_are_one_two_three_without_gaps(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact())
            await commit(store, "a", fact(), fact(), fact())
            await commit(store, "a", fact())
            assert await versions(store, "a") == [1, 2, 3, 4, 5]

    async def test_events_of_a_commit_keep_the_order_they_were_given_in(self) -> None:
        async with self.store() as store:
            await commit(store, "a", *(fact(f"step_{number}") for number in range(300)))
            page = await store.read_page("a", 0, 1_000)
            assert [event.event_type for event in page] == [f"step_{number}" for number in range(300)]

    async def test_streams_count_for_themselves(self) -> None:
        async with self.store() as store:
            for stream_id in ("a", "b", "a", "c", "a"):
                await commit(store, stream_id, fact())
            assert (await versions(store, "a"), await versions(store, "b")) == ([1, 2, 3], [1])

    async def test_append_returns_the_new_version_of_the_stream(self) -> None:
        async with self.store() as store:
            assert await store.append("a", [AgenticEvent("one"), AgenticEvent("two")]) == 2
            assert await store.append("a", [AgenticEvent("three")], expected_version=2) == 3

    async def test_a_commit_is_answered_with_version_and_position_of_its_last_event(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact())
            answer = await commit(store, "a", fact(), fact())
            last = (await store.read_page("a", 0, 10))[-1]
            assert answer == Committed(last.version, last.position)
            assert not answer.is_repeated

    async def test_positions_grow_in_the_order_of_commits_over_the_whole_store(self) -> None:
        async with self.store() as store:
            answers = [await commit(store, f"s{number % 7}", fact(), fact()) for number in range(40)]
            positions = [event.position for event in await everything(store)]
            assert positions == sorted(set(positions))
            assert [answer.position for answer in answers] == positions[1::2]

    async def test_positions_are_above_zero_and_may_have_gaps(self) -> None:
        async with self.store() as store:
            for _ in range(5):
                await commit(store, "a", fact())
            events = await everything(store)
            assert events[0].position > 0
            for event in events:  # whatever number stands before a position, reading after it finds the event
                assert (await store.scan_page(event.position - 1, 1))[0] == event

    async def test_a_conflict_names_both_versions_and_writes_nothing(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact(), fact())
            with refused(ConcurrencyConflict) as caught:
                await commit(store, "a", fact(), expected=1)
            assert (caught.error.stream_id, caught.error.expected, caught.error.actual) == ("a", 1, 2)
            assert all(part in str(caught.error) for part in ("'a'", "1", "2"))
            assert await versions(store, "a") == [1, 2]

    async def test_expecting_more_than_there_is_is_a_conflict(self) -> None:
        async with self.store() as store:
            with refused(ConcurrencyConflict) as caught:
                await commit(store, "nobody", fact(), expected=3)
            assert (caught.error.expected, caught.error.actual) == (3, 0)
            assert await versions(store, "nobody") == []

    async def test_expecting_no_stream_holds_once(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact(), expected=NO_STREAM)
            with refused(ConcurrencyConflict) as caught:
                await commit(store, "a", fact(), expected=NO_STREAM)
            assert (caught.error.expected, caught.error.actual) == (0, 1)

    async def test_expecting_any_version_appends_after_whatever_is_there(self) -> None:
        async with self.store() as store:
            assert (await commit(store, "a", fact())).version == 1
            assert (await commit(store, "a", fact())).version == 2

    async def test_a_refused_commit_leaves_no_row_behind(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact())
            blob = Blob(content_hash(b"x"), b"x")
            rows = (run_row("a"), Snapshot(stream_id="a", version=9, data=b"s"), blob)
            with refused(ConcurrencyConflict):
                await commit(store, "a", fact(), expected=7, rows=rows)
            assert await store.get_run("a") is None
            assert await store.get_snapshot("a") is None
            assert await store.get_blob(blob.hash) is None

    async def test_events_and_rows_become_true_together(self) -> None:
        async with self.store() as store:
            blob = Blob(content_hash(b"large"), b"large")
            snapshot = Snapshot(stream_id="a", version=1, data=b"folded")
            await commit(store, "a", fact(), rows=(run_row("a"), snapshot, blob))
            assert await versions(store, "a") == [1]
            assert await store.get_run("a") == run_row("a")
            assert await store.get_snapshot("a") == snapshot
            assert await store.get_blob(blob.hash) == b"large"

    async def test_fifty_concurrent_appends_at_one_version_have_one_winner(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact())
            attempts = [commit(store, "a", fact(f"by_{number}"), expected=1) for number in range(50)]
            results = await asyncio.gather(*attempts, return_exceptions=True)
            won = [number for number, result in enumerate(results) if isinstance(result, Committed)]
            lost = [result for result in results if isinstance(result, ConcurrencyConflict)]
            assert (len(won), len(lost)) == (1, 49)
            assert {(error.expected, error.actual) for error in lost} == {(1, 2)}
            assert [event.event_type for event in await store.read_page("a", 1, 9)] == [f"by_{won[0]}"]

    async def test_fifty_concurrent_appends_without_expectation_all_land(self) -> None:
        async with self.store() as store:
            answers = await asyncio.gather(*(commit(store, "a", fact(), fact()) for _ in range(50)))
            assert sorted(answer.version for answer in answers) == list(range(2, 101, 2))
            assert await versions(store, "a") == list(range(1, 101))

    async def test_a_conflict_fails_alone(self) -> None:
        async with self.store() as store:
            await commit(store, "taken", fact())
            work = [
                commit(store, "taken" if number % 3 == 0 else f"free-{number}", fact(), expected=0)
                for number in range(60)
            ]
            results = await asyncio.gather(*work, return_exceptions=True)
            for number, result in enumerate(results):
                assert isinstance(result, ConcurrencyConflict if number % 3 == 0 else Committed)
            assert len(await everything(store)) == 41

    async def test_racing_writers_who_read_again_all_get_through(self) -> None:
        async with self.store() as store:

            async def add_ten(writer: int) -> None:
                left = 10
                while left:
                    version = len(await versions(store, "counter"))
                    try:
                        await commit(store, "counter", fact(f"from_{writer}"), expected=version)
                        left -= 1
                    except ConcurrencyConflict:
                        continue

            await asyncio.gather(*(add_ten(writer) for writer in range(5)))
            assert await versions(store, "counter") == list(range(1, 51))

    async def test_concurrent_commits_to_one_stream_stay_whole(self) -> None:
        async with self.store() as store:
            work = (commit(store, "a", *(fact(f"of_{number}") for _ in range(7))) for number in range(30))
            await asyncio.gather(*work)
            types = [event.event_type for event in await store.read_page("a", 0, 1_000)]
            assert all(len(set(types[start : start + 7])) == 1 for start in range(0, 210, 7))

    async def test_nothing_to_append_is_refused(self) -> None:
        async with self.store() as store:
            with refused(InvalidInput):
                await store.append("a", [])
            with refused(InvalidInput):
                await store.commit(Commit(stream_id="a"))
            assert await store.last_position() == 0

    async def test_what_is_no_event_is_refused(self) -> None:
        async with self.store() as store:
            with refused(InvalidInput):
                await store.append("a", [{"event_type": "happened"}])  # type: ignore[list-item]  # the mistake on trial
            with refused(InvalidInput):
                await store.append("a", AgenticEvent("happened"))  # type: ignore[arg-type]  # as above
            with refused(InvalidInput):
                await store.append(7, [AgenticEvent("happened")])  # type: ignore[arg-type]  # as above
            with refused(InvalidInput):
                await store.append("a", [AgenticEvent("happened")], "0")  # type: ignore[arg-type]  # as above
            assert await versions(store, "a") == []

    async def test_a_commit_of_rows_alone_leaves_the_stream_as_it_is(self) -> None:
        async with self.store() as store:
            answer = await commit(store, "a", rows=(run_row("a"),))
            assert answer == Committed(0, 0)
            await commit(store, "a", fact(), fact())
            answer = await commit(store, "a", expected=2, rows=(run_row("a", status="COMPLETED", is_open=False),))
            assert answer == Committed(2, 0)
            assert await versions(store, "a") == [1, 2]

    async def test_a_commit_of_rows_alone_is_fenced_too(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact())
            with refused(ConcurrencyConflict):
                await commit(store, "a", expected=0, rows=(run_row("a"),))
            assert await store.get_run("a") is None

    async def test_every_read_after_the_answer_shows_the_commit(self) -> None:
        async with self.store() as store:
            for number in range(1, 30):
                answer = await commit(store, "a", fact(), rows=(run_row("a", number),))
                assert len(await versions(store, "a")) == number
                assert await store.last_position() == answer.position
                assert (await everything(store))[-1].position == answer.position
                assert await store.get_run("a") == run_row("a", number)

    async def test_what_was_given_comes_back_byte_by_byte(self) -> None:
        async with self.store() as store:
            given = [
                NewEvent("all_bytes", bytes(range(256)), 2**63 - 1, bytes(reversed(range(256))), 7),
                NewEvent("nothing", b"", -(2**62), b"", 1),
                NewEvent("zeros", b"\0\0\0", 0, b"\0", 2**31),
            ]
            await commit(store, "a", *given)
            for event, stored in zip(given, await store.read_page("a", 0, 10), strict=True):
                assert (stored.event_type, stored.data, stored.metadata) == (
                    event.event_type,
                    event.data,
                    event.metadata,
                )
                assert (stored.timestamp, stored.schema_version) == (event.timestamp, event.schema_version)
                assert stored.stream_id == "a"

    async def test_every_field_of_an_event_comes_back(self) -> None:
        async with self.store() as store:
            event = AgenticEvent(
                "order_placed",
                {"order": {"id": 7, "lines": [1, 2.5, None, True, "x", b"raw"]}},
                trace_id="t",
                span_id="s",
                parent_span_id="p",
                causation_id="c",
                correlation_id="k",
                actor_id="me",
                causality_vector=VectorClock({"me": 3, "you": 1}),
            )
            await store.append("a", [event])
            (read,) = await collect(store.read_stream("a"))
            assert read == event
            assert (read.payload, read.timestamp, read.metadata) == (event.payload, event.timestamp, event.metadata)

    async def test_a_commit_that_can_wait_is_answered_all_the_same(self) -> None:
        async with self.store() as store:
            alone = await commit(store, "patient", fact(), can_wait=True)
            patient, urgent = await asyncio.gather(
                commit(store, "patient", fact(), can_wait=True), commit(store, "urgent", fact())
            )
            assert (alone.version, patient.version, urgent.version) == (1, 2, 1)
            assert await versions(store, "patient") == [1, 2]

    async def test_thousands_of_events_in_one_commit(self) -> None:
        async with self.store() as store:
            await commit(store, "a", *(fact(payload={"n": number}) for number in range(2_500)))
            numbers = [event.payload["n"] async for event in store.read_stream("a")]
            assert numbers == list(range(2_500))
