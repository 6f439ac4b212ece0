"""Our models as the SDK's: whatever is chosen by name here answers its agents, guarded as everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from agents import (
    AgentOutputSchemaBase,
    FunctionTool,
    Handoff,
    Model,
    ModelResponse,
    ModelSettings,
    Tool,
    TResponseInputItem,
    Usage,
)
from agents.items import TResponseOutputItem, TResponseStreamEvent
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from agenticflow.agents import model as ours
from agenticflow.core.codec import content_hash
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.integrations.frameworks.openai_agents.durable.journalled import completed

__all__ = ["OurModel", "to_sdk_model"]

_CHOICES: Final[Mapping[str, ours.ToolChoice]] = {
    "auto": ours.ToolChoice.AUTO,
    "none": ours.ToolChoice.NONE,
    "required": ours.ToolChoice.REQUIRED,
}


class OurModel(Model):
    """Asks a model of ours what an agent of the SDK asks."""

    def __init__(self, model: ours.Model) -> None:
        self.model = model

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        *args: Any,
        **kwargs: Any,
    ) -> ModelResponse:
        request = _request(system_instructions, input, model_settings, tools, output_schema, handoffs)
        return _response(await self.model.respond(request))

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        """Give the answer in one piece, when it is whole."""
        yield completed(await self.get_response(*args, **kwargs))

    async def close(self) -> None:
        await self.model.close()


def to_sdk_model(model: ours.Model | str) -> Model:
    """Return a model of ours, or the one of that name (``anthropic:claude-sonnet-5``), as the SDK takes it: ``Agent(…, model=…)``.

    Hosted tools of OpenAI (web search, file search, …) are nothing that it can offer: ``DefinitionError`` when it is asked. Raises
    ``ConfigurationError`` for a name that no model is known for.
    """
    found = ours.opens_models.get()(model) if isinstance(model, str) else model
    if not isinstance(found, ours.Model):
        raise DefinitionError(f"{model!r:.80} is no model of ours", hint='write to_sdk_model("openai:gpt-5")')
    return OurModel(found)


def _request(
    instructions: str | None,
    input: str | list[TResponseInputItem],
    settings: ModelSettings,
    tools: list[Tool],
    output_schema: AgentOutputSchemaBase | None,
    handoffs: list[Handoff[Any, Any]],
) -> ours.ModelRequest:
    messages = [ours.system(instructions)] if instructions else []
    messages += _messages([{"role": "user", "content": input}] if isinstance(input, str) else input)
    choice = settings.tool_choice if isinstance(settings.tool_choice, str) else None
    output = None
    if output_schema is not None and not output_schema.is_plain_text():
        output = ours.OutputSpec(_plain_name(output_schema.name()), dict(output_schema.json_schema()))
    effort = settings.reasoning.effort if settings.reasoning is not None else None
    return ours.ModelRequest(
        messages=tuple(messages),
        tools=(*map(_tool, tools), *map(_handoff, handoffs)),
        tool_choice=_CHOICES.get(choice or "auto", ours.ToolChoice.REQUIRED),
        forced_tool="" if choice is None or choice in _CHOICES else choice,
        output=output,
        temperature=settings.temperature,
        max_output_tokens=settings.max_tokens,
        reasoning_effort=effort if effort in ("low", "medium", "high") else "",
    )


def _plain_name(name: str) -> str:
    return "".join(one if one.isalnum() or one == "_" else "_" for one in name)[:64] or "answer"


def _tool(tool: Tool) -> ours.ToolSpec:
    if not isinstance(tool, FunctionTool):
        raise DefinitionError(
            f"the tool {getattr(tool, 'name', tool)!r:.80} is hosted by OpenAI, and another model does not have it",
            hint="give the agent function tools, or a model of OpenAI through the SDK itself",
        )
    return ours.ToolSpec(tool.name, tool.description, dict(tool.params_json_schema))


def _handoff(handoff: Handoff[Any, Any]) -> ours.ToolSpec:
    return ours.ToolSpec(handoff.tool_name, handoff.tool_description, dict(handoff.input_json_schema))


# --- what was said ----------------------------------------------------------------------------------------------------


def _messages(items: Sequence[Any]) -> list[ours.Message]:
    """Return the SDK's items as messages: what a model says in one turn, and the results of its calls, are one message each."""
    found: list[ours.Message] = []
    for role, parts in _spoken(items):
        if found and found[-1].role is role and role in (ours.Role.ASSISTANT, ours.Role.TOOL):
            found[-1] = ours.Message(role, (*found[-1].parts, *parts))
        else:
            found.append(ours.Message(role, parts))
    return found


