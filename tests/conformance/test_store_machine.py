"""Random histories: a real store answers like the schoolbook one, whatever comes in whatever order."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import settings

from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store
from tests.conformance.store_machine import StoreMachine


class MemoryMachine(StoreMachine):
    survives_reopen: ClassVar[bool] = False

    async def open_store(self) -> Store:
        return MemoryStore()


class SQLiteMachine(StoreMachine):
    async def open_store(self) -> Store:
        return await SQLiteStore.open(self.place / "state.db", durability="normal")


class SQLiteMachineWithFiles(StoreMachine):
    """Every value but the empty one is a file."""

    async def open_store(self) -> Store:
        folder = self.place / "values"
        return await SQLiteStore.open(self.place / "state.db", durability="normal", blobs=folder, least_file_bytes=1)


TestMemoryStore = MemoryMachine.TestCase
TestMemoryStore.settings = settings(settings.get_profile("house"), max_examples=60, stateful_step_count=25)

TestSQLiteStore = SQLiteMachine.TestCase
TestSQLiteStore.settings = settings(settings.get_profile("house"), max_examples=25, stateful_step_count=25)

TestSQLiteStoreWithFiles = SQLiteMachineWithFiles.TestCase
TestSQLiteStoreWithFiles.settings = settings(settings.get_profile("house"), max_examples=10, stateful_step_count=25)
