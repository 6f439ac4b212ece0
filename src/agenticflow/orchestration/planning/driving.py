"""The function of a run on its way: its coroutine, driven by hand, told the end of one step after the other.

What it asks for is compared with the record as far as that goes (it repeats what it did before a crash), and is new after that. No event
loop is involved; the coroutine is a cache that can be thrown away at any time and driven again from its beginning.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import Any, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.results import ErrorInfo, describe_error
from agenticflow.core.types import MAX_INLINE_BYTES, Blobs
from agenticflow.core.values import store_form
from agenticflow.errors import AgenticFlowError, BoundExceeded, DefinitionError, NonDeterminismError, StepFailed
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.facts import PlannedStep
from agenticflow.orchestration.planning.awaiting import Branch, Step, Waitable
from agenticflow.orchestration.planning.context import ContinueAsNew, WorkflowContext
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.state import RunState, TaskStatus

__all__ = ["Drive", "describe_raised"]

MAX_STEPS_AT_ONCE: Final = 5_000
MAX_BYTES_AT_ONCE: Final = 2 * 1024 * 1024
"""Of what a function asks for between two ends of steps: it goes into one commit."""
_OURS: Final = str(PurePath(__file__).parent)


class _Astray(BaseException):
    """Unwinds a function that does not repeat what is recorded; ``Drive.problem`` says why."""


class Drive:
    """One run's function. ``turn`` after ``turn`` it is told what has ended, and what it asks for meanwhile is collected."""

    def __init__(
        self, function: WorkflowFunction, state: RunState, given: object, know: Callable[[WorkflowFunction], None]
    ) -> None:
        self._state = state
        self.know = know
        """Makes the function of a child known: whoever names it has it."""
        self.function = function
        self.workflow_id, self.run_no, self.seed = state.workflow_id, state.run_no, state.seed
        self.now_ns = state.started_at
        self.turns = 0
        """How many ends of steps it knows."""
        self.problem: NonDeterminismError | None = None
        """Why it cannot go on; nothing it asked for in the turn that found this counts."""
        self.steps: list[PlannedStep] = []
        self.cancels: list[str] = []
        self.patches: list[str] = []
        self.made: list[tuple[str, bytes]] = []
        """What is asked for and not recorded yet."""
        self._bytes = 0
        self._known: dict[str, Step] = {}
        self._old: dict[str, bool] = {}
        self._ready: deque[Branch] = deque()
        self._branches: list[Branch] = []
        """All that were ever begun."""
        self._is_driving = False
        self.is_replaying = state.planning is not None and state.planning.driven >= 0
        """Whether there is something recorded that it has not repeated yet."""
        context = WorkflowContext(self)
        self._main = Branch(function.function(context, given), self._ready)
        self._begin(self._main)

    def _begin(self, branch: Branch) -> None:
        self._branches.append(branch)
        self._ready.append(branch)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """End every coroutine of it, without letting it ask for anything more."""
        for branch in self._branches:
            _end(branch.coroutine)

    # --- turns ------------------------------------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether it has asked for something, or ended, and that is not recorded."""
        return self._main.is_settled or bool(self.steps or self.cancels or self.patches)

    @property
    def is_behind(self) -> bool:
        """Whether there are ends of steps that it was not told."""
        planning = self._state.planning
        return bool(self._ready) or (planning is not None and self.turns < len(planning.settled))

    def recorded(self, *, steps: int = 0, cancels: int = 0, patches: int = 0) -> list[tuple[str, bytes]]:
        """The first so many of what it asked for are recorded; return the large values that have to be stored with them."""
        del self.steps[:steps], self.cancels[:cancels], self.patches[:patches]
        made, self.made = self.made, []
        return made

    @property
    def outcome(self) -> Waitable[Any]:
        """The function as a whole."""
        return self._main

    def catch_up(self, settled: Sequence[str]) -> None:
        """Tell it which steps have ended, in this order, those it knows left out, and have it go on until it waits again.

        Raises ``BlobMissing`` between two turns: called again it goes on there.
        """
        self._is_driving = True
        try:
            if self._ready:  # at its beginning
                self._go_on()
            while self.turns < len(settled) and self.problem is None and not self._main.is_settled:
                key = settled[self.turns]
                step = self._known.get(key)
                if step is None:
                    self._astray(f"step {key!r} was recorded, and is not asked for any more")
                    break
                value, error = self._end_of(key)
                self.turns += 1
                self.now_ns = self._state.tasks[key].ended_at
                step.settle(value, error)
                self._go_on()
        finally:
            self._is_driving = False

    def _end_of(self, key: str) -> tuple[object, Callable[[], BaseException] | None]:
        record = self._state.tasks[key]
        if record.status is TaskStatus.COMPLETED:
            data = record.value
            return (None if data is None else codec.decode(self._state.values.resolve(data))), None
        if record.status is TaskStatus.SKIPPED:
            return None, None
        if record.status is TaskStatus.FAILED and record.errors:
            failed = record.errors[-1]
        else:
            failed = ErrorInfo("TaskCancelled", f"step {key!r} was cancelled", "cancelled")
        return None, lambda: _failure(key, failed)

    def _go_on(self) -> None:
        while self._ready and self.problem is None and not self._main.is_settled:
            self._advance(self._ready.popleft())
        if self.is_replaying:
            self._check_repeated()

    def _advance(self, branch: Branch) -> None:
        """Let ``branch`` go on until it waits for something that has not ended."""
        thrown: Exception | None = None
        while True:
            try:
                awaited = branch.coroutine.send(None) if thrown is None else branch.coroutine.throw(thrown)
            except StopIteration as returned:
                branch.settle(returned.value)
                return
            except (ContinueAsNew, _Astray) as end:
                self._main.settle(None, _always(end))
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, it is how this branch has ended
                branch.settle(None, _always(error))
                return
            thrown = None
            if not isinstance(awaited, Waitable):
                thrown = DefinitionError(
                    f"workflow {self.function.name!r} awaits what is not recorded, at {_place_in(branch.coroutine)}: {awaited!r:.80}",
                    hint="await ctx.task(…), ctx.sleep(…), ctx.gather(…); whatever else takes time belongs into a step",
                )
            else:
                awaited.waiters.append(branch.wake)
                return

    # --- what the function asks for ---------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise ``DefinitionError`` when the context is used by somebody else than the function on its way."""
        if not self._is_driving:
            raise DefinitionError(
                f"the context of workflow {self.function.name!r} was used outside of its function",
                hint="hand data to steps, not the context",
            )

    def ask(self, task: TaskDefinition, params: Mapping[str, object] | None, *, is_usual: bool = False) -> Step:
        """Return the step for what is asked: recorded already, or new. ``is_usual``: no option of ``task`` is given."""
        if not self._is_driving:
            self.check()
        key = task.task_id
        if key in self._known:
            raise DefinitionError(
                f"step {key!r} was asked for twice, again at {self._place()}",
                hint=f'each needs its own key: f"{key}-{{number}}" in a loop',
            )
        data = codec.encode_ordered(params) if params else codec.EMPTY
        blobs: Blobs = ()
        if len(data) > MAX_INLINE_BYTES:
            data, blobs = store_form(data)
        if not is_usual:
            task = _as_recorded(task)
        is_new = key not in self._state.laid_out.by_id
        if not is_new or self.is_replaying:
            self._compare(key, task, data)
        step = self._known[key] = Step(key, self._cancel)
        if is_new:
            if self.steps:
                self._demand_room(len(data))
            self.steps.append(PlannedStep(task, msgspec.Raw(data)))
            self.made += blobs
        return step

    def _demand_room(self, more: int) -> None:
        """Raise ``BoundExceeded`` when what is asked for at once does not fit into a commit."""
        self._bytes = more + 100 + (self._bytes if len(self.steps) > 1 else 0)
        if len(self.steps) >= MAX_STEPS_AT_ONCE or self._bytes > MAX_BYTES_AT_ONCE:
            raise BoundExceeded(
                f"workflow {self.function.name!r} asks for {len(self.steps) + 1:,} steps with {self._bytes:,} bytes of "
                "params at once",
                hint=f"ask for up to {MAX_STEPS_AT_ONCE:,} steps and {MAX_BYTES_AT_ONCE:,} bytes, await them, then ask for more",
            )

    def _compare(self, key: str, task: TaskDefinition, params: bytes) -> None:
        plan = self._state.laid_out
        index = plan.by_id.get(key)
        if index is not None:
            node = plan.nodes[index]
            if node.task != task:
                self._go_astray(f"step {key!r} was recorded as {_words(node.task)}, and is asked for as {_words(task)}")
            if node.encoded_params != params:
                self._go_astray(
                    f"step {key!r} was recorded with the params {_shown(node.encoded_params)}, and is asked for with {_shown(params)}"
                )
        else:
            self._go_astray(f"step {key!r} is asked for, and was not when this happened first")

    def _go_astray(self, what: str) -> None:
        self._astray(f"{what}, at {self._place()}")
        raise _Astray

    def _place(self) -> str:
        return _place_outside(self.function.function.__code__.co_filename)

    def _astray(self, what: str) -> None:
        pinned = self._state.laid_out.definition
        ours = self.function.definition.code
        changed = f"; its source has changed since ({pinned.code} then, {ours} now)" if ours != pinned.code else ""
        self.problem = NonDeterminismError(
            f"workflow {self.function.name!r} version {pinned.version!r} does not repeat run {self.run_no} of "
            f"{self.workflow_id!r}: {what}{changed}",
            hint='run the code it began with, or mark the change: `if ctx.patched("…"):`; then start again',
        )

    def _check_repeated(self) -> None:
        """Once all that is recorded has been repeated: what is recorded beside it was not asked for. Until then it has not ended."""
        planning, plan = self._state.planning, self._state.laid_out
        if self.problem is not None or planning is None:
            return
        if self.turns >= planning.driven:
            self.is_replaying = False
            if len(plan.nodes) > len(self._known) - len(self.steps):
                missing = next(key for key in plan.by_id if key not in self._known)
                self._astray(f"step {missing!r} was recorded, and is not asked for any more")
                return
        if self._main.is_settled:
            error = self._main.error
            how = "returns" if error is None else f"raises {describe_raised(error, self.function).message}"
            self._astray(f"it {how}, where it went on when this happened first")

    def _cancel(self, key: str) -> None:
        self.check()
        if not self.is_replaying:
            self.cancels.append(key)

    def branch(self, coroutine: Coroutine[Any, Any, Any]) -> Branch:
        """Have ``coroutine`` driven beside the others."""
        self.check()
        branch = Branch(coroutine, self._ready)
        self._begin(branch)
        return branch

    def patched(self, name: str) -> bool:
        """Return whether the run goes the new way at this change of the code."""
        self.check()
        planning = self._state.planning
        if planning is not None and name in planning.patches:
            return True
        if name not in self._old:
            self._old[name] = self.is_replaying
            if not self.is_replaying:
                self.patches.append(name)
        return not self._old[name]

    def is_recorded(self, key: str) -> bool:
        """Whether the step ``key`` was asked for before."""
        return key in self._known or key in self._state.laid_out.by_id

    def is_kept(self, key: str) -> bool:
        """Whether the run began with the result of the step ``key``."""
        self.check()
        return key in self._state.kept


