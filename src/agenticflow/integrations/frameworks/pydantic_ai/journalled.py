"""What stands between an agent of Pydantic AI and the world in a durable run: a capability, through which its requests and calls go."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_ai import DeferredToolRequests, DeferredToolResults, RunContext, ToolApproved, ToolDenied
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset

from agenticflow.agents.model.permission import permission
from agenticflow.agents.spending.journalled import AskedModel
from agenticflow.agents.spending.rules import is_not_billed
from agenticflow.core import codec
from agenticflow.core.context import TaskContext
from agenticflow.core.interrupts import MAX_NAME_CHARS, Ask
from agenticflow.core.journal import CallEffect
from agenticflow.integrations.frameworks.pydantic_ai.data import (
    answer_of,
    as_answer,
    outcome_of,
    raised_or_returned,
    request_of,
    signal_of,
    used_in,
)
from agenticflow.integrations.frameworks.pydantic_ai.errors import error_of
from agenticflow.integrations.loops import ForeignLoop

__all__ = ["Journalled"]

_ARGUMENTS: Final[TypeAdapter[Any]] = TypeAdapter(Any)
MAX_SHOWN_CHARS: Final = 8_000
"""Of the arguments of a call that somebody shall approve."""


class JournalledModel(WrapperModel):
    """Asks the wrapped model what the journal does not have."""

    def __init__(self, wrapped: Model, loop: ForeignLoop) -> None:
        super().__init__(wrapped)
        self._loop = loop

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        async def ask() -> object:
            self._demand()
            return as_answer(await self.wrapped.request(messages, model_settings, model_request_parameters))

        return await self._answer(ask, messages, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Give the events of the answer when it is recorded: what follows from it must not happen before."""

        async def ask() -> object:
            self._demand()
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                async for _ in stream:
                    pass
            return as_answer(stream.get())

        answer = await self._answer(ask, messages, model_settings, model_request_parameters)
        yield CompletedStreamedResponse(answer, model_request_parameters=model_request_parameters, replay_events=True)

    async def _answer(
        self,
        ask: Callable[[], Awaitable[object]],
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> ModelResponse:
        request = request_of(messages, settings, parameters)

        def asked() -> AskedModel:
            tools = [*parameters.function_tools, *parameters.output_tools]
            schemas = [(tool.description, tool.parameters_json_schema) for tool in tools]
            return AskedModel(
                model=self.wrapped.model_id,
                chars=len(codec.encode([request, schemas])),
                max_output_tokens=(settings or {}).get("max_tokens"),
                used=used_in,
                is_refused=lambda error: is_not_billed(error_of(error, "the model")),
            )

        return answer_of(await self._loop.ask(ask, request, asked))

    def _demand(self) -> None:
        """Raise ``ModelCallsForbidden`` where real models may not be asked."""
        address = self.wrapped.base_url
        if address is not None:  # models that are programs have none
            permission.demand(self.wrapped.model_id, address)


@dataclass
class JournalledTools(WrapperToolset[Any]):
    """Calls the tool that the journal does not have a result of."""

    loop: ForeignLoop
    at_most_once: frozenset[str]

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        is_once = name in self.at_most_once or (tool.tool_def.metadata or {}).get("effect") == "at_most_once"
        effect: CallEffect = "at_most_once" if is_once else "idempotent"

        async def perform() -> object:
            try:
                return outcome_of(await self.wrapped.call_tool(name, tool_args, ctx, tool))
            except Exception as error:
                signal = signal_of(error)
                if signal is None:
                    raise
                return signal

        request = {"tool": name, "arguments": _ARGUMENTS.dump_python(tool_args, mode="json", fallback=repr)}
        call = f"tool-{ctx.tool_call_id}"
        found = await self.loop.call(call, perform, effect=effect, request=request, is_tool=True)
        return raised_or_returned(found)


class Journalled(AbstractCapability[Any]):
    """Leads the requests and tool calls of one run through the journal, and what waits for approval to people."""

    def __init__(
        self, task: TaskContext, loop: ForeignLoop, at_most_once: Collection[str], approval: Mapping[str, Any]
    ) -> None:
        self.task = task
        self.loop = loop
        self.at_most_once = frozenset(at_most_once)
        self.approval = approval

    def get_wrapper_model(self, model: Model) -> Model | None:
        return JournalledModel(model, self.loop)

    def get_default_run_id(self) -> str | None:
        """The same in each attempt."""
        return f"{self.task.effect_key}/{self.loop.path}"

    def get_default_conversation_id(self, run_id: str) -> str | None:
        return run_id

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any] | None:
        return JournalledTools(toolset, self.loop, self.at_most_once)

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Ask people about all calls that wait for approval at once. Raises the interrupt until every one of them is answered."""
        if not requests.approvals:
            return None
        agent = getattr(ctx.agent, "name", None) or "agent"
        asks = [self._ask(agent, call) for call in requests.approvals]
        approvals: dict[str, ToolApproved | ToolDenied] = {}
        answered_by: dict[str, str] = {}
        for call, reply in zip(requests.approvals, self.task.interrupt_all(asks), strict=True):
            said_no = ToolDenied(f"A person said no. {reply.comment}".strip())
            approvals[call.tool_call_id] = ToolApproved() if reply.is_approved else said_no
            answered_by[call.tool_call_id] = reply.by
        return requests.build_results(approvals=approvals, answered_by=answered_by)

    def _ask(self, agent: str, call: ToolCallPart) -> Ask:
        return Ask.of(
            {"agent": agent, "tool": call.tool_name, "arguments": call.args_as_json_str()[:MAX_SHOWN_CHARS]},
            **{
                "question": f"May the agent {agent!r} call {call.tool_name!r}?",
                **self.approval,
                "key": f"{self.loop.path}{agent[:60]}:{call.tool_call_id}"[:MAX_NAME_CHARS],
                "on_rejection": "return",
            },
        )
