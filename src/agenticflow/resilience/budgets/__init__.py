"""Budgets: what may be spent on calls of models and tools, reserved before a call and settled after it."""

from agenticflow.resilience.budgets.amounts import Amounts, Budget, Claim, Sums
from agenticflow.resilience.budgets.keeping import BudgetView, KeepsBudgets, Reservation

__all__ = ["Amounts", "Budget", "BudgetView", "Claim", "KeepsBudgets", "Reservation", "Sums"]
