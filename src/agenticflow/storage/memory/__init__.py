"""The memory store: the reference implementation, what tests run on, and the shortest correct answer to every promise."""

from agenticflow.storage.memory.store import MemoryStore

__all__ = ["MemoryStore"]
