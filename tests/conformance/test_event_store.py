"""Every store keeps the same promises: a backend's test is a factory and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pytest

from agenticflow.core.schemas import SchemaRegistry
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store
from agenticflow.testing.event_store_kit import EventStoreKit
from agenticflow.testing.key_values_kit import KeyValuesKit
from agenticflow.testing.retention_kit import RetentionKit


class TestMemoryStore(EventStoreKit, KeyValuesKit, RetentionKit):
    survives_reopen = False

    async def open_store(self, schemas: SchemaRegistry | None = None) -> Store:
        return MemoryStore(schemas)


class TestSQLiteStore(EventStoreKit, KeyValuesKit, RetentionKit):
    durability: ClassVar[Literal["full", "normal"]] = "full"
    can_be_damaged = True

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.file = tmp_path / "state.db"

    async def open_store(self, schemas: SchemaRegistry | None = None) -> Store:
        return await SQLiteStore.open(self.file, durability=self.durability, schemas=schemas)

    async def damage(self) -> object:
        content = bytearray(self.file.read_bytes())
        content[100:4096] = b"\xa5" * 3996  # the page that says which tables there are
        self.file.write_bytes(content)
        return await self.evidence()

    async def evidence(self) -> object:
        beside = sorted(path.name for path in self.file.parent.iterdir() if not path.name.endswith(".lock"))
        return self.file.read_bytes(), beside


class TestSQLiteStoreWithFiles(TestSQLiteStore):
    """Every value that is a row elsewhere is a file here, also the smallest."""

    async def open_store(self, schemas: SchemaRegistry | None = None) -> Store:
        folder = self.file.parent / "values"
        return await SQLiteStore.open(self.file, schemas=schemas, blobs=folder, least_file_bytes=1)


class TestSQLiteStoreWithNormalDurability(TestSQLiteStore):
    durability: ClassVar[Literal["full", "normal"]] = "normal"
