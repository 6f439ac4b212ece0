"""The conformance kit of values by key: every promise of ``KeyValues`` is a case here, in nearly the same words.

A backend proves itself with the same place as for ``event_store_kit``::

    class TestMyStore(EventStoreKit, KeyValuesKit):
        async def open_store(self, schemas=None):
            return await MyStore.open("…", schemas=schemas)
"""

from __future__ import annotations

import asyncio
from typing import Final

from agenticflow.errors import BoundExceeded, ConcurrencyConflict, InvalidInput, StoreUnavailable
from agenticflow.storage.key_values import MAX_PAGE_BYTES, MAX_PAGE_VALUES, MAX_VALUE_BYTES, KeyValue
from agenticflow.storage.store import Store
from agenticflow.testing.event_store_kit.place import Place, commit, everything, fact, refused, versions

__all__ = ["KeyValuesKit"]

ODD_TEXTS: Final = (
    *(
        "a",
        "A",
        " a",
        "a ",
        "a\0",
        "a\0b",
        "\0",
        "a\n",
        "é",
        "e\u0301",
        "ß",
        "文書",
        "👩‍🔬",
        "\ud7ff",
        "\ue000",
        "\uffff",
    ),
    *("\U00010000", "\U0010ffff", "%_*?[a]", "'; DROP TABLE key_values; --", '"', "\\", "a/b", "null", "1", "01"),
)
"""All different, and each the same after a round trip."""


async def _keys(store: Store, namespace: str, prefix: str = "", *, now: int = 1, limit: int = 100) -> list[str]:
    """Return all keys, read in pages of ``limit``."""
    found: list[str] = []
    while page := await store.list_values(
        namespace, now=now, prefix=prefix, after=found[-1] if found else None, limit=limit
    ):
        assert len(page) <= limit
        found += [value.key for value in page]
    return found


