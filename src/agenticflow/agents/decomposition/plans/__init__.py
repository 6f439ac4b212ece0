"""A decomposition, made a workflow: who does what, in which order, checked and as wide as it may be."""

from agenticflow.agents.decomposition.plans.doers import Doer
from agenticflow.agents.decomposition.plans.plan import Plan, Planned, lay_out
from agenticflow.agents.decomposition.plans.single import single_task

__all__ = ["Doer", "Plan", "Planned", "lay_out", "single_task"]
