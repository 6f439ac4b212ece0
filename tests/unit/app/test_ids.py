"""Every public method that takes an id says clearly when it is given what is none: nothing of it gets as far as the inside.

The methods are found by looking at the objects, so one that comes anew is held to it as well.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from agenticflow import Agent, EventBus, TaskDefinition, WorkflowDefinition
from agenticflow.agents.memory import MemoryStore
from agenticflow.agents.session import AgentSession
from agenticflow.app.crew import AgentOrchestrator
from agenticflow.app.supervisor import SupervisorAgent
from agenticflow.core.ids import MAX_ID_CHARS
from agenticflow.errors import AgenticFlowError, DefinitionError, InvalidInput
from agenticflow.orchestration.interventions.intervention import UserIntervention
from agenticflow.resilience import Amounts, Budget, Claim
from agenticflow.runtime.shared_state import StateManager
from tests.unit.runtime.engine import in_virtual_time, running

NAMES: Final = frozenset(
    {
        *("after", "prefix", "left", "left_run", "right", "right_run", "run_no"),
        *("from_task", "task_key", "agent", "assignee", "to"),
        *("lineage", "owners", "parent", "namespace", "key", "state_key", "subscription"),
    }
)
"""Of parameters that are ids, or say where something is, beside all that end in ``_id``."""
ELSEWHERE: Final = frozenset(
    {
        "AgentRegistry.choose",  # these two the engine calls
        "AgentRegistry.work_ended",
        "AgentOrchestrator.make_plan",  # a key of a step: only while a run executes
        "AgentOrchestrator.run_agent",
        "AgentOrchestrator.setup_session",
        "EventBus.subscribe",  # its key is a function
    }
)
EMPTY_IS_A_CHOICE: Final = frozenset(
    {
        ("AgentOrchestrator.guardrails_of", "agent"),  # the whole
        ("AgentOrchestrator.register_guardrail", "agent"),
        ("Budgets.open_calls", "owners"),  # all of them
        ("MemoryStore.for_agent", "agent_id"),  # nobody's
        ("MemoryStore.list", "after"),
        ("MemoryStore.list", "prefix"),
        ("Orchestrator.give_feedback", "task_key"),  # for all tasks
    }
)
LENGTH_IS_FREE: Final = frozenset({("Budgets.open_calls", "owners"), ("MemoryStore.list", "after")})
"""Texts that others are compared with, and that are kept nowhere."""

_hand: Final = Agent("hand", {"work"})


@_hand.task("step")
async def _step() -> int:
    return 1


@_hand.task("run")
async def _run(query: str) -> str:
    return query


PLAIN: Final = WorkflowDefinition([TaskDefinition("only", "hand", "step")], name="plain")
OPEN: Final = WorkflowDefinition([TaskDefinition.wait_for("only", "go")], name="open")
GOOD: Final[dict[str, Any]] = {
    "actual": Amounts(),
    "agent": "hand",
    "agent_id": "hand",
    "amounts": Amounts(),
    "approval_id": "w/1/only@3",
    "budget": Budget(),
    "budget_id": "b",
    "check": lambda context, value: (True, ""),
    "claim": Claim("a", 1),
    "decision": "failed",
    "definition": PLAIN,
    "feedback": "faster",
    "intervention": UserIntervention("pause", "ada"),
    "items": [{"role": "user", "content": "Hello"}],
    "key": "k",
    "left": "w",
    "letter_id": "w/1/only@3",
    "lineage": ["b"],
    "modification_fn": lambda state: state,
    "modifications": [{"remove": "only"}],
    "name": "go",
    "owners": "a",
    "query": "Tea?",
    "reason": "",
    "right": "w",
    "schedule_id": "s",
    "session_id": "c",
    "state_key": "k",
    "subscription_id": "sub",
    "task_id": "only",
    "task_key": "only",
    "text": "tea",
    "to": "ada",
    "user_query": "Tea?",
    "value": 1,
    "workflow": PLAIN,
    "workflow_id": "w",
}


@asynccontextmanager
async def everything() -> AsyncIterator[list[object]]:
    """An orchestrator with something in it, and whatever programs hold of it."""
    async with running(_hand) as orchestrator:
        handle = await orchestrator.start_workflow(PLAIN, workflow_id="w")
        await handle.result()
        await orchestrator.start_workflow(OPEN, workflow_id="open")
        await orchestrator.budgets.open("b", Budget())
        await orchestrator.schedules.create("s", PLAIN, every=3_600)
        yield [
            *(orchestrator, handle, orchestrator.schedules, orchestrator.approvals, orchestrator.dead_letters),
            *(orchestrator.budgets, orchestrator.agents, EventBus(store=orchestrator.store), EventBus()),
            *(AgentSession("c", store=orchestrator.store), MemoryStore(orchestrator.store)),
            StateManager(orchestrator.store),
            AgentOrchestrator([_hand], orchestrator=orchestrator),
            SupervisorAgent("boss", orchestrator),
        ]


def places_of_ids(holder: object) -> Iterator[tuple[str, Callable[..., Any], inspect.Parameter, dict[str, Any]]]:
    """Yield name, method, parameter, and what the method needs beside it, for every id that a public method takes."""
    for name in dir(type(holder)):
        full = f"{type(holder).__name__}.{name}"
        member = inspect.getattr_static(type(holder), name)
        if name.startswith("_") or isinstance(member, property) or not callable(member) or full in ELSEWHERE:
            continue
        method = getattr(holder, name)
        parameters = inspect.signature(method).parameters
        needed = [
            one.name for one in parameters.values() if one.default is one.empty and one.kind is not one.VAR_KEYWORD
        ]
        for one in parameters.values():
            if one.name.endswith("_id") or one.name in NAMES:
                rest = {other: GOOD[other] for other in needed if other != one.name}
                if one.name in ("task_key", "task_id") and "workflow_id" in rest:
                    rest["workflow_id"] = "open"  # one that has ended takes nothing, whatever it is about
                yield full, method, one, rest


async def answered(method: Callable[..., Any], arguments: dict[str, Any]) -> object:
    """Return what a method answers, whatever kind of method it is."""
    answer = method(**arguments)
    if inspect.isasyncgen(answer):
        return [one async for one in answer]
    return await answer if inspect.isawaitable(answer) else answer


@in_virtual_time
@pytest.mark.parametrize(
    "wrong",
    [5, None, b"w", "", "x" * 100_000, "\ud800", ["w"], {"w": 1}, 1.5, True],
    ids=["number", "none", "bytes", "empty", "endless", "surrogate", "list", "dict", "fraction", "truth"],
)
async def test_whatever_is_no_id_is_refused_where_it_comes_in(wrong: object) -> None:
    misses: list[str] = []
    asked: set[tuple[str, str]] = set()
    async with everything() as holders:
        for holder in holders:
            for full, method, parameter, rest in places_of_ids(holder):
                place = (full, parameter.name)
                is_number = parameter.name.endswith(("run_no", "_run"))
                if wrong is None and parameter.default is None:
                    continue  # it may be left out
                if (wrong == "" and place in EMPTY_IS_A_CHOICE) or (is_number and wrong == 5):
                    continue
                if wrong in ("\ud800", "x" * 100_000) and place in LENGTH_IS_FREE | {
                    ("MemoryStore.for_agent", "agent_id")
                }:
                    continue
                asked.add(place)
                said = f"{full}({parameter.name}=…)"
                try:
                    answer = await asyncio.wait_for(answered(method, {**rest, parameter.name: wrong}), 60)
                except (InvalidInput, DefinitionError) as error:
                    if len(str(error)) > 1_000:
                        misses.append(f"{said} says {len(str(error)):,} characters")
                except AgenticFlowError as error:
                    misses.append(f"{said} is refused as something else: {error!r:.200}")
                except Exception as error:  # noqa: BLE001 - that is the point
                    misses.append(f"{said} fails inside: {error!r:.200}")
                else:
                    misses.append(f"{said} answers {answer!r:.100}")
    assert not misses, "\n".join(misses)
    assert len(asked) >= (60 if wrong is None else 90), "they are found by looking"


@in_virtual_time
async def test_an_id_that_may_be_one_is_looked_up() -> None:
    """The check refuses nothing that may be there: the longest id, and letters of any script."""
    async with running(_hand) as orchestrator:
        for workflow_id in ("x" * 200, "日本語 🍵", "a b"):
            await (await orchestrator.start_workflow(PLAIN, workflow_id=workflow_id)).result()
            assert (await orchestrator.get_execution(workflow_id)).workflow_id == workflow_id
        with pytest.raises(AgenticFlowError, match="there is no workflow"):
            await orchestrator.get_execution("x" * MAX_ID_CHARS)
        with pytest.raises(InvalidInput, match="is no id of a workflow"):
            await orchestrator.get_execution("x" * (MAX_ID_CHARS + 1))
