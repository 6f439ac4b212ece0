"""Agents of Pydantic AI as tasks, with Pydantic AI itself: what is asked once, what goes on after a cut, what people are asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from pydantic_ai import Agent as TheirAgent
from pydantic_ai import BinaryContent, ModelRetry, RunContext, ToolReturn, UsageLimits
from pydantic_ai.exceptions import ModelHTTPError, ToolFailed
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from agenticflow import Agent, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition, WorkflowExecutionError
from agenticflow.errors import DefinitionError
from agenticflow.integrations.frameworks.pydantic_ai import from_pydantic_agent, run_durably, run_inside
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.crashes import CrashCase, Resolution, crash_search
from agenticflow.testing.model_kit import Says
from agenticflow.testing.model_kit.place import said as spoken
from tests.conformance.model_servers.chat import ChatServer
from tests.unit.runtime.engine import running, until
from tests.unit.runtime.tasks import single

TWICE = {"max_attempts": 2, "initial_delay_seconds": 0.01}
Answer = Callable[[dict[str, Any], list[ModelMessage]], list[Any]]


class Sky(BaseModel):
    city: str
    is_clear: bool


class Answering:
    """A model that answers by what it is shown, and counts."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.calls = 0

    async def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        """Async: a plain function is called in a thread, which virtual time does not wait for."""
        self.calls += 1
        found = {
            part.tool_call_id: part.content
            for message in messages
            for part in message.parts
            if isinstance(part, ToolReturnPart)
        }
        return ModelResponse(parts=self.answer(found, messages))


def agent(answer: Answer, name: str = "guide", **options: Any) -> tuple[TheirAgent[Any, Any], Answering]:
    model = Answering(answer)
    return TheirAgent(FunctionModel(model), name=name, instructions="Be brief.", **options), model


def called(name: str, call_id: str, **arguments: Any) -> ToolCallPart:
    return ToolCallPart(name, arguments, tool_call_id=call_id)


def text(words: object) -> list[Any]:
    return [TextPart(str(words))]


def task_of(theirs: Any, asked: str = "hi", *, failures: int = 0, **options: Any) -> Agent:
    ours = Agent("agent")

    @ours.task("do")
    async def do(context: TaskContext) -> Any:
        result = await run_durably(context, theirs, asked, **options)
        if context.attempt <= failures:
            raise ConnectionError("cut")
        return [result.output, result.usage.requests]

    return ours


async def done(orchestrator: Orchestrator) -> Any:
    handle = await orchestrator.start_workflow(single(retry_policy=TWICE), workflow_id="w")
    found: Any = await handle.result()
    return found["work"]


async def test_models_and_tools_are_asked_once_over_all_attempts() -> None:
    looked: list[str] = []

    async def weather(city: str) -> Sky:
        looked.append(city)
        return Sky(city=city, is_clear=True)

    def answer(found: dict[str, Any], messages: list[ModelMessage]) -> list[Any]:
        if not found:
            return [called("weather", "c1", city="Graz"), called("weather", "c2", city="Oslo")]
        return text([found["c1"], found["c2"]])

    guide, model = agent(answer, tools=[weather])
    async with running(task_of(guide, failures=1)) as orchestrator:
        output, requests = await done(orchestrator)
    assert output == "[{'city': 'Graz', 'is_clear': True}, {'city': 'Oslo', 'is_clear': True}]"
    assert (requests, sorted(looked), model.calls) == (2, ["Graz", "Oslo"], 2)


async def test_signals_of_tools_and_their_rich_returns_are_recorded_too() -> None:
    calls: Counter[str] = Counter()

    async def picky(n: int) -> str:
        calls["picky"] += 1
        if n == 1:
            raise ModelRetry("give me a two")
        return "fine"

    async def rich() -> ToolReturn:
        calls["rich"] += 1
        return ToolReturn("picture", content=["see", BinaryContent(b"png", media_type="image/png")])

    async def broken() -> str:
        calls["broken"] += 1
        raise ToolFailed("it is broken")

    async def strange() -> object:
        return object()

    def answer(found: dict[str, Any], messages: list[ModelMessage]) -> list[Any]:
        if "p1" not in str(messages):
            return [called("picky", "p1", n=1)]
        if "p2" not in found:
            return [called("picky", "p2", n=2), called("rich", "r1"), called("broken", "b1"), called("strange", "s1")]
        return text([found["p2"], found["r1"], found["b1"]])

    guide, model = agent(answer, tools=[picky, rich, broken, strange])
    async with running(task_of(guide, failures=1)) as orchestrator:
        output, _ = await done(orchestrator)
    assert output == "['fine', 'picture', 'it is broken']"
    assert (calls, model.calls) == (Counter(picky=2, rich=1, broken=1), 3)


