"""The OpenAI Agents SDK: its agents as tasks that survive their process, and our definitions, tools and models as its own.

``run_durably`` runs an agent of the SDK inside a handler; ``from_sdk_agent`` makes one of ours of it. ``to_sdk_agent``,
``to_function_tool`` and ``to_sdk_model`` go the other way. Importing this room needs the extra ``openai-agents``.
"""

from agenticflow.errors import ConfigurationError

try:
    from agenticflow.integrations.frameworks.openai_agents.definitions import to_sdk_agent
    from agenticflow.integrations.frameworks.openai_agents.models import to_sdk_model
    from agenticflow.integrations.frameworks.openai_agents.running import from_sdk_agent, run_durably
    from agenticflow.integrations.frameworks.openai_agents.tools import function_tools, to_function_tool
    from agenticflow.integrations.frameworks.openai_agents.tracing import trace_to_logs
except ImportError as error:
    raise ConfigurationError(
        f"the OpenAI Agents SDK is not installed, or in another version than this package knows: {error}",
        hint="install the extra: agenticflow[openai-agents]",
    ) from error

__all__ = [
    "from_sdk_agent",
    "function_tools",
    "run_durably",
    "to_function_tool",
    "to_sdk_agent",
    "to_sdk_model",
    "trace_to_logs",
]
