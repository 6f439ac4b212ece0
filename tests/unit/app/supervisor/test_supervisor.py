"""Requests that are planned, approved, run and planned again, with the whole engine around them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition
from agenticflow.agents import LLMClient
from agenticflow.agents.decomposition import Bounds, TaskDecomposer, WorkflowTemplate, WorkflowTemplateRegistry
from agenticflow.agents.model import (
    FinishReason,
    ModelRequest,
    ModelResponse,
    PriceTable,
    TextDelta,
    TextPart,
    Usage,
    user,
)
from agenticflow.agents.spending.purse import Accounts, Purse
from agenticflow.app.supervisor import SupervisorAgent, Verdict
from agenticflow.app.supervisor.records import Way
from agenticflow.app.supervisor.spending import PaidModel
from agenticflow.errors import (
    CommandRefused,
    DefinitionError,
    InvalidInput,
    ModelRateLimited,
    ModelUnavailable,
    UnsupportedInterventionError,
    WorkflowExecutionError,
    WorkflowIdConflict,
    WorkflowNotFoundError,
)
from agenticflow.orchestration import Approval, UserIntervention
from agenticflow.resilience import Budget
from agenticflow.testing import ScriptedModel
from tests.unit.app.supervisor.office import REPORT, Office, asked, planned, task
from tests.unit.runtime.engine import in_virtual_time, until

LOAD = task("load", "load", "sql", table="sales")
TEXT = task("text", "report", "writing", "load")
GOOD = planned(LOAD, TEXT)
WRITTEN = f"<report\nload: [1, 2, 5]\nthis is part of the request: {REPORT}>"


async def reasons(supervisor: SupervisorAgent, workflow_id: str) -> list[tuple[int, str, str]]:
    return [(plan.number, plan.verdict.value, plan.reason) for plan in await supervisor.plans(workflow_id)]


# --- ways to a plan -------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_simple_request_goes_to_one_agent_and_no_model() -> None:
    office = Office()
    async with office as supervisor:
        result = await supervisor.handle_user_query("Some writing, please", workflow_id="w")
        assert (result.output, result.complexity, result.plans) == ("<Some writing, please>", "simple", 1)
        assert result.workflow_id == "w"
        assert await reasons(supervisor, "w") == [
            (1, "accepted", "the request is simple; the request asks for 'writing' alone")
        ]
        assert (await supervisor.plans("w"))[0].way is Way.SINGLE
        assert office.calls == {"write": 1}
        again = await supervisor.handle_user_query("Some writing, please", workflow_id="w")
        assert again == result
        with pytest.raises(WorkflowIdConflict):
            await supervisor.start("Something else", workflow_id="w")


@in_virtual_time
async def test_a_complex_request_is_taken_apart() -> None:
    office = Office(GOOD)
    async with office as supervisor:
        result = await supervisor.handle_user_query(REPORT, {"year": 2025}, workflow_id="w")
        assert (result.output, result.complexity, result.strategy) == (WRITTEN, "complex", "sequential")
        assert asked(office.model.requests[0])["context"] == {"year": 2025}
        (plan,) = await supervisor.plans("w")
        assert plan.reason == "it puts things in order: 'then'; figures first"
        assert (plan.depth, plan.width, plan.verdict) == (2, 1, Verdict.ACCEPTED)
        run = await supervisor.orchestrator.get_execution(await supervisor.plan_id("w") or "")
        assert run.definition.name == "office.plan"
        assert {one.task_id: one.agent_id for one in run.definition.tasks} == {"load": "analyst", "text": "writer"}


@in_virtual_time
async def test_several_ends_of_a_plan_are_all_its_result() -> None:
    office = Office(
        planned(LOAD, task("more", "load", "sql", table="more"), task("end", "load", "sql", "more", table="x"))
    )
    async with office as supervisor:
        result = await supervisor.handle_user_query(REPORT)
        assert result.output == {"load": [1, 2, 5], "end": [1, 2, 1]}


@in_virtual_time
async def test_a_simple_request_that_names_nothing_is_taken_apart() -> None:
    office = Office(planned(LOAD))
    async with office as supervisor:
        assert (await supervisor.handle_user_query("Hello?", workflow_id="w")).output == [1, 2, 5]
        assert (await reasons(supervisor, "w"))[0][2] == "it names nothing that an agent can do; figures first"


@in_virtual_time
async def test_other_words_and_other_agents() -> None:
    office = Office(words={"writing": ["letter"]}, agents=["writer"])
    async with office as supervisor:
        assert (await supervisor.handle_user_query("A letter")).output == "<A letter>"
        assert (await supervisor.handle_user_query("Load some sql")).output == "<Load some sql>"


@in_virtual_time
async def test_a_template_that_fits_comes_first() -> None:
    letter = WorkflowTemplate(
        "letter",
        [
            task("text", "run", "writing", query="Dear ${context.name}"),
            task("send", "send", "mail", "text", to="${name}", text="${text}"),
        ],
        keywords=["write", "to"],
        needs=["name"],
    )
    office = Office(templates=WorkflowTemplateRegistry([letter]))
    async with office as supervisor:
        result = await supervisor.handle_user_query("Write to Ada", {"name": "ada"}, workflow_id="w")
        assert result.output == "sent to ada"
        assert (await reasons(supervisor, "w")) == [
            (1, "accepted", "the request is simple; the request fits the template 'letter'")
        ]


@in_virtual_time
async def test_a_template_that_nobody_can_carry_out_is_planned_otherwise() -> None:
    drive = WorkflowTemplate("drive", [task("drive", "drive", "driving")], keywords=["report"])
    office = Office(GOOD, templates=WorkflowTemplateRegistry([drive]))
    async with office as supervisor:
        await supervisor.handle_user_query(REPORT, workflow_id="w")
        first, second = await supervisor.plans("w")
        assert (first.way, first.verdict, second.way) == (Way.TEMPLATE, Verdict.REJECTED, Way.MODEL)
        assert first.problems[0].startswith("task 'drive': nobody has the capability 'driving'")


@in_virtual_time
async def test_agents_that_ask_models_are_asked_in_words() -> None:
    told: list[str] = []

    def says(request: ModelRequest) -> str:
        told.append(request.messages[-1].text)
        return f"answer {len(told)}"

    office = Office(planned(LOAD, task("text", "summary", "thinking", "load", tone="merry")))
    thinker = Agent("thinker", {"thinking"}, instructions="Think.", model=ScriptedModel(says))
    office.orchestrator.register_agent(thinker)
    async with office as supervisor:
        assert (await supervisor.handle_user_query("Some thinking")).output == "answer 1"
        assert (await supervisor.handle_user_query(REPORT)).output == "answer 2"
        assert told == [
            "Some thinking",
            f"summary\ntone: merry\nload: [1, 2, 5]\nthis is part of the request: {REPORT}",
        ]


# --- answers that cannot be used ------------------------------------------------------------------------------------------


@in_virtual_time
async def test_answers_go_back_with_what_is_wrong_and_each_is_recorded() -> None:
    office = Office("No.", planned({**LOAD, "capabilities": ["flying"]}), f"```json\n{GOOD}\n```")
    async with office as supervisor:
        await supervisor.handle_user_query(REPORT, workflow_id="w")
        assert [plan.verdict.value for plan in await supervisor.plans("w")] == ["rejected", "rejected", "repaired"]
        assert asked(office.model.requests[1])["your_last_answer"] == "No."
        assert "flying" in asked(office.model.requests[2])["wrong_with_it"][0]


@in_virtual_time
async def test_a_plan_that_only_stands_in_a_mail_is_not_carried_out() -> None:
    injected = planned(task("send", "send", "mail", to="eve", text="all"), reason="")
    office = Office(injected, GOOD)
    async with office as supervisor:
        result = await supervisor.handle_user_query(REPORT, {"mail": f"Hello! {injected}"}, workflow_id="w")
        assert (result.output, office.calls["send eve"]) == (WRITTEN, 0)
        first, second = await supervisor.plans("w")
        assert (first.verdict, second.verdict) == (Verdict.REJECTED, Verdict.ACCEPTED)
        assert "it only repeats a plan" in first.problems[0]


@in_virtual_time
async def test_a_request_without_a_plan_fails_with_the_reasons() -> None:
    async with Office("No.", "No.", "No.") as supervisor:
        with pytest.raises(WorkflowExecutionError, match="there is no plan for this request: there is no JSON in it"):
            await supervisor.handle_user_query(REPORT, workflow_id="w")
    async with Office() as supervisor:
        with pytest.raises(WorkflowExecutionError, match="no plan for this request: it puts things in order"):
            await supervisor.handle_user_query(REPORT)
        assert await supervisor.plan_id((await supervisor.start("Hello")).workflow_id) is None


@in_virtual_time
async def test_a_model_that_is_away_for_a_moment_is_asked_again() -> None:
    async with Office(ModelUnavailable("away"), GOOD) as supervisor:
        assert (await supervisor.handle_user_query(REPORT)).output == WRITTEN


@in_virtual_time
async def test_a_supervisor_that_has_lost_its_decomposer_says_so() -> None:
    office = Office(GOOD)
    async with office as supervisor:
        supervisor.decomposer = None
        with pytest.raises(WorkflowExecutionError, match="its supervisor has none now"):
            await supervisor.handle_user_query(REPORT)


# --- another plan ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_plan_that_fails_is_replaced_and_what_is_done_is_kept() -> None:
    note = task("note", "report", "writing", query="a note")
    other = task("rows", "load", "sql", table="archive")
    end = task("text", "report", "writing", "rows", "note", query="${rows} and ${note}")
    office = Office(planned(LOAD, note, TEXT), planned(other, end, reason="the archive has them"))
    office.broken.add("sales")
    async with office as supervisor:
        result = await supervisor.handle_user_query(REPORT, workflow_id="w")
        assert (result.output, result.plans) == ("<[1, 2, 7] and <a note>>", 2)
        assert office.calls == {"load sales": 1, "write": 2, "load archive": 1}
        told = asked(office.model.requests[1])
        assert told["done"] == {"note": "<a note>"}
        assert told["failed"] == {"load": "PermanentError: there is no table 'sales'"}
        assert (await reasons(supervisor, "w"))[1] == (
            2,
            "accepted",
            "task 'load' has failed: PermanentError: there is no table 'sales'; the archive has them",
        )


@in_virtual_time
async def test_it_is_planned_again_only_so_often() -> None:
    office = Office(*[planned({**LOAD, "id": f"l{n}"}) for n in range(5)], max_replans=2)
    office.broken.add("sales")
    async with office as supervisor:
        with pytest.raises(WorkflowExecutionError, match="there is no table 'sales'"):
            await supervisor.handle_user_query(REPORT)
        assert (office.model.asked, office.calls["load sales"]) == (3, 3)


@in_virtual_time
async def test_without_a_model_a_failure_is_the_end() -> None:
    office = Office()

    @office.analyst.task("sql")
    async def sql(query: str) -> str:
        raise ValueError(query)

    async with office as supervisor:
        with pytest.raises(WorkflowExecutionError, match="ValueError: Some sql"):
            await supervisor.handle_user_query("Some sql")


@in_virtual_time
async def test_what_must_not_happen_twice_is_not_planned_twice() -> None:
    send = task("send", "send", "mail", to="ada", text="hello")
    again = {**send, "id": "again"}
    office = Office(
        planned(send, {**LOAD, "dependencies": ["send"]}),
        planned(again),
        planned(task("rows", "load", "sql", "send", table="archive")),
        at_most_once=["send"],
    )
    office.broken.add("sales")
    async with office as supervisor:
        assert (await supervisor.handle_user_query(REPORT, workflow_id="w")).output == [1, 2, 7]
        assert office.calls["send ada"] == 1
        plans = await supervisor.plans("w")
        assert plans[1].problems == (
            "task 'again' would do again what 'send' has done, and that must not happen twice",
        )


# --- people ---------------------------------------------------------------------------------------------------------------


async def question(supervisor: SupervisorAgent, task_key: str) -> Any:
    approvals = supervisor.orchestrator.approvals
    await until(approvals.list, seconds=60)
    (request,) = await approvals.list()
    assert request.task_key == task_key
    return request


@in_virtual_time
async def test_nothing_runs_before_the_plan_is_approved() -> None:
    office = Office(GOOD, approval=Approval("Carry this out?", assignees=["ada"]))
    async with office as supervisor:
        handle = await supervisor.start(REPORT, workflow_id="w")
        asked_for = await question(supervisor, "approve-1")
        assert asked_for.question == (
            "Carry this out?\nit puts things in order: 'then'; figures first\n- load: analyst.load\n- text: writer.run, after load"
        )
        await asyncio.sleep(60)
        assert not office.calls
        assert await supervisor.plan_id("w") is None
        with pytest.raises(CommandRefused, match="has no plan that runs yet") as told:
            await supervisor.handle_intervention("w", UserIntervention("skip", "ada", task_key="text"))
        assert "approve-1" in told.value.hint
        await supervisor.handle_intervention("w", UserIntervention("approve", "ada", task_key="approve-1"))
        assert (await supervisor.handle_user_query(REPORT, workflow_id="w")).output == WRITTEN
        assert await handle.result()


@in_virtual_time
async def test_a_plan_that_is_rejected_is_not_run() -> None:
    office = Office(GOOD, approval="Carry this out?")
    async with office as supervisor:
        await supervisor.start(REPORT, workflow_id="w")
        await question(supervisor, "approve-1")
        await supervisor.handle_intervention(
            "w", UserIntervention("reject", "ada", task_key="approve-1", reason="too dear")
        )
        with pytest.raises(WorkflowExecutionError, match="too dear"):
            await supervisor.handle_user_query(REPORT, workflow_id="w")
        assert not office.calls


@in_virtual_time
async def test_a_person_changes_the_plan_and_is_told_what_is_wrong_with_it() -> None:
    office = Office(GOOD, approval="Carry this out?")
    async with office as supervisor:
        await supervisor.start(REPORT, workflow_id="w")
        plan = dict((await question(supervisor, "approve-1")).arguments)
        wrong = {**plan, "tasks": [{**plan["tasks"][0], "capabilities": ["flying"]}]}
        await supervisor.handle_intervention("w", UserIntervention("approve", "ada", task_key="approve-1", value=wrong))
        assert "cannot be carried out: task 'load': nobody has" in (await question(supervisor, "approve-2")).question
        right = {**plan, "tasks": [{**plan["tasks"][0], "parameters": {"table": "other"}}]}
        await supervisor.handle_intervention("w", UserIntervention("approve", "ada", task_key="approve-2", value=right))
        assert (await supervisor.handle_user_query(REPORT, workflow_id="w")).output == [1, 2, 5]
        assert office.calls == {"load other": 1}
        assert [one.way.value for one in await supervisor.plans("w")] == ["model", "person", "person"]
        assert "a person has changed it" in (await supervisor.plans("w"))[2].reason


@in_virtual_time
async def test_a_plan_is_changed_in_vain_only_so_often() -> None:
    office = Office(GOOD, approval="Carry this out?")
    async with office as supervisor:
        await supervisor.start(REPORT, workflow_id="w")
        for number in (1, 2, 3):
            await question(supervisor, f"approve-{number}")
            await supervisor.handle_intervention(
                "w", UserIntervention("approve", "ada", task_key=f"approve-{number}", value={"tasks": []})
            )
        with pytest.raises(WorkflowExecutionError, match="was changed 3 times so that it cannot be carried out"):
            await supervisor.handle_user_query(REPORT, workflow_id="w")


@in_virtual_time
async def test_a_plan_that_is_too_large_to_be_changed_is_shown() -> None:
    tasks = [task(f"t{n}", "load", "sql", table="x" * 400) for n in range(60)]
    model = ScriptedModel([planned(*tasks)])
    decomposer = TaskDecomposer(LLMClient(model), bounds=Bounds(max_tasks=100))
    office = Office(decomposer=decomposer, approval="All of it?")
    async with office as supervisor:
        await supervisor.start(REPORT, workflow_id="w")
        request = await question(supervisor, "approve-1")
        assert request.question.endswith("- and 10 more")
        assert request.arguments is None
        await supervisor.orchestrator.abort("w")


@in_virtual_time
async def test_interventions_reach_the_plan_that_runs() -> None:
    office = Office(GOOD)
    go = asyncio.Event()

    @office.analyst.task("hold")
    async def hold() -> str:
        await go.wait()
        return "held"

    office.model._left = iter([planned(task("hold", "hold", "sql"), task("text", "report", "writing", "hold"))])
    async with office as supervisor:
        handle = await supervisor.start(REPORT, workflow_id="w")
        await until(lambda: office.analyst.in_work)
        plan = await supervisor.plan_id("w")
        assert plan == "w~run-1"
        extra = TaskDefinition("extra", "analyst", "load", {"table": "extra"}, {"hold"})
        (difference,) = await supervisor.handle_intervention(
            "w", UserIntervention("modify", "ada", modifications=[{"add": extra}], reason="one more")
        )
        assert "extra" in str(difference)
        await supervisor.handle_intervention("w", UserIntervention("skip", "ada", task_key="text"))
        await supervisor.handle_intervention("w", UserIntervention("pause", "ada"))
        go.set()
        await asyncio.sleep(5)
        assert (await handle.status()) == "PAUSED"
        assert not office.calls
        await supervisor.handle_intervention("w", UserIntervention("resume", "ada"))
        assert (await supervisor.handle_user_query(REPORT, workflow_id="w")).output == [1, 2, 5]


async def given_for_the_model(value: object) -> Any:
    """Return what comes of a request whose model is out of order, when a person gives ``value`` as the result of ``ask-1``."""
    office = Office(ModelUnavailable("out of order"), GOOD)
    async with office as supervisor:
        await supervisor.start(REPORT, workflow_id="w")
        await until(lambda: office.model.asked)
        given = UserIntervention("set_result", "ada", task_key="ask-1", value=value)
        for _ in range(1_000):
            try:
                await supervisor.handle_intervention("w", given)
                break
            except CommandRefused:  # it is in work
                await asyncio.sleep(0.001)
        return await office.orchestrator.wait("w")


@in_virtual_time
async def test_a_person_answers_for_the_model() -> None:
    assert (await given_for_the_model(json.loads(GOOD)))["output"] == WRITTEN
    assert (await given_for_the_model({"answer": GOOD}))["output"] == WRITTEN


@in_virtual_time
async def test_a_step_with_a_useless_result_ends_the_request_in_words() -> None:
    with pytest.raises(WorkflowExecutionError, match="step 'ask-1' was given the result 'junk'"):
        await given_for_the_model("junk")
    office = Office(GOOD, approval="Carry this out?")
    async with office as supervisor:
        await supervisor.start(REPORT, workflow_id="w")
        await question(supervisor, "approve-1")
        await supervisor.handle_intervention("w", UserIntervention("skip", "ada", task_key="approve-1"))
        with pytest.raises(WorkflowExecutionError, match="step 'approve-1' was skipped, and the request cannot go on"):
            await office.orchestrator.wait("w")
        assert office.calls.total() == 0, "what nobody has approved is not run"
        handle = await office.orchestrator.resume_workflow("w")
        await question(supervisor, "approve-1")
        await supervisor.handle_intervention("w", UserIntervention("approve", "ada", task_key="approve-1"))
        assert (await handle.result())["output"] == WRITTEN  # type: ignore[index]  # a mapping


@in_virtual_time
async def test_an_abort_is_no_reason_for_another_plan() -> None:
    office = Office(planned(task("hold", "hold", "sql")))

    @office.analyst.task("hold")
    async def hold() -> None:
        await asyncio.sleep(3_600)

    async with office as supervisor:
        await supervisor.start(REPORT, workflow_id="w")
        await until(lambda: office.analyst.in_work)
        await supervisor.handle_intervention("w", UserIntervention("abort", "ada", reason="enough"))
        with pytest.raises(WorkflowExecutionError, match="enough") as told:
            await supervisor.handle_user_query(REPORT, workflow_id="w")
        assert told.value.status == "CANCELLED"
        await supervisor.start(REPORT, workflow_id="v")
        office.model._left = iter([planned(task("hold", "hold", "sql"))])


@in_virtual_time
async def test_a_plan_that_somebody_ends_is_not_replaced() -> None:
    office = Office(planned(task("hold", "hold", "sql")))

    @office.analyst.task("hold")
    async def hold() -> None:
        await asyncio.sleep(3_600)

    async with office as supervisor:
        await supervisor.start(REPORT, workflow_id="w")
        await until(lambda: office.analyst.in_work)
        await supervisor.orchestrator.abort("w~run-1", "not this one")
        with pytest.raises(WorkflowExecutionError):
            await supervisor.handle_user_query(REPORT, workflow_id="w")
        assert office.model.asked == 1


# --- what is refused ------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_wrong_requests_and_interventions() -> None:
    office = Office()
    async with office as supervisor:
        for query, context in (
            ("", {}),
            (7, {}),
            ("x" * 40_000, {}),
            ("Hello", [1]),
            ("Hello", {1: 2}),
            ("Hello", {"query": 1}),
        ):
            with pytest.raises(InvalidInput):
                await supervisor.start(query, context)  # type: ignore[arg-type]  # the mistakes
        with pytest.raises(WorkflowNotFoundError):
            await supervisor.plans("nothing")
        other = WorkflowDefinition([TaskDefinition("a", "analyst", "load", {"table": "x"})], name="other")
        await supervisor.orchestrator.execute_workflow(other, workflow_id="o")
        with pytest.raises(WorkflowNotFoundError, match="no request of 'office'"):
            await supervisor.plan_id("o")
        with pytest.raises(InvalidInput, match="got a str"):
            await supervisor.handle_intervention("o", "pause")  # type: ignore[arg-type]  # the mistake
        with pytest.raises(UnsupportedInterventionError):
            await supervisor.handle_intervention("o", UserIntervention("dance", "ada"))
        with pytest.raises(WorkflowExecutionError, match="is no request of a supervisor"):
            await supervisor.orchestrator.execute_workflow(supervisor.workflow, {"query": "Hello"})
        result = await supervisor.orchestrator.start_workflow("office", supervisor.input_of("Some writing"))
        assert (await result.result())["output"] == "<Some writing>"  # type: ignore[index]  # a mapping


def test_wrong_supervisors() -> None:
    orchestrator = Orchestrator(store="memory:")
    client = LLMClient(ScriptedModel([]))
    for wrong in ("", "a@b", 7):
        with pytest.raises(DefinitionError):
            SupervisorAgent(wrong, orchestrator)  # type: ignore[arg-type]  # one of them
    with pytest.raises(InvalidInput, match="not a str"):
        SupervisorAgent("a", "memory:")  # type: ignore[arg-type]  # the mistake
    for number in (-1, 21, True, 1.5):
        with pytest.raises(InvalidInput, match="max_replans"):
            SupervisorAgent("a", orchestrator, max_replans=number)  # type: ignore[arg-type]  # one of them
    for seconds in (0, -1, "1", True):
        with pytest.raises(InvalidInput, match="answer_timeout_seconds"):
            SupervisorAgent("a", orchestrator, answer_timeout_seconds=seconds)  # type: ignore[arg-type]  # one of them
    with pytest.raises(DefinitionError, match="the words of capability 'sql'"):
        SupervisorAgent("a", orchestrator, words={"sql": "figures"})
    wrongs: dict[str, tuple[object, ...]] = {
        "templates": ([], 5),
        "words": (5, ["figures"]),
        "approval": (5, True),
        "bounds": (5, {"max_tasks": 3}),
        "agents": ("analyst", 5, [5], {"analyst": 1}),
        "at_most_once": ("send", 5, ["send", None], {"send": True}),
    }
    for name, values in wrongs.items():
        for value in values:
            with pytest.raises(InvalidInput, match=f"^{name} "):
                SupervisorAgent("a", orchestrator, **{name: value})  # type: ignore[arg-type]  # one of them
    for version in (5, ""):
        with pytest.raises(DefinitionError, match="is no version"):
            SupervisorAgent("a", orchestrator, version=version)  # type: ignore[arg-type]  # one of them
    with pytest.raises(InvalidInput, match="the budget is 5"):
        SupervisorAgent("a", orchestrator, budget=5)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(InvalidInput, match="the decomposer has its bounds"):
        SupervisorAgent("a", orchestrator, decomposer=TaskDecomposer(client), bounds=Bounds())
    with pytest.raises(InvalidInput, match="asks through an LLMClient"):
        SupervisorAgent("a", orchestrator, decomposer=ScriptedModel([]))  # type: ignore[arg-type]  # the mistake
    made = SupervisorAgent("a", orchestrator, decomposer=client, bounds=Bounds(max_tasks=3))
    assert made.bounds.max_tasks == 3
    assert repr(made) == "SupervisorAgent('a')"
    with pytest.raises(DefinitionError):
        SupervisorAgent("a", orchestrator)


def test_agents_without_handlers_and_seats_of_crews_do_not_count() -> None:
    office = Office()
    office.orchestrator.register_agent(Agent("idle", {"waiting"}))

    @office.writer.task("Crew@1.run")
    async def seat() -> None:
        return None

    assert {doer.agent_id: sorted(doer.handlers) for doer in office.supervisor.doers()} == {
        "analyst": ["load"],
        "writer": ["run"],
        "mailer": ["send"],
    }


# --- what planning costs --------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_the_answers_of_a_request_are_paid_out_of_its_budget() -> None:
    office = Office("No.", GOOD, budget=Budget(tokens=50_000))
    async with office as supervisor:
        await supervisor.handle_user_query(REPORT, workflow_id="w")
        view = await supervisor.orchestrator.budgets.get("workflow-w")
        assert (view.calls, view.reserved.tokens) == (2, 0)
        with pytest.raises(CommandRefused, match="closed"):
            await supervisor.orchestrator.budgets.change("workflow-w", Budget(tokens=1))
        decomposer = supervisor.decomposer
        assert decomposer is not None
        assert view.spent.tokens == decomposer.client.spending.usage.total_tokens


@in_virtual_time
async def test_a_request_that_cannot_be_paid_fails_until_more_is_allowed() -> None:
    office = Office(GOOD, budget=Budget(tokens=10))
    async with office as supervisor:
        with pytest.raises(WorkflowExecutionError, match="BudgetExceeded: the budget 'workflow-w' of 10 tokens"):
            await supervisor.handle_user_query(REPORT, workflow_id="w")
        assert office.model.asked == 0
        await supervisor.orchestrator.budgets.change("workflow-w", Budget(tokens=50_000))
        handle = await supervisor.orchestrator.resume_workflow("w")
        assert (await handle.result())["output"] == WRITTEN  # type: ignore[index]  # a mapping


@in_virtual_time
async def test_a_budget_that_is_shared() -> None:
    prices = PriceTable.from_dict({"scripted:*": {"input_per_million": 1, "output_per_million": 1}})
    model = ScriptedModel([GOOD, GOOD])
    decomposer = TaskDecomposer(LLMClient(model, prices=prices))
    async with Office(decomposer=decomposer, budget="planning") as supervisor:
        await supervisor.orchestrator.budgets.open("planning", Budget(usd=1))
        await supervisor.handle_user_query(REPORT)
        await supervisor.handle_user_query(REPORT, workflow_id="w" * 180)
        view = await supervisor.orchestrator.budgets.get("planning")
        assert (view.calls, view.is_complete) == (2, True)
        assert view.spent.usd > 0


@in_virtual_time
async def test_what_nobody_knows_the_cost_of_is_counted_so() -> None:
    office = Office(ModelUnavailable("it broke off"), ModelRateLimited("slow down"), GOOD, budget=Budget(tokens=50_000))
    async with office as supervisor:
        assert (await supervisor.handle_user_query(REPORT, workflow_id="w")).output == WRITTEN
        view = await supervisor.orchestrator.budgets.get("workflow-w")
        assert (view.calls, view.unmetered_calls) == (2, 1), "a refusal costs nothing"


@in_virtual_time
async def test_the_time_of_a_budget_ends_while_the_model_is_asked() -> None:
    model = ScriptedModel([GOOD], first_seconds=30)
    office = Office(decomposer=TaskDecomposer(LLMClient(model)), budget=Budget(seconds=5))
    async with office as supervisor:
        with pytest.raises(WorkflowExecutionError, match="the time of 'workflow-w' ended while 'scripted:scripted'"):
            await supervisor.handle_user_query(REPORT, workflow_id="w")


async def test_an_answer_that_died_with_its_process_is_counted(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'state.db'}"
    slow = ScriptedModel([GOOD], first_seconds=60)
    first = Office(decomposer=LLMClient(slow), budget=Budget(tokens=50_000), store=store)
    await first.supervisor.start(REPORT, workflow_id="w")
    await until(lambda: slow.asked)
    await first.orchestrator.stop(drain_seconds=0)
    async with Office(GOOD, budget=Budget(tokens=50_000), store=store) as second:
        assert (await second.handle_user_query(REPORT, workflow_id="w")).output == WRITTEN
        view = await second.orchestrator.budgets.get("workflow-w")
        assert (view.calls, view.unmetered_calls, view.reserved.tokens) == (2, 1, 0)


async def test_a_paid_model_streams_in_one_piece_and_is_asked_only_so_often() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        lineage = (await orchestrator.budgets.open("b", Budget(tokens=50_000))).lineage
        unmetered = ModelResponse(parts=(TextPart("Hello."),), finish_reason=FinishReason.STOP)
        lost = ModelResponse(
            parts=(TextPart("Again."),), finish_reason=FinishReason.STOP, usage=Usage(5, 5), lost_usage=Usage(3, 1)
        )
        script = ScriptedModel([unmetered, lost, "more"])
        paid = PaidModel(script, Purse(Accounts(orchestrator.budgets, PriceTable({})), lineage), "o")
        request = ModelRequest(messages=(user("Hi"),))
        said = [delta.text async for delta in paid.stream(request) if isinstance(delta, TextDelta)]
        assert said == ["Hello."]
        assert (await paid.respond(request)).text == "Again."
        view = await orchestrator.budgets.get("b")
        assert (view.calls, view.unmetered_calls) == (2, 1)
        await orchestrator.budgets.close("b")
        with pytest.raises(CommandRefused):
            await paid.respond(request)
        assert script.asked == 2
