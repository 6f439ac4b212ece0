"""A model as a tool: one question, one answer, without a loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agenticflow.agents.model.client import LLMClient
from agenticflow.agents.model.outputs import Expected
from agenticflow.agents.model.port import Model
from agenticflow.core import codec
from agenticflow.core.tools import ToolResult
from agenticflow.errors import DefinitionError
from agenticflow.tools.context import ToolContext
from agenticflow.tools.definition import ToolOptions, define
from agenticflow.tools.tool import Tool

__all__ = ["ModelTool"]

TOOL_SECONDS: Final = 120.0


class ModelTool(Tool):
    """``ModelTool("translate", model_from("openai:gpt-5-mini"), "Put a text into English.", instructions="Translate.")``.

    With an ``output_type`` (a type, or a JSON Schema) the answer is a value of that form. What it costs is in ``client.spending``, and in
    no budget of the agent that calls it; an agent as a tool (``Agent.as_tool``) is recorded and paid for turn by turn.
    """

    category = "models"

    def __init__(
        self,
        name: str,
        model: Model | LLMClient,
        description: str,
        *,
        instructions: str = "",
        output_type: Any = None,
        temperature: float | None = None,
        max_output_tokens: int | None = None,
        options: ToolOptions | None = None,
    ) -> None:
        """``options`` are terms as for ``@tool``; two minutes by default. Raises ``DefinitionError`` for what no tool can be."""
        if not isinstance(model, (Model, LLMClient)):
            raise DefinitionError(
                f"the tool {name!r} asks a model, not {model!r:.60}",
                hint='write ModelTool("ask", model_from("openai:gpt-5-mini"), "…"), with model_from from agenticflow.app.models',
            )
        if output_type is not None:
            Expected(output_type)
        self.client = model if isinstance(model, LLMClient) else LLMClient(model)
        self.name = name
        self.description = description
        self.instructions = instructions
        self.output_type = output_type
        self.temperature = temperature
        self.max_output_tokens = max_output_tokens
        terms: ToolOptions = {"timeout": TOOL_SECONDS, **(options or {})}
        self._definition = define(name, description, self.get_schema(), terms, category=self.category)

    def get_schema(self) -> Mapping[str, Any]:
        what = "What it is asked, with all that it has to know: it sees nothing else."
        return {
            "type": "object",
            "properties": {"prompt": {"type": "string", "minLength": 1, "description": what}},
            "required": ["prompt"],
            "additionalProperties": False,
        }

    async def execute(self, params: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Ask the model; a form that it does not keep to, after repairs, is a failure like any other."""
        answer = await self.client.generate(
            params["prompt"],
            self.output_type,
            temperature=self.temperature,
            instructions=self.instructions,
            max_output_tokens=self.max_output_tokens,
        )
        return ToolResult.success(answer if isinstance(answer, str) else codec.decode(codec.encode(answer)))
