"""Pydantic AI: its agents as tasks that survive their process.

``run_durably`` runs one inside a handler, ``run_inside`` an agent that a tool of another one asks; ``from_pydantic_agent`` makes one of
ours of it. Importing this room needs the extra ``pydantic-ai``. As a layer of models it is chosen by name: ``pydantic-ai:groq:…``.
"""

import importlib.util

from agenticflow.errors import ConfigurationError

if importlib.util.find_spec("pydantic_ai") is None:
    raise ConfigurationError("Pydantic AI is not installed", hint="install the extra: agenticflow[pydantic-ai]")

from agenticflow.integrations.frameworks.pydantic_ai.running import from_pydantic_agent, run_durably, run_inside

__all__ = ["from_pydantic_agent", "run_durably", "run_inside"]
