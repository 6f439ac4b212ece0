"""Requests answered by workflows that are planned for each: taken apart, checked, approved, run, planned again when they fail."""

from agenticflow.app.supervisor.records import PlanRecord, SupervisorResult, Verdict
from agenticflow.app.supervisor.supervisor import SupervisorAgent

__all__ = ["PlanRecord", "SupervisorAgent", "SupervisorResult", "Verdict"]
