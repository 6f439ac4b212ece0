"""The SQLite store: one file, one owner, nothing to install."""

from agenticflow.integrations.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
