"""Deterministic simulation of a whole system: orchestrators, their store, those outside and everything that goes wrong, on virtual time.

``simulate`` plays a workflow of your own under many random schedules; the rest is for campaigns over workflows that are random too.
"""

from agenticflow.testing.simulation.campaign import (
    ANYTHING,
    SimulationReport,
    SimulationViolation,
    Trial,
    run_campaign,
    simulate,
)
from agenticflow.testing.simulation.faults import ALL_FAULTS, Fault, FaultKind, Plan, draw_plan, sometimes
from agenticflow.testing.simulation.schedule import Schedule

__all__ = [
    "ALL_FAULTS",
    "ANYTHING",
    "Fault",
    "FaultKind",
    "Plan",
    "Schedule",
    "SimulationReport",
    "SimulationViolation",
    "Trial",
    "draw_plan",
    "run_campaign",
    "simulate",
    "sometimes",
]
