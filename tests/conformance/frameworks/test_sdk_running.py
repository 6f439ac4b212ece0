"""Agents of the OpenAI Agents SDK as tasks, with the SDK itself: what is asked once, what goes on after a cut, what people are asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents import Agent as SdkAgent
from agents import GuardrailFunctionOutput, Runner, function_tool, input_guardrail

from agenticflow import Agent, Orchestrator, TaskContext, WorkflowExecutionError
from agenticflow.agents.session import AgentSession
from agenticflow.integrations.frameworks.openai_agents import from_sdk_agent, run_durably
from agenticflow.storage.memory import MemoryStore
from tests.conformance.frameworks.sdk_cases import QUIET, agent, called, outputs, said
from tests.unit.runtime.engine import running, until
from tests.unit.runtime.tasks import single

TWICE = {"max_attempts": 2, "initial_delay_seconds": 0.01}


def task_of(sdk_agent: SdkAgent[Any], asked: str = "hi", *, failures: int = 0, **options: Any) -> Agent:
    """An agent whose first attempts fail after the run, when everything is recorded."""
    ours = Agent("agent")

    @ours.task("do")
    async def do(context: TaskContext) -> Any:
        result = await run_durably(context, sdk_agent, asked, run_config=QUIET, **options)
        if context.attempt <= failures:
            raise ConnectionError("cut")
        return [result.final_output, result.last_agent.name, result.context_wrapper.usage.total_tokens]

    return ours


async def done(orchestrator: Orchestrator, **options: Any) -> Any:
    handle = await orchestrator.start_workflow(single(retry_policy=TWICE, **options), workflow_id="w")
    found: Any = await handle.result()
    return found["work"]


async def test_models_and_tools_are_asked_once_over_all_attempts() -> None:
    looked: list[str] = []

    @function_tool
    async def weather(city: str) -> dict[str, object]:
        """Tell the weather."""
        looked.append(city)
        return {"city": city, "is_sunny": True}

    def answer(last: str, shown: list[Any]) -> list[Any]:
        if not outputs(shown):
            return [called("weather", "c1", city="Graz"), called("weather", "c2", city="Oslo")]
        return [said(str(sorted(outputs(shown).values())))]

    guide, model = agent("guide", answer, tools=[weather])
    async with running(task_of(guide, failures=1)) as orchestrator:
        text, last, tokens = await done(orchestrator)
    assert text == "[\"{'city': 'Graz', 'is_sunny': True}\", \"{'city': 'Oslo', 'is_sunny': True}\"]"
    assert (last, tokens, sorted(looked), model.calls) == ("guide", 30, ["Graz", "Oslo"], 2)
    assert guide.tools == [weather], "the original stays as it is"


async def test_handoffs_nested_agents_and_guardrails_are_journalled_too() -> None:
    def nested(last: str, shown: list[Any]) -> list[Any]:
        return [said(f"summary of {last}")]

    def triage(last: str, shown: list[Any]) -> list[Any]:
        found = outputs(shown)
        if not found:
            return [called("summarize", "s1", input="one"), called("summarize", "s2", input="two")]
        return [called("transfer_to_writer", "h1")]

    def writer(last: str, shown: list[Any]) -> list[Any]:
        return [said(" and ".join(sorted(v for k, v in outputs(shown).items() if k.startswith("s"))))]

    summarizer, summarizing = agent("summarizer", nested)
    judge, judging = agent("judge", lambda last, shown: [said("fine")])

    @input_guardrail
    async def is_fine(context: Any, sdk_agent: Any, value: Any) -> GuardrailFunctionOutput:
        verdict = await Runner.run(judge, value, run_config=QUIET)
        return GuardrailFunctionOutput(None, tripwire_triggered=verdict.final_output != "fine")

    last, writing = agent("writer", writer)
    first, sorting = agent(
        "triage",
        triage,
        handoffs=[last],
        tools=[summarizer.as_tool("summarize", "Sums up.")],
        input_guardrails=[is_fine],
    )
    last.handoffs.append(first)  # in a circle
    async with running(task_of(first, failures=1)) as orchestrator:
        text, name, _ = await done(orchestrator)
    assert (text, name) == ("summary of one and summary of two", "writer")
    assert [model.calls for model in (summarizing, judging, writing, sorting)] == [2, 1, 1, 2]


async def test_a_guardrail_that_says_no_is_one_of_ours() -> None:
    @input_guardrail
    def never(context: Any, sdk_agent: Any, value: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(None, tripwire_triggered=True)

    guide, _ = agent("guide", lambda last, shown: [said("hello")], input_guardrails=[never])
    async with running(task_of(guide)) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="GuardrailTripwireTriggered: the guardrail 'never' of agent"):
            await done(orchestrator)


@function_tool(needs_approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    paid.append(amount)
    return f"paid {amount}"


paid: list[int] = []


async def test_several_calls_wait_for_people_at_once_and_a_no_goes_to_the_model() -> None:
    paid.clear()

    def answer(last: str, shown: list[Any]) -> list[Any]:
        if not outputs(shown):
            return [called("pay", f"p{n}", amount=n) for n in (1, 2, 3)]
        return [said(" | ".join(f"{key}: {value}" for key, value in sorted(outputs(shown).items())))]

    store = MemoryStore()

    def life() -> Any:
        return running(task_of(agent("payer", answer, tools=[pay])[0], failures=1), store=store)

    async with life() as orchestrator:
        await orchestrator.start_workflow(single(retry_policy=TWICE), workflow_id="w")

        async def three() -> bool:
            return len(await orchestrator.approvals.list()) == 3

        await until(three)
        shown = (await orchestrator.approvals.list())[0]
        assert shown.question == "May the agent 'payer' call 'pay'?"
        assert shown.arguments == {"agent": "payer", "tool": "pay", "arguments": '{"amount": 1}'}
        await orchestrator.approvals.approve(shown.approval_id)
    async with life() as orchestrator:
        (second, _) = await orchestrator.approvals.list()
        await orchestrator.approvals.reject(second.approval_id, comment="too dear")
    async with life() as orchestrator:
        (third,) = await orchestrator.approvals.list()
        assert paid == []
        await orchestrator.approvals.approve(third.approval_id)
        found: Any = await orchestrator.wait("w")
    assert found["work"][0] == "p1: paid 1 | p2: A person said no. too dear | p3: paid 3"
    assert sorted(paid) == [1, 3]


async def test_a_tool_that_must_not_happen_twice_is_not_called_again_after_a_cut() -> None:
    sent: list[str] = []

    @function_tool
    async def send(text: str) -> str:
        """Send a mail."""
        sent.append(text)
        await asyncio.Event().wait()
        return "sent"

    def answer(last: str, shown: list[Any]) -> list[Any]:
        return [said(last)] if outputs(shown) else [called("send", "s1", text="hello")]

    store = MemoryStore()

    def life() -> Any:
        return running(task_of(agent("mailer", answer, tools=[send])[0], at_most_once={"send"}), store=store)

    async with life() as orchestrator:
        await orchestrator.start_workflow(single(), workflow_id="w")
        await until(lambda: sent)
    async with life() as orchestrator:
        found: Any = await orchestrator.wait("w")
    assert found["work"][0].startswith("This call was interrupted, and nobody knows")
    assert sent == ["hello"]


async def test_a_conversation_is_kept_once_over_attempts_and_later_runs() -> None:
    store = MemoryStore()

    def answer(last: str, shown: list[Any]) -> list[Any]:
        return [said(f"answer {len(shown)}")]

    guide, model = agent("guide", answer)
    ours = from_sdk_agent(
        guide, agent_id="agent", task_type="do", session=lambda name: AgentSession(name, store=store), run_config=QUIET
    )
    async with running(ours, store=store) as orchestrator:
        for number, asked in enumerate(("one", "two")):
            run = single(params={"input": asked, "session_id": "s"})
            handle = await orchestrator.start_workflow(run, workflow_id=f"w{number}")
            assert await handle.result() == {"work": f"answer {1 if number == 0 else 3}"}
    items = await AgentSession("s", store=store).get_items()
    assert [item["role"] for item in items] == ["user", "assistant", "user", "assistant"]
    again, _ = agent("guide", answer)

    failing = task_of(again, "three", failures=1, session=AgentSession("s", store=store))
    async with running(failing, store=store) as orchestrator:
        assert (await done(orchestrator))[0] == "answer 5"
    assert len(await AgentSession("s", store=store).get_items()) == 6
    assert model.calls == 2


async def test_a_prompt_that_changed_is_told_with_the_part_that_did() -> None:
    attempts: list[int] = []

    def instruct(context: Any, sdk_agent: Any) -> str:
        attempts.append(1)
        return f"It is attempt {len(attempts)}"

    guide, _ = agent("guide", lambda last, shown: [said("hello")])
    guide.instructions = instruct
    async with running(task_of(guide, failures=1)) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="under 'model-1': instructions was 'It is attempt 1' and is"):
            await done(orchestrator)


async def test_streamed_agents_inside_are_journalled() -> None:
    heard: list[str] = []
    nested, asked = agent("nested", lambda last, shown: [said("from inside")])
    tool = nested.as_tool("inner", "Asks inside.", on_stream=lambda event: heard.append(event["event"].type))

    def answer(last: str, shown: list[Any]) -> list[Any]:
        return [said(last)] if outputs(shown) else [called("inner", "i1", input="x")]

    outer, _ = agent("outer", answer, tools=[tool])
    async with running(task_of(outer, failures=1)) as orchestrator:
        assert (await done(orchestrator))[0] == "from inside"
    assert asked.calls == 1
    assert heard


async def test_what_is_no_agent_of_the_sdk_is_refused() -> None:
    async with running(task_of("guide")) as orchestrator:  # type: ignore[arg-type]  # what a user may write
        with pytest.raises(WorkflowExecutionError, match="'guide' is no agent of the OpenAI Agents SDK"):
            await done(orchestrator)


async def test_runs_at_once_over_one_session_lose_nothing_and_approvals_keep_it() -> None:
    """By the SDK's own runner, outside of any task."""
    store = MemoryStore()
    guide, _ = agent("guide", lambda last, shown: [said(f"to {last}")])
    asked = [f"question {n}" for n in range(6)]
    await asyncio.gather(
        *(Runner.run(guide, one, session=AgentSession("s", store=store), run_config=QUIET) for one in asked)
    )
    items = await AgentSession("s", store=store).get_items()
    assert sorted(item["content"] for item in items if item["role"] == "user") == asked
    assert sum(item["role"] == "assistant" for item in items) == 6

    paid.clear()
    payer, _ = agent(
        "payer", lambda last, shown: [said("done")] if outputs(shown) else [called("pay", "p1", amount=1)], tools=[pay]
    )
    session = AgentSession("approved", store=store)
    first = await Runner.run(payer, "pay", session=session, run_config=QUIET)
    state = first.to_state()
    state.approve(first.interruptions[0])
    second = await Runner.run(payer, state, session=session, run_config=QUIET)
    assert (second.final_output, paid) == ("done", [1])
    kinds = [item.get("type", item.get("role")) for item in await session.get_items()]
    assert kinds == ["user", "function_call", "function_call_output", "message"]


async def test_a_session_of_an_agent_inside_is_added_to_once() -> None:
    store = MemoryStore()
    inner, _ = agent("inner", lambda last, shown: [said("from inside")])
    tool = inner.as_tool("ask", "Asks inside.", session=AgentSession("inside", store=store))

    def answer(last: str, shown: list[Any]) -> list[Any]:
        return [said(last)] if outputs(shown) else [called("ask", "a1", input="x")]

    outer, _ = agent("outer", answer, tools=[tool])
    ours = Agent("agent")

    @ours.task("do")
    async def do(context: TaskContext) -> Any:
        result = await run_durably(context, outer, "go", run_config={"tracing_disabled": True})
        if context.attempt == 1:
            raise ConnectionError("cut")
        return [result.final_output]

    async with running(ours) as orchestrator:
        assert await done(orchestrator) == ["from inside"]
    assert len(await AgentSession("inside", store=store).get_items()) == 2
