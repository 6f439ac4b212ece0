"""What the constructor of an agent is told, as a definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agenticflow.agents.declared.definition import AgentDefinition
from agenticflow.errors import DefinitionError

__all__ = ["describe"]

USUAL_INSTRUCTIONS: Final = "Do what you are asked, with your tools where they help, and answer when it is done."


def describe(agent_id: str, role: str, said: Mapping[str, Any]) -> AgentDefinition:
    """Return what an agent's constructor ``said`` it is. Raises ``DefinitionError`` with every mistake found."""
    options = {name: value for name, value in said.items() if value is not None and name != "instructions"}
    if "model" not in options:
        given = ", ".join(f"{name}=" for name, value in said.items() if value and name != "tools")
        raise DefinitionError(
            f"agent {agent_id!r} is given {given} and asks no model",
            hint='give it model="openai:gpt-5", or a Model; without these it has handlers: @agent.task("…")',
        )
    instructions = said["instructions"]
    return AgentDefinition(
        agent_id, role, instructions if instructions is not None else (role or USUAL_INSTRUCTIONS), **options
    )