async def test_agents_inside_are_recorded_call_by_call() -> None:
    inner, inside = agent(lambda found, messages: text("from inside"), "inner")

    async def ask(question: str) -> str:
        return str((await run_inside(inner, question)).output)

    def answer(found: dict[str, Any], messages: list[ModelMessage]) -> list[Any]:
        return text(found) if found else [called("ask", "a1", question="1"), called("ask", "a2", question="2")]

    outer, _ = agent(answer, tools=[ask])
    async with running(task_of(outer, failures=1)) as orchestrator:
        output, _ = await done(orchestrator)
    assert output == "{'a1': 'from inside', 'a2': 'from inside'}"
    assert inside.calls == 2
    assert (await run_inside(inner, "elsewhere")).output == "from inside"


async def test_streamed_runs_and_typed_outputs() -> None:
    class Answered(BaseModel):
        n: int

    heard: list[str] = []

    async def listen(context: Any, events: Any) -> None:
        heard.extend([type(event).__name__ async for event in events])

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> Any:
        yield {0: DeltaToolCall(info.output_tools[0].name, '{"n": 7}', tool_call_id="o1")}

    theirs: TheirAgent[Any, Any] = TheirAgent(FunctionModel(stream_function=stream), name="typed", output_type=Answered)
    ours = from_pydantic_agent(theirs, agent_id="agent", task_type="do", event_stream_handler=listen)
    async with running(ours) as orchestrator:
        run = await orchestrator.start_workflow(single(params={"prompt": "hi"}), workflow_id="w")
        assert await run.result() == {"work": {"n": 7}}
    assert "PartStartEvent" in heard


async def test_several_calls_wait_for_people_at_once_and_a_no_goes_to_the_model() -> None:
    paid: list[int] = []

    def answer(found: dict[str, Any], messages: list[ModelMessage]) -> list[Any]:
        return text(found) if found else [called("pay", f"p{n}", amount=n) for n in (1, 2, 3)]

    def life() -> Any:
        guide, _ = agent(answer, "payer")

        @guide.tool_plain(requires_approval=True)
        async def pay(amount: int) -> str:
            paid.append(amount)
            return f"paid {amount}"

        return running(task_of(guide, failures=1), store=store)

    store = MemoryStore()
    async with life() as orchestrator:
        await orchestrator.start_workflow(single(retry_policy=TWICE), workflow_id="w")

        async def three() -> bool:
            return len(await orchestrator.approvals.list()) == 3

        await until(three)
        shown = (await orchestrator.approvals.list())[0]
        assert shown.question == "May the agent 'payer' call 'pay'?"
        await orchestrator.approvals.approve(shown.approval_id)
    async with life() as orchestrator:
        (second, third) = await orchestrator.approvals.list()
        await orchestrator.approvals.reject(second.approval_id, comment="too dear")
        assert paid == []
        await orchestrator.approvals.approve(third.approval_id)
        found: Any = await orchestrator.wait("w")
    assert found["work"][0] == "{'p1': 'paid 1', 'p2': 'A person said no. too dear', 'p3': 'paid 3'}"
    assert sorted(paid) == [1, 3]


async def test_a_tool_that_must_not_happen_twice_is_not_called_again_after_a_cut() -> None:
    sent: list[str] = []

    def life() -> Any:
        def answer(found: dict[str, Any], messages: list[ModelMessage]) -> list[Any]:
            return text(found["s1"]) if found else [called("send", "s1", words="hello")]

        guide, _ = agent(answer)

        @guide.tool_plain(metadata={"effect": "at_most_once"})
        async def send(words: str) -> str:
            sent.append(words)
            await asyncio.Event().wait()
            return "sent"

        return running(task_of(guide), store=store)

    store = MemoryStore()
    async with life() as orchestrator:
        await orchestrator.start_workflow(single(), workflow_id="w")
        await until(lambda: sent)
    async with life() as orchestrator:
        found: Any = await orchestrator.wait("w")
    assert found["work"][0].startswith("This call was interrupted, and nobody knows")
    assert sent == ["hello"]


