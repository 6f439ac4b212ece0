"""Keeping a SQLite file in order: archives of what is over, room given back, copies that can be relied on."""

from agenticflow.integrations.stores.sqlite.upkeep.compaction import Compaction

__all__ = ["Compaction"]
