"""A workflow as it is, where a search wants a case: the short form, for work that leaves nothing behind outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agenticflow.agents.agent import Agent
from agenticflow.agents.workers import Worker
from agenticflow.errors import InvalidInput
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.testing.crashes.cases import CrashCase

__all__ = ["Searched", "case_maker"]

Searched = Callable[[], CrashCase] | WorkflowDefinition | WorkflowFunction
"""What makes a fresh case, or a workflow as it is."""
_HINT = "give crash_search or simulate a WorkflowDefinition, a function under @workflow, or a function that returns a CrashCase"


def case_maker(
    given: Searched, agents: Sequence[Agent], workers: Sequence[Worker[..., Any]], input: object
) -> Callable[[], CrashCase]:
    """Return what makes the cases. Raises ``InvalidInput`` for what is neither a workflow nor makes a case."""
    if isinstance(given, WorkflowDefinition | WorkflowFunction):
        return lambda: CrashCase(given, agents=agents, workers=workers, input=input)
    if isinstance(given, CrashCase):
        raise InvalidInput(
            "a CrashCase was given, and each kill needs a fresh one", hint="give a function that makes it"
        )
    if not callable(given):
        raise InvalidInput(f"{given!r:.80} cannot be searched", hint=_HINT)
    if agents or workers or input is not None:
        raise InvalidInput("agents, workers and input belong into the case that the function makes", hint=_HINT)

    def made() -> CrashCase:
        case: object = given()
        if not isinstance(case, CrashCase):
            raise InvalidInput(f"the function made {case!r:.80} and no CrashCase", hint=_HINT)
        return case

    return made
