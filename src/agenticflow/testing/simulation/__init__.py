"""Deterministic simulation of a whole system: orchestrators, their store, those outside and everything that goes wrong, on virtual time."""

from agenticflow.testing.simulation.faults import ALL_FAULTS, Fault, FaultKind, Plan, draw_plan, sometimes
from agenticflow.testing.simulation.schedule import Schedule

__all__ = ["ALL_FAULTS", "Fault", "FaultKind", "Plan", "Schedule", "draw_plan", "sometimes"]
