"""Our definitions as agents of the SDK: instructions, tools, guardrails, handoffs and the form of the answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from agents import (
    Agent,
    FunctionTool,
    GuardrailFunctionOutput,
    InputGuardrail,
    Model,
    ModelSettings,
    OutputGuardrail,
    RunContextWrapper,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    ToolInputGuardrailData,
    ToolOutputGuardrail,
    ToolOutputGuardrailData,
)

from agenticflow.agents.declared import AgentDefinition
from agenticflow.agents.guardrails import Guardrail, GuardrailKind, Guardrails
from agenticflow.agents.model import Model as OurModel
from agenticflow.errors import DefinitionError, GuardrailTripwireTriggered
from agenticflow.integrations.frameworks.openai_agents.models import to_sdk_model
from agenticflow.integrations.frameworks.openai_agents.tools import to_function_tool

__all__ = ["to_sdk_agent"]


def to_sdk_agent(
    definition: AgentDefinition,
    *,
    model: Any = None,
    known: Mapping[str, AgentDefinition] | None = None,
    **options: Any,
) -> Agent[Any]:
    """Return the agent of the SDK that ``definition`` describes.

    Its tools become function tools with their terms, its guardrails the SDK's, each where it guards; its instructions are rendered with the
    run's context. ``model`` is one of the SDK's, one of ours, or a name (``openai:gpt-5``), and takes the place of the definition's.
    Handoffs named in the definition are looked up among ``known``. ``options`` are further arguments of ``agents.Agent``. Sessions are
    given to the runner: ``Runner.run(…, session=AgentSession(…))``.

    Raises ``DefinitionError`` for what is no definition, for unknown guardrails and handoffs, ``ToolNotFoundError`` for an unknown tool.
    """
    return _made(definition, model, known or {}, options, {})


def _made(
    definition: AgentDefinition,
    model: Any,
    known: Mapping[str, AgentDefinition],
    options: Mapping[str, Any],
    made: dict[str, Agent[Any]],
) -> Agent[Any]:
    if not isinstance(definition, AgentDefinition):
        raise DefinitionError(f"{definition!r:.80} is no AgentDefinition")
    if definition.name in made:
        return made[definition.name]
    guardrails = definition.resolve_guardrails()
    choice = None if definition.tool_choice == "auto" else definition.tool_choice
    given: dict[str, Any] = {
        "output_type": definition.output_type,
        "model_settings": ModelSettings(tool_choice=choice),
        **options,
    }

    async def instruct(context: RunContextWrapper[Any], agent: Agent[Any]) -> str:
        return await definition.instruct(context.context)

    agent: Agent[Any] = Agent(
        name=definition.name,
        handoff_description=definition.description,
        instructions=instruct,
        model=_model(model if model is not None else definition.model),
        tools=[_guarded(to_function_tool(one), guardrails, definition) for one in definition.tools],
        input_guardrails=[_input(one, definition) for one in guardrails.guardrails if GuardrailKind.INPUT in one.kinds],
        output_guardrails=[
            _output(one, definition) for one in guardrails.guardrails if GuardrailKind.OUTPUT in one.kinds
        ],
        **given,
    )
    made[definition.name] = agent
    for one in getattr(definition, "handoffs", ()):
        agent.handoffs.append(_made(_found(one, known, definition), model, known, options, made))
    return agent


def _found(given: Any, known: Mapping[str, AgentDefinition], definition: AgentDefinition) -> AgentDefinition:
    if isinstance(given, str) and given not in known:
        raise DefinitionError(
            f"the agent {definition.name!r} hands over to {given!r}, which is not known",
            hint=f"to_sdk_agent(…, known={{{given!r}: AgentDefinition(…)}})",
        )
    found = known[given] if isinstance(given, str) else getattr(given, "definition", given)
    if not isinstance(found, AgentDefinition):
        raise DefinitionError(f"the agent {definition.name!r} hands over to {given!r:.80}, which is no definition")
    return found


def _model(given: Any) -> Any:
    if isinstance(given, OurModel) or (isinstance(given, str) and ":" in given):
        return to_sdk_model(given)
    if given is None or isinstance(given, (str, Model)):
        return given
    raise DefinitionError(
        f"{given!r:.80} is no model", hint='give a name ("openai:gpt-5"), a model of ours or of the SDK'
    )


def _input(one: Guardrail, definition: AgentDefinition) -> InputGuardrail[Any]:
    async def check(context: RunContextWrapper[Any], agent: Agent[Any], value: Any) -> GuardrailFunctionOutput:
        return await _verdict(one, GuardrailKind.INPUT, context.context, _asked(value))

    return InputGuardrail(check, name=one.name, run_in_parallel=not one.is_blocking)


def _output(one: Guardrail, definition: AgentDefinition) -> OutputGuardrail[Any]:
    async def check(context: RunContextWrapper[Any], agent: Agent[Any], value: Any) -> GuardrailFunctionOutput:
        return await _verdict(one, GuardrailKind.OUTPUT, context.context, value)

    return OutputGuardrail(check, name=one.name)


def _guarded(tool: FunctionTool, guardrails: Guardrails, definition: AgentDefinition) -> FunctionTool:
    before = [_before(one) for one in guardrails.guardrails if GuardrailKind.TOOL_INPUT in one.kinds]
    after = [_after(one) for one in guardrails.guardrails if GuardrailKind.TOOL_OUTPUT in one.kinds]
    if not before and not after:
        return tool
    return dataclasses.replace(
        tool,
        tool_input_guardrails=[*(tool.tool_input_guardrails or ()), *before],
        tool_output_guardrails=[*(tool.tool_output_guardrails or ()), *after],
    )


def _before(one: Guardrail) -> ToolInputGuardrail[Any]:
    async def check(data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
        said = await _verdict(one, GuardrailKind.TOOL_INPUT, data.context.context, data.context.tool_arguments)
        return _of_tool(said)

    return ToolInputGuardrail(check, name=one.name)


def _after(one: Guardrail) -> ToolOutputGuardrail[Any]:
    async def check(data: ToolOutputGuardrailData) -> ToolGuardrailFunctionOutput:
        return _of_tool(await _verdict(one, GuardrailKind.TOOL_OUTPUT, data.context.context, data.output))

    return ToolOutputGuardrail(check, name=one.name)


def _of_tool(said: GuardrailFunctionOutput) -> ToolGuardrailFunctionOutput:
    if said.tripwire_triggered:
        return ToolGuardrailFunctionOutput.raise_exception(said.output_info)
    return ToolGuardrailFunctionOutput.allow(said.output_info)


async def _verdict(one: Guardrail, kind: GuardrailKind, context: Any, value: Any) -> GuardrailFunctionOutput:
    report = await Guardrails([one]).examine(kind, context, value)
    try:
        report.demand()
    except GuardrailTripwireTriggered as refused:
        return GuardrailFunctionOutput(output_info=refused.reason, tripwire_triggered=True)
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)


def _asked(value: Any) -> Any:
    """Return what a user asked, in words: guardrails of ours look at those."""
    if isinstance(value, str) or not isinstance(value, list):
        return value
    said = [item for item in value if isinstance(item, dict) and item.get("role") == "user"]
    content = said[-1].get("content") if said else value
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content
