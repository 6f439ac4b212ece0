"""The functions that are known here, and what those of a run say next: facts for the run decider.

A run whose function is not known, or does not repeat what is recorded, stands still and says so (``waits_for``); it goes on when the right
one is there. Everything else about the run, steering and ending it included, goes on as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.types import MAX_INLINE_BYTES
from agenticflow.core.values import store_form
from agenticflow.errors import BoundExceeded, DefinitionError, InvariantError, NotSerializable
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.planning.context import ContinueAsNew
from agenticflow.orchestration.planning.driving import Drive, describe_raised
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.state import Phase, RunState

__all__ = ["Planners"]

MAX_FACT_BYTES: Final = 128 * 1024
MAX_CANCELS: Final = 1_000


def _nothing() -> object:
    return None


def _done() -> None:
    """Nobody asks again."""


def _nobody(_: object) -> None:
    """Nobody is told: whoever asks finds what a run waits for in ``waits_for``."""


class Planners:
    """Workflow functions by name and version.

    ``enter`` is called before each of their turns, ``leave`` with what that gave after it; ``say`` is told when a run stands still.
    """

    def __init__(
        self,
        enter: Callable[[], object] = _nothing,
        leave: Callable[[Any], None] = _nobody,
        say: Callable[[str], None] = _nobody,
    ) -> None:
        self._enter, self._leave = enter, leave
        self._say = say
        self._functions: dict[tuple[str, str], WorkflowFunction] = {}
        self._stuck: dict[str, str] = {}
        self._wanted: dict[str, tuple[str, str]] = {}
        """Name and version of the functions that runs wait for, by stream."""
        self.on_wanted: Callable[[], None] = _done
        """Called when a function has become known that a run waits for: somebody should ask those that are ``stuck`` again."""

    def add(self, function: WorkflowFunction) -> None:
        """Know ``function`` under its name and version. Raises ``DefinitionError`` when another one has both."""
        key = function.name, function.version
        known = self._functions.get(key)
        if known is not None and known is not function and known.definition != function.definition:
            raise DefinitionError(
                f"there is another version {function.version!r} of workflow {function.name!r} already",
                hint='give the new one another version: @workflow(version="2")',
            )
        self._functions[key] = function

    def waits_for(self, stream_id: str) -> str | None:
        """Return what the function of a run waits for before it can go on, in words; ``None`` when it can."""
        return self._stuck.get(stream_id)

    def forget(self, stream_id: str) -> None:
        """The run waits for no function any more: it goes on, or ends."""
        self._stuck.pop(stream_id, None)
        self._wanted.pop(stream_id, None)

    def stuck(self) -> list[str]:
        """Return the streams whose functions cannot go on."""
        return list(self._stuck)

    def plan(self, state: RunState) -> Sequence[Fact]:
        """Return what the function of the run says next; empty when it waits, or cannot go on. Raises ``BlobMissing``."""
        planning = state.planning
        if planning is None or state.phase is not Phase.RUNNING or planning.closed is not None:
            return ()
        drive = planning.drive
        if drive is None:
            function = self._find(state.laid_out.definition)
            if function is None:
                pinned = state.laid_out.definition
                self._wanted[state.stream_id] = (pinned.name, pinned.version)
                self._stop(state, self._unknown(state.laid_out.definition))
                return ()
            self._wanted.pop(state.stream_id, None)
            given = codec.decode(state.values.resolve(state.input))
            drive = planning.drive = Drive(function, state, given, self.add)
        if not isinstance(drive, Drive):
            raise InvariantError(f"the function of run {state.stream_id!r} is driven by somebody else")
        if drive.is_behind:
            token = self._enter()
            try:
                drive.catch_up(planning.settled)
            finally:
                self._leave(token)
            if self._wanted and not self._functions.keys().isdisjoint(self._wanted.values()):
                self.on_wanted()  # that of a child, most likely
        if drive.problem is not None:
            self._stop(state, drive.problem.message)
            return ()
        if self._stuck:
            self.forget(state.stream_id)
        return _facts(state, drive) if drive.steps or drive.has_news else ()

    def _find(self, pinned: WorkflowDefinition) -> WorkflowFunction | None:
        return self._functions.get((pinned.name, pinned.version))

    def _unknown(self, pinned: WorkflowDefinition) -> str:
        versions = sorted(version for name, version in self._functions if name == pinned.name)
        known = f"here are {', '.join(map(repr, versions))}" if versions else "no version of it is known here"
        return f"its function, version {pinned.version!r} of the workflow {pinned.name!r}, is not registered: {known}"

    def _stop(self, state: RunState, words: str) -> None:
        if self._stuck.get(state.stream_id) != words:
            self._stuck[state.stream_id] = words
            self._say(f"run {state.run_no} of workflow {state.workflow_id!r} stands still: {words}")


def _facts(state: RunState, drive: Drive) -> Sequence[Fact]:
    """Return what ``drive`` asks for and is not recorded. It is asked for until it is (``planning.folding``)."""
    after = drive.turns
    if drive.outcome.is_settled:
        # Nobody waits for what was asked for in the last moment: it does not begin.
        drive.recorded(steps=len(drive.steps), cancels=len(drive.cancels))
        return (*(f.PatchMarked(after, name) for name in drive.patches), _closed(state, drive))
    for name, data in drive.made:
        state.values.put(name, data)
    if len(drive.steps) == 1 and not (drive.patches or drive.cancels):  # nearly always
        return (f.StepsPlanned(after, (drive.steps[0],)),)
    found: list[Fact] = [f.PatchMarked(after, name) for name in drive.patches]
    found.extend(f.StepsPlanned(after, part) for part in _parts(drive.steps))
    cancels = drive.cancels
    found.extend(
        f.StepsPlanned(after, (), tuple(cancels[start : start + MAX_CANCELS]))
        for start in range(0, len(cancels), MAX_CANCELS)
    )
    return found


def _parts(steps: Sequence[f.PlannedStep]) -> Iterator[tuple[f.PlannedStep, ...]]:
    """Yield the steps in portions that fit into an event."""
    part: list[f.PlannedStep] = []
    size = 0
    for step in steps:
        more = len(codec.encode(step))
        if part and size + more > MAX_FACT_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(step)
        size += more
    if part:
        yield tuple(part)


def _closed(state: RunState, drive: Drive) -> f.PlanClosed:
    error = drive.outcome.error
    if error is None:
        return _with_value(state, drive, "returned", drive.outcome.result())
    if isinstance(error, ContinueAsNew):
        return _with_value(state, drive, "continued", error.input)
    return f.PlanClosed(after=drive.turns, how="raised", error=describe_raised(error, drive.function))


def _with_value(state: RunState, drive: Drive, how: Literal["returned", "continued"], value: object) -> f.PlanClosed:
    try:
        data = codec.encode(value)
        stored, blobs = store_form(data)
        if blobs and how == "continued":
            raise BoundExceeded(
                f"continue_as_new gives {len(data):,} bytes, above the limit of {MAX_INLINE_BYTES:,}",
                hint="hand on where the data is, not the data",
            )
    except (NotSerializable, BoundExceeded) as error:
        return f.PlanClosed(after=drive.turns, how="raised", error=describe_raised(error, drive.function))
    if blobs:
        drive.made = list(blobs)
        for blob in blobs:
            state.values.put(*blob)
    return f.PlanClosed(after=drive.turns, how=how, value=msgspec.Raw(stored))
