"""Policies as data and pure functions: what to try again, and when; what to let through, how much at once; how long to wait in a queue."""

from agenticflow.resilience.adaptation import Adaptation, Load
from agenticflow.resilience.backpressure import BackPressure
from agenticflow.resilience.bounds import ResourceBounds
from agenticflow.resilience.breaker import Breaker, BreakerPolicy, BreakerState, BreakerStatus
from agenticflow.resilience.limiter import Rate, RateWindow
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy

__all__ = [
    "Adaptation",
    "BackPressure",
    "Breaker",
    "BreakerPolicy",
    "BreakerState",
    "BreakerStatus",
    "Limit",
    "Load",
    "Rate",
    "RateWindow",
    "ResourceBounds",
    "RetryPolicy",
]
