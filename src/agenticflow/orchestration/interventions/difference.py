"""What modifications change, in words: one line per task added or removed, one per field of a task that is another. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agenticflow.orchestration.comparison import Difference, compare_tasks
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.interventions.modification import Modification

__all__ = ["differences"]


def differences(definition: WorkflowDefinition, modifications: Iterable[Modification]) -> list[Difference]:
    """Return what ``modifications`` change in ``definition``, in their order."""
    before = {task.task_id: task for task in definition.tasks}
    return [found for one in modifications for found in compare_tasks(before.get(one.task_id), one.task)]
