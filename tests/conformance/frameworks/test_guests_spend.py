"""Agents of other frameworks under budgets: what they ask is reserved before and settled after, is paid once, and ends where a cap is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from agents import function_tool
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from agenticflow import Agent, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition, WorkflowExecutionError
from agenticflow.integrations.frameworks.openai_agents import from_sdk_agent
from agenticflow.integrations.frameworks.openai_agents import run_durably as run_sdk
from agenticflow.integrations.frameworks.pydantic_ai import from_pydantic_agent, run_inside
from agenticflow.integrations.frameworks.pydantic_ai import run_durably as run_pydantic
from agenticflow.resilience import RetryPolicy
from agenticflow.resilience.budgets import Budget, BudgetView
from agenticflow.testing.crashes import CrashCase, crash_search
from tests.conformance.frameworks.sdk_cases import QUIET, agent, called, outputs, said

TWICE = RetryPolicy(max_attempts=2, initial_delay_seconds=0.01)
ANSWER = 15
"""Tokens of each answer of the models here: ten in, five out."""


class Guest:
    """An agent that looks twice at once, then asks an agent inside, then answers: three calls of its model, one inside."""

    def __init__(self, run: Callable[..., Any], ours: Callable[..., Agent]) -> None:
        self.run = run
        self.ours = ours
        self.looked: list[str] = []
        self.asked = 0
        self.problem: Exception | None = None
        """What the model raises, once."""

    def begins(self) -> None:
        self.asked += 1
        if self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem


def of_sdk() -> Guest:
    @function_tool
    async def look(city: str) -> str:
        """Look at a city."""
        made.looked.append(city)
        await asyncio.sleep(0.001)
        return f"{city} is fine"

    def inside(last: str, shown: list[Any]) -> list[Any]:
        made.begins()
        return [said("in short")]

    def answer(last: str, shown: list[Any]) -> list[Any]:
        made.begins()
        found = outputs(shown)
        if not found:
            return [called("look", "c1", city="Graz"), called("look", "c2", city="Oslo")]
        if len(found) == 2:
            return [called("sum_up", "s1", input="all")]
        return [said(found["s1"])]

    inner, _ = agent("inner", inside)
    outer, _ = agent("outer", answer, tools=[look, inner.as_tool("sum_up", "Sums up.")])

    async def run(context: TaskContext, **options: Any) -> Any:
        return (await run_sdk(context, outer, "go", run_config=QUIET, **options)).final_output

    made = Guest(
        run, lambda **options: from_sdk_agent(outer, agent_id="agent", task_type="do", run_config=QUIET, **options)
    )
    return made


def of_pydantic() -> Guest:
    def spoken(parts: list[Any]) -> ModelResponse:
        made.begins()
        return ModelResponse(parts=parts, usage=RequestUsage(input_tokens=10, output_tokens=5))

    async def look(city: str) -> str:
        made.looked.append(city)
        await asyncio.sleep(0.001)
        return f"{city} is fine"

    # async ones: a plain function is called in a thread, which virtual time does not wait for
    async def inside(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return spoken([TextPart("in short")])

    inner = PydanticAgent(FunctionModel(inside), name="inner")

    async def sum_up(words: str) -> str:
        return str((await run_inside(inner, words)).output)

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        parts = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
        if not parts:
            return spoken([ToolCallPart("look", {"city": city}, tool_call_id=city) for city in ("Graz", "Oslo")])
        if len(parts) == 2:
            return spoken([ToolCallPart("sum_up", {"words": "all"}, tool_call_id="s1")])
        return spoken([TextPart(str(parts[2].content))])

    outer = PydanticAgent(FunctionModel(answer, model_name="told"), name="outer", tools=[look, sum_up])

    async def run(context: TaskContext, **options: Any) -> Any:
        return (await run_pydantic(context, outer, "go", **options)).output

    made = Guest(run, lambda **options: from_pydantic_agent(outer, agent_id="agent", task_type="do", **options))
    return made


@pytest.fixture(params=[of_sdk, of_pydantic], ids=["sdk", "pydantic"])
def guest(request: pytest.FixtureRequest) -> Guest:
    made: Guest = request.param()
    return made


def tool_calls_of(guest: Guest) -> int:
    """An agent of the SDK that is a tool costs what it does itself."""
    return 2 if guest.ours.__qualname__.startswith("of_sdk") else 3


def worker_of(guest: Guest, *, failures: int = 0, **options: Any) -> Agent:
    ours = Agent("agent")

    @ours.task("do")
    async def do(context: TaskContext, budget: Any = None) -> Any:
        found = await guest.run(context, **options)
        if context.attempt <= failures:
            raise ConnectionError("cut")
        return found

    return ours


async def result_of(
    orchestrator: Orchestrator, params: Mapping[str, object] | None = None, workflow_id: str = "w"
) -> Any:
    task = TaskDefinition("work", "agent", "do", dict(params or {}), retry_policy=TWICE)
    handle = await orchestrator.start_workflow(WorkflowDefinition([task]), workflow_id=workflow_id)
    found: Any = await handle.result()
    return found["work"]


async def views(orchestrator: Orchestrator) -> dict[str, BudgetView]:
    return {view.budget_id.partition("-")[0]: view for view in await orchestrator.budgets.list()}


async def test_every_call_is_paid_once_over_all_attempts_by_the_run_and_its_task(guest: Guest) -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(worker_of(guest, failures=1, budget=Budget(tokens=50_000)))
        assert await result_of(orchestrator, {"budget": {"tokens": 90_000}}) == "in short"
        found = await views(orchestrator)
    assert set(found) == {"loop", "task"}
    assert found["loop"].lineage == (found["loop"].budget_id, found["task"].budget_id)
    for view in found.values():
        assert (view.spent.tokens, view.spent.tool_calls) == (4 * ANSWER, tool_calls_of(guest))
        assert (view.open_count, view.unmetered_calls, view.unpriced_calls) == (0, 0, 4)
        assert view.status == "CLOSED", "nobody needs it now"
    assert guest.asked == 4


async def test_the_budget_of_the_workflow_pays_as_well_and_holds_it_back(guest: Guest) -> None:
    definition = WorkflowDefinition([TaskDefinition("work", "agent", "do", retry_policy=TWICE)])
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(worker_of(guest, budget=Budget(tokens=90_000)))
        handle = await orchestrator.start_workflow(definition, workflow_id="w", budget=Budget(tokens=90_000))
        await handle.result()
        found = await views(orchestrator)
        assert found["loop"].lineage == (found["loop"].budget_id, "workflow-w")
        assert found["workflow"].spent.tokens == found["loop"].spent.tokens == 4 * ANSWER
        handle = await orchestrator.start_workflow(definition, workflow_id="short", budget=Budget(tokens=100))
        with pytest.raises(WorkflowExecutionError, match="BudgetExceeded: the budget 'workflow-short'"):
            await handle.result()
        assert guest.asked == 4
        await orchestrator.budgets.change("workflow-short", Budget(tokens=90_000))
        assert await (await orchestrator.resume_workflow("short")).result() == {"work": "in short"}


async def test_a_guest_without_a_budget_of_its_own_is_paid_by_the_workflow(guest: Guest) -> None:
    definition = WorkflowDefinition([TaskDefinition("work", "agent", "do")], budget=Budget(tokens=90_000))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(worker_of(guest))
        await orchestrator.execute_workflow(definition, workflow_id="w")
        (view,) = await orchestrator.budgets.list()
    assert (view.budget_id, view.spent.tokens, view.open_count) == ("workflow-w", 4 * ANSWER, 0)


async def test_prices_are_those_of_the_orchestrator(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    price = {"input_per_million": 1_000, "output_per_million": 10_000}
    (tmp_path / "prices.json").write_text(json.dumps({"sdk:Answering": price, "function:*": price}), encoding="utf-8")
    monkeypatch.setenv("AGENTICFLOW_MODELS__PRICES", str(tmp_path / "prices.json"))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(worker_of(guest, budget={"usd": "1000"}))
        await result_of(orchestrator)
        (view,) = (await views(orchestrator)).values()
    assert view.is_complete
    assert float(view.spent.usd) == pytest.approx(4 * (10 * 0.001 + 5 * 0.01))


async def test_an_open_budget_is_shared_by_its_id_and_agents_of_ours_made_of_guests_take_one(guest: Guest) -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(guest.ours())
        await orchestrator.budgets.open("team", Budget(tokens=50_000))
        name = "prompt" if tool_calls_of(guest) == 3 else "input"
        for workflow_id in ("one", "two"):
            assert await result_of(orchestrator, {name: "go", "budget": "team"}, workflow_id) == "in short"
        view = await orchestrator.budgets.get("team")
    assert (view.spent.tokens, view.open_count, view.status) == (8 * ANSWER, 0, "OPEN")


@pytest.mark.parametrize("limits", [Budget(tokens=4_000), Budget(tool_calls=1)])
async def test_a_call_that_is_not_covered_is_not_made_and_goes_on_when_more_is_allowed(
    guest: Guest, limits: Budget
) -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(worker_of(guest, budget=limits))
        with pytest.raises(WorkflowExecutionError) as failed:
            await result_of(orchestrator)
        assert failed.value.failed["work"].startswith("BudgetExceeded: the budget 'loop-")
        (view,) = await orchestrator.budgets.list()
        assert (view.open_count, view.status) == (0, "OPEN"), "somebody may allow more"
        assert (guest.asked, len(guest.looked)) == ((0, 0) if limits.tokens else (1, 1))
        await orchestrator.budgets.change(view.budget_id, Budget(tokens=90_000))
        assert (await (await orchestrator.resume_workflow("w")).result()) == {"work": "in short"}
        view = await orchestrator.budgets.get(view.budget_id)
        assert view.spent.tokens == 4 * ANSWER
        assert (guest.asked, set(guest.looked)) == (4, {"Graz", "Oslo"}), "a look that was cut off is not known"


async def test_an_inner_refusal_ends_the_run_whatever_its_outer_agent_makes_of_it(guest: Guest) -> None:
    """The agent inside is told of an error by frameworks that make one into words for the model."""
    async with Orchestrator(store="memory:") as orchestrator:
        await orchestrator.budgets.open("team", Budget(tokens=90_000))
        orchestrator.register_agent(worker_of(guest, budget="team"))
        begins = guest.begins

        def tightened() -> None:
            begins()
            if guest.asked == 2:
                asyncio.run_coroutine_threadsafe(orchestrator.budgets.change("team", Budget(tokens=60)), loop)

        loop = asyncio.get_running_loop()
        guest.begins = tightened  # type: ignore[method-assign]  # told when it is asked
        with pytest.raises(WorkflowExecutionError, match="BudgetExceeded"):
            await result_of(orchestrator)
        assert (guest.asked, (await orchestrator.budgets.get("team")).open_count) == (2, 0)


async def test_what_was_refused_costs_nothing_and_what_broke_off_counts_as_reserved(guest: Guest) -> None:
    is_sdk = tool_calls_of(guest) == 2
    for problem, calls in ((ModelHTTPError(429, "told"), 0), (ConnectionError("cut"), 1)):
        if is_sdk and isinstance(problem, ModelHTTPError):
            continue  # the wire of the SDK's own client is in test_sdk_definitions
        guest.asked, guest.problem = 0, problem
        async with Orchestrator(store="memory:") as orchestrator:
            orchestrator.register_agent(worker_of(guest, budget=Budget(tokens=90_000)))
            await result_of(orchestrator)
            (view,) = await orchestrator.budgets.list()
        assert guest.asked == 5
        assert (view.unmetered_calls, view.open_count) == (calls, 0)
        assert view.spent.tokens == 4 * ANSWER if not calls else view.spent.tokens > 4_096


async def test_the_time_of_a_budget_ends_a_call_and_a_timeout_of_the_model_is_its_own(guest: Guest) -> None:
    guest.problem = TimeoutError("the model's own")
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(worker_of(guest, budget=Budget(seconds=3_600)))
        assert await result_of(orchestrator) == "in short", "the second attempt"
    assert guest.asked == 5


async def test_two_runs_of_one_handler_share_the_budget_of_the_task_and_have_their_own(guest: Guest) -> None:
    ours = Agent("agent")

    @ours.task("do")
    async def do(context: TaskContext, budget: Any = None) -> Any:
        runs = (guest.run(context, key=key, budget=Budget(tokens=50_000)) for key in ("a", "b"))
        return [*await asyncio.gather(*runs), await guest.run(context)]

    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(ours)
        assert await result_of(orchestrator, {"budget": {"tokens": 90_000}}) == ["in short"] * 3
        found = await orchestrator.budgets.list()
    spent = sorted((view.spent.tokens, view.status) for view in found)
    assert spent == [(4 * ANSWER, "CLOSED"), (4 * ANSWER, "CLOSED"), (12 * ANSWER, "CLOSED")]


@pytest.mark.parametrize(("given", "words"), [(5_000, "the budget is 5000"), ("team", "no budget 'team'")])
async def test_what_is_no_budget_is_told_before_anything_is_asked(guest: Guest, given: object, words: str) -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(worker_of(guest))
        with pytest.raises(WorkflowExecutionError, match=words):
            await result_of(orchestrator, {"budget": given})
    assert guest.asked == 0


# --- killed -----------------------------------------------------------------------------------------------------------


def killed(make: Callable[[], Guest]) -> CrashCase:
    guest = make()
    counted: list[BudgetView] = []
    worker = worker_of(guest, budget=Budget(tokens=500_000))

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        await orchestrator.wait(workflow_id)
        counted[:] = await orchestrator.budgets.list()

    def check() -> list[str]:
        wrong: list[str] = []
        for view in counted:
            lost = view.unmetered_calls
            least = 4 * ANSWER
            if view.open_count or view.status != "CLOSED":
                wrong.append(f"{view.budget_id} has {view.open_count} open calls and is {view.status}")
            if view.spent.tokens < least or (not lost and view.spent.tokens != least):
                wrong.append(f"{view.spent.tokens} tokens are counted, {lost} calls are unmetered")
        if len(counted) != 2:
            wrong.append(f"there are {len(counted)} budgets")
        return wrong

    task = TaskDefinition("work", "agent", "do", {"budget": {"tokens": 900_000}})
    return CrashCase(WorkflowDefinition([task]), agents=[worker], check=check, steer=steer)


@pytest.mark.proof
@pytest.mark.parametrize("make", [of_sdk, of_pydantic], ids=["sdk", "pydantic"])
def test_killed_at_every_point_nothing_is_forgotten_and_nothing_counted_twice(make: Callable[[], Guest]) -> None:
    report = crash_search(lambda: killed(make), every=7, double_kills=5, seed=7)
    assert not report.violations, report
    assert report.points > 60


@pytest.mark.proof
def test_killed_in_a_file(tmp_path: Path) -> None:
    report = crash_search(lambda: killed(of_sdk), directory=tmp_path, every=31)
    assert not report.violations, report
