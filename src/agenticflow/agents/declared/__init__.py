"""Agents as descriptions: definitions by name, their instructions as text, function or Markdown file."""

from agenticflow.agents.declared.definition import AgentDefinition
from agenticflow.agents.declared.definitions import AgentDefinitions, get_agent_registry, register_agent
from agenticflow.agents.declared.templates import InstructionTemplate, instructions_file

__all__ = [
    "AgentDefinition",
    "AgentDefinitions",
    "InstructionTemplate",
    "get_agent_registry",
    "instructions_file",
    "register_agent",
]
