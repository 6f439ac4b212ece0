"""What a supervisor is made with, looked at before anything comes of it: every refusal says what to write instead."""

from __future__ import annotations

from typing import Final

from agenticflow.app.orchestrator import Orchestrator
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.resilience.budgets import Budget

__all__ = ["check_parts", "check_terms"]

MAX_REPLANS: Final = 20
MAX_ANSWER_SECONDS: Final = 86_400.0


def check_parts(supervisor_id: object, orchestrator: object, agents: object) -> None:
    """Raise ``DefinitionError`` for what is no id, ``InvalidInput`` for what is no orchestrator and no collection of ids."""
    if not isinstance(supervisor_id, str) or not supervisor_id or "@" in supervisor_id:
        raise DefinitionError(f"{supervisor_id!r:.60} is no id of a supervisor", hint='write "supervisor"')
    if not isinstance(orchestrator, Orchestrator):
        raise InvalidInput(
            f"a supervisor works with an Orchestrator, not a {type(orchestrator).__name__}",
            hint='write SupervisorAgent("supervisor", Orchestrator())',
        )
    if isinstance(agents, str):
        raise InvalidInput(f"the agents of {supervisor_id!r} are the text {agents!r:.60}", hint=f"write [{agents!r}]")


def check_terms(max_replans: object, answer_timeout_seconds: object, budget: object) -> None:
    """Raise ``InvalidInput`` for terms that are out of bounds, or of another kind."""
    if isinstance(max_replans, bool) or not isinstance(max_replans, int) or not 0 <= max_replans <= MAX_REPLANS:
        raise InvalidInput(f"max_replans is {max_replans!r:.60}", hint=f"give a number from 0 to {MAX_REPLANS}")
    seconds = answer_timeout_seconds
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= MAX_ANSWER_SECONDS:
        raise InvalidInput(
            f"answer_timeout_seconds is {seconds!r:.60}", hint=f"give up to {MAX_ANSWER_SECONDS:,.0f} seconds"
        )
    if not isinstance(budget, (Budget, str, type(None))):
        raise InvalidInput(f"the budget is {budget!r:.60}", hint="give Budget(usd=0.5), or the id of one that is open")
