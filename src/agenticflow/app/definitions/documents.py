"""Plain data that remembers where everything in it stood in its file."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Document", "Way"]

Way = tuple[str | int, ...]


class Document:
    """Plain data, and the line (from 1) of each key and item, by the way there: ``("tasks", 2, "agent_id")``."""

    __slots__ = ("_lines", "data", "path")

    def __init__(self, path: Path, data: object, lines: dict[Way, int]) -> None:
        self.path = path
        self.data = data
        self._lines = lines

    def place(self, *way: str | int) -> str:
        """Return ``"orders.yaml line 7"`` for what stands at the end of ``way``, or for the nearest thing around it."""
        while way not in self._lines and way:
            way = way[:-1]
        line = self._lines.get(way)
        return f"{self.path.name} line {line}" if line is not None else self.path.name
