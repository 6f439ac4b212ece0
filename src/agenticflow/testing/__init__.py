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
from agenticflow.testing.fakes import MemoryJournals
from agenticflow.testing.model_cassettes import CassetteModel
from agenticflow.testing.scripted_model import (
    BrokenOff,
    ScriptedModel,
    allow_model_calls,
    call_tool,
    forbid_model_calls,
)
from agenticflow.testing.simulation import FaultKind, SimulationReport, SimulationViolation, simulate, sometimes

__all__ = [
    "BrokenOff",
    "CassetteModel",
    "CrashCase",
    "CrashReport",
    "CrashSignal",
    "CrashViolation",
    "Drift",
    "DriftReport",
    "FaultKind",
    "KillReport",
    "MemoryJournals",
    "Resolution",
    "ScriptedModel",
    "SimulationReport",
    "SimulationViolation",
    "allow_model_calls",
    "call_tool",
    "crash_search",
    "forbid_model_calls",
    "kill_campaign",
    "problems_of_run",
    "replay_cassette",
    "simulate",
    "sometimes",
]
