"""The OpenAI Agents SDK: its agents as tasks that survive their process, and our definitions, tools and models as its own.

``run_durably`` runs an agent of the SDK inside a handler; ``from_sdk_agent`` makes one of ours of it. ``to_sdk_agent``,
``to_function_tool`` and ``to_sdk_model`` go the other way. Importing this room needs the extra ``openai-agents``.
"""

import importlib.util

from agenticflow.errors import ConfigurationError

if importlib.util.find_spec("agents") is None or importlib.util.find_spec("agents.run") is None:
    raise ConfigurationError(
        "the OpenAI Agents SDK is not installed", hint="install the extra: agenticflow[openai-agents]"
    )

from agenticflow.integrations.frameworks.openai_agents.definitions import to_sdk_agent
from agenticflow.integrations.frameworks.openai_agents.models import to_sdk_model
from agenticflow.integrations.frameworks.openai_agents.running import from_sdk_agent, run_durably
from agenticflow.integrations.frameworks.openai_agents.tools import function_tools, to_function_tool
from agenticflow.integrations.frameworks.openai_agents.tracing import trace_to_logs

__all__ = [
    "from_sdk_agent",
    "function_tools",
    "run_durably",
    "to_function_tool",
    "to_sdk_agent",
    "to_sdk_model",
    "trace_to_logs",
]
