"""Our definitions, tools, models and traces in the OpenAI Agents SDK, run by the SDK's own ``Runner``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import agents
import openai
import pytest
from agents import InputGuardrailTripwireTriggered, OpenAIChatCompletionsModel, OutputGuardrailTripwireTriggered, Runner
from agents import ToolInputGuardrailTripwireTriggered as ToolTripwire
from agents.tracing import get_trace_provider
from pydantic import BaseModel

from agenticflow import Agent, AgentDefinition, EffectClass, TaskContext, WorkflowExecutionError, tool
from agenticflow.agents.guardrails import Guardrail
from agenticflow.agents.model import Role
from agenticflow.errors import DefinitionError, InvalidInput, ModelCallsForbidden, ToolNotFoundError
from agenticflow.integrations.frameworks.openai_agents import (
    function_tools,
    run_durably,
    to_function_tool,
    to_sdk_agent,
    to_sdk_model,
    trace_to_logs,
)
from agenticflow.integrations.frameworks.openai_agents.errors import error_of
from agenticflow.observability import Metrics
from agenticflow.testing import ScriptedModel, call_tool
from agenticflow.testing.model_kit import Refuses, Says
from agenticflow.testing.model_kit.place import said as spoken
from agenticflow.tools import get_tool_registry, register_tool
from tests.conformance.frameworks.sdk_cases import QUIET, agent, called, outputs, said
from tests.conformance.model_servers.chat import ChatServer
from tests.unit.runtime.engine import running, until
from tests.unit.runtime.tasks import single


@tool
async def weather(city: str, ctx: Any) -> dict[str, object]:
    """Tell the weather of a city."""
    return {"city": city, "sky": "clear", "asked by": ctx.agent_id, "for": ctx.context["user"]}


class Forecast(BaseModel):
    text: str


async def test_a_definition_runs_with_its_tools_instructions_and_form() -> None:
    model = ScriptedModel([call_tool("weather", city="Graz"), '{"text": "clear"}'])
    definition = AgentDefinition(
        "guide",
        "knows the weather",
        lambda context, definition: f"You are {definition.name} for {context['user']}",
        tools=[weather],
        model=model,
        output_type=Forecast,
    )
    guide = to_sdk_agent(definition)
    result = await Runner.run(guide, "And in Graz?", context={"user": "Ada"}, run_config=QUIET)
    assert result.final_output == Forecast(text="clear")
    first, second = model.requests
    assert [message.role for message in first.messages] == [Role.SYSTEM, Role.USER]
    assert first.messages[0].text == "You are guide for Ada"
    assert first.tools[0].parameters["required"] == ["city"]
    assert first.output is not None
    assert first.output.schema["required"] == ["text"]
    assert second.messages[-1].parts[0].content == (  # type: ignore[union-attr]  # a result of a tool
        '{"city":"Graz","sky":"clear","asked by":"guide","for":"Ada"}'
    )
    assert result.context_wrapper.usage.requests == 2


async def test_definitions_hand_over_to_each_other() -> None:
    first = AgentDefinition(
        "triage", "sorts", "Sort.", model=ScriptedModel([call_tool("transfer_to_expert")]), handoffs=["expert"]
    )
    expert = AgentDefinition("expert", "knows", "Know.", model=ScriptedModel(["I know."]), handoffs=["triage"])
    sorting = to_sdk_agent(first, known={"expert": expert, "triage": first})
    result = await Runner.run(sorting, "hi", run_config=QUIET)
    assert (result.final_output, result.last_agent.name) == ("I know.", "expert")
    with pytest.raises(DefinitionError, match="hands over to 'expert', which is not known"):
        to_sdk_agent(first)


async def test_a_forced_call_and_instructions_that_are_waited_for_go_along() -> None:
    async def instruct(context: Any) -> str:
        return f"Help {context}."

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    model = ScriptedModel([call_tool("look"), "done"])
    definition = AgentDefinition("guide", "guides", instruct, tools=[look], model=model, tool_choice="look")
    result = await Runner.run(to_sdk_agent(definition), "hi", context="Ada", run_config=QUIET)
    assert result.final_output == "done"
    assert [request.messages[0].text for request in model.requests] == ["Help Ada."] * 2
    assert [request.forced_tool for request in model.requests] == ["look", ""], "the SDK lets go of it as we do"


@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        ("input", InputGuardrailTripwireTriggered),
        ("output", OutputGuardrailTripwireTriggered),
        ("tool_input", ToolTripwire),
    ],
)
async def test_guardrails_stop_it_where_they_guard(kind: str, raised: type[Exception]) -> None:
    def refuses(ctx: Any, value: Any) -> tuple[bool, str]:
        return "Graz" not in str(value), "not this city"

    definition = AgentDefinition(
        "guide",
        "",
        "Be brief.",
        tools=[weather],
        guardrails=[Guardrail(refuses, kinds=[kind], is_blocking=True)],
        model=ScriptedModel([call_tool("weather", city="Graz"), "in Graz"]),
    )
    with pytest.raises(raised) as error:
        await Runner.run(to_sdk_agent(definition), "in Graz?", context={"user": "Ada"}, run_config=QUIET)
    ours = error_of(error.value, "guide")
    assert "'refuses'" in str(ours)


async def test_a_guardrail_that_is_content_lets_everything_through() -> None:
    definition = AgentDefinition(
        "guide",
        "",
        "Be brief.",
        tools=[weather],
        guardrails=[
            Guardrail(lambda ctx, value: True, name="ok", kinds=["input", "output", "tool_input", "tool_output"])
        ],
        model=ScriptedModel([call_tool("weather", city="Graz"), "fine"]),
    )
    result = await Runner.run(to_sdk_agent(definition), "in Graz?", context={"user": "Ada"}, run_config=QUIET)
    assert result.final_output == "fine"


def test_mistakes_in_definitions_are_told() -> None:
    with pytest.raises(DefinitionError, match="is no AgentDefinition"):
        to_sdk_agent("guide")  # type: ignore[arg-type]  # what a user may write
    with pytest.raises(DefinitionError, match="is no model"):
        to_sdk_agent(AgentDefinition("guide", "", "Be brief.", model=7))
    with pytest.raises(ToolNotFoundError, match="nothing"):
        to_sdk_agent(AgentDefinition("guide", "", "Be brief.", tools=["nothing_like_it"]))
    with pytest.raises(DefinitionError, match="is no model of ours"):
        to_sdk_model(7)  # type: ignore[arg-type]  # what a user may write
    assert to_sdk_agent(AgentDefinition("guide", "", "Be brief.", model="gpt-5")).model == "gpt-5"


@pytest.fixture
def registered() -> Iterator[None]:
    registry = get_tool_registry()
    before = set(registry.names())
    yield
    for name in set(registry.names()) - before:
        registry.unregister(name)


async def test_registered_tools_are_objects_that_the_sdk_takes(registered: None) -> None:
    @register_tool("theirs", "Says it.")
    @agents.function_tool
    async def theirs(text: str) -> str:
        """Say it."""
        return text.upper()

    @register_tool("ours", "Says it twice.")
    def ours(text: str) -> str:
        """Say it twice."""
        return text * 2

    (own,) = get_tool_registry().get_tool_functions(["theirs"])
    assert isinstance(own, agents.FunctionTool)
    assert function_tools(["theirs"]) == [own]
    guide, _ = agent(
        "guide",
        lambda last, shown: (
            [said(str(sorted(outputs(shown).values())))]
            if outputs(shown)
            else [called("theirs", "c1", text="hi"), called("ours", "c2", text="ho"), called("ours", "c3", wrong=1)]
        ),
        tools=function_tools(["theirs", "ours"]),
    )
    result = await Runner.run(guide, "hi", run_config=QUIET)
    assert "'HI', 'hoho'" in result.final_output
    assert '"error":"invalid_input"' in result.final_output


async def test_terms_of_a_tool_go_along(registered: None) -> None:
    sent: list[str] = []

    @tool(effect="at_most_once", needs_approval=True)
    async def send(text: str) -> str:
        """Send a mail."""
        sent.append(text)
        return "sent"

    theirs = to_function_tool(send)
    assert theirs.needs_approval is True
    assert theirs.on_invoke_tool.effect is EffectClass.AT_MOST_ONCE  # type: ignore[attr-defined]  # of ours
    guide, _ = agent(
        "guide",
        lambda last, shown: [said(last)] if outputs(shown) else [called("send", "c1", text="hi")],
        tools=[theirs],
    )
    worker = Agent("agent")

    @worker.task("do")
    async def do(context: TaskContext) -> str:
        return str((await run_durably(context, guide, "hi", run_config=QUIET)).final_output)

    async with running(worker) as orchestrator:
        await orchestrator.start_workflow(single(), workflow_id="w")

        async def somebody_is_asked() -> bool:
            return bool(await orchestrator.approvals.list())

        await until(somebody_is_asked)
        await orchestrator.approvals.approve((await orchestrator.approvals.list())[0].approval_id)
        assert await orchestrator.wait("w") == {"work": "sent"}
    assert sent == ["hi"]


@pytest.mark.parametrize("arguments", ["[1]", "{"])
async def test_arguments_that_are_no_object_are_told_to_the_model(arguments: str) -> None:
    call = called("weather", "c1")
    call.arguments = arguments
    guide, _ = agent(
        "guide",
        lambda last, shown: [said(last)] if outputs(shown) else [call],
        tools=[to_function_tool(weather)],
    )
    result = await Runner.run(guide, "hi", context={"user": "Ada"}, run_config=QUIET)
    assert "invalid_input" in result.final_output or "JSON" in result.final_output


# --- models -----------------------------------------------------------------------------------------------------------


async def test_the_sdk_over_the_wire_is_journalled_and_its_errors_are_ours() -> None:
    server = ChatServer([Says(spoken("Sunny.")), Refuses(429, "slow down"), Refuses(400, "bad request")])
    async with server.running():
        client = openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0)
        guide = agents.Agent(name="guide", model=OpenAIChatCompletionsModel("gpt-test", client))
        worker = Agent("agent")

        @worker.task("do")
        async def do(context: TaskContext) -> list[str]:
            found = [str((await run_durably(context, guide, "hi", run_config=QUIET, key="a")).final_output)]
            found.append(str((await run_durably(context, guide, "ho", run_config=QUIET, key="b")).final_output))
            return found

        async with running(worker) as orchestrator:
            retry = {"max_attempts": 2, "initial_delay_seconds": 0.01}
            handle = await orchestrator.start_workflow(single(retry_policy=retry), workflow_id="w")
            with pytest.raises(WorkflowExecutionError, match="ModelRequestRefused"):
                await handle.result()
        await client.close()
    assert len(server.seen) == 3, "what was answered was asked once"


async def test_real_models_are_not_asked_where_that_is_forbidden() -> None:
    client = openai.AsyncOpenAI(api_key="k", base_url="http://localhost:9/v1", max_retries=0)
    guide = agents.Agent(name="guide", model=OpenAIChatCompletionsModel("gpt-test", client))
    worker = Agent("agent")

    @worker.task("do")
    async def do(context: TaskContext) -> None:
        with pytest.raises(ModelCallsForbidden, match="gpt-test"):
            await run_durably(context, guide, "hi", run_config=QUIET)

    async with running(worker) as orchestrator:
        await (await orchestrator.start_workflow(single(), workflow_id="w")).result()
    await client.close()


async def test_our_models_read_what_the_sdk_keeps_and_refuse_what_only_openai_has() -> None:
    model = ScriptedModel(["first", "second"])
    guide: Any = agents.Agent(name="guide", model=to_sdk_model(model))
    history: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": "look"}]},
        {"type": "reasoning", "id": "r1", "summary": []},
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "seen"}]},
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": "https://example.com/a.png"},
                {"type": "input_file", "file_url": "https://example.com/a.pdf", "filename": "a.pdf"},
            ],
        },
    ]
    assert (await Runner.run(guide, history, run_config=QUIET)).final_output == "first"
    shown = model.requests[0].messages
    assert [message.role for message in shown] == [Role.USER, Role.ASSISTANT, Role.TOOL, Role.USER]
    assert len(shown[1].parts) == 2
    stream = Runner.run_streamed(guide, "hi", run_config=QUIET)
    assert [event async for event in stream.stream_events()]
    assert stream.final_output == "second"
    for item, words in (
        ({"type": "item_reference", "id": "x"}, "is for a model of OpenAI only"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "has no url"),
    ):
        with pytest.raises(InvalidInput, match=words):
            await Runner.run(guide, [item, *history], run_config=QUIET)  # type: ignore[list-item]  # what may come
    hosted: Any = agents.Agent(name="guide", model=to_sdk_model(model), tools=[agents.WebSearchTool()])
    with pytest.raises(DefinitionError, match="hosted by OpenAI"):
        await Runner.run(hosted, "hi", run_config=QUIET)


# --- traces -----------------------------------------------------------------------------------------------------------


async def test_traces_become_log_lines_and_figures(caplog: pytest.LogCaptureFixture) -> None:
    registry = Metrics()
    trace_to_logs(telemetry=registry)
    guide, _ = agent(
        "guide",
        lambda last, shown: [said("hi")] if outputs(shown) else [called("weather", "c1", city="Graz")],
        tools=[to_function_tool(weather)],
    )
    worker = Agent("agent")

    @worker.task("do")
    async def do(context: TaskContext) -> None:
        await run_durably(context, guide, "hi", context={"user": "Ada"})

    try:
        with caplog.at_level(logging.INFO, "agenticflow.openai_agents"):
            async with running(worker) as orchestrator:
                await (await orchestrator.start_workflow(single(), workflow_id="w")).result()
        trace_to_logs(only=False)
    finally:
        get_trace_provider().set_processors([])
    lines = {record.getMessage(): record for record in caplog.records if record.name == "agenticflow.openai_agents"}
    assert {"function weather succeeded", "agent guide succeeded"} <= set(lines)
    assert registry.value("agenticflow_openai_agents_span_seconds", "function", "succeeded") >= 1
    line = lines["function weather succeeded"]
    assert (line.workflow_id, line.task_key) == ("w", "work")  # type: ignore[attr-defined]  # extra fields
