"""A supervised request killed at every point: planned, approved, run, planned again after a failure, approved again, and answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agenticflow.agents import Agent, LLMClient
from agenticflow.agents.decomposition import TaskDecomposer
from agenticflow.agents.model import ModelRequest, Role
from agenticflow.app.budgets.budgets import Budgets
from agenticflow.app.engine.assembly import Engine
from agenticflow.app.execution import WorkflowExecution
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.app.supervisor import SupervisorAgent
from agenticflow.errors import CommandRefused, PermanentError, StoreUnavailable, WorkflowNotFoundError
from agenticflow.orchestration import TaskStatus
from agenticflow.resilience import Budget
from agenticflow.resilience.budgets import BudgetView
from agenticflow.testing import Resolution, ScriptedModel, call_tool, simulate
from agenticflow.testing.crashes import CrashCase, crash_search
from agenticflow.tools import tool
from tests.unit.app.supervisor.office import asked, planned, task

pytestmark = pytest.mark.proof

REQUEST = "Load the sales, then mail a report"
FIRST = planned(
    task("load", "load", "sql", table="sales"),
    task("note", "report", "writing", query="a note"),
    task("text", "report", "writing", "load"),
)
SECOND = planned(
    task("rows", "load", "sql", table="archive"),
    task("text", "report", "writing", "rows", "note", query="${rows} and ${note}"),
    task("send", "send", "mail", "text", to="ada", text="${text}"),
)


class Unlimited(Budgets):
    """For requests without a budget: simulated schedules have no life that could be asked."""

    async def lineage_of(self, workflow_id: str) -> tuple[str, ...]:
        return ()


class Line(Orchestrator):
    """Passes on to the orchestrator of the life that goes on."""

    def __init__(self, *, has_budgets: bool = False) -> None:
        super().__init__(store="memory:")
        self.life: Orchestrator | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.budgets = (Budgets if has_budgets else Unlimited)(self._engine_of_life)

    async def _engine_of_life(self) -> Engine:
        if self.life is None or self.loop is not asyncio.get_running_loop():
            raise StoreUnavailable("nobody lives yet")
        return await self.life._running()

    async def get_execution(self, *args: Any, **options: Any) -> WorkflowExecution:
        if self.life is None or self.loop is not asyncio.get_running_loop():
            raise StoreUnavailable("nobody lives yet")
        return await self.life.get_execution(*args, **options)


class World:
    """What survives the crashes: letters, and how often a model was asked what."""

    def __init__(self, *, fails: bool = True) -> None:
        self.letters: list[str] = []
        self.asked: Counter[str] = Counter()
        self._fails = fails
        analyst, writer, mailer = Agent("analyst", {"sql"}), Agent("writer", {"writing"}), Agent("mailer", {"mail"})

        @analyst.task("load")
        async def load(table: str) -> list[int]:
            await asyncio.sleep(0.001)
            if table == "sales" and fails:
                raise PermanentError("there is no table 'sales'")
            return [1, 2]

        @writer.task("run")
        async def run(query: str) -> str:
            return f"<{query}>"

        @mailer.task("send")
        async def send(to: str, text: str) -> str:
            self.letters.append(text)
            return f"sent to {to}"

        self.line = Line()
        agents = [analyst, writer, mailer]
        for agent in agents:
            self.line.register_agent(agent)
        decomposer = TaskDecomposer(LLMClient(ScriptedModel(self._answer)))
        self.supervisor = SupervisorAgent(
            "office", self.line, decomposer=decomposer, approval="Carry this out?", at_most_once=["send"]
        )
        self.agents = agents

    def _answer(self, request: ModelRequest) -> str:
        told = asked(request)
        what = "replan" if "failed" in told else "mend" if "wrong_with_it" in told else "plan"
        self.asked[what] += 1
        return {
            "plan": "I think …",
            "mend": FIRST if self._fails else SECOND.replace('"note"', '"rows"'),
            "replan": SECOND,
        }[what]

    async def steer(self, orchestrator: Orchestrator, workflow_id: str) -> None:
        """Be there for the life, and be the person who is asked what became of a letter."""
        self.line.life, self.line.loop = orchestrator, asyncio.get_running_loop()
        while (execution := await orchestrator.get_execution(workflow_id)).completed_at is None:
            for plan in execution.children.values():
                try:
                    tasks = (await orchestrator.get_workflow_state(plan)).tasks
                except WorkflowNotFoundError:
                    continue  # it was asked for, and has not begun
                if "send" in tasks and tasks["send"].status is TaskStatus.UNKNOWN:
                    with suppress(CommandRefused):
                        said = self.resolve("send")
                        await orchestrator.resolve(plan, "send", said.decision, value=said.value)
            await asyncio.sleep(0.01)

    def resolve(self, task_key: str) -> Resolution:
        return Resolution("completed", "sent to ada") if self.letters else Resolution("run_again")

    def check(self) -> list[str]:
        problems = [] if len(self.letters) == 1 else [f"{len(self.letters)} letters were sent"]
        # who died with the answer in hand asks once more, and nobody else does
        return problems + [f"{what} was asked {count} times" for what, count in self.asked.items() if count > 3]

    def case(self, **options: Any) -> CrashCase:
        given = self.supervisor.input_of(REQUEST, {"year": 2025})
        return CrashCase(
            self.supervisor.workflow,
            agents=self.agents,
            workers=self.supervisor.services,
            input=given,
            answer=lambda key: Resolution("approved"),
            check=self.check,
            **options,
        )


class Paying:
    """What survives the crashes of a request whose agents ask models: how often these have answered, and what its budget says."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.seen = 0
        self.view: BudgetView | None = None

        @tool
        def look() -> str:
            """Look something up."""
            self.seen += 1
            return "seen"

        def says(request: ModelRequest) -> Any:
            self.answered["agent"] += 1
            return "thought" if request.messages[-1].role is Role.TOOL else call_tool("look")

        def plans(request: ModelRequest) -> str:
            self.answered["plan"] += 1
            return planned(task("one", "think", "thinking"), task("two", "think", "thinking", "one"))

        self.agent = Agent("thinker", {"thinking"}, instructions="Think.", tools=[look], model=ScriptedModel(says))
        self.line = Line(has_budgets=True)
        self.line.register_agent(self.agent)
        self.supervisor = SupervisorAgent(
            "office",
            self.line,
            decomposer=LLMClient(ScriptedModel(plans)),
            budget=Budget(tokens=900_000, tool_calls=90),
        )

    async def steer(self, orchestrator: Orchestrator, workflow_id: str) -> None:
        self.line.life, self.line.loop = orchestrator, asyncio.get_running_loop()
        while (await orchestrator.get_execution(workflow_id)).completed_at is None:
            await asyncio.sleep(0.005)
        self.view = await orchestrator.budgets.get(f"workflow-{workflow_id}")

    def check(self) -> list[str]:
        view = self.view
        if view is None:
            return ["there is no budget"]
        problems = [] if view.open_count == 0 else [f"{view.open_calls} are open"]
        if view.spent.tool_calls < self.seen:
            problems.append(f"{self.seen} calls of tools were made, {view.spent.tool_calls} are counted")
        answers = self.answered.total()
        if view.calls - view.spent.tool_calls < answers:
            problems.append(f"{answers} answers were given, {view.calls - view.spent.tool_calls} are counted")
        return problems + [f"{what} was asked {count} times" for what, count in self.answered.items() if count > 6]

    def case(self) -> CrashCase:
        given = self.supervisor.input_of("Some thinking, then think again")
        given["terms"]["has_budget"] = False  # what it has cost is another sum after each crash
        return CrashCase(
            self.supervisor.workflow,
            agents=[self.agent],
            workers=self.supervisor.services,
            input=given,
            check=self.check,
            steer=self.steer,
        )


def test_what_a_request_costs_is_counted_wherever_it_is_killed() -> None:
    report = crash_search(lambda: Paying().case(), double_kills=10, seed=3)
    assert not report.violations, report
    assert report.kills > 100


def case() -> CrashCase:
    world = World()
    return world.case(steer=world.steer)


def test_killed_at_every_point_in_memory() -> None:
    report = crash_search(case, double_kills=20, seed=7)
    assert not report.violations, report
    assert report.points > 100
    assert report.kills >= report.points


def test_killed_in_a_file(tmp_path: Path) -> None:
    report = crash_search(case, directory=tmp_path, every=15)
    assert not report.violations, report


def test_under_simulated_schedules() -> None:
    report = simulate(lambda: World(fails=False).case(), schedules=40)
    assert not report.violations, report
