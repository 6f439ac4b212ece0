"""What a supervisor is made with, looked at before anything comes of it: every refusal says what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agenticflow.agents.decomposition.decomposition import Bounds
from agenticflow.agents.decomposition.templates import WorkflowTemplateRegistry
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.orchestration.approvals.terms import Approval
from agenticflow.resilience.budgets import Budget

__all__ = ["check_budget", "check_kinds", "check_parts", "check_terms"]

MAX_REPLANS: Final = 20
MAX_ANSWER_SECONDS: Final = 86_400.0
_KINDS: Final[Mapping[str, tuple[type | tuple[type, ...], str]]] = {
    "templates": (WorkflowTemplateRegistry, "give WorkflowTemplateRegistry([WorkflowTemplate(…)])"),
    "words": (Mapping, 'give {"billing": ["invoice", "refund"]}'),
    "approval": ((Approval, str), 'give "Carry this out?", or Approval("Carry this out?", assignees=["ada"])'),
    "bounds": (Bounds, "give Bounds(max_tasks=20)"),
}


def check_parts(supervisor_id: object, orchestrator: object, version: object) -> None:
    """Raise ``DefinitionError`` for what is no id and no version, ``InvalidInput`` for what is no orchestrator."""
    if not isinstance(supervisor_id, str) or not supervisor_id or "@" in supervisor_id:
        raise DefinitionError(f"{supervisor_id!r:.60} is no id of a supervisor", hint='write "supervisor"')
    if not isinstance(orchestrator, Orchestrator):
        raise InvalidInput(
            f"a supervisor works with an Orchestrator, not a {type(orchestrator).__name__}",
            hint='write SupervisorAgent("supervisor", Orchestrator())',
        )
    if not isinstance(version, str) or not version:
        raise DefinitionError(f"{version!r:.60} is no version of a supervisor", hint='give a text: version="2"')


def check_kinds(**options: object) -> None:
    """Raise ``InvalidInput`` for an option that is of another kind."""
    for name, value in options.items():
        kind, right = _KINDS[name]
        if value is not None and not isinstance(value, kind):
            raise InvalidInput(f"{name} is a {type(value).__name__}", hint=right)


def check_terms(max_replans: object, answer_timeout_seconds: object) -> None:
    """Raise ``InvalidInput`` for terms that are out of bounds, or of another kind."""
    if isinstance(max_replans, bool) or not isinstance(max_replans, int) or not 0 <= max_replans <= MAX_REPLANS:
        raise InvalidInput(f"max_replans is {max_replans!r:.60}", hint=f"give a number from 0 to {MAX_REPLANS}")
    seconds = answer_timeout_seconds
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= MAX_ANSWER_SECONDS:
        raise InvalidInput(
            f"answer_timeout_seconds is {seconds!r:.60}", hint=f"give up to {MAX_ANSWER_SECONDS:,.0f} seconds"
        )


def check_budget(budget: object) -> None:
    """Raise ``InvalidInput`` for what is neither a budget nor the id of one."""
    if not isinstance(budget, (Budget, str, type(None))) or budget == "":
        raise InvalidInput(f"the budget is {budget!r:.60}", hint="give Budget(usd=0.5), or the id of one that is open")