class KeyValuesKit(Place):
    """What ``KeyValues`` promises."""

    async def test_a_value_that_is_not_there_is_none(self) -> None:
        async with self.store() as store:
            await store.put_value("n", "a", b"1", now=1)
            assert await store.get_value("n", "b", now=1) is None
            assert await store.get_value("m", "a", now=1) is None

    async def test_every_field_of_a_value_comes_back(self) -> None:
        async with self.store() as store:
            content = bytes(range(256)) * 3
            assert await store.put_value("n", "a", content, now=2**62, expires_at=2**62 + 7) == 1
            right = KeyValue("n", "a", content, 1, 2**62, 2**62 + 7)
            assert await store.get_value("n", "a", now=2**62) == right
            assert list(await store.list_values("n", now=2**62)) == [right]

    async def test_versions_grow_by_one_with_each_write(self) -> None:
        async with self.store() as store:
            written = [await store.put_value("n", "a", b"%d" % number, now=number) for number in range(5)]
            assert written == [1, 2, 3, 4, 5]
            assert await store.put_value("n", "b", b"", now=9) == 1
            assert await store.get_value("n", "a", now=9) == KeyValue("n", "a", b"4", 5, 4, None)

    async def test_of_twenty_writers_that_expect_one_version_one_wins(self) -> None:
        async with self.store() as store:
            for expected in (0, 1, 2):
                work = [
                    store.put_value("n", "a", b"%d" % number, now=1, expected_version=expected) for number in range(20)
                ]
                answers = await asyncio.gather(*work, return_exceptions=True)
                winners = [number for number, answer in enumerate(answers) if answer == expected + 1]
                assert len(winners) == 1
                assert sum(isinstance(answer, ConcurrencyConflict) for answer in answers) == 19
                found = await store.get_value("n", "a", now=1)
                assert found is not None
                assert found.value == b"%d" % winners[0]

    async def test_a_conflict_names_both_versions_and_writes_nothing(self) -> None:
        async with self.store() as store:
            await store.put_value("n", "a", b"1", now=1)
            for expected in (0, 2, 7):
                with refused(ConcurrencyConflict) as caught:
                    await store.put_value("n", "a", b"2", now=1, expected_version=expected)
                assert (caught.error.expected, caught.error.actual) == (expected, 1)
                assert "'a'" in caught.error.message
                assert caught.error.hint
                with refused(ConcurrencyConflict):
                    await store.delete_value("n", "a", expected_version=expected)
            with refused(ConcurrencyConflict):
                await store.put_value("n", "b", b"2", now=1, expected_version=1)
            assert await store.get_value("n", "a", now=1) == KeyValue("n", "a", b"1", 1, 1, None)
            assert await _keys(store, "n") == ["a"]

    async def test_a_deleted_value_is_gone_and_begins_again_at_1(self) -> None:
        async with self.store() as store:
            await store.put_value("n", "a", b"1", now=1)
            await store.put_value("n", "a", b"2", now=1)
            assert await store.delete_value("n", "a", expected_version=2) is True
            assert await store.delete_value("n", "a") is False
            assert await store.get_value("n", "a", now=1) is None
            assert await store.put_value("n", "a", b"3", now=1, expected_version=0) == 1

    async def test_an_expired_value_is_invisible_at_once(self) -> None:
        async with self.store() as store:
            await store.put_value("n", "a", b"1", now=1, expires_at=10)
            await store.put_value("n", "b", b"2", now=1)
            assert await store.get_value("n", "a", now=9) is not None
            assert await store.get_value("n", "a", now=10) is None
            assert await _keys(store, "n", now=9) == ["a", "b"]
            assert await _keys(store, "n", now=10) == ["b"]

    async def test_an_expired_value_counts_as_not_there_and_begins_again_at_1(self) -> None:
        async with self.store() as store:
            await store.put_value("n", "a", b"1", now=1)
            await store.put_value("n", "a", b"2", now=1, expires_at=10)
            with refused(ConcurrencyConflict) as caught:
                await store.put_value("n", "a", b"3", now=10, expected_version=2)
            assert caught.error.actual == 0
            assert await store.put_value("n", "a", b"3", now=10, expected_version=0) == 1
            assert await store.get_value("n", "a", now=10) == KeyValue("n", "a", b"3", 1, 10, None)

    async def test_a_write_replaces_the_moment_at_which_a_value_expires(self) -> None:
        async with self.store() as store:
            await store.put_value("n", "a", b"1", now=1, expires_at=10)
            await store.put_value("n", "a", b"2", now=5, expires_at=20)
            await store.put_value("n", "b", b"1", now=5, expires_at=10)
            await store.put_value("n", "b", b"2", now=6)
            for number in range(100):
                await store.put_value("other", f"{number}", b"", now=15, expires_at=16)
            assert await _keys(store, "n", now=19) == ["a", "b"]
            assert await _keys(store, "n", now=20) == ["b"]

    async def test_values_that_nobody_reads_any_more_are_removed_by_the_writes_of_others(self) -> None:
        async with self.store() as store:
            for number in range(200):
                await store.put_value("old", f"{number:03}", b"", now=1, expires_at=10)
            for number in range(100):
                await store.put_value("new", f"{number}", b"", now=20)
            assert await _keys(store, "old", now=1) == [], "whoever looks with an older clock sees that they are gone"

    async def test_what_was_written_is_there_when_the_store_is_opened_again(self) -> None:
        async with self.store() as store:
            await store.put_value("n", "a", b"1", now=1)
            await store.put_value("n", "a", b"2", now=1, expires_at=10)
            await store.put_value("n", "b", b"", now=1)
            await store.delete_value("n", "b")
            second = await self.reopened(store)
            try:
                assert await second.get_value("n", "a", now=1) == KeyValue("n", "a", b"2", 2, 1, 10)
                assert await second.put_value("n", "a", b"3", now=2, expected_version=2) == 3
                assert await _keys(second, "n") == ["a"]
            finally:
                await second.close()

    async def test_names_are_any_text_and_never_mixed_up(self) -> None:
        async with self.store() as store:
            names = [(namespace, key) for namespace in ODD_TEXTS for key in ODD_TEXTS]
            await asyncio.gather(*(store.put_value(*name, repr(name).encode(), now=1) for name in names))
            for namespace in ODD_TEXTS:
                found = {value.key: value.value for value in await store.list_values(namespace, now=1)}
                assert found == {key: repr((namespace, key)).encode() for key in ODD_TEXTS}

    async def test_values_are_listed_in_the_order_of_code_points(self) -> None:
        async with self.store() as store:
            for key in ODD_TEXTS:
                await store.put_value("n", key, b"", now=1)
            for limit in (1, 3, 100):
                assert await _keys(store, "n", limit=limit) == sorted(ODD_TEXTS)

    async def test_values_are_listed_by_the_beginning_of_their_keys(self) -> None:
        async with self.store() as store:
            keys = [first + second for first in ODD_TEXTS for second in ("", *ODD_TEXTS)]
            await asyncio.gather(*(store.put_value("n", key, b"", now=1) for key in keys))
            for prefix in (*ODD_TEXTS, "a\U0010ffff", "\U0010ffff\U0010ffff", "nothing begins like this"):
                right = sorted({key for key in keys if key.startswith(prefix)})
                assert await _keys(store, "n", prefix, limit=7) == right, prefix

    async def test_a_page_goes_on_after_a_key_that_is_gone(self) -> None:
        async with self.store() as store:
            for key in "abcde":
                await store.put_value("n", key, b"", now=1)
            await store.delete_value("n", "b")
            assert [value.key for value in await store.list_values("n", now=1, after="b", limit=2)] == ["c", "d"]
            assert await store.list_values("n", now=1, after="e") == []
            assert [value.key for value in await store.list_values("n", now=1, prefix="d", after="a")] == ["d"]

    async def test_a_page_of_large_values_is_shorter_and_the_next_one_goes_on(self) -> None:
        async with self.store() as store:
            content, count = bytes(MAX_VALUE_BYTES), MAX_PAGE_BYTES // MAX_VALUE_BYTES + 3
            for number in range(count):
                await store.put_value("n", f"{number:02}", content, now=1)
            assert len(await store.list_values("n", now=1)) < count
            assert await _keys(store, "n") == [f"{number:02}" for number in range(count)]

    async def test_a_value_exactly_at_its_limit_is_accepted_and_one_byte_over_refused(self) -> None:
        async with self.store() as store:
            await store.put_value("n", "a", b"x" * MAX_VALUE_BYTES, now=1)
            with refused(BoundExceeded) as caught:
                await store.put_value("n", "a", b"y" * (MAX_VALUE_BYTES + 1), now=1)
            assert caught.error.hint
            found = await store.get_value("n", "a", now=1)
            assert found is not None
            assert (found.version, found.value) == (1, b"x" * MAX_VALUE_BYTES)

    async def test_what_no_store_takes_is_refused_and_nothing_written(self) -> None:
        async with self.store() as store:
            for namespace, key in (("", "a"), ("n", ""), ("x" * 513, "a"), ("n", "x" * 513), ("n", "half \ud800")):
                with refused(InvalidInput):
                    await store.put_value(namespace, key, b"", now=1)
                with refused(InvalidInput):
                    await store.get_value(namespace, key, now=1)
            for now, expires_at, expected in ((2**63, None, -1), (1, 2**63, -1), (1, None, -2)):
                with refused(InvalidInput):
                    await store.put_value("n", "a", b"", now=now, expires_at=expires_at, expected_version=expected)
            with refused(InvalidInput):
                await store.list_values("n", now=1, limit=0)
            with refused(BoundExceeded):
                await store.list_values("n", now=1, limit=MAX_PAGE_VALUES + 1)
            await store.put_value("ü" * 512, "ü" * 512, b"", now=1)
            assert await _keys(store, "n") == []

    async def test_values_and_commits_that_come_together_do_not_disturb_each_other(self) -> None:
        async with self.store() as store:
            work = [
                commit(store, "a", fact()) if number % 2 else store.put_value("n", f"{number % 5}", b"", now=number)
                for number in range(100)
            ]
            answers = await asyncio.gather(
                *work,
                store.put_value("n", "0", b"", now=1, expected_version=99),
                commit(store, "a", fact(), expected=99),
                return_exceptions=True,
            )
            assert [type(answer) for answer in answers[-2:]] == [ConcurrencyConflict] * 2
            assert await versions(store, "a") == list(range(1, 51))
            assert len(await everything(store)) == 50
            assert [value.version for value in await store.list_values("n", now=1)] == [10] * 5

    async def test_a_closed_store_keeps_no_values(self) -> None:
        async with self.store() as store:
            await store.close()
            for call in (
                lambda: store.get_value("n", "a", now=1),
                lambda: store.put_value("n", "a", b"", now=1),
                lambda: store.delete_value("n", "a"),
                lambda: store.list_values("n", now=1),
            ):
                with refused(StoreUnavailable):
                    await call()
