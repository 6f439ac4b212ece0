"""Proof that a workflow survives the death of its process: crash-point search inside one process, and real kills of many."""

from agenticflow.testing.crashes.campaign import KillReport, kill_campaign
from agenticflow.testing.crashes.cases import CrashCase, CrashReport, CrashSignal, CrashViolation, Resolution
from agenticflow.testing.crashes.record import problems_of_run
from agenticflow.testing.crashes.search import crash_search

__all__ = [
    "CrashCase",
    "CrashReport",
    "CrashSignal",
    "CrashViolation",
    "KillReport",
    "Resolution",
    "crash_search",
    "kill_campaign",
    "problems_of_run",
]
