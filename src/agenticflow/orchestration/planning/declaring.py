"""``@workflow``: an async function as a workflow, with the name and version that runs are pinned to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Final, overload

from agenticflow.core import codec
from agenticflow.errors import DefinitionError
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.planning.context import WorkflowContext
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.resilience.budgets.amounts import Budget

__all__ = ["hash_of_source", "workflow"]

_RIGHT: Final = "write @workflow above `async def order(ctx, input): …`"
Planner = Callable[[WorkflowContext, Any], Coroutine[Any, Any, object]]


@overload
def workflow(function: Planner, /) -> WorkflowFunction: ...
@overload
def workflow(
    function: None = None,
    /,
    *,
    name: str | None = None,
    version: str = "1",
    timeout_seconds: float | None = None,
    max_parallel: int | None = None,
    priority: int = 0,
    budget: Budget | str | None = None,
) -> Callable[[Planner], WorkflowFunction]: ...


def workflow(
    function: Planner | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "1",
    timeout_seconds: float | None = None,
    max_parallel: int | None = None,
    priority: int = 0,
    budget: Budget | str | None = None,
) -> WorkflowFunction | Callable[[Planner], WorkflowFunction]:
    """Make ``async def order(ctx, input)`` a workflow: ``@workflow``, or ``@workflow(name="order", version="2")``.

    The function asks its ``ctx`` (a ``WorkflowContext``) for steps and awaits them. After a crash it runs again from the beginning, with
    the recorded results, so it has to do the same each time: no clock, randomness, files or network in it, but through ``ctx`` and steps.
    A run stays on the version it began with; give a new ``version`` and keep the old function registered while runs need it, or mark the
    change with ``ctx.patched``. Raises ``DefinitionError`` for what is no such function.
    """

    def decorate(function: Planner) -> WorkflowFunction:
        _check(function)
        if not isinstance(version, str) or not version:
            raise DefinitionError(f"{version!r:.60} is no version of a workflow", hint='give a text: version="2"')
        definition = WorkflowDefinition(
            (),
            name=getattr(function, "__name__", "workflow") if name is None else name,
            version=version,
            timeout_seconds=timeout_seconds,
            max_parallel=max_parallel,
            priority=priority,
            budget=budget,
            code=hash_of_source(function),
        )
        return WorkflowFunction(function, definition)

    return decorate if function is None else decorate(function)


def _check(function: Planner) -> None:
    if not inspect.iscoroutinefunction(function):
        what = getattr(function, "__name__", repr(function))
        raise DefinitionError(f"workflow {what!r} is no async function", hint=_RIGHT)
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 2 or any(one.default is one.empty for one in parameters[2:]):
        raise DefinitionError(
            f"workflow {function.__name__!r} takes {', '.join(one.name for one in parameters) or 'nothing'}",
            hint=_RIGHT,
        )


def hash_of_source(function: Callable[..., object]) -> str:
    """Return a name for the source: it says that something has changed, not what that means."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):  # typed in, or generated
        code = getattr(function, "__code__", None)
        plain = [one for one in getattr(code, "co_consts", ()) if isinstance(one, (str, bytes, int, float, type(None)))]
        text = repr((code.co_code, code.co_names, plain)) if code is not None else repr(function)
    return codec.content_hash(text.encode("utf-8", "backslashreplace"))[:16]
