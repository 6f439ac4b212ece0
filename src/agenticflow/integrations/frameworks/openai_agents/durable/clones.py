"""Agents of the SDK as they run durably: copies whose models, tools and handoffs lead through the journal. The originals stay as they are.

An agent that is a tool of another one runs in a loop of its own. The SDK starts it with ``Runner.run``, which asks its default runner: ours
puts the copy in its place while a durable run is under way, and passes everything else on.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import agents.run
from agents import (
    Agent,
    FunctionTool,
    Handoff,
    Model,
    RunConfig,
    RunContextWrapper,
    RunResult,
    RunResultStreaming,
    Tool,
)
from agents.run import AgentRunner, set_default_agent_runner
from agents.tool import (
    ToolOriginType,
    ToolOutputFileContent,
    ToolOutputImage,
    ToolOutputText,
    get_function_tool_origin,
    invoke_function_tool,
)
from agents.tool_context import ToolContext
from pydantic import BaseModel

from agenticflow.core import codec
from agenticflow.core.engine import EffectClass
from agenticflow.core.journal import CallEffect
from agenticflow.errors import NotSerializable
from agenticflow.integrations.frameworks.openai_agents.durable.journalled import JournalledModel, JournalledProvider
from agenticflow.integrations.frameworks.openai_agents.durable.scope import DurableRun, current, entered
from agenticflow.integrations.frameworks.openai_agents.durable.sessions import JournalledSession
from agenticflow.integrations.loops import ForeignLoop

__all__ = ["clone_of", "have_nested_runs_found", "journalled_config"]

_OUTPUTS: Final[Mapping[str, type[BaseModel]]] = {
    "text": ToolOutputText,
    "image": ToolOutputImage,
    "file": ToolOutputFileContent,
}


def clone_of(agent: Agent[Any], run: DurableRun) -> Agent[Any]:
    """Return what takes the place of ``agent`` in this run; itself, when it is a copy already."""
    known = run.clones.get(id(agent))
    if known is not None:
        return known[1]
    clone = dataclasses.replace(
        agent, model=JournalledModel(agent.model) if isinstance(agent.model, Model) else agent.model
    )
    run.clones[id(agent)] = (agent, clone)
    run.clones[id(clone)] = (clone, clone)
    # After it is known: agents may hand over to each other in a circle.
    clone.handoffs = [clone_of(one, run) if isinstance(one, Agent) else _handoff(one, run) for one in agent.handoffs]

    async def get_all_tools(context: RunContextWrapper[Any]) -> list[Tool]:
        # Those of MCP servers are found here, each turn anew.
        return [
            _tool(tool, run) if isinstance(tool, FunctionTool) else tool
            for tool in await type(clone).get_all_tools(clone, context)
        ]

    clone.get_all_tools = get_all_tools  # type: ignore[method-assign, assignment]  # the runner asks the agent, not its class
    return clone


def journalled_config(given: RunConfig | Mapping[str, Any] | None) -> RunConfig:
    """Return the configuration with whose models answers are kept."""
    config = given if isinstance(given, RunConfig) else RunConfig(**(given or {}))
    if isinstance(config.model_provider, JournalledProvider):
        return config
    model = JournalledModel(config.model) if isinstance(config.model, Model) else config.model
    return dataclasses.replace(config, model=model, model_provider=JournalledProvider(config.model_provider))


def _handoff(given: Handoff[Any, Any], run: DurableRun) -> Handoff[Any, Any]:
    handed = copy.copy(given)

    async def invoke(context: RunContextWrapper[Any], arguments: str) -> Any:
        found = await given.on_invoke_handoff(context, arguments)
        return clone_of(found, run) if isinstance(found, Agent) else found

    handed.on_invoke_handoff = invoke
    return handed


def _tool(given: FunctionTool, run: DurableRun) -> FunctionTool:
    tool = copy.copy(given)
    origin = get_function_tool_origin(given)
    if origin is not None and origin.type is ToolOriginType.AGENT_AS_TOOL:
        tool.on_invoke_tool = _Nested(given)
    else:
        # The time limit is kept inside: that it passed is what came of the call, and is recorded.
        tool.timeout_seconds = None
        tool.on_invoke_tool = _Journalled(given, effect_of(given, run))
    return tool


def effect_of(tool: FunctionTool, run: DurableRun) -> CallEffect:
    """Return what making a call of the tool twice would mean."""
    effect = getattr(tool.on_invoke_tool, "effect", None)
    is_once = effect is EffectClass.AT_MOST_ONCE or tool.name in run.at_most_once
    return "at_most_once" if is_once else "idempotent"


class _Invoker:
    """Stands in for what invokes a tool: whatever else the SDK asks of that one is its own."""

    def __init__(self, tool: FunctionTool) -> None:
        self._tool = tool
        inner: Callable[..., Awaitable[Any]] = tool.on_invoke_tool
        self._inner = inner
        try:
            self.__signature__ = inspect.signature(inner)  # says which context the tool wants
        except (TypeError, ValueError):
            self.__signature__ = inspect.signature(_plainly)

    def __getattr__(self, name: str) -> Any:
        if name == "__agents_bind_function_tool__":
            raise AttributeError(name)  # the original is bound to its tool already
        return getattr(self._inner, name)


async def _plainly(context: ToolContext[Any], arguments: str) -> None:
    """Has the signature of what invokes a tool."""


class _Journalled(_Invoker):
    """Invokes a tool, or has what came of the call before."""

    def __init__(self, tool: FunctionTool, effect: CallEffect) -> None:
        super().__init__(tool)
        self._effect = effect

    async def __call__(self, context: Any, arguments: str) -> Any:
        place = current()
        call_id = getattr(context, "tool_call_id", "")
        if place is None or not isinstance(context, ToolContext):
            return await self._inner(context, arguments)

        async def perform() -> object:
            return _as_data(await invoke_function_tool(function_tool=self._tool, context=context, arguments=arguments))

        request = {"tool": self._tool.name, "arguments": arguments}
        found = await place.loop.call(f"tool-{call_id}", perform, effect=self._effect, request=request, is_tool=True)
        return _from_data(found)


class _Nested(_Invoker):
    """Invokes an agent that is a tool: its loop has a name of its own in the journal."""

    async def __call__(self, context: Any, arguments: str) -> Any:
        place = current()
        if place is None:
            return await self._inner(context, arguments)
        with entered(place.run, place.loop.inside(f"agent-{getattr(context, 'tool_call_id', '')}")):
            return await self._inner(context, arguments)


def _as_data(output: Any) -> object:
    """Return what a tool gave back as plain data. What has no form on the wire becomes the text that the model is shown of it."""
    if isinstance(output, (list, tuple)) and any(isinstance(one, tuple(_OUTPUTS.values())) for one in output):
        return {"kind": "parts", "parts": [_as_data(one) for one in output]}
    for kind, form in _OUTPUTS.items():
        if isinstance(output, form):
            return {"kind": kind, "data": output.model_dump(mode="json")}
    if isinstance(output, (str, int, float, bool, type(None), list, tuple, Mapping)):
        try:
            return {"kind": "value", "data": codec.decode(codec.encode(output))}
        except NotSerializable:
            return {"kind": "value", "data": str(output)}
    return {"kind": "value", "data": str(output)}


def _from_data(data: Any) -> Any:
    if not isinstance(data, dict):
        return data  # what was given for an outcome that nobody knows
    if data["kind"] == "parts":
        return [_from_data(one) for one in data["parts"]]
    form = _OUTPUTS.get(data["kind"])
    return data["data"] if form is None else form.model_validate(data["data"])


class _Runner(AgentRunner):
    """Puts copies in the place of agents that run inside a durable run."""

    def __init__(self, inner: AgentRunner) -> None:
        self.inner = inner

    async def run(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> RunResult:
        place = current()
        if place is None:
            return await self.inner.run(starting_agent, input, **kwargs)
        loop = _prepared(place.begin(starting_agent.name), kwargs)
        with entered(place.run, loop, is_taken=True):
            return await self.inner.run(clone_of(starting_agent, place.run), input, **kwargs)

    def run_streamed(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> RunResultStreaming:
        place = current()
        if place is None:
            return self.inner.run_streamed(starting_agent, input, **kwargs)
        loop = _prepared(place.begin(starting_agent.name), kwargs)
        with entered(place.run, loop, is_taken=True):
            return self.inner.run_streamed(clone_of(starting_agent, place.run), input, **kwargs)

    def run_sync(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> RunResult:
        return self.inner.run_sync(starting_agent, input, **kwargs)


def _prepared(loop: ForeignLoop, options: dict[str, Any]) -> ForeignLoop:
    """Have the run in this loop, with these options, keep its journal."""
    options["run_config"] = journalled_config(options.get("run_config"))
    session = options.get("session")
    if session is not None and not isinstance(session, JournalledSession):
        options["session"] = JournalledSession(session, loop)
    return loop


def have_nested_runs_found() -> None:
    """See to it that agents inside of a durable run are found, whoever the default runner is by now."""
    found = agents.run.DEFAULT_AGENT_RUNNER
    if not isinstance(found, _Runner):
        set_default_agent_runner(_Runner(found))
