"""Notes what agents and their registry say about themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from agenticflow.agents.asked.doors import Loops, runs_agents


class Diary:
    """A recorder that only takes notes."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, dict[str, Any], int]] = []
        self.looked: list[str] = []

    def record(self, stream_id: str, event_type: str, payload: msgspec.Struct, now: int) -> None:
        self.entries.append((stream_id, event_type, msgspec.to_builtins(payload), now))

    def look_again(self, performer_id: str) -> None:
        self.looked.append(performer_id)

    @property
    def loops(self) -> Loops:
        return runs_agents.get()
