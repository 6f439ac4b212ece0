"""Answers: their form, what guardrails say to them, conversations that grow too long, and what people say meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition, tool
from agenticflow.agents.guardrails import Guardrail
from agenticflow.agents.loop.facts import KIND
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.agents.loop.results import Spoken, TurnBegan
from agenticflow.agents.model import FinishReason, ModelAbilities, ModelRequest, ModelResponse, TextPart
from agenticflow.agents.model.deltas import ResponseRestarted
from agenticflow.agents.session import AgentSession
from agenticflow.errors import (
    BudgetExceeded,
    ContentRefused,
    ContextTooLong,
    GuardrailTripwireTriggered,
    ModelOutputInvalid,
    WorkflowExecutionError,
)
from agenticflow.resilience.budgets import Budget
from agenticflow.testing import ScriptedModel, call_tool


@dataclass
class Verdict:
    is_fine: bool
    why: str = ""


@tool
def look(at: str) -> str:
    """Look at something."""
    return f"{at} is fine, and there is much to be said about it"


# --- the form of an answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_schemas", [True, False])
async def test_an_answer_is_given_back_until_it_has_its_form(has_schemas: bool) -> None:
    model = ScriptedModel(
        ["fine!", '{"is_fine": "very"}', 'Here:\n```json\n{"is_fine": true}\n```'],
        abilities=ModelAbilities(has_output_schemas=has_schemas),
    )
    judge = Agent("judge", instructions="Judge.", output_type=Verdict, model=model)
    result = await judge.run("Is this fine?")
    assert (result.output, result.turns) == (Verdict(True), 3)
    told = model.requests[0]
    assert (told.output is not None) is has_schemas
    assert ("JSON Schema" in told.messages[0].text) is not has_schemas
    assert "does not have the form asked for" in model.requests[1].messages[-1].text
    assert "is_fine" in model.requests[2].messages[-1].text


async def test_what_never_has_its_form_is_an_error_that_says_what_is_wrong() -> None:
    judge = Agent("judge", instructions="x", output_type=Verdict, model=ScriptedModel(["no"] * 10))
    with pytest.raises(ModelOutputInvalid, match="'judge' does not have its form"):
        await judge.run("Is this fine?")


async def test_a_typed_answer_is_plain_data_in_a_workflow_and_typed_after_a_restart() -> None:
    judge = Agent(
        "judge", instructions="x", output_type=Verdict, model=ScriptedModel(['{"is_fine": true, "why": "so"}'] * 2)
    )
    plan = WorkflowDefinition([TaskDefinition("ask", "judge", "judge", params={"prompt": "well?"})])
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(judge)
        handle = await orchestrator.start_workflow(plan)
        assert await handle.result() == {"ask": {"is_fine": True, "why": "so"}}
        assert (await judge.run("well?", workflow_id="one")).output == Verdict(True, "so")
        assert (await judge.run("well?", workflow_id="one")).output == Verdict(True, "so"), "found as it is recorded"


async def test_a_filtered_answer_is_refused_content() -> None:
    filtered = ModelResponse(parts=(TextPart("I would rather"),), finish_reason=FinishReason.CONTENT_FILTER)
    shy = Agent("shy", instructions="x", model=ScriptedModel([filtered]))
    with pytest.raises(ContentRefused) as caught:
        await shy.run("Tell me.")
    assert caught.value.text == "I would rather"


async def test_it_is_told_that_an_answer_was_cut(tmp_path: Any) -> None:
    cut = ModelResponse(parts=(TextPart("half an ans"),), finish_reason=FinishReason.LENGTH)
    for answers in ([cut], []):  # the second time it is read again
        agent = Agent("short", instructions="x", model=ScriptedModel(answers))
        async with Orchestrator(store=f"sqlite:///{tmp_path}/state.db") as orchestrator:
            orchestrator.register_agent(agent)
            result = await agent.run("say it", workflow_id="one")
            assert (result.output, result.finish_reason) == ("half an ans", "length")


async def test_an_empty_answer_is_an_empty_answer() -> None:
    silent = Agent(
        "silent", instructions="x", model=ScriptedModel([ModelResponse(parts=(), finish_reason=FinishReason.STOP)])
    )
    assert (await silent.run("Tell me.")).output == ""


# --- guardrails ---------------------------------------------------------------------------------------------------------


def rail(kind: str, words: str) -> Guardrail:
    return Guardrail(lambda _, value: (words not in str(value), f"no {words}"), name=f"no-{words}", kinds=[kind])


@pytest.mark.parametrize(
    ("kind", "words", "made", "results"),
    [
        ("input", "secret", 0, []),
        ("output", "done", 1, [("attic", False)]),
        ("tool_input", "attic", 0, [("this call was not made", True)]),
        ("tool_output", "much to be said", 1, [("this call was made, and its result is kept back", False)]),
    ],
)
async def test_guardrails_of_all_kinds_end_the_run(kind: str, words: str, made: int, results: list[Any]) -> None:
    calls = 0

    @tool(effect="at_most_once")
    def search(at: str) -> str:
        """Look at something."""
        nonlocal calls
        calls += 1
        return f"{at}: much to be said"

    agent = Agent(
        "careful",
        instructions="x",
        tools=[search],
        guardrails=[rail(kind, words)],
        model=ScriptedModel([call_tool("search", at="attic"), "done"]),
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(GuardrailTripwireTriggered) as caught:
            await agent.run("what is the secret?", session="ada", workflow_id="one")
        assert (caught.value.guardrail, caught.value.kind, calls) == (f"no-{words}", kind, made)
        with pytest.raises(GuardrailTripwireTriggered, match=f"no-{words}"):
            await agent.run("what is the secret?", session="ada", workflow_id="one")
        assert await AgentSession("ada", store=orchestrator.store).get_items() == [], "what was refused was not said"
        loops: Any = agent._loops()
        told = [one for message in await loops.conversation("one", "run") for one in message.results]
        assert [(one.content.partition(":")[0], one.is_error) for one in told] == results
        rows = await orchestrator.store.list_runs(kind=KIND)
        assert [(row.status, row.is_open) for row in rows] == [("FAILED", False)]


async def test_what_a_guardrail_and_a_budget_said_is_there_after_a_restart(tmp_path: Any) -> None:
    guarded: list[dict[str, Any]] = [{"guardrails": [rail("output", "done")]}, {"budget": Budget(tokens=1)}]
    for number, options in enumerate(guarded):
        told = []
        for _ in range(2):
            agent = Agent("careful", instructions="x", model=ScriptedModel(["done"]), **options)
            async with Orchestrator(store=f"sqlite:///{tmp_path}/state.db") as orchestrator:
                orchestrator.register_agent(agent)
                with pytest.raises((GuardrailTripwireTriggered, BudgetExceeded)) as caught:
                    await agent.run("go", workflow_id=f"run-{number}")
                told.append({name: getattr(caught.value, name) for name in caught.value.told})
        assert told[0] == told[1]
        assert all(told[0].values())


async def test_a_guardrail_of_the_input_looks_once_also_when_there_are_many_turns() -> None:
    looked = 0

    def count(_: object, value: object) -> bool:
        nonlocal looked
        looked += 1
        return True

    agent = Agent(
        "careful",
        instructions="x",
        tools=[look],
        guardrails=[Guardrail(count, name="count", kinds=["input"])],
        model=ScriptedModel([call_tool("look", at="a"), call_tool("look", at="b"), "done"]),
    )
    assert (await agent.run("go")).output == "done"
    assert looked == 1


# --- conversations that grow --------------------------------------------------------------------------------------------


def words_until(limit: int, turns: int, summaries: list[int]) -> Any:
    """Return a script that takes no more than so many messages, and summarizes when it is told to."""

    def speak(request: ModelRequest) -> Any:
        if request.messages[0].text.startswith("You are given the beginning"):
            summaries.append(len(request.messages[1].text))
            return "it looked at things"
        if len(request.messages) > limit:
            return ContextTooLong("it is too long")
        asked = sum("seen" in message.text for message in request.messages) + len(summaries) * 100
        made.append(asked)
        return call_tool("look", at=f"thing {len(made)}") if len(made) <= turns else "done"

    made: list[int] = []
    return speak


async def test_a_conversation_that_the_model_does_not_take_is_summarized() -> None:
    summaries: list[int] = []
    model = ScriptedModel(words_until(14, 12, summaries))
    agent = Agent("long", instructions="x", tools=[look], model=model, loop=LoopPolicy(max_turns=50))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        result = await agent.run("look at everything", workflow_id="one")
    assert (result.output, result.turns) == ("done", 13)
    assert len(summaries) >= 1
    assert "was summarized" in result.messages[0].text
    assert len(result.messages) < 20
    ModelRequest(messages=tuple(result.messages)).check()
    assert result.usage.total_tokens > 0


async def test_a_conversation_may_be_summarized_before_it_is_refused() -> None:
    summaries: list[int] = []
    model = ScriptedModel(words_until(1_000, 20, summaries))
    agent = Agent(
        "long", instructions="x", tools=[look], model=model, loop=LoopPolicy(max_turns=50, compact_after_tokens=150)
    )
    assert (await agent.run("look at everything")).output == "done"
    assert len(summaries) >= 2
    assert max(len(request.messages) for request in model.requests) < 25


def reading(chars: int, requests: list[ModelRequest]) -> Any:
    """A model that reads no more than so many characters, also of what it is to summarize."""

    def speak(request: ModelRequest) -> str:
        length = sum(len(message.text) for message in request.messages[1:])
        if length > chars:
            raise ContextTooLong(f"{length} characters are too many")
        requests.append(request)
        if "Summarize it" in request.messages[0].text:
            return "much was said"
        return f"answer {length}"

    return speak


@pytest.mark.parametrize("options", [{}, {"loop": LoopPolicy(compact_after_tokens=500)}])
async def test_a_conversation_that_has_grown_too_long_goes_on_with_a_summary(options: dict[str, Any]) -> None:
    requests: list[ModelRequest] = []
    agent = Agent("chat", instructions="x", model=ScriptedModel(reading(3_000, requests)), **options)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        for number in range(20):
            result = await agent.run(f"{number}: {'word ' * 100}", session="ada")
            assert [message.text[:3] for message in result.messages] == [f"{number}: "[:3], "ans"], "what was asked now"
        session = AgentSession("ada", store=orchestrator.store)
        items = await session.get_items()
        asked = [item["content"].partition(":")[0] for item in items if item["role"] == "user"]
        assert asked[0] == "(The conversation so far was summarized"
        assert asked[1:] == [str(number) for number in range(21 - len(asked), 20)], "each once, the newest"
        assert len([one for one in requests if "Summarize it" in one.messages[0].text]) in range(3, 8), (
            "not for each prompt"
        )
        assert (await session.info()).added == 40


async def test_a_history_that_no_summary_can_be_made_of_at_once_is_summarized_in_its_newest_part() -> None:
    requests: list[ModelRequest] = []
    agent = Agent(
        "chat", instructions="x", budget=Budget(tokens=100_000), model=ScriptedModel(reading(3_000, requests))
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        session = AgentSession("ada", store=orchestrator.store)
        for number in range(20):
            await session.add_items([{"role": "user", "content": f"{number} " + "word " * 100}])
        assert (await agent.run("and now?", session="ada")).output.startswith("answer")
        assert "19 word" in requests[0].messages[1].text
        assert len(await session.get_items()) == 3


async def test_a_conversation_that_somebody_began_anew_keeps_its_beginning() -> None:
    requests: list[ModelRequest] = []

    async with Orchestrator(store="memory:") as orchestrator:
        session = AgentSession("ada", store=orchestrator.store)

        async def speak(request: ModelRequest) -> str:
            answer: str = reading(1_500, requests)(request)
            if answer == "much was said":
                await session.clear_session()
            return answer

        agent = Agent("chat", instructions="x", model=ScriptedModel(speak))
        orchestrator.register_agent(agent)
        await session.add_items([{"role": "user", "content": "word " * 50} for _ in range(8)])
        assert (await agent.run("and now?", session="ada")).output.startswith("answer")
        assert [item["content"][:7] for item in await session.get_items()] == ["and now", "answer "]


async def test_what_cannot_be_made_shorter_is_told() -> None:
    agent = Agent("long", instructions="x", model=ScriptedModel([ContextTooLong("it is too long")]))
    with pytest.raises(ContextTooLong):
        await agent.run("x" * 1_000)


# --- people -------------------------------------------------------------------------------------------------------------


async def test_what_is_said_to_the_task_meanwhile_goes_into_the_conversation() -> None:
    at_work, go_on = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        at_work.set()
        await go_on.wait()
        return "waited"

    model = ScriptedModel([call_tool("wait"), "done"])
    agent = Agent("patient", instructions="x", tools=[wait], model=model)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        stream = await agent.run_stream("go", workflow_id="one")
        await asyncio.wait_for(at_work.wait(), 5)
        await orchestrator.give_feedback("one", "be quick", given_by="ada")
        await orchestrator.give_feedback("one", {"limit": 3}, task_key="run", given_by="bob")
        go_on.set()
        result = await stream.result()
    assert result.output == "done"
    said = [message.text for message in model.requests[1].messages]
    assert said[-2:] == ["ada says: be quick", 'bob says: {"limit":3}']


# --- as it is seen ------------------------------------------------------------------------------------------------------


async def test_turns_and_pieces_are_seen_and_may_be_looked_at_twice() -> None:
    agent = Agent(
        "teller",
        instructions="x",
        tools=[look],
        model=ScriptedModel([call_tool("look", at="a"), "a long tale"], piece_chars=3),
    )
    stream = await agent.run_stream("tell")
    seen = [update async for update in stream]
    assert [update.turn for update in seen if isinstance(update, TurnBegan)] == [1, 2]
    assert sum(isinstance(update, Spoken) for update in seen) > 4
    assert not any(isinstance(update, Spoken) and isinstance(update.delta, ResponseRestarted) for update in seen)
    assert [update async for update in stream] == [], "nothing more comes"
    assert (await stream.result()).output == (await stream.result()).output == "a long tale"


async def test_who_only_looks_is_not_told_of_an_error_and_nobody_warns() -> None:
    agent = Agent("teller", instructions="x", model=ScriptedModel([ContextTooLong("it is too long")]))
    stream = await agent.run_stream("tell")
    assert [type(update).__name__ async for update in stream] == ["TurnBegan"]
    del stream  # filterwarnings=error: an exception that nobody asked for would be one here


async def test_a_run_that_somebody_ends_says_so() -> None:
    async def never(request: ModelRequest) -> str:
        await asyncio.Event().wait()
        return ""

    agent = Agent("slow", instructions="x", model=ScriptedModel(never))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        stream = await agent.run_stream("go", workflow_id="one")
        await asyncio.sleep(0.05)
        await orchestrator.abort("one", reason="enough")
        with pytest.raises(WorkflowExecutionError):
            await stream.result()
