"""Pydantic AI: its agents as tasks that survive their process.

``run_durably`` runs one inside a handler, ``run_inside`` an agent that a tool of another one asks; ``from_pydantic_agent`` makes one of
ours of it. Importing this room needs the extra ``pydantic-ai``. As a layer of models it is chosen by name: ``pydantic-ai:groq:…``.
"""

from agenticflow.errors import ConfigurationError

try:
    from agenticflow.integrations.frameworks.pydantic_ai.running import from_pydantic_agent, run_durably, run_inside
except ImportError as error:
    raise ConfigurationError(
        f"Pydantic AI is not installed, or in another version than this package knows: {error}",
        hint="install the extra: agenticflow[pydantic-ai]",
    ) from error

__all__ = ["from_pydantic_agent", "run_durably", "run_inside"]
