"""Calls of agents that are undone, when the task that they were made for is."""

from __future__ import annotations

__all__: list[str] = []