def _spoken(items: Sequence[Any]) -> Iterator[tuple[ours.Role, tuple[ours.Part, ...]]]:
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            role = {"user": ours.Role.USER, "assistant": ours.Role.ASSISTANT}.get(item["role"], ours.Role.SYSTEM)
            parts = tuple(_content(item["content"]))
            if parts:
                yield role, parts
        elif kind == "function_call":
            yield ours.Role.ASSISTANT, (ours.parse_arguments(item["call_id"], item["name"], item["arguments"]),)
        elif kind == "function_call_output":
            said = tuple(_content(item["output"]))
            text = "".join(part.text for part in said if isinstance(part, ours.TextPart))
            attached = tuple(part for part in said if isinstance(part, (ours.ImagePart, ours.FilePart)))
            yield ours.Role.TOOL, (ours.ToolResultPart(item["call_id"], text, attachments=attached),)
        elif kind != "reasoning":  # of another model: no provider takes it back from somebody else
            raise InvalidInput(
                f"an item of type {kind!r} is for a model of OpenAI only", hint="leave it out of the conversation"
            )


def _content(content: Any) -> Iterator[ours.TextPart | ours.ImagePart | ours.FilePart]:
    if isinstance(content, str):
        content = [{"type": "input_text", "text": content}] if content else []
    for part in content:
        kind = part["type"]
        if kind in ("input_text", "output_text", "text"):
            yield ours.TextPart(part["text"])
        elif kind == "refusal":
            yield ours.TextPart(part["refusal"])
        elif kind == "input_image" and part.get("image_url"):
            yield ours.ImagePart(url=part["image_url"])
        elif kind == "input_file" and part.get("file_url"):
            yield ours.FilePart(url=part["file_url"], name=part.get("filename") or "")
        else:
            raise InvalidInput(f"a part of type {kind!r} has no url that another model could read")


# --- what is answered -------------------------------------------------------------------------------------------------


def _response(answer: ours.ModelResponse) -> ModelResponse:
    items: list[TResponseOutputItem] = []
    if answer.text:
        text = ResponseOutputText(type="output_text", text=answer.text, annotations=[], logprobs=[])
        name = f"msg_{content_hash(answer.text.encode())[:16]}"
        items.append(
            ResponseOutputMessage(id=name, type="message", role="assistant", status="completed", content=[text])
        )
    items += [
        ResponseFunctionToolCall(
            type="function_call",
            call_id=call.call_id,
            name=call.name,
            arguments=call.malformed or msgspec.json.encode(call.arguments).decode(),
        )
        for call in answer.tool_calls
    ]
    used = answer.usage or ours.Usage()
    if answer.usage is not None and answer.lost_usage is not None:
        used += answer.lost_usage
    usage = Usage(
        requests=1,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        total_tokens=used.total_tokens,
        input_tokens_details=InputTokensDetails(
            cached_tokens=used.cached_input_tokens, cache_write_tokens=used.cache_write_tokens
        ),
        output_tokens_details=OutputTokensDetails(reasoning_tokens=used.reasoning_tokens),
    )
    return ModelResponse(output=items, usage=usage, response_id=answer.response_id or None)
