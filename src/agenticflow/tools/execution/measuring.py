"""Calls of tools in figures, for whoever listens: how many, how long, how they ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agenticflow.core.measures import ToolMeasures
from agenticflow.core.telemetry import Telemetry, Watches
from agenticflow.tools.execution.pipeline import ToolPipeline, ToolUse, get_tool_pipeline

__all__ = ["measure_tools"]

UNKNOWN: Final = "unknown"
"""Stands for whatever is no tool: models make up any number of names, and labels are few."""


class _Watch:
    """Fills one listener with what goes through one pipeline."""

    def __init__(self, telemetry: Telemetry, pipeline: ToolPipeline) -> None:
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


_WATCHES: Final = Watches()


def measure_tools(telemetry: Telemetry, pipeline: ToolPipeline | None = None) -> Callable[[], None]:
    """Let ``telemetry`` know of every call from now on; return what ends that. Asking twice counts once."""
    chosen = pipeline if pipeline is not None else get_tool_pipeline()
    return _WATCHES.join(telemetry, lambda: _Watch(telemetry, chosen).end, chosen)
