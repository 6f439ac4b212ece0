"""The agents that are described in this process, by name: importing a module that describes one makes it known.

Descriptions only. Which agents there are at work is the business of ``agents.registry`` and the orchestrator.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from agenticflow.agents.declared.definition import AgentDefinition
from agenticflow.errors import AgentNotFoundError, DefinitionError

__all__ = ["AgentDefinitions", "get_agent_registry", "register_agent"]

MAX_DEFINITIONS: Final = 10_000


class AgentDefinitions:
    """Definitions by name."""

    def __init__(self) -> None:
        self._named: dict[str, AgentDefinition] = {}

    def register(self, definition: AgentDefinition) -> AgentDefinition:
        """Make the definition known and return it. The same one again changes nothing.

        Raises ``DefinitionError`` when another one has the name.
        """
        if not isinstance(definition, AgentDefinition):
            raise DefinitionError(
                f"register_agent got a {type(definition).__name__}",
                hint="it takes an AgentDefinition; an Agent that works is registered with orchestrator.register_agent",
            )
        known = self._named.get(definition.name)
        if known is not None and known != definition:
            raise DefinitionError(
                f"another agent {definition.name!r} is described already", hint="give one of them another name"
            )
        if known is None and len(self._named) >= MAX_DEFINITIONS:
            raise DefinitionError(f"{MAX_DEFINITIONS:,} agents are described, and no more", hint="describe each once")
        return self._named.setdefault(definition.name, definition)

    def get(self, name: str) -> AgentDefinition:
        """Return the definition. Raises ``AgentNotFoundError`` that says which name is near."""
        found = self._named.get(name)
        if found is None:
            close = get_close_matches(str(name), self._named, n=1)
            known = ", ".join(sorted(self._named)[:20]) or "none; import the module that describes it"
            raise AgentNotFoundError(
                f"no agent {name!r} is described", hint=f"did you mean {close[0]!r}?" if close else f"there are {known}"
            )
        return found

    def remove(self, name: str) -> bool:
        """Forget the definition; return whether there was one."""
        return self._named.pop(name, None) is not None

    def __contains__(self, name: object) -> bool:
        return name in self._named

    def __iter__(self) -> Iterator[AgentDefinition]:
        """Yield them in the order in which they became known."""
        return iter(tuple(self._named.values()))

    def __len__(self) -> int:
        return len(self._named)


_definitions: Final = AgentDefinitions()


def get_agent_registry() -> AgentDefinitions:
    """Return the definitions of this process."""
    return _definitions


def register_agent(definition: AgentDefinition) -> AgentDefinition:
    """Make a definition known by its name in this process; see ``AgentDefinitions.register``."""
    return _definitions.register(definition)
