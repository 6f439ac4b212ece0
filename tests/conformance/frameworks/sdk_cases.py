"""Agents of the OpenAI Agents SDK for tests: their model answers by what it is shown, so that it says the same in every life."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Usage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from agenticflow.integrations.frameworks.openai_agents.durable.journalled import completed

QUIET = RunConfig(tracing_disabled=True)
Answer = Callable[[str, list[Any]], list[Any]]
"""Of what was said last, and the whole input: what a model says."""


def said(text: str) -> ResponseOutputMessage:
    part = ResponseOutputText(type="output_text", text=text, annotations=[], logprobs=[])
    return ResponseOutputMessage(id="msg_1", type="message", role="assistant", status="completed", content=[part])


def called(name: str, call_id: str, **arguments: Any) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(
        type="function_call", id=f"fc_{call_id}", call_id=call_id, name=name, arguments=json.dumps(arguments)
    )


def outputs(shown: list[Any]) -> dict[str, str]:
    """Return the results of tools that a model was shown, by call id."""
    return {item["call_id"]: item["output"] for item in shown if item.get("type") == "function_call_output"}


class Answering(Model):
    """Answers by ``answer``, and counts how often it was asked the same."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: Counter[str] = Counter()

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        shown = [{"role": "user", "content": input}] if isinstance(input, str) else list(input)
        self.asked[json.dumps([system_instructions, shown], default=str)] += 1
        items = self.answer(str(shown[-1].get("output", shown[-1].get("content"))), shown)
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
        return ModelResponse(output=items, usage=usage, response_id=None)

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        yield completed(await self.get_response(*args, **kwargs))

    @property
    def calls(self) -> int:
        return sum(self.asked.values())


def agent(name: str, answer: Answer, **options: Any) -> tuple[Agent[Any], Answering]:
    model = Answering(answer)
    return Agent(name=name, instructions=f"You are {name}.", model=model, **options), model
