"""A Prefect flow as a worker of ours: ``@prefect_worker("clean")`` above ``@flow``. The task's params are the flow's parameters."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, cast
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectSignal
from prefect.logging import get_logger
from prefect.states import Cancelled

from agenticflow.agents.workers import DEFAULT_CONCURRENCY, Worker, worker
from agenticflow.core.context import CancelReason, TaskContext
from agenticflow.errors import DefinitionError
from agenticflow.integrations.frameworks.prefect.failures import mapped
from agenticflow.integrations.frameworks.prefect.tasks import performing

__all__ = ["prefect_worker"]

log = get_logger("agenticflow")

CLEANUP_SECONDS: Final = 5.0
"""For telling Prefect that a flow was cancelled."""


def prefect_worker(name: str, *, concurrency: int = DEFAULT_CONCURRENCY) -> Callable[[Flow], Worker[..., Any]]:
    """Make a worker of a Prefect flow: ``@prefect_worker("clean")`` above ``@flow``.

    Each attempt is a run of the flow, with the tags ``workflow:…`` and ``task:…``. An async flow runs on the loop, is interrupted when
    its task is cancelled or meets its time limit, and Prefect shows it as cancelled. A plain flow runs in a thread, which nobody can
    interrupt: it looks at ``task_context().is_cancelled``, or has Prefect's own ``timeout_seconds``.

    What the flow raises is the outcome of the attempt; Prefect's own errors become ours. What it returns is the result, and needs a form
    on the wire. Raises ``DefinitionError`` for what is no flow, and for a flow with a parameter ``context``.
    """
    if isinstance(name, Flow):
        raise DefinitionError(
            f"@prefect_worker got the flow {name.name!r}, not a name", hint='write @prefect_worker("clean") above @flow'
        )

    def make(flow: Flow) -> Worker[..., Any]:
        _check(name, flow)
        return worker(name, concurrency=concurrency)(_performer(flow))

    return make


def _check(name: str, flow: object) -> None:
    if not isinstance(flow, Flow):
        raise DefinitionError(
            f"the worker {name!r} is made of a {type(flow).__name__}, not of a Prefect flow",
            hint="put @prefect_worker above @flow, or use @worker for a function",
        )
    if flow.isgenerator:
        raise DefinitionError(f"the flow {flow.name!r} yields, and a task has one result", hint="let it return a list")
    if "context" in inspect.signature(flow.fn).parameters:
        raise DefinitionError(
            f"the flow {flow.name!r} has the parameter 'context', and Prefect would send what it holds to its server",
            hint="call task_context() inside the flow, or inside its tasks",
        )


def _performer(flow: Flow) -> Callable[..., Any]:
    """Return the handler: a function with the flow's signature, and the context beside it."""

    @functools.wraps(flow.fn)
    async def on_loop(*, context: TaskContext | None = None, **parameters: Any) -> Any:
        run: list[UUID] = []
        with performing(context):
            try:
                return await _noting(flow, run)(**parameters)
            except asyncio.CancelledError:
                if run and context is not None and context.cancel_reason not in (None, CancelReason.DRAIN):
                    await _show_cancelled(run[0], f"its task was told to stop: {context.cancel_reason}")
                raise
            except (Exception, PrefectSignal) as error:
                if (ours := mapped(flow.name, error)) is None:
                    raise
                raise ours from error

    @functools.wraps(flow.fn)
    def in_thread(*, context: TaskContext | None = None, **parameters: Any) -> Any:
        with performing(context):
            try:
                return flow(**parameters)
            except (Exception, PrefectSignal) as error:
                if (ours := mapped(flow.name, error)) is None:
                    raise
                raise ours from error

    chosen: Any = on_loop if flow.isasync else in_thread
    signature = inspect.signature(flow.fn)
    parameters = list(signature.parameters.values())
    ours = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, default=None)
    place = len(parameters) - (bool(parameters) and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD)
    chosen.__signature__ = signature.replace(parameters=[*parameters[:place], ours, *parameters[place:]])
    return cast("Callable[..., Any]", chosen)


def _noting(flow: Flow, run: list[UUID]) -> Flow:
    """Return the flow with a hook that notes the id of its run."""

    def note(flow: object, flow_run: Any, state: object) -> None:
        run[:] = [flow_run.id]

    return flow.with_options(on_running=[note, *(flow.on_running_hooks or ())])


async def _show_cancelled(run_id: UUID, why: str) -> None:
    """Prefect takes an interrupted flow for crashed. The task is cancelled in any case: what cannot be shown is logged."""
    try:
        async with asyncio.timeout(CLEANUP_SECONDS), get_client() as client:
            await client.set_flow_run_state(run_id, Cancelled(message=why), force=True)
    except Exception as error:  # noqa: BLE001 - whatever happens to a view must not become the outcome of the task
        log.warning("the flow run %s is not shown as cancelled: %s: %s", run_id, type(error).__name__, error)
