"""A run of a workflow as code without an engine: its function is driven as in one, and can be thrown away and driven again at any time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.planning.context import WorkflowContext
from agenticflow.orchestration.planning.declaring import workflow
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.planning.planner import Planners
from tests.scenarios.runs import Run

Function = Callable[[WorkflowContext, Any], Coroutine[Any, Any, object]]


def as_workflow(function: Function | WorkflowFunction, **options: Any) -> WorkflowFunction:
    """The function as version 1 of the workflow ``code``."""
    if isinstance(function, WorkflowFunction):
        return function
    return workflow(name="code", **options)(function)


class CodeRun(Run):
    """Started at once; ``restart`` drives another function, or the same one, from the record."""

    def __init__(
        self, function: Function | WorkflowFunction, *, is_known: bool = True, input: object = None, **options: Any
    ) -> None:
        self.function = as_workflow(function)
        self.said: list[str] = []
        super().__init__(
            function=self.function,
            guest=WorkflowGuest(self.knowing(*((self.function,) if is_known else ()))),
            input=input,
            **options,
        )

    def knowing(self, *functions: WorkflowFunction) -> Planners:
        planners = Planners(say=self.said.append)
        for function in functions:
            planners.add(function)
        return planners

    def restart(self, *functions: Function | WorkflowFunction) -> None:
        """The process died; the next one knows ``functions``, left out: the one it began with."""
        planning = self.state.planning
        assert planning is not None
        planning.drive = None
        planners = self.knowing(*(map(as_workflow, functions) if functions else (self.function,)))
        self.guest, self.state.planner = WorkflowGuest(planners), planners
        self.crash()

    @property
    def stands_still(self) -> str | None:
        """Why the function cannot go on, in words."""
        assert self.state.planner is not None
        return self.state.planner.waits_for(self.state.stream_id)

    @property
    def planned(self) -> list[str]:
        """Keys of the steps it has asked for."""
        return list(self.state.laid_out.by_id)


async def ask_twice(ctx: WorkflowContext) -> object:
    """Not the function, and not in its file."""
    return [ctx.task("same", "work"), ctx.task("same", "work")]
