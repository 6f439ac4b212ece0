"""Agents described in files."""

from agenticflow.app.declared.agents import load_agent_definitions

__all__ = ["load_agent_definitions"]