def _always(error: BaseException) -> Callable[[], BaseException]:
    return lambda: error


def _end(coroutine: Coroutine[Any, Any, Any]) -> None:
    # It is not wanted any more, and what its `finally` blocks ask for is refused.
    with suppress(BaseException):
        coroutine.close()


def _failure(key: str, error: ErrorInfo) -> StepFailed:
    return StepFailed(
        f"step {key!r} failed: {error}", key=key, kind=error.type, kinds=error.kinds or (error.type,), reason=error.code
    )


def _as_recorded(task: TaskDefinition) -> TaskDefinition:
    """Return the task as every later process will read it, so that it is equal to what is recorded."""
    if isinstance(task.workflow, WorkflowDefinition):
        inner = msgspec.msgpack.decode(task.workflow.encoded(), type=WorkflowDefinition)
        task = msgspec.structs.replace(task, workflow=inner)
    return msgspec.msgpack.decode(codec.encode(task), type=TaskDefinition)


def _words(task: TaskDefinition) -> str:
    shown = {
        name: value
        for name, value in msgspec.to_builtins(task).items()
        if name not in ("task_id", "params", "dependencies") and value is not None
    }
    return f"{shown!r:.200}"


def _shown(params: bytes) -> str:
    return f"{codec.decode(params)!r:.200}"


