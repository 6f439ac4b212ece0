"""Prefect 3: a workflow of ours as a flow, and a flow as a task of ours (docs/adr/0031). Needs the extra ``prefect``."""

try:
    import prefect as _prefect  # noqa: F401  # asked for here, so that one error says what is missing
except ImportError as error:
    from agenticflow.errors import ConfigurationError as _ConfigurationError

    raise _ConfigurationError(
        f"agenticflow.integrations.frameworks.prefect needs the extra 'prefect', which is not installed: {error}",
        hint="install agenticflow[prefect] from where you have it",
    ) from error

from agenticflow.integrations.frameworks.prefect.caching import ONCE_PER_EFFECT, OncePerEffect
from agenticflow.integrations.frameworks.prefect.flows import prefect_flow
from agenticflow.integrations.frameworks.prefect.performing import prefect_worker
from agenticflow.integrations.frameworks.prefect.tasks import task_context

__all__ = ["ONCE_PER_EFFECT", "OncePerEffect", "prefect_flow", "prefect_worker", "task_context"]
