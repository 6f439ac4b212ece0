"""A workflow of ours as a Prefect flow: ``prefect_flow("orders", engine)``. Our engine runs it, Prefect starts it and shows it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

from prefect import Flow, runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.logging import get_logger
from prefect.states import Cancelled
from prefect.task_runners import ThreadPoolTaskRunner

from agenticflow.errors import DefinitionError, WorkflowExecutionError
from agenticflow.integrations.frameworks.prefect.mirror import MAX_SHOWN, Mirror
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.state import WorkflowStatus
from agenticflow.storage.store import Store

__all__ = ["Runs", "Started", "prefect_flow"]

log = get_logger("agenticflow")

LOOK_SECONDS: Final = 5.0
"""For asking Prefect whether somebody cancelled the flow."""
MAX_NESTED: Final = 10
"""Flow runs inside each other that are asked about."""


class Started(Protocol):
    """The handle of a run."""

    workflow_id: str
    run_no: int

    async def result(self) -> object: ...
    async def execution(self) -> Any: ...
    async def abort(self, reason: str = "") -> None: ...


class Runs(Protocol):
    """What is needed of an orchestrator."""

    @property
    def store(self) -> Store: ...
    async def start(self) -> None: ...
    async def start_workflow(
        self, definition: Any, context: object = None, *, workflow_id: str | None = None
    ) -> Any: ...
    async def resume_workflow(self, workflow_id: str) -> Any: ...


Opens = Callable[[], AbstractAsyncContextManager[Runs]]
"""``lambda: Orchestrator(…)``, or a function under ``@asynccontextmanager`` that also registers who performs."""


def prefect_flow(
    workflow: WorkflowDefinition | WorkflowFunction | str,
    orchestrator: Runs | Opens,
    *,
    name: str = "",
    description: str = "",
    max_threads: int = 64,
) -> Flow:
    """Return a flow that runs ``workflow``: ``await flow({"order": 7})``, with its parameters ``input`` and ``workflow_id``.

    ``orchestrator`` is one that runs on the same loop, or a function that opens one for the length of each flow run. Prefect serves and
    deploys flows by the name of their function: for that, call this one in a flow of your own.

    Each task of the workflow that is scheduled becomes a task run (``.submit``) that waits for those before it and ends as the task does;
    the first thousand are shown. The flow run returns the result of the workflow, fails with ``WorkflowExecutionError``, and is cancelled
    when the workflow was.

    The run is ours: it survives the process. With the same ``workflow_id`` and input another flow run takes it up, after a failure too; so
    does a retry of Prefect's (``flow.with_options(retries=3)``), whose id follows from the flow run when none is given. Cancelling the flow
    run in Prefect aborts the workflow; interrupting the flow in any other way leaves the run open.

    Raises ``DefinitionError`` for what is no workflow or no orchestrator.
    """
    title = workflow if isinstance(workflow, str) else getattr(workflow, "name", "")
    if not title or not isinstance(workflow, (WorkflowDefinition, WorkflowFunction, str)):
        raise DefinitionError(
            f"prefect_flow got a {type(workflow).__name__} as the workflow",
            hint="give it a WorkflowDefinition, a function under @workflow, or the name of a registered one",
        )
    if not callable(orchestrator) and not hasattr(type(orchestrator), "start_workflow"):
        raise DefinitionError(
            f"prefect_flow got a {type(orchestrator).__name__} as the orchestrator",
            hint="give it an Orchestrator, or a function that opens one: lambda: Orchestrator(store=…)",
        )

    async def run(input: dict[str, Any] | None = None, workflow_id: str = "") -> Any:
        async with _opened(orchestrator) as engine:
            return await _run(engine, workflow, input, workflow_id or f"prefect-{runtime.flow_run.id}")

    return Flow(
        run,
        name=name or title,
        version=None if isinstance(workflow, str) else workflow.version,
        description=description or f"The workflow {title!r}, run by agenticflow",
        task_runner=ThreadPoolTaskRunner(max_workers=max_threads),
        persist_result=False,
    )


@asynccontextmanager
async def _opened(orchestrator: Runs | Opens) -> AsyncIterator[Runs]:
    if callable(orchestrator):
        async with orchestrator() as engine:
            yield engine
    else:
        await orchestrator.start()
        yield orchestrator


async def _run(engine: Runs, workflow: Any, given: dict[str, Any] | None, workflow_id: str) -> Any:
    handle = await _begun(engine, workflow, given, workflow_id)
    shown = await handle.execution()
    dependencies = {task.task_id: tuple(task.dependencies) for task in shown.definition.tasks}
    mirror = Mirror(engine.store, handle.workflow_id, handle.run_no, dependencies)
    following = asyncio.create_task(mirror.follow())
    try:
        try:
            result = await handle.result()
        except WorkflowExecutionError as error:
            await _shown(mirror, following)
            if error.status == WorkflowStatus.CANCELLED:
                return Cancelled(message=str(error))
            raise
        await _shown(mirror, following)
        return result
    except (asyncio.CancelledError, TerminationSignal):
        if await _is_cancelled_in_prefect():
            await handle.abort("its flow run was cancelled in Prefect")
        raise
    finally:
        following.cancel()
        mirror.close("the flow ended before it")


async def _begun(engine: Runs, workflow: Any, given: dict[str, Any] | None, workflow_id: str) -> Started:
    """Start the run, or take up the one that is there: one that failed goes on after its last success."""
    before = await engine.store.get_run(workflow_id)
    handle: Started = await engine.start_workflow(workflow, given, workflow_id=workflow_id)
    if before is not None and not before.is_open and before.status != WorkflowStatus.COMPLETED:
        handle = await engine.resume_workflow(workflow_id)
    return handle


async def _shown(mirror: Mirror, following: asyncio.Task[None]) -> None:
    """Show the rest. A view that fails is logged, and changes nothing of how the run ended."""
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait([following])
    try:
        if not following.cancelled() and (problem := following.exception()) is not None:
            log.warning("tasks were not shown while they ran: %s: %s", type(problem).__name__, problem)
        await mirror.finish()
    except Exception as error:  # noqa: BLE001 - see above
        log.warning("tasks are not shown, at most %d would be: %s: %s", MAX_SHOWN, type(error).__name__, error)


async def _is_cancelled_in_prefect() -> bool:
    """Whether the flow run, or one that it is a part of, is being cancelled there, and not merely interrupted with its process."""
    try:
        async with asyncio.timeout(LOOK_SECONDS), get_client() as client:
            run_id: Any = runtime.flow_run.id
            for _ in range(MAX_NESTED):
                run = await client.read_flow_run(run_id)
                if run.state is not None and (run.state.is_cancelling() or run.state.is_cancelled()):
                    return True
                if run.parent_task_run_id is None:
                    return False
                run_id = (await client.read_task_run(run.parent_task_run_id)).flow_run_id
    except Exception as error:  # noqa: BLE001 - out of reach: then nobody can say, and the run stays open
        log.warning("Prefect does not say whether the flow was cancelled: %s: %s", type(error).__name__, error)
    return False
