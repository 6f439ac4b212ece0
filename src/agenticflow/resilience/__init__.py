"""Policies as data and pure functions: what to try again, and when; what to let through, how much at once; what may be spent."""

from agenticflow.resilience.adaptation import Adaptation, Load
from agenticflow.resilience.backpressure import BackPressure
from agenticflow.resilience.bounds import ResourceBounds
from agenticflow.resilience.breaker import Breaker, BreakerPolicy, BreakerState, BreakerStatus
from agenticflow.resilience.budgets import Amounts, Budget, BudgetView, Claim, KeepsBudgets, Reservation, Sums
from agenticflow.resilience.limiter import Rate, RateWindow
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy

__all__ = [
    "Adaptation",
    "Amounts",
    "BackPressure",
    "Breaker",
    "BreakerPolicy",
    "BreakerState",
    "BreakerStatus",
    "Budget",
    "BudgetView",
    "Claim",
    "KeepsBudgets",
    "Limit",
    "Load",
    "Rate",
    "RateWindow",
    "Reservation",
    "ResourceBounds",
    "RetryPolicy",
    "Sums",
]
