"""Proof that a workflow survives the death of its process: crash-point search in one process, and real kills of many."""

from agenticflow.testing.crashes.cases import CrashCase, CrashReport, CrashSignal, CrashViolation, Resolution
from agenticflow.testing.crashes.search import crash_search

__all__ = ["CrashCase", "CrashReport", "CrashSignal", "CrashViolation", "Resolution", "crash_search"]
