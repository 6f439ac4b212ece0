"""Commits that follow from each other: each stays a commit of its own, and none is true without those before it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agenticflow.core.codec import content_hash
from agenticflow.core.types import MAX_EVENT_BYTES
from agenticflow.errors import AgenticFlowError, BoundExceeded, ConcurrencyConflict, InvalidInput, StoreUnavailable
from agenticflow.storage.commits import Commit, Committed, NewEvent
from agenticflow.storage.rows import Blob
from agenticflow.testing.event_store_kit.place import Place, everything, fact, run_row, take, versions

__all__ = ["OrderedCases"]


def made(answers: Sequence[Committed | AgenticFlowError]) -> list[int]:
    """Return the versions that the answers tell; the last may be an error."""
    return [answer.version for answer in answers if isinstance(answer, Committed)]


class OrderedCases(Place):
    """What ``commit_in_order`` promises."""

    async def test_commits_in_order_are_each_answered_like_one_alone(self) -> None:
        async with self.store() as store:
            answers = await store.commit_in_order(
                [
                    Commit(stream_id="a", expected=0, events=[fact(), fact()], rows=[run_row("a")]),
                    Commit(stream_id="b", expected=0, events=[fact()], rows=[run_row("b")]),
                    Commit(stream_id="c", expected=0, events=[fact()]),
                ]
            )
            events = await everything(store)
            assert [(event.stream_id, event.version) for event in events] == [("a", 1), ("a", 2), ("b", 1), ("c", 1)]
            last = {event.stream_id: event.position for event in events}
            assert list(answers) == [Committed(2, last["a"]), Committed(1, last["b"]), Committed(1, last["c"])]
            assert (await store.get_run("a"), await store.get_run("b")) == (run_row("a"), run_row("b"))

    async def test_a_commit_behind_another_over_the_same_stream_finds_it_made(self) -> None:
        async with self.store() as store:
            answers = await store.commit_in_order(
                [Commit(stream_id="a", expected=version, events=[fact()]) for version in range(3)]
            )
            assert made(answers) == [1, 2, 3]

    async def test_what_stands_before_a_conflict_is_made_and_what_stands_behind_it_is_not(self) -> None:
        async with self.store() as store:
            answers = await store.commit_in_order(
                [
                    Commit(stream_id="a", expected=0, events=[fact()]),
                    Commit(stream_id="b", expected=7, events=[fact()], rows=[run_row("b")]),
                    Commit(stream_id="c", expected=0, events=[fact()], rows=[run_row("c")]),
                ]
            )
            assert made(answers) == [1]
            assert len(answers) == 2
            assert isinstance(answers[-1], ConcurrencyConflict)
            assert [event.stream_id for event in await everything(store)] == ["a"]
            assert (await store.get_run("b"), await store.get_run("c")) == (None, None)

    async def test_nothing_is_made_when_the_first_is_refused(self) -> None:
        async with self.store() as store:
            answers = await store.commit_in_order(
                [Commit(stream_id="a", expected=1, events=[fact()]), Commit(stream_id="b", events=[fact()])]
            )
            assert isinstance(answers[0], ConcurrencyConflict)
            assert (len(answers), await everything(store)) == (1, [])

    async def test_one_that_no_store_takes_fails_with_those_behind_it_alone(self) -> None:
        big = NewEvent("big", bytes(MAX_EVENT_BYTES + 1), 1)
        refusals: list[tuple[Commit, type[AgenticFlowError]]] = [
            (Commit(stream_id="b", events=[big]), BoundExceeded),
            (Commit(stream_id="", events=[fact()]), InvalidInput),
            (Commit(stream_id="b"), InvalidInput),
        ]
        async with self.store() as store:
            for number, (wrong, kind) in enumerate(refusals, start=1):
                after = Commit(stream_id="c", events=[fact()])
                answers = await store.commit_in_order([Commit(stream_id="a", events=[fact()]), wrong, after])
                assert made(answers) == [number]
                assert isinstance(answers[-1], kind)
                assert [type(answer) for answer in await store.commit_in_order([wrong, after])] == [kind]
            assert {event.stream_id for event in await everything(store)} == {"a"}

    async def test_nothing_is_made_behind_a_command_seen_before(self) -> None:
        async with self.store() as store:
            known = Commit(stream_id="a", events=[fact()], command_id="c")
            first = await store.commit(known)
            answers = await store.commit_in_order([known, Commit(stream_id="b", events=[fact()])])
            assert list(answers) == [Committed(first.version, first.position, is_repeated=True)]
            assert await versions(store, "b") == []

    async def test_large_values_come_along(self) -> None:
        data = bytes(range(256)) * 1_000
        blob = Blob(content_hash(data), data)
        async with self.store() as store:
            await store.commit_in_order(
                [
                    Commit(stream_id="a", events=[fact()]),
                    Commit(stream_id="b", events=[fact()], rows=[blob]),
                ]
            )
            assert await store.get_blob(blob.hash) == data

    async def test_whoever_follows_is_told_all_of_them_in_order(self) -> None:
        async with self.store() as store:
            following = asyncio.create_task(take(store.stream_events(), 3))
            await asyncio.sleep(0)
            await store.commit_in_order([Commit(stream_id=name, events=[fact(name)]) for name in "abc"])
            assert [event.event_type for event in await following] == ["a", "b", "c"]

    async def test_many_chains_at_once_do_not_mix(self) -> None:
        async with self.store() as store:
            work = (
                store.commit_in_order(
                    [Commit(stream_id=f"{name}-{number % 50}", expected=0, events=[fact()]) for name in "abc"]
                )
                for number in range(100)
            )
            answers = await asyncio.gather(*work)
            assert sorted(len(made(one)) for one in answers) == [0] * 50 + [3] * 50
            for name in "abc":
                for number in range(50):
                    assert await versions(store, f"{name}-{number}") == [1]

    async def test_a_closed_store_says_so_in_its_answer(self) -> None:
        async with self.store() as store:
            await store.close()
            answers = await store.commit_in_order([Commit(stream_id="a", events=[fact()])] * 2)
            assert [type(answer) for answer in answers] == [StoreUnavailable]

    async def test_commits_in_order_survive_being_opened_again(self) -> None:
        async with self.store() as store:
            await store.commit_in_order([Commit(stream_id=name, events=[fact()]) for name in "abc"])
            again = await self.reopened(store)
            try:
                assert [event.stream_id for event in await everything(again)] == ["a", "b", "c"]
            finally:
                await again.close()
