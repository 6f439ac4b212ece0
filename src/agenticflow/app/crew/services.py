"""What a crew does beside asking agents, each a step: check, plan, look at a conversation, add to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agenticflow.agents.capabilities import Candidate
from agenticflow.agents.workers import Worker, worker
from agenticflow.app.crew.member import Crew, given_to, refusal_of
from agenticflow.core.context import TaskContext
from agenticflow.errors import GuardrailTripwireTriggered

__all__ = ["Planning", "services_of"]


class Planning(Protocol):
    """Who plans."""

    async def plan(self, query: str, agents: Sequence[Candidate]) -> list[str]:
        """Return the names of the agents for ``query``, in order."""


def services_of(
    crew: Crew, planning: Planning, candidates: Callable[[], Sequence[Candidate]]
) -> list[Worker[..., Any]]:
    """Return the workers ``<name>@<version>.guard``, ``.plan``, ``.recall`` and ``.remember``."""

    @worker(f"{crew.marked_name}.guard")
    async def guard(kind: str, value: Any, params: dict[str, Any], context: TaskContext) -> dict[str, Any]:
        try:
            await crew.guardrails_of("").check(kind, given_to(crew, params, context), value)
        except GuardrailTripwireTriggered as error:
            return refusal_of(error)
        return {}

    @worker(f"{crew.marked_name}.plan")
    async def plan(query: str) -> list[str]:
        return await planning.plan(query, candidates())

    @worker(f"{crew.marked_name}.recall")
    async def recall(session_id: str, limit: int | None) -> list[Any]:
        return await crew.session(session_id).get_items(limit)

    @worker(f"{crew.marked_name}.remember")
    async def remember(session_id: str, items: list[Any], context: TaskContext) -> None:
        await crew.session(session_id).add_items(items, command_id=context.effect_key)

    return [guard, plan, recall, remember]
