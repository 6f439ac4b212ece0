"""What proves that a workflow, an agent or a backend keeps its promises: kits, fakes, virtual time, recorded runs, simulated and real
crashes."""

from agenticflow.testing.cassettes import Drift, DriftReport, replay_cassette
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
    "Drift",
    "DriftReport",
    "FaultKind",
    "KillReport",
    "Resolution",
    "SimulationReport",
    "SimulationViolation",
    "crash_search",
    "kill_campaign",
    "problems_of_run",
    "replay_cassette",
    "simulate",
    "sometimes",
]
