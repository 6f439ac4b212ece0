"""What an agent remembers: working memory in the process, long-term values by key in the store, and finding them by what they say."""

from agenticflow.agents.memory.embedding import Embedder
from agenticflow.agents.memory.entries import MemoryBounds, MemoryEntry, MemoryMatch
from agenticflow.agents.memory.hashing import HashingEmbedder
from agenticflow.agents.memory.store import MemoryStore
from agenticflow.agents.memory.working import WorkingMemory

__all__ = [
    "Embedder",
    "HashingEmbedder",
    "MemoryBounds",
    "MemoryEntry",
    "MemoryMatch",
    "MemoryStore",
    "WorkingMemory",
]
