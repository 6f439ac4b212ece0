"""Watching: metrics and logs. Reads what others say about themselves; decides nothing, and nothing depends on it."""

from agenticflow.observability.logs import LogSettings, configure_logging
from agenticflow.observability.metrics import (
    get_metrics,
    increment_counter,
    measure_latency,
    record_histogram,
    render,
    set_gauge,
)
from agenticflow.observability.monitoring import MonitoringConfig
from agenticflow.observability.registry import Metrics

__all__ = [
    "LogSettings",
    "Metrics",
    "MonitoringConfig",
    "configure_logging",
    "get_metrics",
    "increment_counter",
    "measure_latency",
    "record_histogram",
    "render",
    "set_gauge",
]
