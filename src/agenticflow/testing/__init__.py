"""What proves that a workflow, an agent or a backend keeps its promises: kits, fakes, virtual time, simulated and real crashes."""

from agenticflow.testing.crashes import (
    CrashCase,
    CrashReport,
    CrashSignal,
    CrashViolation,
    KillReport,
    Resolution,
    crash_search,
    kill_campaign,
    problems_of_run,
)
from agenticflow.testing.simulation import FaultKind, SimulationReport, SimulationViolation, simulate, sometimes

__all__ = [
    "CrashCase",
    "CrashReport",
    "CrashSignal",
    "CrashViolation",
    "FaultKind",
    "KillReport",
    "Resolution",
    "SimulationReport",
    "SimulationViolation",
    "crash_search",
    "kill_campaign",
    "problems_of_run",
    "simulate",
    "sometimes",
]
