"""Reading back: pages, the whole store, predicates, and payloads brought to the present."""

from __future__ import annotations

from datetime import UTC, datetime

from agenticflow.core.events import AgenticEvent, EventPredicate, RecordedEvent, TimeRange
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.errors import CorruptStore, PermanentError
from agenticflow.storage.commits import NewEvent
from agenticflow.storage.store import Store
from agenticflow.testing.event_store_kit.place import Place, collect, commit, fact, refused

__all__ = ["ReadingCases"]


async def _selected(store: Store, predicate: EventPredicate) -> list[tuple[str, int]]:
    return [(event.stream_id, event.version) async for event in store.query_events(predicate)]


async def _three_shops(store: Store) -> None:
    """Nine events: stream shop-0 … shop-2, versions 1 … 3, one a second."""
    for second in range(9):
        shop = second % 3
        event = fact(
            ("opened", "sold", "closed")[second // 3],
            {"shop": shop, "order": {"status": "paid" if shop else "open", "no": second}},
            timestamp=1_000_000_000 * second,
            actor_id=f"clerk-{shop}",
            correlation_id=f"day-{second // 6}",
        )
        await commit(store, f"shop-{shop}", event)


class ReadingCases(Place):
    """What the reading methods promise."""

    async def test_an_unknown_stream_is_empty(self) -> None:
        async with self.store() as store:
            await commit(store, "known", fact())
            assert await store.read_page("unknown", 0, 10) == []
            assert await collect(store.read_stream("unknown")) == []

    async def test_an_empty_store_is_empty(self) -> None:
        async with self.store() as store:
            assert await store.scan_page(0, 10) == []
            assert await collect(store.read_all()) == []
            assert await collect(store.query_events(EventPredicate())) == []
            assert await store.list_runs() == []

    async def test_a_page_starts_above_the_version_and_ends_at_the_limit(self) -> None:
        async with self.store() as store:
            await commit(store, "a", *(fact() for _ in range(10)))
            assert [event.version for event in await store.read_page("a", 3, 4)] == [4, 5, 6, 7]
            assert [event.version for event in await store.read_page("a", 8, 4)] == [9, 10]
            assert await store.read_page("a", 10, 4) == []
            assert await store.read_page("a", 99, 4) == []

    async def test_a_scan_starts_above_the_position_and_ends_at_the_limit(self) -> None:
        async with self.store() as store:
            for number in range(6):
                await commit(store, f"s{number % 2}", fact(f"e{number}"))
            first = await store.scan_page(0, 4)
            assert [event.event_type for event in first] == ["e0", "e1", "e2", "e3"]
            rest = await store.scan_page(first[-1].position, 4)
            assert [event.event_type for event in rest] == ["e4", "e5"]
            assert await store.scan_page(rest[-1].position, 4) == []

    async def test_read_stream_starts_at_the_version_given(self) -> None:
        async with self.store() as store:
            await commit(store, "a", *(fact() for _ in range(5)))
            assert [event.version async for event in store.read_stream("a", 3)] == [3, 4, 5]
            assert [event.version async for event in store.read_stream("a", 1)] == [1, 2, 3, 4, 5]
            assert [event.version async for event in store.read_stream("a", 6)] == []

    async def test_pages_join_without_gap_or_duplicate(self) -> None:
        async with self.store() as store:
            for _ in range(3):
                await commit(store, "a", *(fact() for _ in range(700)))
                await commit(store, "b", *(fact() for _ in range(350)))
            assert [event.version async for event in store.read_stream("a")] == list(range(1, 2_101))
            both = [(event.stream_id, event.version) async for event in store.read_all()]
            assert len(both) == len(set(both)) == 3_150

    async def test_events_written_while_reading_do_not_disturb_the_reader(self) -> None:
        async with self.store() as store:
            await commit(store, "a", *(fact() for _ in range(1_500)))
            seen: list[int] = []
            async for event in store.read_stream("a"):
                seen.append(event.version)
                if event.version in (1, 1_000):
                    await commit(store, "a", fact())
            assert seen[:1_500] == list(range(1, 1_501))
            assert seen == list(range(1, len(seen) + 1))

    async def test_read_all_has_an_end_and_a_limit(self) -> None:
        async with self.store() as store:
            await _three_shops(store)
            events = await collect(store.read_all())
            assert [event.payload["shop"] for event in events] == [0, 1, 2] * 3
            assert await collect(store.read_all(limit=4)) == events[:4]
            assert await collect(store.read_all(events[3].position, 2)) == events[4:6]
            assert await collect(store.read_all(limit=0)) == []

    async def test_the_last_position_is_that_of_the_newest_event(self) -> None:
        async with self.store() as store:
            assert await store.last_position() == 0
            answer = await commit(store, "a", fact(), fact())
            assert await store.last_position() == answer.position

    async def test_a_query_by_type(self) -> None:
        async with self.store() as store:
            await _three_shops(store)
            assert await _selected(store, EventPredicate(event_types={"sold"})) == [(f"shop-{n}", 2) for n in range(3)]
            assert len(await _selected(store, EventPredicate(event_types=["sold", "closed"]))) == 6
            assert await _selected(store, EventPredicate(event_types=())) == []

    async def test_a_query_by_stream(self) -> None:
        async with self.store() as store:
            await _three_shops(store)
            assert await _selected(store, EventPredicate(stream_id="shop-1")) == [("shop-1", n) for n in (1, 2, 3)]
            assert await _selected(store, EventPredicate(stream_id="shop-9")) == []

    async def test_a_query_by_time_includes_the_start_and_not_the_end(self) -> None:
        async with self.store() as store:
            await _three_shops(store)
            second = 1_000_000_000
            times = TimeRange(2 * second, 4 * second)
            assert await _selected(store, EventPredicate(time_range=times)) == [("shop-2", 1), ("shop-0", 2)]
            assert len(await _selected(store, EventPredicate(time_range=TimeRange(end=second)))) == 1
            dates = TimeRange(datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC))
            assert await _selected(store, EventPredicate(time_range=dates)) == [("shop-1", 3), ("shop-2", 3)]

    async def test_a_query_by_time_has_no_edge_to_fall_off(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact(timestamp=-(2**62)), fact(timestamp=2**62))
            always = TimeRange(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
            assert len(await _selected(store, EventPredicate(time_range=always))) == 2
            huge = TimeRange(-(2**80), 2**80)
            assert len(await _selected(store, EventPredicate(time_range=huge))) == 2
            assert await _selected(store, EventPredicate(time_range=TimeRange(2**80))) == []

    async def test_a_query_may_name_very_many_types(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact("type-39999"), fact("other"))
            many = {f"type-{number}" for number in range(40_000)}
            assert await _selected(store, EventPredicate(event_types=many)) == [("a", 1)]

    async def test_a_query_by_actor_and_correlation(self) -> None:
        async with self.store() as store:
            await _three_shops(store)
            assert len(await _selected(store, EventPredicate(actor_id="clerk-2"))) == 3
            assert await _selected(store, EventPredicate(correlation_id="day-1", actor_id="clerk-2")) == [("shop-2", 3)]

    async def test_a_query_by_what_stands_in_the_payload(self) -> None:
        async with self.store() as store:
            await _three_shops(store)
            assert len(await _selected(store, EventPredicate(payload={"order.status": "paid"}))) == 6
            wanted = EventPredicate(payload={"order.status": "paid", "order.no": 4})
            assert await _selected(store, wanted) == [("shop-1", 2)]
            assert await _selected(store, EventPredicate(payload={"order.nothing": None})) == []

    async def test_all_given_fields_of_a_query_must_match(self) -> None:
        async with self.store() as store:
            await _three_shops(store)
            wanted = EventPredicate(
                stream_id="shop-1",
                event_types={"sold", "closed"},
                time_range=TimeRange(0, 5_000_000_000),
                actor_id="clerk-1",
                payload={"shop": 1},
            )
            assert await _selected(store, wanted) == [("shop-1", 2)]

    async def test_a_query_finds_what_lies_far_behind_what_does_not_match(self) -> None:
        async with self.store() as store:
            await commit(store, "noise", *(fact("noise") for _ in range(2_200)))
            await commit(store, "signal", fact("signal"))
            assert await _selected(store, EventPredicate(event_types={"signal"})) == [("signal", 1)]
            assert await _selected(store, EventPredicate(correlation_id="none")) == []

    async def test_a_scan_with_a_predicate_is_empty_only_at_the_end(self) -> None:
        async with self.store() as store:
            for number in range(30):
                await commit(store, "a" if number % 10 == 9 else "b", fact("x" if number == 29 else "y"))
            wanted = EventPredicate(stream_id="a", event_types={"x"})
            after, found = 0, 0
            while page := await store.scan_page(after, 2, wanted):
                found += sum(event.stream_id == "a" and event.event_type == "x" for event in page)
                after = page[-1].position
            assert found == 1

    async def test_payloads_are_brought_to_the_present_on_read(self) -> None:
        schemas = SchemaRegistry()
        async with self.store(schemas) as store:
            await store.append("a", [AgenticEvent("moved", {"x": 1})])

            @schemas.upcaster("moved", 1)
            def _named(payload: dict[str, object]) -> dict[str, object]:
                return {"place": payload["x"]}

            @schemas.upcaster("moved", 2)
            def _paired(payload: dict[str, object]) -> dict[str, object]:
                return {"place": [payload["place"], 0]}

            await store.append("a", [AgenticEvent("moved", {"place": [2, 2]})])
            events = await collect(store.read_stream("a"))
            assert [event.payload["place"] for event in events] == [(1, 0), (2, 2)]
            assert {event.schema_version for event in events} == {3}
            assert [stored.schema_version for stored in await store.read_page("a", 0, 9)] == [1, 3]
            assert await _selected(store, EventPredicate(payload={"place": [1, 0]})) == [("a", 1)]

    async def test_a_payload_newer_than_the_program_is_an_error_and_not_a_guess(self) -> None:
        async with self.store() as store:
            await store.append("a", [AgenticEvent("moved", schema_version=4)])
            with refused(PermanentError):
                await collect(store.read_stream("a"))

    async def test_a_damaged_payload_is_named_when_it_is_read(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact(), NewEvent("torn", b"\xc1 no msgpack", 1))
            await commit(store, "b", NewEvent("torn", fact().data, 1, b"\xc1"))
            with refused(CorruptStore):
                await collect(store.read_stream("a"))
            with refused(CorruptStore):
                await collect(store.read_stream("b"))
            assert (await anext(store.read_stream("a"))).version == 1

    async def test_an_event_without_an_id_is_named_by_its_place(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact(), fact())
            events: list[RecordedEvent] = await collect(store.read_stream("a"))
            assert [event.id for event in events] == ["a@1", "a@2"]
