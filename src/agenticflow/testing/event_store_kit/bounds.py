"""Bounds and odd input: exactly at a limit is accepted, one over is refused before anything is written; text is any text."""

from __future__ import annotations

import asyncio
from typing import Final

from agenticflow.core.codec import content_hash
from agenticflow.core.events import AgenticEvent, EventPredicate
from agenticflow.core.types import MAX_COMMIT_BYTES, MAX_EVENT_BYTES
from agenticflow.errors import BoundExceeded, InvalidInput, NotSerializable
from agenticflow.storage.commits import Committed, NewEvent
from agenticflow.storage.rows import Blob
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

__all__ = ["BoundsCases"]

ODD_TEXTS: Final = (
    "a",
    "A",
    " a",
    "a ",
    "a\0",
    "a\0b",
    "\0",
    "\n\r\t\x1b\x7f",
    "é",
    "e\u0301",
    "z\u0334a\u0335l\u0336g\u0337o\u0338",
    "ß",
    "ſ",
    "文書",
    "שלום\u202eabc\u202c",
    "👩‍🔬🏳️‍🌈🚀",
    "𝕊𝕥𝕣𝕖𝕒𝕞",
    "\u2028\u2029\ufeff",
    "\U0010ffff\ufffe\uffff",
    "%_*?[a]",
    "'; DROP TABLE events; --",
    '"quoted"',
    "back\\slash",
    "a/b-c.d:e",
    "null",
    "1",
    "01",
    "1.0",
)
"""All different, and each the same after a round trip."""


