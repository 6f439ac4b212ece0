"""The traces of the SDK in our logs and figures: each span a log line, its duration in a histogram."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from agents import Span, Trace, TracingProcessor, add_trace_processor, set_trace_processors

from agenticflow.core.telemetry import NO_TELEMETRY, Telemetry
from agenticflow.integrations.frameworks.openai_agents.durable.scope import current

__all__ = ["LoggedTraces", "trace_to_logs"]

NAME_CHARS: Final = 200
log = logging.getLogger("agenticflow.openai_agents")


class LoggedTraces(TracingProcessor):
    """Writes a line for each span that ends; failed ones as warnings. What models and tools said is in none."""

    def __init__(self, telemetry: Telemetry = NO_TELEMETRY) -> None:
        self._seconds = telemetry.histogram(
            "agenticflow_openai_agents_span_seconds",
            "How long spans of the OpenAI Agents SDK lasted.",
            ("type", "outcome"),
        )
        self._is_listening = telemetry.is_listening

    def on_trace_start(self, trace: Trace) -> None:
        log.debug("the trace %s of %s begins", trace.trace_id, trace.name, extra=_whose())

    def on_trace_end(self, trace: Trace) -> None:
        log.debug("the trace %s of %s ends", trace.trace_id, trace.name, extra=_whose())

    def on_span_start(self, span: Span[Any]) -> None:
        """Nothing: what counts is known at its end."""

    def on_span_end(self, span: Span[Any]) -> None:
        kind = span.span_data.type
        name = str(getattr(span.span_data, "name", "") or "")[:NAME_CHARS]
        seconds = _seconds(span.started_at, span.ended_at)
        error = span.error
        outcome = "failed" if error else "succeeded"
        if self._is_listening and seconds is not None:
            self._seconds.record(seconds, kind, outcome)
        log.log(
            logging.WARNING if error else logging.INFO,
            "%s %s %s%s",
            kind,
            name,
            outcome,
            f": {error['message']}" if error else "",
            extra={
                **_whose(),
                "trace_id": span.trace_id,
                "span_id": span.span_id,
                "parent_span_id": span.parent_id,
                "seconds": seconds,
                **_usage(span),
            },
        )

    def shutdown(self) -> None:
        """Nothing is held back."""

    def force_flush(self) -> None:
        """Nothing is held back."""


def trace_to_logs(*, telemetry: Telemetry = NO_TELEMETRY, only: bool = True) -> LoggedTraces:
    """Have the traces of the SDK written to the log, in this process.

    ``only`` takes the place of every processor so far, among them the one that sends traces to OpenAI.
    """
    processor = LoggedTraces(telemetry)
    if only:
        set_trace_processors([processor])
    else:
        add_trace_processor(processor)
    return processor


def _whose() -> dict[str, object]:
    place = current()
    if place is None:
        return {}
    task = place.run.task
    return {
        "workflow_id": task.workflow_id,
        "run_no": task.run_no,
        "task_key": task.task_key,
        "attempt": task.attempt,
    }


def _usage(span: Span[Any]) -> dict[str, object]:
    usage = getattr(span.span_data, "usage", None)
    if not isinstance(usage, Mapping):
        return {}
    return {name: usage[name] for name in ("input_tokens", "output_tokens") if name in usage}


def _seconds(began: str | None, ended: str | None) -> float | None:
    if began is None or ended is None:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
