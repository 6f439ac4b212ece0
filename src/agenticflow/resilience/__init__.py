"""Policies as data and pure functions: what to try again, when, and how often; how much at once; how long to wait before a full queue."""

from agenticflow.resilience.backpressure import BackPressure
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy

__all__ = ["BackPressure", "Limit", "RetryPolicy"]
