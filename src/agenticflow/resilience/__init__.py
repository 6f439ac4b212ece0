"""Policies as data and pure functions: what to try again, when, and how often."""

from agenticflow.resilience.retry import RetryPolicy

__all__ = ["RetryPolicy"]
