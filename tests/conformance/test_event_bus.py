"""Every bus keeps the same promises: a backend's test is a factory and nothing else. And the kit finds what is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from agenticflow.app import event_bus
from agenticflow.app.event_bus import EventBus
from agenticflow.communication.delivery import positions, subscription
from agenticflow.communication.delivery.queues import Lanes, Line, Progress
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.storage.store import Store
from agenticflow.testing.event_bus_kit import EventBusKit


class TestMemoryBus(EventBusKit):
    def make_bus(self, store: Store | None = None, **options: Any) -> EventBus:
        return EventBus("memory", store=store, **options)


class TestMemoryBusOverSQLite(TestMemoryBus):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.file = tmp_path / "state.db"

    async def open_store(self) -> Store:
        return await SQLiteStore.open(self.file, durability="normal")

    async def close_store(self, store: Store) -> None:
        await store.close()


class Kit(TestMemoryBus):
    __test__ = False
    patience_seconds: ClassVar[float] = 0.5


class LastInFirstOut(Line[Any]):
    def take(self) -> Any:
        return self._items.pop() if self._items else None


class NoKeys(Lanes[Any]):
    def __init__(self, key: Any) -> None:
        super().__init__(id)


class CountsWhatHasBegun(Progress):
    def begin(self, position: int) -> None:
        self.position = position


class CountsWhatEnds(Progress):
    def end(self, position: int) -> None:
        super().end(position)
        self.position = max(self.position, position)


class Forgets(positions.Bookmark):
    async def save(self, position: int, *, is_last: bool = False) -> None:
        return None


class Loses(event_bus.EventBus):
    async def _bury(self, *arguments: Any) -> None:
        return None


BROKEN: list[tuple[Any, str, type, str]] = [
    (subscription, "Line", LastInFirstOut, "test_a_handler_that_recovers_misses_nothing"),
    (subscription, "Lanes", NoKeys, "test_several_at_a_time_keep_the_order_of_each_key"),
    (subscription, "Lanes", NoKeys, "test_with_a_store_the_order_of_each_stream_is_kept"),
    ("feed", "Progress", CountsWhatHasBegun, "test_what_was_not_finished_is_delivered_again"),
    ("feed", "Progress", CountsWhatEnds, "test_out_of_order_only_what_is_done_without_a_gap_counts"),
    (positions, "Bookmark", Forgets, "test_a_durable_subscriber_goes_on_where_it_stopped"),
]


@pytest.mark.parametrize(
    ("module", "name", "broken", "case"), BROKEN, ids=[f"{row[2].__name__}-{row[3]}" for row in BROKEN]
)
async def test_the_kit_finds(
    module: Any, name: str, broken: object, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"agenticflow.communication.delivery.{module}" if isinstance(module, str) else module.__name__
    monkeypatch.setattr(f"{where}.{name}", broken)
    with pytest.raises((AssertionError, TimeoutError)):
        await getattr(Kit(), case)()


async def test_the_kit_finds_lost_letters() -> None:
    class LosingKit(Kit):
        def make_bus(self, store: Store | None = None, **options: Any) -> EventBus:
            return Loses("memory", store=store, **options)

    with pytest.raises((AssertionError, ValueError)):
        await LosingKit().test_what_fails_for_good_becomes_a_dead_letter_and_the_next_is_delivered()


def test_the_kit_has_a_case_for_every_promise() -> None:
    cases = [name for name in dir(EventBusKit) if name.startswith("test_")]
    assert len(cases) >= 30
    assert {row[3] for row in BROKEN} <= set(cases)
