"""Commands from outside: one id has one effect and one answer, for ever."""

from __future__ import annotations

import asyncio

from agenticflow.core.types import MAX_EVENT_BYTES
from agenticflow.errors import BoundExceeded, ConcurrencyConflict
from agenticflow.storage.commits import Committed, NewEvent
from agenticflow.testing.event_store_kit.place import Place, commit, everything, fact, refused, run_row, versions

__all__ = ["CommandCases"]


class CommandCases(Place):
    """What ``commit`` promises about ``command_id``."""

    async def test_a_command_seen_before_is_answered_and_not_repeated(self) -> None:
        async with self.store() as store:
            first = await commit(store, "a", fact(), fact(), command_id="start-7")
            await commit(store, "a", fact())
            again = await commit(store, "a", fact(), fact(), command_id="start-7")
            assert again == Committed(first.version, first.position, is_repeated=True)
            assert not first.is_repeated
            assert await versions(store, "a") == [1, 2, 3]

    async def test_a_command_seen_before_is_not_held_against_the_expected_version(self) -> None:
        async with self.store() as store:
            first = await commit(store, "a", fact(), expected=0, command_id="c")
            again = await commit(store, "a", fact(), expected=0, command_id="c")
            other = await commit(store, "a", fact(), expected=17, command_id="c")
            assert (again.version, other.version) == (first.version, first.version)
            assert again.is_repeated
            assert other.is_repeated

    async def test_a_command_seen_before_is_known_whatever_comes_with_it(self) -> None:
        async with self.store() as store:
            first = await commit(store, "a", fact(), command_id="c")
            again = await commit(store, "b", fact("other"), command_id="c", rows=(run_row("b"),))
            assert again == Committed(first.version, first.position, is_repeated=True)
            assert await versions(store, "b") == []
            assert await store.get_run("b") is None

    async def test_twenty_at_once_with_one_id_have_one_effect(self) -> None:
        async with self.store() as store:
            work = (commit(store, "a", fact(), expected=0, command_id="c") for _ in range(20))
            answers = await asyncio.gather(*work)
            assert len({(answer.version, answer.position) for answer in answers}) == 1
            assert [answer.is_repeated for answer in answers].count(False) == 1
            assert await versions(store, "a") == [1]

    async def test_different_ids_are_different_commands(self) -> None:
        async with self.store() as store:
            ids = ["c", "C", "c ", " c", "c\0", "c\0d", "ｃ", "é", "e\u0301", "🚀", "", "'; DROP TABLE commands; --"]
            answers = await asyncio.gather(*(commit(store, "a", fact(), command_id=command_id) for command_id in ids))
            assert not any(answer.is_repeated for answer in answers)
            again = await asyncio.gather(*(commit(store, "a", fact(), command_id=command_id) for command_id in ids))
            assert all(answer.is_repeated for answer in again)
            assert [answer.version for answer in again] == [answer.version for answer in answers]

    async def test_a_refused_commit_does_not_use_up_its_command_id(self) -> None:
        async with self.store() as store:
            with refused(ConcurrencyConflict):
                await commit(store, "a", fact(), expected=4, command_id="c")
            with refused(BoundExceeded):
                await commit(store, "a", NewEvent("big", bytes(MAX_EVENT_BYTES + 1), 1), command_id="c")
            answer = await commit(store, "a", fact(), expected=0, command_id="c")
            assert answer.version == 1
            assert not answer.is_repeated

    async def test_a_refused_command_and_its_repetition_at_once(self) -> None:
        async with self.store() as store:
            refused_one, taken = await asyncio.gather(
                commit(store, "a", fact(), expected=4, command_id="c"),
                commit(store, "a", fact(), expected=0, command_id="c"),
                return_exceptions=True,
            )
            assert isinstance(refused_one, ConcurrencyConflict)
            assert isinstance(taken, Committed)
            assert not taken.is_repeated

    async def test_a_command_of_rows_alone_is_remembered(self) -> None:
        async with self.store() as store:
            await commit(store, "a", fact())
            first = await commit(store, "a", rows=(run_row("a", status="PAUSED"),), command_id="pause")
            await commit(store, "a", rows=(run_row("a"),))
            again = await commit(store, "a", rows=(run_row("a", status="PAUSED"),), command_id="pause")
            assert (first.version, first.position) == (1, 0)
            assert again == Committed(1, 0, is_repeated=True)
            assert await store.get_run("a") == run_row("a")

    async def test_a_command_is_remembered_when_the_store_is_opened_again(self) -> None:
        async with self.store() as store:
            first = await commit(store, "a", fact(), fact(), expected=0, command_id="c")
            second = await self.reopened(store)
            try:
                again = await commit(second, "a", fact(), expected=9, command_id="c")
                assert again == Committed(first.version, first.position, is_repeated=True)
                assert len(await everything(second)) == 2
            finally:
                await second.close()

    async def test_a_thousand_commands(self) -> None:
        async with self.store() as store:
            ids = [f"command-{number}" for number in range(1_000)]
            for expected_repeats in (0, 1_000):
                work = (commit(store, f"s{number % 9}", fact(), command_id=name) for number, name in enumerate(ids))
                answers = await asyncio.gather(*work)
                assert sum(answer.is_repeated for answer in answers) == expected_repeats
            assert len(await everything(store)) == 1_000
