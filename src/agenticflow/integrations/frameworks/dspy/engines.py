"""The engines that a module's language models get while a task is performed: what they answer is in the journal of the task.

DSPy 3.4 calls an engine with one ``Request`` and takes one ``Response``; prompts, parsing, candidates and history stay above it. So a
model keeps its name and its options, and has an engine of ours beneath, which asks the model as it was. A call is known by what it
asks and by how often that was asked before: calls that are made at once have no order, and equal ones may change places.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Final

import dspy

# these two have no public name; the bound of the extra is that of the release they were read in
from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
from dspy.clients.backend_selection import CLIENT_KEYS
from dspy.lm15 import Request, Response

from agenticflow.agents.model.permission import permission
from agenticflow.agents.model.responses import Usage
from agenticflow.agents.spending.journalled import AskedModel, JournalledPurse, plain
from agenticflow.core import codec
from agenticflow.core.context import TaskContext
from agenticflow.errors import AgenticFlowError, DefinitionError, InvariantError, ModelTimeout, TaskCancelled
from agenticflow.integrations.frameworks.dspy.failures import is_unmade

__all__ = ["Calls", "usage_of"]

_THINKS_APART: Final = frozenset({"gemini", "vertex", "vertex_ai", "vertex-express", "xai"})
"""Providers whose output tokens do not count reasoning."""

THREAD_SECONDS: Final = 3_600.0
"""For one call of a model, as seen from a thread. The model has limits of its own; this one ends what nobody waits for."""


class Calls:
    """All calls that the module makes in one attempt."""

    def __init__(self, context: TaskContext, purse: JournalledPurse | None, max_output_tokens: int) -> None:
        """``max_output_tokens`` is reserved for a call that names no limit of its own."""
        self._context = context
        self._purse = purse
        self._max_output_tokens = max_output_tokens
        self._loop = asyncio.get_running_loop()
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._pending: set[Future[Response]] = set()
        self._is_over = False
        self._engines: dict[int, dspy.BaseLM] = {}
        self.problem: AgenticFlowError | None = None
        """The first reason of ours why a call was not made, or not recorded: modules may pass over errors, and then go on without."""

    def journalled(self, lm: dspy.BaseLM) -> dspy.BaseLM:
        """Return a model like ``lm`` that asks by way of the journal. Neither caches nor tries again: the model beneath tries again."""
        made = self._engines.get(id(lm))
        if made is None:
            engine = _JournalEngine(self, lm)
            made = dspy.LM(
                lm.model,
                model_type=lm.model_type,
                cache=False,
                num_retries=0,
                engine=engine,
                async_engine=_AsyncJournalEngine(engine),
            )
            made.kwargs = {name: value for name, value in lm.kwargs.items() if name not in CLIENT_KEYS}
            self._engines[id(lm)] = made
        return made

    def close(self) -> None:
        """The attempt is over: what waits for an answer, in whatever thread, is interrupted, and nothing more is asked."""
        with self._lock:
            self._is_over = True
            pending = list(self._pending)
        for future in pending:
            future.cancel()

    def from_thread(self, work: Coroutine[Any, Any, Response]) -> Response:
        """Have ``work`` done on the loop, with the settings of DSPy that hold in the calling thread."""
        with self._lock:
            if self._is_over:
                work.close()
                raise self._told_to_stop()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._pending.add(future)
        try:
            return future.result(THREAD_SECONDS)
        except TimeoutError as error:
            if not future.done():
                future.cancel()
                raise ModelTimeout(f"a model did not answer within {THREAD_SECONDS:g} s") from error
            raise
        finally:
            self._pending.discard(future)

    async def ask(self, lm: dspy.BaseLM, request: Request) -> Response:
        """Return what is recorded of the call; when nothing is, make it and record it first."""
        if self.problem is not None:
            raise self.problem
        if self._is_over or self._context.is_cancelled:
            raise self._told_to_stop()
        encoded = codec.encode(request_to_dict(request), is_canonical=True)
        key = self._key(encoded)
        try:
            recorded = await self._recorded(lm, request, key, len(encoded))
        except AgenticFlowError as error:
            self.problem = self.problem or error
            raise
        return response_from_dict(recorded)

    def is_on_loop(self) -> bool:
        """Whether the caller runs on the loop of the engine."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _key(self, encoded: bytes) -> str:
        digest = codec.content_hash(encoded)[:24]
        with self._lock:
            self._asked[digest] += 1
            return f"lm-{digest}-{self._asked[digest]}"

    async def _recorded(self, lm: dspy.BaseLM, request: Request, key: str, prompt_bytes: int) -> Any:
        """Return the recorded answer, as plain data; when there is none, ask the model, within the budget."""

        async def make() -> object:
            _demand_permission(lm)
            return response_to_dict(await _asked_beneath(lm, request))

        if self._purse is None:
            return plain(await self._context.journal.call(key, make))
        name = _name(lm)
        asked = AskedModel(
            model=name,
            chars=prompt_bytes,
            max_output_tokens=request.config.max_tokens or self._max_output_tokens,
            used=lambda response: usage_of(name, response),
            is_refused=is_unmade,
        )
        return await self._purse.ask(key, asked, make, {})

    def _told_to_stop(self) -> TaskCancelled:
        return TaskCancelled(f"task {self._context.task_key!r} was told to stop, and asks no model any more")


