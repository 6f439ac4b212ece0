"""The fluent way to write a definition: steps follow each other unless told otherwise."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from agenticflow.errors import DefinitionError
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.plan import compile_plan

__all__ = ["WorkflowBuilder"]


class WorkflowBuilder:
    """``WorkflowBuilder("orders").add_step("reserve", "reserve_stock").add_step("ship", "ship_order").build()``."""

    def __init__(self, name: str, **options: Any) -> None:
        """``options`` are those of ``WorkflowDefinition``."""
        if not isinstance(name, str):
            raise DefinitionError(
                f"the name of a workflow is a text, not {name!r:.60}", hint='write WorkflowBuilder("orders")'
            )
        self._name = name
        self._options = options
        self._tasks: list[TaskDefinition] = []

    def add_step(
        self,
        step: str,
        worker: str,
        task_type: str | None = None,
        params: dict[str, object] | None = None,
        *,
        depends_on: str | Collection[str] | None = None,
        **options: Any,
    ) -> WorkflowBuilder:
        """Add the task ``step`` performed by ``worker`` (a worker, or an agent with ``task_type``).

        Without ``depends_on`` it follows the step added before; ``depends_on=()`` starts at once. ``options`` are those of
        ``TaskDefinition``.
        """
        self._tasks.append(TaskDefinition(step, worker, task_type, params, self._after(depends_on), **options))
        return self

    def add_timer(
        self, step: str, seconds: float, *, depends_on: str | Collection[str] | None = None
    ) -> WorkflowBuilder:
        """Add a pause of ``seconds``."""
        self._tasks.append(TaskDefinition.timer(step, seconds, self._after(depends_on)))
        return self

    def add_signal(
        self, step: str, signal: str, *, depends_on: str | Collection[str] | None = None, **options: Any
    ) -> WorkflowBuilder:
        """Add a wait for ``signal``."""
        self._tasks.append(TaskDefinition.wait_for(step, signal, self._after(depends_on), **options))
        return self

    def build(self) -> WorkflowDefinition:
        """Return the definition. Raises ``DefinitionError`` with every mistake found."""
        definition = WorkflowDefinition(self._tasks, name=self._name, **self._options)
        compile_plan(definition)
        return definition

    def _after(self, depends_on: str | Collection[str] | None) -> Collection[str]:
        if depends_on is None:
            return (self._tasks[-1].task_id,) if self._tasks else ()
        return (depends_on,) if isinstance(depends_on, str) else depends_on
