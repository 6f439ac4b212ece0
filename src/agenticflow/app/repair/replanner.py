"""``Orchestrator(replan=…)``: who is asked for another plan when a run would fail, and how the answer reaches the run.

The request is recorded before anybody is asked, so a crash in between has it asked again; the first answer that is recorded counts. The run
decides about it: a plan that does not fit is refused with every reason, and the run fails as it would have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from agenticflow.app.engine.assembly import Engine
from agenticflow.core import codec
from agenticflow.core.clocks import Clock
from agenticflow.core.engine import AskForPlan
from agenticflow.core.results import ErrorInfo, describe_error
from agenticflow.core.values import BlobMissing, store_form
from agenticflow.errors import AgenticFlowError, DefinitionError
from agenticflow.orchestration.interventions.modification import (
    Modification,
    decode_modifications,
    encode_modifications,
    modifications_of,
)
from agenticflow.orchestration.repair.planner import FailedRun, NewPlan, Plans, Replanner
from agenticflow.orchestration.replanning.commands import Propose
from agenticflow.orchestration.replanning.terms import ReplanTerms
from agenticflow.orchestration.state import RunState

__all__ = ["Replans"]

log = logging.getLogger("agenticflow.engine")

NANOSECONDS: Final = 1_000_000_000


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
        stored, blobs = store_form(encoded)
        return Propose(
            now=self._clock.now_ns(),
            number=request.number,
            requested_by=replanner.recorded_as,
            modifications=stored,
            reason=plan.reason,
            blobs=blobs,
        )

    def _refusal(self, replanner: Replanner, request: AskForPlan, problems: tuple[str, ...]) -> Propose:
        return Propose(
            now=self._clock.now_ns(), number=request.number, requested_by=replanner.recorded_as, problems=problems
        )


def _last_error(state: RunState, key: str) -> ErrorInfo:
    record = state.tasks.get(key)
    errors = record.errors if record is not None else None
    return errors[-1] if errors else ErrorInfo("Failure", "its parts have failed")
