"""DSPy: its modules as workers, with every call of a language model in the journal of the task. Needs the extra ``dspy``."""

try:
    import dspy as _dspy  # noqa: F401  # asked for here, so that one error says what is missing
except ImportError as error:
    from agenticflow.errors import ConfigurationError as _ConfigurationError

    raise _ConfigurationError(
        f"agenticflow.integrations.frameworks.dspy needs the extra 'dspy', which is not installed: {error}",
        hint="install agenticflow[dspy] from where you have it",
    ) from error

from agenticflow.integrations.frameworks.dspy.working import dspy_worker

__all__ = ["dspy_worker"]