class BoundsCases(Place):
    """What is taken, what is refused, and that a refusal leaves nothing."""

    async def test_an_event_exactly_at_its_limit_is_accepted(self) -> None:
        async with self.store() as store:
            data, metadata = bytes(MAX_EVENT_BYTES - 100), b"m" * 100
            await commit(store, "a", NewEvent("large", data, 1, metadata))
            (stored,) = await store.read_page("a", 0, 9)
            assert (stored.data, stored.metadata) == (data, metadata)

    async def test_an_event_one_byte_over_its_limit_is_refused_and_nothing_written(self) -> None:
        async with self.store() as store:
            with refused(BoundExceeded):
                await commit(store, "a", fact(), NewEvent("large", bytes(MAX_EVENT_BYTES + 1), 1), rows=(run_row("a"),))
            with refused(BoundExceeded):
                await commit(store, "a", NewEvent("large", bytes(MAX_EVENT_BYTES), 1, b"m"))
            assert await everything(store) == []
            assert await store.get_run("a") is None

    async def test_a_commit_exactly_at_its_limit_is_accepted(self) -> None:
        async with self.store() as store:
            events = [NewEvent("large", bytes(MAX_EVENT_BYTES), 1)] * (MAX_COMMIT_BYTES // MAX_EVENT_BYTES)
            assert (await commit(store, "a", *events)).version == len(events)
            assert sum(len(event.data) for event in await everything(store)) == MAX_COMMIT_BYTES

    async def test_a_commit_one_byte_over_its_limit_is_refused_and_nothing_written(self) -> None:
        async with self.store() as store:
            events = [NewEvent("large", bytes(MAX_EVENT_BYTES), 1)] * (MAX_COMMIT_BYTES // MAX_EVENT_BYTES)
            with refused(BoundExceeded):
                await commit(store, "a", *events, NewEvent("drop", b"x", 1), rows=(run_row("a"),))
            assert await everything(store) == []
            assert await store.get_run("a") is None

    async def test_twenty_thousand_small_events_are_one_commit(self) -> None:
        async with self.store() as store:
            assert (await commit(store, "a", *[fact()] * 20_000, expected=0)).version == 20_000
            assert [event.version async for event in store.read_stream("a", 19_999)] == [19_999, 20_000]
            assert (await commit(store, "a", fact(), expected=20_000)).version == 20_001

    async def test_a_blob_exactly_at_its_limit_is_accepted(self) -> None:
        async with self.store() as store:
            data = bytes(self.max_blob_bytes)
            await commit(store, "a", rows=(Blob(content_hash(data), data),))
            assert await store.get_blob(content_hash(data)) == data

    async def test_a_blob_one_byte_over_its_limit_is_refused_and_nothing_written(self) -> None:
        async with self.store() as store:
            data = bytes(self.max_blob_bytes + 1)
            with refused(BoundExceeded):
                await commit(store, "a", fact(), rows=(Blob(content_hash(data), data),))
            assert await store.get_blob(content_hash(data)) is None
            assert await everything(store) == []

    async def test_an_oversized_commit_fails_alone(self) -> None:
        async with self.store() as store:
            large = NewEvent("large", bytes(MAX_EVENT_BYTES + 1), 1)
            work = [commit(store, f"s{number}", large if number == 7 else fact()) for number in range(20)]
            results = await asyncio.gather(*work, return_exceptions=True)
            assert [number for number, result in enumerate(results) if isinstance(result, BoundExceeded)] == [7]
            assert len(await everything(store)) == 19

    async def test_an_error_about_size_names_the_stream_the_size_and_the_limit(self) -> None:
        async with self.store() as store:
            with refused(BoundExceeded) as caught:
                await commit(store, "my-stream", NewEvent("large", bytes(MAX_EVENT_BYTES + 1), 1))
            for part in ("my-stream", f"{MAX_EVENT_BYTES + 1:,}", f"{MAX_EVENT_BYTES:,}"):
                assert part in caught.error.message
            assert caught.error.hint

    async def test_a_stream_id_has_1_to_512_characters(self) -> None:
        async with self.store() as store:
            longest = "ü" * 512
            await commit(store, longest, fact())
            assert await versions(store, longest) == [1]
            for wrong in ("", "x" * 513):
                with refused(InvalidInput):
                    await commit(store, wrong, fact())
            assert len(await everything(store)) == 1

    async def test_events_by_hand_do_not_go_into_the_streams_of_the_engine(self) -> None:
        async with self.store() as store:
            for stream_id in ("workflow-a/1", "agent-a"):
                with refused(InvalidInput):
                    await store.append(stream_id, [AgenticEvent("order_placed", {})])
            assert await everything(store) == []

    async def test_an_expected_version_below_any_makes_no_sense(self) -> None:
        async with self.store() as store:
            with refused(InvalidInput):
                await commit(store, "a", fact(), expected=-2)
            assert await everything(store) == []

    async def test_stream_ids_are_any_text_and_never_mixed_up(self) -> None:
        async with self.store() as store:
            await asyncio.gather(*(commit(store, name, fact("of", {"name": name})) for name in ODD_TEXTS))
            for name in ODD_TEXTS:
                (event,) = await collect(store.read_stream(name))
                assert (event.stream_id, event.payload["name"]) == (name, name)
                assert await collect(store.query_events(EventPredicate(stream_id=name))) == [event]
            assert {event.stream_id for event in await everything(store)} == set(ODD_TEXTS)

    async def test_payloads_hold_any_text(self) -> None:
        async with self.store() as store:
            payload = {text: [text, {"inner": text * 50}] for text in ODD_TEXTS}
            await store.append("a", [AgenticEvent("texts", payload)])
            (event,) = await collect(store.read_stream("a"))
            assert event.payload == AgenticEvent("texts", payload).payload

    async def test_types_actors_and_correlations_are_any_text(self) -> None:
        async with self.store() as store:
            await store.append(
                "a", [AgenticEvent(text, actor_id=text, correlation_id=text, trace_id=text) for text in ODD_TEXTS]
            )
            for version, text in enumerate(ODD_TEXTS, 1):
                wanted = EventPredicate(event_types={text}, actor_id=text, correlation_id=text)
                (event,) = await collect(store.query_events(wanted))
                assert (event.version, event.event_type, event.trace_id) == (version, text, text)

    async def test_rows_hold_any_text(self) -> None:
        async with self.store() as store:
            await commit(store, "a", rows=[run_row(text) for text in ODD_TEXTS])
            for text in ODD_TEXTS:
                assert await store.get_run(text) == run_row(text)

    async def test_numbers_have_64_bits(self) -> None:
        async with self.store() as store:
            payload = {"low": -(2**63), "high": 2**64 - 1, "small": 5e-324, "minus_zero": -0.0}
            await store.append("a", [AgenticEvent("numbers", payload)])
            (event,) = await collect(store.read_stream("a"))
            assert event.payload == payload

    async def test_what_has_no_form_on_the_wire_is_refused_and_nothing_written(self) -> None:
        async with self.store() as store:
            for payload in ({"socket": object()}, {"deep": {"er": [len]}}, {"text": "\ud800"}, {"n": 2**70}):
                with refused(NotSerializable):
                    await store.append("a", [AgenticEvent("fine"), AgenticEvent("not", payload)])
            assert await everything(store) == []

    async def test_a_malformed_commit_fails_alone(self) -> None:
        """Half a character is no Unicode text, a moment has 64 bits: no store could give them back."""
        async with self.store() as store:
            malformed = {
                3: commit(store, "half \ud800 a character", fact()),
                7: commit(store, "s7", fact("half \udfff a character")),
                11: commit(store, "s11", NewEvent("too_late", fact().data, 2**63)),
                13: commit(store, "s13", NewEvent("too_early", fact().data, -(2**64))),
                15: commit(store, "s15", fact(), command_id="half \ud800 a character"),
            }
            work = [malformed.get(number) or commit(store, f"s{number}", fact()) for number in range(100)]
            results = await asyncio.gather(*work, return_exceptions=True)
            for number, result in enumerate(results):
                assert isinstance(result, InvalidInput if number in malformed else Committed), (number, result)
            assert len(await everything(store)) == 95
            assert (await commit(store, "s7", fact(), expected=0)).version == 1

    async def test_a_malformed_row_fails_alone(self) -> None:
        async with self.store() as store:
            results = await asyncio.gather(
                commit(store, "a", fact(), rows=(run_row("half \ud800 a character"),)),
                commit(store, "b", fact(), rows=(run_row("b"),)),
                return_exceptions=True,
            )
            assert isinstance(results[0], InvalidInput)
            assert isinstance(results[1], Committed)
            assert await versions(store, "a") == []
            assert await store.get_run("b") == run_row("b")
