"""Steering: what somebody may say to a run that goes on. Each call is one command, durable when it returns.

What a run takes, and when, is decided by the run; here arguments are checked, moments stamped and values encoded.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable
from typing import Final

import msgspec

from agenticflow.app.engine.assembly import Engine
from agenticflow.core import codec
from agenticflow.core.clocks import Clock
from agenticflow.core.decider import Command
from agenticflow.core.ids import check_id, check_run
from agenticflow.core.values import store_form
from agenticflow.errors import InvalidInput, StoreUnavailable
from agenticflow.orchestration import commands as c
from agenticflow.orchestration.interventions.intervention import check_words
from agenticflow.runtime.actors import Answer

if typing.TYPE_CHECKING:  # programs without agents that ask a model load nothing of models
    from agenticflow.agents.loop.results import AgentUpdate

__all__ = ["LOCAL_OWNER", "Steering"]

LOCAL_OWNER: Final = "local-owner"


class Steering(ABC):
    """The commands of an orchestrator, by workflow id: each goes to the latest run of its chain.

    All raise ``WorkflowNotFoundError`` for an unknown id, and ``CommandRefused`` when the run does not take them now.
    """

    _clock: Clock
    _engine: Engine | None

    @abstractmethod
    async def _command(self, workflow_id: str, command: Command, command_id: str | None = None) -> Answer:
        """Have ``command`` decided by the latest run of the workflow."""

    @abstractmethod
    async def _bury(self, workflow_id: str) -> None:
        """After an abort: record how attempts ended whose process is gone, if nobody performs here."""

    @abstractmethod
    async def wait(self, workflow_id: str, run_no: int | None = None) -> object:
        """Wait for the end of a run and return its output."""

    def agent_updates(self, workflow_id: str, run_no: int | None = None) -> AsyncIterable[AgentUpdate]:
        """Look at the agents of a run; see ``WorkflowHandle.updates``."""
        check_run(workflow_id, run_no)
        if self._engine is None:
            raise StoreUnavailable(
                "the orchestrator is not started: nothing can be seen", hint="start it: async with …"
            )
        return self._engine.loops.watch(workflow_id, self.wait(workflow_id, run_no))

    async def pause(self, workflow_id: str, *, reason: str = "", paused_by: str = LOCAL_OWNER) -> None:
        """Schedule nothing new in this workflow; work in flight goes on. Raises ``CommandRefused`` when it has ended."""
        check_words(paused_by, reason)
        await self._command(workflow_id, c.Pause(now=self._clock.now_ns(), requested_by=paused_by, reason=reason))

    async def resume(self, workflow_id: str, *, reason: str = "", resumed_by: str = LOCAL_OWNER) -> None:
        """Schedule again after ``pause``."""
        check_words(resumed_by, reason)
        await self._command(workflow_id, c.Resume(now=self._clock.now_ns(), requested_by=resumed_by, reason=reason))

    async def abort(
        self, workflow_id: str, reason: str = "", *, grace_seconds: float = 10.0, aborted_by: str = LOCAL_OWNER
    ) -> None:
        """End the run: nothing starts or advances any more; running handlers get ``grace_seconds`` to stop.

        Returns when that is recorded, before everything has stopped. Raises ``CommandRefused`` when the run has ended.
        """
        check_words(aborted_by, reason)
        if isinstance(grace_seconds, bool) or not isinstance(grace_seconds, (int, float)):
            raise InvalidInput(f"grace_seconds is {grace_seconds!r:.80}", hint="give seconds")
        await self._command(
            workflow_id,
            c.Abort(now=self._clock.now_ns(), requested_by=aborted_by, reason=reason, grace_seconds=grace_seconds),
        )
        await self._bury(workflow_id)

    async def signal(self, workflow_id: str, name: str, value: object = None, *, signal_id: str | None = None) -> None:
        """Send the signal ``name`` with ``value``. It is kept until a task takes it, in order of arrival.

        With a ``signal_id`` sending it again, also after a crash, changes nothing.
        """
        if not isinstance(name, str) or not name:
            raise InvalidInput(f"{name!r:.80} is no name of a signal")
        if signal_id is not None:
            check_id(signal_id, "a signal")
        stored, blobs = store_form(codec.encode(value))
        command = c.Signal(
            now=self._clock.now_ns(),
            signal=name,
            value=stored,
            requested_by=LOCAL_OWNER,
            blobs=blobs,
        )
        await self._command(workflow_id, command, None if signal_id is None else f"signal:{workflow_id}:{signal_id}")

    async def cancel_task(
        self, workflow_id: str, task_id: str, *, reason: str = "", cancelled_by: str = LOCAL_OWNER
    ) -> None:
        """Go on without this task: what it has in work is told to stop, and what depends on it finds it skipped.

        Raises ``InvalidInput`` for an unknown task, ``CommandRefused`` when it has ended.
        """
        check_words(cancelled_by, reason, task_id)
        command = c.CancelTask(now=self._clock.now_ns(), task_id=task_id, requested_by=cancelled_by, reason=reason)
        await self._command(workflow_id, command)

    async def approve(
        self,
        workflow_id: str,
        task_key: str,
        *,
        value: object = None,
        comment: str = "",
        approved_by: str = LOCAL_OWNER,
    ) -> None:
        """Say yes to what the task asks now; its result is ``{"approved": True, "by": …, "comment": …, "value": …}``.

        For who knows the task; ``approvals`` has everything that waits, by id. Raises ``CommandRefused`` when it does not wait for an
        answer or ``approved_by`` may not give it, ``InvalidInput`` for a value that does not fit.
        """
        check_words(approved_by, comment, task_key)
        answer = {"approved": True, "by": approved_by, "comment": comment, "value": value}
        stored, blobs = store_form(codec.encode(answer))
        command = c.Approve(
            now=self._clock.now_ns(),
            task_key=task_key,
            requested_by=approved_by,
            comment=comment,
            result=stored,
            blobs=blobs,
        )
        await self._command(workflow_id, command)

    async def reject(
        self, workflow_id: str, task_key: str, *, comment: str = "", rejected_by: str = LOCAL_OWNER
    ) -> None:
        """Say no to what the task asks: it has failed. Raises ``CommandRefused`` when it does not wait for an answer."""
        check_words(rejected_by, comment, task_key)
        command = c.Reject(now=self._clock.now_ns(), task_key=task_key, requested_by=rejected_by, comment=comment)
        await self._command(workflow_id, command)

    async def resolve(
        self,
        workflow_id: str,
        task_key: str,
        decision: str,
        *,
        value: object = None,
        reason: str = "",
    ) -> None:
        """Say what became of at-most-once work whose outcome is unknown: ``"completed"`` (with its ``value``), ``"failed"``, or
        ``"run_again"``. Raises ``CommandRefused`` when nothing is in question there."""
        check_words(LOCAL_OWNER, reason, task_key)
        if decision not in ("completed", "failed", "run_again"):
            raise InvalidInput(f"{decision!r:.80} is no decision", hint="say 'completed', 'failed' or 'run_again'")
        stored, blobs = store_form(codec.encode(value))
        command = msgspec.convert(
            {
                "now": self._clock.now_ns(),
                "task_key": task_key,
                "decision": decision,
                "requested_by": LOCAL_OWNER,
                "value": stored,
                "reason": reason,
                "blobs": blobs,
            },
            c.Resolve,
        )
        await self._command(workflow_id, command)
