"""An agent of Pydantic AI in a handler: its loop runs as it is, and what it has asked and done is in the journal of the task."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextvars import ContextVar
from typing import Any, Final

from pydantic_ai import AgentRunResult
from pydantic_ai.agent import AbstractAgent

from agenticflow.agents import Agent as OurAgent
from agenticflow.agents.spending.journalled import purse_for
from agenticflow.core.context import TaskContext
from agenticflow.core.journal import OnDifference
from agenticflow.errors import DefinitionError
from agenticflow.integrations.frameworks.pydantic_ai.errors import error_of
from agenticflow.integrations.frameworks.pydantic_ai.journalled import Journalled
from agenticflow.integrations.loops import ForeignLoop
from agenticflow.resilience.budgets import Budget

__all__ = ["from_pydantic_agent", "run_durably", "run_inside"]

_current: Final[ContextVar[Journalled | None]] = ContextVar("agenticflow_pydantic_ai", default=None)


async def run_durably(
    task: TaskContext,
    agent: AbstractAgent[Any, Any],
    prompt: Any = None,
    *,
    at_most_once: Collection[str] = (),
    approval: Mapping[str, Any] | None = None,
    on_difference: OnDifference = "fail",
    key: str = "",
    budget: Budget | Mapping[str, object] | str | None = None,
    **options: Any,
) -> AgentRunResult[Any]:
    """Run ``agent`` in the handler whose attempt ``task`` is, and return Pydantic AI's own result.

    What its model answered and its tools returned is recorded before it is used: another attempt, or another process, goes on where this
    one was. ``options`` are those of ``agent.run``: ``deps``, ``message_history``, ``output_type``, ``usage_limits`` … Instructions,
    history processors and validators run again, so they must not differ.

    ``at_most_once`` names tools whose calls must not happen twice (as does ``metadata={"effect": "at_most_once"}`` of a tool); one that was
    cut off is not made again, and the model is told. A tool that requires approval asks a person (all those of a turn at once), with the
    terms of ``context.interrupt`` in ``approval``; a no goes to the model with the comment. An agent that a tool asks is run with
    ``run_inside``. Several runs in one handler are told apart by the order in which they begin, or by a ``key`` each.

    Each call of a model and of a tool spends from the ``budget`` of this run (limits, or the id of an open one), inside that of the
    task (its param ``budget``), as do agents that work for this one: reserved before, settled when its answer is recorded. Prices are
    those of the orchestrator (setting ``models.prices``).

    Raises ``BudgetExceeded``, errors of models as the rest of this package does, ``NonDeterminismError``, ``PermanentError`` for limits
    that were reached and for words of a model that cannot be used.
    """
    loop = ForeignLoop.begin(task, key, on_difference=on_difference)
    async with purse_for(task, task.params.get("budget"), budget, loop.path) as loop.purse:
        return await _run(Journalled(task, loop, at_most_once, approval or {}), agent, prompt, options)


async def run_inside(agent: AbstractAgent[Any, Any], prompt: Any = None, **options: Any) -> AgentRunResult[Any]:
    """Run ``agent`` where a tool of another one asks it: inside a durable run its requests and calls are recorded as well, elsewhere
    this is ``agent.run``."""
    outer = _current.get()
    if outer is None:
        return await agent.run(prompt, **options)
    loop = outer.loop.inside(agent.name or "agent")
    return await _run(Journalled(outer.task, loop, outer.at_most_once, outer.approval), agent, prompt, options)


def from_pydantic_agent(
    agent: AbstractAgent[Any, Any],
    capabilities: Collection[str] = (),
    *,
    agent_id: str = "",
    task_type: str = "run",
    concurrency: int = 10,
    **options: Any,
) -> OurAgent:
    """Return an agent of ours that runs ``agent`` of Pydantic AI: its task takes the ``prompt``, perhaps a ``budget``, and returns the
    output. ``options`` are those of ``run_durably``. Raises ``DefinitionError`` for an agent without a name."""
    name = agent_id or agent.name
    if not name:
        raise DefinitionError("an agent of Pydantic AI has no name", hint='give it one: agent_id="researcher"')
    ours = OurAgent(name, capabilities, concurrency=concurrency)

    @ours.task(task_type)
    async def run(prompt: Any, task: TaskContext, budget: Any = None) -> Any:
        return (await run_durably(task, agent, prompt, **options)).output

    return ours


async def _run(
    journalled: Journalled, agent: AbstractAgent[Any, Any], prompt: Any, options: Mapping[str, Any]
) -> AgentRunResult[Any]:
    if not isinstance(agent, AbstractAgent):
        raise DefinitionError(f"{agent!r:.80} is no agent of Pydantic AI", hint="give pydantic_ai.Agent(…)")
    given = {**options, "capabilities": [*(options.get("capabilities") or ()), journalled]}
    token = _current.set(journalled)
    try:
        return await agent.run(prompt, **given)
    except (Exception, BaseExceptionGroup) as error:
        raised = error_of(error, agent.name or "agent")
        if raised is error:
            raise
        raise raised from error
    finally:
        _current.reset(token)
