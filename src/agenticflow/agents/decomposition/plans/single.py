"""The plan of a simple request: one task for one agent. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count

from agenticflow.agents.decomposition.analysis import QueryAnalysis
from agenticflow.agents.decomposition.decomposition import Decomposition, PlannedTask, Strategy
from agenticflow.agents.decomposition.plans.doers import ANY_TASK, Doer

__all__ = ["single_task"]


def single_task(analysis: QueryAnalysis, doers: Sequence[Doer]) -> Decomposition | None:
    """Return the one task that the request is, for whoever has the capability that it names, or for the only agent there is; ``None``
    when its words do not say who that could be."""
    task_id = next(
        name for name in chain(["answer"], map("answer_{}".format, count(2))) if name not in analysis.context_keys
    )
    if analysis.capabilities:
        named = analysis.capabilities[0]
        task = PlannedTask(named, (named,), id=task_id)
        return Decomposition(Strategy.SEQUENTIAL, (task,), f"the request asks for {named!r} alone")
    if len(doers) == 1:
        task = PlannedTask(ANY_TASK, tuple(sorted(doers[0].capabilities)), id=task_id, agent=doers[0].agent_id)
        return Decomposition(Strategy.SEQUENTIAL, (task,), f"{doers[0].agent_id!r} is the only agent")
    return None
