"""A workflow as code: its function, and the definition that its runs are pinned to."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from agenticflow.errors import DefinitionError
from agenticflow.orchestration.definition import WorkflowDefinition

__all__ = ["WorkflowFunction"]


class WorkflowFunction:
    """A workflow as code. Register it, start it, or name it as a child; it is not called directly.

    ``definition`` is what runs are pinned to: name, version, the options, and the hash of the source at the time.
    """

    __slots__ = ("definition", "function")

    def __init__(self, function: Callable[..., Coroutine[Any, Any, object]], definition: WorkflowDefinition) -> None:
        self.function = function
        self.definition = definition

    @property
    def name(self) -> str:
        """The name of the workflow."""
        return self.definition.name

    @property
    def version(self) -> str:
        """The version that runs begin with."""
        return self.definition.version

    def __call__(self, *args: object, **kwargs: object) -> object:
        raise DefinitionError(
            f"workflow {self.name!r} was called like a function",
            hint=f"start it: await orchestrator.execute_workflow({self.name}, input); inside another: ctx.child(key, {self.name}, input)",
        )

    def __repr__(self) -> str:
        return f"<workflow {self.name!r} version {self.version!r}>"
