"""Which task of ours a flow performs: known to the flow and to its tasks, and no parameter of either.

Prefect sends the parameters of a flow to its server, and hashes those of a task into the key of its cache. The context of a task has a
place in neither: it holds results of other tasks, and nothing of it would be found again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from prefect import tags

from agenticflow.core.context import TaskContext
from agenticflow.errors import DefinitionError

__all__ = ["performed", "performing", "task_context"]

_PERFORMED: Final[ContextVar[TaskContext | None]] = ContextVar("agenticflow_prefect_task", default=None)


def task_context() -> TaskContext:
    """Return the context of the task of ours that the running flow performs; also inside the tasks of that flow.

    Raises ``DefinitionError`` where there is none: in a flow that was called by itself, and in a task that Prefect runs in another process.
    """
    context = _PERFORMED.get()
    if context is None:
        raise DefinitionError(
            "no task of a workflow is performed here",
            hint="task_context() is for flows that @prefect_worker made workers, and for their tasks",
        )
    return context


def performed() -> TaskContext | None:
    """Return the same, ``None`` where there is none."""
    return _PERFORMED.get()


@contextmanager
def performing(context: TaskContext | None) -> Iterator[None]:
    """Let what runs inside perform the task of ``context``, and let Prefect's pages find its runs by workflow and task."""
    if context is None:
        yield
        return
    token = _PERFORMED.set(context)
    try:
        with tags(f"workflow:{context.workflow_id}", f"task:{context.task_key}"):
            yield
    finally:
        _PERFORMED.reset(token)