async def test_several_runs_in_one_handler() -> None:
    guide, model = agent(lambda found, messages: text(f"to {getattr(messages[0].parts[0], 'content', '')}"))
    ours = Agent("agent")

    @ours.task("do")
    async def do(context: TaskContext) -> Any:
        both = await asyncio.gather(run_durably(context, guide, "one"), run_durably(context, guide, "two"))
        third = await run_durably(context, guide, "three", message_history=both[0].all_messages())
        if context.attempt == 1:
            raise ConnectionError("cut")
        return [*(one.output for one in both), len(third.all_messages())]

    async with running(ours) as orchestrator:
        assert await done(orchestrator) == ["to one", "to two", 4]
    assert model.calls == 3


async def test_a_prompt_that_changed_is_told() -> None:
    attempts: list[int] = []
    guide, _ = agent(lambda found, messages: text("hi"))

    @guide.instructions
    def instruct(context: RunContext[Any]) -> str:
        attempts.append(1)
        return f"It is attempt {len(attempts)}"

    async with running(task_of(guide, failures=1)) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match=r"under 'model-1': messages\[0\] was"):
            await done(orchestrator)


async def test_errors_are_ours() -> None:
    def refuse(found: dict[str, Any], messages: list[ModelMessage]) -> list[Any]:
        raise ModelHTTPError(401, "gpt-test", {"error": "no"})

    guide, _ = agent(refuse)
    async with running(task_of(guide)) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="ModelAccessDenied"):
            await done(orchestrator)
    endless, _ = agent(lambda found, messages: [called("nothing", f"n{len(messages)}")])
    async with running(task_of(endless, usage_limits=UsageLimits(request_limit=1))) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="PermanentError: the agent 'guide' reached its limit"):
            await done(orchestrator)
    async with running(task_of(endless)) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="PermanentError: the model of agent 'guide' said"):
            await done(orchestrator)
    async with running(task_of("guide")) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="'guide' is no agent of Pydantic AI"):
            await done(orchestrator)
    with pytest.raises(DefinitionError, match="has no name"):
        from_pydantic_agent(TheirAgent())


async def test_over_the_wire_and_where_that_is_forbidden() -> None:
    server = ChatServer([Says(spoken("Sunny."))])
    async with server.running(), openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k") as client:
        provider = OpenAIProvider(openai_client=client)
        guide: TheirAgent[Any, Any] = TheirAgent(OpenAIChatModel("gpt-test", provider=provider), name="guide")
        async with running(task_of(guide, failures=1)) as orchestrator:
            assert (await done(orchestrator))[0] == "Sunny."
    assert len(server.seen) == 1
    async with running(task_of(guide)) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="ModelCallsForbidden"):
            await done(orchestrator)


def case() -> CrashCase:
    sent: Counter[str] = Counter()

    async def look(city: str) -> str:
        await asyncio.sleep(0.001)
        return f"{city} is fine"

    async def send(words: str) -> str:
        sent[words] += 1
        await asyncio.sleep(0.001)
        return "sent"

    inner, inside = agent(lambda found, messages: text("in short"), "inner")

    async def sum_up(words: str) -> str:
        return str((await run_inside(inner, words)).output)

    def answer(found: dict[str, Any], messages: list[ModelMessage]) -> list[Any]:
        if not found:
            return [called("look", "c1", city="Graz"), called("look", "c2", city="Oslo")]
        if len(found) == 2:
            return [called("sum_up", "s1", words="all"), called("send", "m1", words="x")]
        return text(found["s1"])

    outer, outside = agent(answer, tools=[look, send, sum_up])
    worker = Agent("worker")

    @worker.task("run")
    async def run(context: TaskContext) -> Any:
        return (await run_durably(context, outer, "go", at_most_once={"send"})).output

    def check() -> list[str]:
        wrong = [f"sent {sent['x']} times"] if sent["x"] > 1 else []
        if outside.calls + inside.calls > 4 + 2:
            wrong.append(f"models were asked {outside.calls} and {inside.calls} times")
        return wrong

    return CrashCase(
        WorkflowDefinition([TaskDefinition("work", "worker", "run")]),
        agents=[worker],
        check=check,
        answer=lambda task_key: Resolution("approved"),
    )


@pytest.mark.proof
def test_killed_at_every_point_in_memory() -> None:
    report = crash_search(case, every=2, double_kills=10, seed=7)
    assert not report.violations, report
    assert report.points > 60


@pytest.mark.proof
def test_killed_in_a_file(tmp_path: Path) -> None:
    report = crash_search(case, directory=tmp_path, every=13)
    assert not report.violations, report
