"""``Orchestrator(replan=…)``: who is asked for another plan when a run would fail, and how the answer reaches the run.

The request is recorded before anybody is asked, so a crash in between has it asked again; the first answer that is recorded counts. The run
decides about it: a plan that does not fit is refused with every reason, and the run fails as it would have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from agenticflow.app.engine.assembly import Engine
from agenticflow.core import codec
from agenticflow.core.clocks import Clock
from agenticflow.core.engine import AskForPlan
from agenticflow.core.results import ErrorInfo, describe_error
from agenticflow.core.values import BlobMissing, store_form
from agenticflow.errors import AgenticFlowError, DefinitionError, InvalidInput
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.interventions.modification import (
    Modification,
    decode_modifications,
    encode_modifications,
    modifications_of,
)
from agenticflow.orchestration.replanning.commands import Propose
from agenticflow.orchestration.replanning.terms import ReplanTerms
from agenticflow.orchestration.state import RunState, TaskStatus

__all__ = ["FailedRun", "NewPlan", "Plans", "Replanner", "Replans"]

log = logging.getLogger("agenticflow.engine")

NANOSECONDS: Final = 1_000_000_000
MAX_REPLANS: Final = 100
MAX_SECONDS: Final = 86_400.0


class FailedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that would fail now."""

    workflow_id: str
    run_no: int
    number: int
    """Which time it asks, from 1."""
    key: str
    """Equal whenever the same is asked again, after a crash: to ask a model once."""
    failed: Mapping[str, ErrorInfo]
    """The last error of each failed task, by task key."""
    statuses: Mapping[str, TaskStatus]
    """Of every task that anything has become of, by task key."""
    definition: WorkflowDefinition
    """As it is now."""
    input: object


class NewPlan(msgspec.Struct, frozen=True):
    """Changes with which the run goes on, and why: ``[{"add": task}, {"replace": task}, {"remove": "task_id"}]``.

    They may touch what has not started, and replace or remove what has failed for good.
    """

    modifications: object
    reason: str = ""


Plans = Callable[[FailedRun], Awaitable[object]]
"""Gets a run that would fail; returns a ``NewPlan``, a list of modifications, or ``None`` to let it fail."""


