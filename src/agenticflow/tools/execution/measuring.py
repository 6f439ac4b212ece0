"""Calls of tools in figures, for whoever listens: how many, how long, how they ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agenticflow.core.measures import ToolMeasures
from agenticflow.core.telemetry import Telemetry
from agenticflow.tools.execution.pipeline import ToolPipeline, ToolUse, get_tool_pipeline

__all__ = ["measure_tools"]

UNKNOWN: Final = "unknown"
"""Stands for whatever is no tool: models make up any number of names, and labels are few."""


class _Watch:
    """Fills one listener, however many engines of this process asked for it: the pipeline belongs to the process."""

    def __init__(self, telemetry: Telemetry, pipeline: ToolPipeline) -> None:
        self.users = 0
        self._measures = ToolMeasures(telemetry)
        self._pipeline = pipeline
        self._ends = (pipeline.listen(self._ended), telemetry.before_look(self._refresh))

    def end(self) -> None:
        for end in self._ends:
            end()

    def _ended(self, use: ToolUse) -> None:
        name = use.call.name if use.definition is not None else UNKNOWN
        self._measures.call_ended(name, use.outcome, use.ended_at - use.began_at)

    def _refresh(self) -> None:
        self._measures.in_flight.set(self._pipeline.in_flight)
        self._measures.abandoned.set(self._pipeline.abandoned)


_WATCHES: Final[dict[tuple[int, int], _Watch]] = {}


def measure_tools(telemetry: Telemetry, pipeline: ToolPipeline | None = None) -> Callable[[], None]:
    """Let ``telemetry`` know of every call from now on; return what ends that. Asking twice counts once."""
    if not telemetry.is_listening:
        return _nothing_to_end
    chosen = pipeline if pipeline is not None else get_tool_pipeline()
    key = (id(telemetry), id(chosen))
    watch = _WATCHES.get(key)
    if watch is None:
        watch = _WATCHES[key] = _Watch(telemetry, chosen)
    watch.users += 1
    is_over = False

    def end() -> None:
        nonlocal is_over
        if is_over:
            return
        is_over = True
        watch.users -= 1
        if watch.users == 0:
            _WATCHES.pop(key, None)
            watch.end()

    return end


def _nothing_to_end() -> None:
    """Nobody listens."""
