"""A DSPy module as a worker: ``@dspy_worker("answer")``. The task's params are its inputs, the fields of its prediction the result."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, cast

import dspy

from agenticflow.agents.spending.journalled import purse_for
from agenticflow.agents.spending.rules import OUTPUT_TOKENS, budget_in
from agenticflow.agents.workers import Worker, worker
from agenticflow.core.context import TaskContext
from agenticflow.errors import ConfigurationError, DefinitionError
from agenticflow.integrations.frameworks.dspy.engines import Calls
from agenticflow.integrations.frameworks.dspy.failures import mapped
from agenticflow.integrations.frameworks.dspy.signatures import is_async, module_of, parameters_of, plain
from agenticflow.resilience.budgets import Budget

__all__ = ["dspy_worker"]

DEFAULT_CONCURRENCY: Final = 16
"""Each task of a plain module holds a thread."""
BUDGET: Final = "budget"
"""The param of a task that says what it may spend."""


def dspy_worker(
    name: str,
    *,
    lm: dspy.BaseLM | None = None,
    run_in: str | None = None,
    concurrency: int = DEFAULT_CONCURRENCY,
    budget: Budget | str | None = None,
    max_output_tokens: int = OUTPUT_TOKENS,
) -> Callable[[object], Worker[..., Any]]:
    """Make a worker of a DSPy module: ``@dspy_worker("answer")`` above a module class, or above a function that returns a module;
    ``dspy_worker("answer")(module)`` for a module, say one that was compiled, or for a signature (``"question -> answer"``).

    What its language models answer is in the journal of the task: another attempt, also after a crash, asks only what was not answered.
    DSPy's own cache is off inside. ``lm`` is the model of predictors that have none; without it, what ``dspy.configure`` says. A module
    with an ``aforward`` runs on the event loop and can be interrupted; one with a ``forward`` only, or with ``run_in="thread"``, runs in a
    thread, which is interrupted when it asks a model. ``forward`` gets the context of the task when it has a parameter ``context``.

    Each call spends from the ``budget`` of the worker (limits for each task, over all of its attempts, or the id of an open budget that
    is shared), inside that of the task: its param ``budget``, unless the module has an input of that name. Prices are those of the
    orchestrator (setting ``models.prices``), of ``openai:gpt-5`` and so on; ``max_output_tokens`` is reserved for a call without a limit.

    DSPy's own errors become ours; what the module raises itself is the outcome of the attempt. Raises ``DefinitionError`` for what is no
    module.
    """
    if not isinstance(name, str):
        raise DefinitionError(
            f"@dspy_worker got {getattr(name, '__name__', name)!r}, not a name",
            hint='write @dspy_worker("answer") above the class',
        )
    own = budget_in(budget)

    def make(given: object) -> Worker[..., Any]:
        module = module_of(name, given)
        program = _Program(name, module, lm, is_async(name, module, run_in), concurrency)
        return worker(name, concurrency=concurrency)(_performer(program, own, max_output_tokens))

    return make


class _Program:
    """A module, and how it is called."""

    def __init__(self, name: str, module: dspy.Module, lm: dspy.BaseLM | None, on_loop: bool, concurrency: int) -> None:
        self.name = name
        self.on_loop = on_loop
        self.parameters = parameters_of(module, on_loop=on_loop)
        self._module = module
        self._lm = lm
        self._takes_context = any(each.name == "context" for each in self.parameters)
        # of its own: DSPy and asyncio have work for the loop's threads, and modules hold theirs while they wait for a model
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix=f"dspy-{name}")

    async def call(self, calls: Calls, inputs: dict[str, Any], context: TaskContext) -> object:
        """Call the module with its models asked by way of the journal; return what comes of it."""
        chosen = self._lm or dspy.settings.lm
        bound = self._with_models(calls)
        if chosen is None and any(each.lm is None for each in bound.predictors()):
            raise ConfigurationError(
                f"the worker {self.name!r} has no language model",
                hint='call dspy.configure(lm=dspy.LM("openai/…")), or give lm=',
            )
        if self._takes_context:
            inputs["context"] = context
        with dspy.context(lm=None if chosen is None else calls.journalled(chosen)):
            if self.on_loop:
                return await bound.acall(**inputs)
            return await self._in_thread(partial(bound, **inputs), calls)

    def _with_models(self, calls: Calls) -> dspy.Module:
        """Return the module, or a copy of it in which predictors that have a model of their own ask by way of the journal too."""
        given = self._module.predictors()
        if all(each.lm is None for each in given):
            return self._module
        bound = self._module.deepcopy()
        for ours, theirs in zip(bound.predictors(), given, strict=True):
            ours.lm = None if theirs.lm is None else calls.journalled(theirs.lm)
        return bound

    async def _in_thread(self, call: Callable[[], object], calls: Calls) -> object:
        """Call it in a thread. Told to stop, it is interrupted when it asks a model, and waited for: no thread is left behind."""
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, contextvars.copy_context().run, call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            calls.close()
            with contextlib.suppress(Exception):  # what came of it counts no more
                await running
            raise


def _performer(program: _Program, budget: Budget | str | None, max_output_tokens: int) -> Callable[..., Any]:
    """Return the handler: a function with the module's parameters, and the context and a budget beside them."""
    takes_budget = all(each.name != BUDGET for each in program.parameters)

    async def perform(*, context: TaskContext, **inputs: Any) -> Any:
        given = context.params.get(BUDGET) if takes_budget else None
        if takes_budget:
            inputs.pop(BUDGET, None)
        async with purse_for(context, given, budget) as purse:
            return await _performed(program, Calls(context, purse, max_output_tokens), inputs, context)

    chosen: Any = perform
    own = [each for each in program.parameters if each.name != "context"]
    ours = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY)]
    if takes_budget:
        ours.append(inspect.Parameter(BUDGET, inspect.Parameter.KEYWORD_ONLY, default=None))
    place = len(own) - (bool(own) and own[-1].kind is inspect.Parameter.VAR_KEYWORD)
    chosen.__signature__ = inspect.Signature([*own[:place], *ours, *own[place:]])
    empty, rest = inspect.Parameter.empty, inspect.Parameter.VAR_KEYWORD
    chosen.__annotations__ = {
        each.name: each.annotation for each in own if each.annotation is not empty and each.kind is not rest
    }
    chosen.__name__ = program.name
    return cast("Callable[..., Any]", chosen)


async def _performed(program: _Program, calls: Calls, inputs: dict[str, Any], context: TaskContext) -> Any:
    try:
        result = plain(await program.call(calls, inputs, context))
    except Exception as error:
        if calls.problem is not None:
            raise calls.problem from error
        if (ours := mapped(program.name, error)) is None:
            raise
        raise ours from error
    finally:
        calls.close()
    if calls.problem is not None:
        raise calls.problem
    return result
