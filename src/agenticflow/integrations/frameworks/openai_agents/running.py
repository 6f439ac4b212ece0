"""An agent of the SDK in a handler: its loop runs as it is, and what it has asked and done is in the journal of the task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from agents import Agent, RunConfig, Runner, RunResult
from agents.items import ToolApprovalItem

from agenticflow.agents import Agent as OurAgent
from agenticflow.agents.spending.journalled import purse_for
from agenticflow.core.context import TaskContext
from agenticflow.core.interrupts import MAX_NAME_CHARS, Ask
from agenticflow.core.journal import OnDifference
from agenticflow.errors import DefinitionError
from agenticflow.integrations.frameworks.openai_agents.durable.clones import (
    clone_of,
    have_nested_runs_found,
    journalled_config,
)
from agenticflow.integrations.frameworks.openai_agents.durable.scope import DurableRun, entered
from agenticflow.integrations.frameworks.openai_agents.durable.sessions import JournalledSession
from agenticflow.integrations.frameworks.openai_agents.errors import error_of
from agenticflow.integrations.loops import ForeignLoop
from agenticflow.resilience.budgets import Budget

__all__ = ["from_sdk_agent", "run_durably"]

MAX_SHOWN_CHARS: Final = 8_000
"""Of the arguments of a call that somebody shall approve."""
DEFAULT_MAX_TURNS: Final = 10


async def run_durably(
    task: TaskContext,
    agent: Agent[Any],
    input: Any,
    *,
    context: Any = None,
    session: Any = None,
    max_turns: int = DEFAULT_MAX_TURNS,
    run_config: RunConfig | dict[str, Any] | None = None,
    hooks: Any = None,
    at_most_once: Collection[str] = (),
    approval: Mapping[str, Any] | None = None,
    on_difference: OnDifference = "fail",
    key: str = "",
    budget: Budget | Mapping[str, object] | str | None = None,
) -> RunResult:
    """Run ``agent`` in the handler whose attempt ``task`` is, and return the SDK's own result.

    What its models answered and its function tools returned is recorded before it is used: another attempt, or another process, goes on
    where this one was. That holds for agents it hands over to, agents that are its tools, and agents that its guardrails run. Instructions,
    guardrails, hooks and filters run again, so they must not differ. ``context`` is the SDK's, for tools.

    ``at_most_once`` names tools whose calls must not happen twice; one that was cut off is not made again, and the model is told. A
    tool that needs approval asks a person (all those of a turn at once), with the terms of ``context.interrupt`` in ``approval``; a no
    goes to the model with the comment. ``session`` is the SDK's or an ``AgentSession``. Several runs in one handler are told apart by the
    order in which they begin, or by a ``key`` each.

    Each call of a model and of a tool spends from the ``budget`` of this run (limits, or the id of an open one), inside that of the
    task (its param ``budget``), as do agents that work for this one: reserved before, settled when its answer is recorded. Prices are
    those of the orchestrator (setting ``models.prices``).

    Raises ``BudgetExceeded``, ``GuardrailTripwireTriggered``, ``MaxTurnsExceeded``, ``NonDeterminismError``, ``PermanentError`` when the
    model's words cannot be used, and what the SDK raises otherwise.
    """
    if not isinstance(agent, Agent):
        raise DefinitionError(f"{agent!r:.80} is no agent of the OpenAI Agents SDK", hint="give agents.Agent(…)")
    have_nested_runs_found()
    run = DurableRun(task, at_most_once)
    loop = ForeignLoop.begin(task, key, on_difference=on_difference)
    async with purse_for(task, task.params.get("budget"), budget, loop.path) as loop.purse:
        return await _run(run, loop, agent, input, context, session, max_turns, run_config, hooks, approval or {})


async def _run(
    run: DurableRun,
    loop: ForeignLoop,
    agent: Agent[Any],
    given: Any,
    context: Any,
    session: Any,
    max_turns: int,
    run_config: RunConfig | dict[str, Any] | None,
    hooks: Any,
    approval: Mapping[str, Any],
) -> RunResult:
    task = loop.task
    config = _traced(journalled_config(run_config), task)
    kept = None if session is None else JournalledSession(session, loop)
    options: dict[str, Any] = {"max_turns": max_turns, "run_config": config, "session": kept, "hooks": hooks}
    try:
        while True:
            with entered(run, loop):
                result = await Runner.run(clone_of(agent, run), given, context=context, **options)
            if not result.interruptions:
                return result
            given = _answered(task, result, approval, loop.path)
    except Exception as error:
        raised = error_of(error, agent.name)
        if raised is error:
            raise
        raise raised from error
    finally:
        if run_config is None:
            await config.model_provider.aclose()


def from_sdk_agent(
    agent: Agent[Any],
    capabilities: Collection[str] = (),
    *,
    agent_id: str = "",
    task_type: str = "run",
    concurrency: int = 10,
    session: Callable[[str], Any] | None = None,
    **options: Any,
) -> OurAgent:
    """Return an agent of ours that runs ``agent`` of the SDK: its task takes ``input`` (text, or the SDK's items), perhaps a
    ``session_id`` and a ``budget``, and returns the final output.

    ``session(session_id)`` gives the conversation of that id: ``lambda name: AgentSession(name, store=store)``. ``options`` are those of
    ``run_durably``.
    """
    ours = OurAgent(agent_id or agent.name, capabilities, concurrency=concurrency)

    @ours.task(task_type)
    async def run(input: Any, task: TaskContext, session_id: str = "", budget: Any = None) -> Any:
        if session_id and session is None:
            raise DefinitionError(
                f"agent {ours.agent_id!r} is given the session {session_id!r}, and nobody has said where sessions are",
                hint="from_sdk_agent(agent, session=lambda name: AgentSession(name, store=store))",
            )
        conversation = session(session_id) if session_id and session is not None else None
        result = await run_durably(task, agent, input, session=conversation, **options)
        return result.final_output

    return ours


def _traced(config: RunConfig, task: TaskContext) -> RunConfig:
    """Have traces say whose they are."""
    about = {"workflow_id": task.workflow_id, "task_key": task.task_key, "run_no": str(task.run_no)}
    return dataclasses.replace(
        config,
        group_id=config.group_id or task.workflow_id,
        trace_metadata={**about, **(config.trace_metadata or {})},
    )


def _answered(task: TaskContext, result: RunResult, terms: Mapping[str, Any], path: str) -> Any:
    """Ask people about every call that waits, and return where the run goes on when all are decided. Raises the interrupt until then."""
    state = result.to_state()
    waiting = list(result.interruptions)
    asks = [_ask(item, terms, path) for item in waiting]
    for item, reply in zip(waiting, task.interrupt_all(asks), strict=True):
        if reply.is_approved:
            state.approve(item)
        else:
            state.reject(item, rejection_message=f"A person said no. {reply.comment}".strip())
    return state


def _ask(item: ToolApprovalItem, terms: Mapping[str, Any], path: str) -> Ask:
    tool = item.qualified_name or item.name or "a tool"
    arguments = item.arguments or ""
    return Ask.of(
        {"agent": item.agent.name, "tool": tool, "arguments": arguments[:MAX_SHOWN_CHARS]},
        **{
            "question": f"May the agent {item.agent.name!r} call {tool!r}?",
            **terms,
            "key": f"{path}{item.agent.name[:60]}:{item.call_id}"[:MAX_NAME_CHARS],
            "on_rejection": "return",
        },
    )
