"""What an agent knows of the run it works in, and how that goes into prompts and comes out of answers."""

from agenticflow.agents.context.context import AgentContext
from agenticflow.agents.context.outputs import parse_output, structured_text
from agenticflow.agents.context.prompts import build_messages, filter_instructions, format_schema_for_prompt

__all__ = [
    "AgentContext",
    "build_messages",
    "filter_instructions",
    "format_schema_for_prompt",
    "parse_output",
    "structured_text",
]