class Replanner(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked for another plan. Raises ``InvalidInput`` for what makes no sense."""

    plans: Plans
    name: str = ""
    """Recorded with the plan; by default the name of the function."""
    timeout_seconds: float = 60.0
    """Then the run fails."""
    max_replans: int = 3
    """Of one run."""
    workflows: tuple[str, ...] = ()
    """Names of the workflows it plans for; empty for all."""

    def __post_init__(self) -> None:
        if not callable(self.plans):
            raise InvalidInput(
                f"a replanner is given {self.plans!r:.80}", hint="give it an async function of a FailedRun"
            )
        if not _is_number(self.timeout_seconds) or not 0 < self.timeout_seconds <= MAX_SECONDS:
            raise InvalidInput(
                f"timeout_seconds of a replanner is {self.timeout_seconds!r}",
                hint=f"give up to {MAX_SECONDS:,.0f} seconds",
            )
        is_count = isinstance(self.max_replans, int) and not isinstance(self.max_replans, bool)
        if not is_count or not 1 <= self.max_replans <= MAX_REPLANS:
            raise InvalidInput(
                f"max_replans of a replanner is {self.max_replans!r}",
                hint=f"give a whole number from 1 to {MAX_REPLANS}",
            )

    @property
    def recorded_as(self) -> str:
        """Who a plan of it is recorded to be by."""
        return f"replan:{self.name or getattr(self.plans, '__name__', type(self.plans).__name__)}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Replans:
    """Asks the replanner of an orchestrator, one task of the event loop for each request."""

    def __init__(
        self,
        replan: Replanner | Plans | None,
        clock: Clock,
        unperformed: Callable[[Sequence[Modification]], list[str]],
    ) -> None:
        self._replanner = replan if replan is None or isinstance(replan, Replanner) else Replanner(plans=replan)
        self._clock = clock
        self._unperformed = unperformed
        self._engine: Engine | None = None
        self._asked: dict[tuple[str, int], asyncio.Task[None]] = {}

    def terms_of(self, name: str) -> ReplanTerms | None:
        """Return how a run of the workflow ``name`` that starts now asks, ``None`` when it does not."""
        replanner = self._replanner
        if replanner is None or (replanner.workflows and name not in replanner.workflows):
            return None
        return ReplanTerms(replanner.max_replans, float(replanner.timeout_seconds))

    def begin(self, engine: Engine) -> None:
        """Take requests of ``engine`` from now on."""
        if self._replanner is not None:
            self._engine = engine
            engine.launches.replan = self.terms_of
            engine.dispatcher.plan_with(self._take)

    async def end(self) -> None:
        """Ask nobody any more; what is open is asked again after the next start."""
        self._engine = None
        asked = list(self._asked.values())
        for task in asked:
            task.cancel()
        if asked:
            await asyncio.wait(asked, timeout=1)

    def _take(self, stream_id: str, request: AskForPlan) -> None:
        key = (stream_id, request.number)
        engine, replanner = self._engine, self._replanner
        if engine is None or replanner is None or key in self._asked:
            return
        task = asyncio.get_running_loop().create_task(self._ask(engine, replanner, stream_id, request))
        self._asked[key] = task
        task.add_done_callback(lambda _: self._asked.pop(key, None))

    async def _ask(self, engine: Engine, replanner: Replanner, stream_id: str, request: AskForPlan) -> None:
        left = (request.due - self._clock.now_ns()) / NANOSECONDS
        if left <= 0:
            return  # the run is told the time, and fails
        try:
            async with asyncio.timeout(left):
                state: RunState = await engine.host.read(stream_id)
                answer = await replanner.plans(await self._failed_run(engine, state, request.number))
            command = self._propose(replanner, request, answer)
        except TimeoutError:
            log.warning("%s has not planned for %s in time", replanner.recorded_as, stream_id)
            return
        except Exception as error:  # noqa: BLE001 - whatever it raises is its answer: there is no other plan
            problems = tuple(error.problems) if isinstance(error, DefinitionError) else (str(describe_error(error)),)
            command = self._refusal(replanner, request, problems)
        try:
            await engine.host.submit(stream_id, command)
            refused = (await engine.host.read(stream_id)).replanning
        except AgenticFlowError as error:
            log.error("the plan of %s for %s was not recorded: %s", replanner.recorded_as, stream_id, error)
            return
        if refused is not None and refused.asked == request.number and refused.problems:
            log.warning("%s has no plan for %s: %s", replanner.recorded_as, stream_id, "; ".join(refused.problems))

    async def _failed_run(self, engine: Engine, state: RunState, number: int) -> FailedRun:
        failed = () if state.replanning is None else state.replanning.failed
        return FailedRun(
            workflow_id=state.workflow_id,
            run_no=state.run_no,
            number=number,
            key=f"{state.stream_id}#{number}",
            failed={key: _last_error(state, key) for key in failed},
            statuses={key: record.status for key, record in state.tasks.items()},
            definition=state.laid_out.definition,
            input=await self._input(engine, state),
        )

    async def _input(self, engine: Engine, state: RunState) -> object:
        with state.values.gathering():
            while True:
                try:
                    return codec.decode(state.values.resolve(state.input))
                except BlobMissing as missing:
                    await engine.host.fetch(state.stream_id, missing)

    def _propose(self, replanner: Replanner, request: AskForPlan, answer: Any) -> Propose:
        plan = answer if isinstance(answer, NewPlan) else NewPlan(answer)
        if plan.modifications is None:
            return self._refusal(replanner, request, ("there is no other plan",))
        encoded = encode_modifications(modifications_of(plan.modifications))
        if problems := self._unperformed(decode_modifications(encoded)):
            return self._refusal(replanner, request, tuple(problems))
        stored, blob = store_form(encoded)
        return Propose(
            now=self._clock.now_ns(),
            number=request.number,
            requested_by=replanner.recorded_as,
            modifications=stored,
            reason=plan.reason,
            blobs=() if blob is None else (blob,),
        )

    def _refusal(self, replanner: Replanner, request: AskForPlan, problems: tuple[str, ...]) -> Propose:
        return Propose(
            now=self._clock.now_ns(), number=request.number, requested_by=replanner.recorded_as, problems=problems
        )


def _last_error(state: RunState, key: str) -> ErrorInfo:
    record = state.tasks.get(key)
    errors = record.errors if record is not None else None
    return errors[-1] if errors else ErrorInfo("Failure", "its parts have failed")