class _JournalEngine:
    """What a module that runs in a thread asks."""

    def __init__(self, calls: Calls, lm: dspy.BaseLM) -> None:
        self.calls = calls
        self.lm = lm

    @property
    def supports_function_calling(self) -> bool:
        return bool(self.lm.supports_function_calling)

    @property
    def supports_reasoning(self) -> bool:
        return bool(self.lm.supports_reasoning)

    @property
    def supports_response_schema(self) -> bool:
        return bool(self.lm.supports_response_schema)

    @property
    def supported_params(self) -> frozenset[str]:
        return frozenset(self.lm.supported_params)

    def complete(self, request: Request) -> Response:
        """Raises ``DefinitionError`` on the event loop, which would wait for itself."""
        if self.calls.is_on_loop():
            raise DefinitionError(
                "a module with an aforward calls another one as if it were plain, on the event loop",
                hint="write await module.acall(…) in aforward, or give the module a forward only",
            )
        return self.calls.from_thread(self.calls.ask(self.lm, request))


class _AsyncJournalEngine:
    """What a module that runs on a loop asks."""

    def __init__(self, engine: _JournalEngine) -> None:
        self._engine = engine

    async def complete(self, request: Request) -> Response:
        calls, lm = self._engine.calls, self._engine.lm
        if calls.is_on_loop():
            return await calls.ask(lm, request)
        return await asyncio.to_thread(self._engine.complete, request)


async def _asked_beneath(lm: dspy.BaseLM, request: Request) -> Response:
    """Ask the model as it was given to us. Its call is an inner one: what is shown and counted is the one above."""
    with dspy.context(disable_history=True, usage_tracker=None, callbacks=[]):
        if isinstance(getattr(lm, "engine", None), str):  # DSPy's own engines have an async face each
            response = await lm.acall(request=request, cache=False)
        else:
            response = await asyncio.to_thread(lm, request=request, cache=False)
    if not isinstance(response, Response):
        raise InvariantError(f"{lm.model!r} answered a Request with a {type(response).__name__}")
    return response


def _demand_permission(lm: dspy.BaseLM) -> None:
    """Keep to the switch that forbids calls of real models. A model with an engine of its own is its maker's to judge."""
    if isinstance(getattr(lm, "engine", None), str):
        options = lm.kwargs
        permission.demand(_name(lm), str(options.get("api_base") or options.get("base_url") or lm.model))


def _name(lm: dspy.BaseLM) -> str:
    """Return the name of the model as tables of prices have it: ``openai:gpt-5``; ``dspy:gpt-5`` when it names no provider."""
    provider, slash, name = str(lm.model).partition("/")
    return f"{provider}:{name}" if slash else f"dspy:{provider}"


def usage_of(model: str, response: dict[str, Any]) -> Usage | None:
    """Return what the provider told; ``None`` when it did not. DSPy keeps its counts as they come, and providers count differently."""
    told = response.get("usage") or {}
    spent, said = told.get("input_tokens"), told.get("output_tokens")
    if spent is None or said is None:
        return None
    read, written, thought = (
        told.get(name) or 0 for name in ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    )
    provider = model.partition(":")[0]
    if "anthropic" in provider:
        spent += read + written
    if provider in _THINKS_APART:
        said += thought
    return Usage(spent, said, read, written, thought)