def describe_raised(error: BaseException, function: WorkflowFunction) -> ErrorInfo:
    """Return what the function raised as data, with the line it was raised at: its own, as far as that can be told."""
    found = describe_error(error)
    message = found.message
    if not isinstance(error, AgenticFlowError):
        home = function.function.__code__.co_filename
        place, is_own = "", False
        trace = error.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if not file.startswith(_OURS) and (file == home or not is_own):
                is_own = file == home
                place = f"{PurePath(file).name}:{trace.tb_lineno} in {trace.tb_frame.f_code.co_name}"
            trace = trace.tb_next
        message = f"{found.type}: {message}" if message else found.type
        message = f"{message}, at {place}" if place else message
    if isinstance(error, RuntimeError) and "no running event loop" in message:
        message += ": a workflow awaits only what its context gives, ctx.sleep() and ctx.gather() say; the rest belongs into steps"
    return msgspec.structs.replace(found, message=message, is_permanent=True)


def _place_outside(home: str) -> str:
    """Return the line that asks, as ``file.py:12 in order``: in the file of the function, else the innermost one outside of here."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    asking = frame
    while frame.f_back is not None and not frame.f_code.co_filename.startswith(_OURS):
        if frame.f_code.co_filename == home:
            asking = frame
            break
        frame = frame.f_back
    return f"{PurePath(asking.f_code.co_filename).name}:{asking.f_lineno} in {asking.f_code.co_name}"


def _place_in(coroutine: Any) -> str:
    """Return the line at which a coroutine waits: that of the innermost one it awaits."""
    place = "an unknown line"
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        place = f"{PurePath(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"
        coroutine = coroutine.cr_await
    return place
