"""Conversations keep their promises over every store, and over one that others write to as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenticflow.core.schemas import SchemaRegistry
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store
from agenticflow.testing.session_kit import SessionKit


class SharedMemoryStore(MemoryStore):
    """A store that does not say that nobody else writes to it, as one of many processes is: each read looks again."""

    @property
    def is_exclusive(self) -> bool:
        return False


class TestMemoryStore(SessionKit):
    survives_reopen = False

    async def open_store(self, schemas: SchemaRegistry | None = None) -> Store:
        return MemoryStore(schemas)


class TestSharedMemoryStore(SessionKit):
    survives_reopen = False

    async def open_store(self, schemas: SchemaRegistry | None = None) -> Store:
        return SharedMemoryStore(schemas)


class TestSQLiteStore(SessionKit):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.file = tmp_path / "state.db"

    async def open_store(self, schemas: SchemaRegistry | None = None) -> Store:
        return await SQLiteStore.open(self.file, schemas=schemas)


class TestSQLiteStoreWithFiles(TestSQLiteStore):
    async def open_store(self, schemas: SchemaRegistry | None = None) -> Store:
        return await SQLiteStore.open(self.file, schemas=schemas, blobs=self.file.parent / "values", least_file_bytes=1)
