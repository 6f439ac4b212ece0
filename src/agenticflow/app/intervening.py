"""Stepping in: what a person may change in a run that goes on. Each call is one command, durable when it returns.

What a run takes, and when, is decided by the run; here arguments are checked, moments stamped and values encoded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from agenticflow.app.steering import LOCAL_OWNER, Steering
from agenticflow.core import codec
from agenticflow.core.values import store_form
from agenticflow.errors import InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration.comparison import Difference
from agenticflow.orchestration.interventions.intervention import UserIntervention

__all__ = ["Intervening"]


class Intervening(Steering):
    """All raise ``WorkflowNotFoundError`` for an unknown workflow, ``InvalidInput`` for an unknown task, and ``CommandRefused`` when the
    run, or the task, does not take it now: the refusal says why, and what is possible."""

    async def skip_task(
        self, workflow_id: str, task_key: str, *, reason: str = "", skipped_by: str = LOCAL_OWNER
    ) -> None:
        """Go on as if the condition of the task did not hold: what depends on it follows its join.

        For a task that nobody works on and that has no result: not started, waiting, between two attempts, failed for good, or in
        question. In this run only: the next run of the workflow would run it.
        """
        now = self._clock.now_ns()
        await self._command(workflow_id, c.SkipTask(now=now, task_key=task_key, requested_by=skipped_by, reason=reason))

    async def retry_task(
        self, workflow_id: str, task_key: str, *, reason: str = "", retried_by: str = LOCAL_OWNER
    ) -> None:
        """Try a task now: one whose next attempt is due later, or one that has failed for good, which gets all its attempts again.

        It is the same work: the effect key stays. Of a map or a loop that has failed, what failed of it is tried again.
        """
        now = self._clock.now_ns()
        await self._command(
            workflow_id, c.RetryTask(now=now, task_key=task_key, requested_by=retried_by, reason=reason)
        )

    async def set_result(
        self, workflow_id: str, task_key: str, value: object = None, *, reason: str = "", given_by: str = LOCAL_OWNER
    ) -> None:
        """Take ``value`` as the result of a task that nobody works on: the run goes on as if a handler had returned it.

        Raises ``NotSerializable`` and ``BoundExceeded`` for what no handler could return.
        """
        stored, blob = store_form(codec.encode(value))
        command = c.SetResult(
            now=self._clock.now_ns(),
            task_key=task_key,
            value=stored,
            requested_by=given_by,
            reason=reason,
            blobs=() if blob is None else (blob,),
        )
        await self._command(workflow_id, command)

    async def give_feedback(
        self, workflow_id: str, feedback: object, *, task_key: str = "", given_by: str = LOCAL_OWNER
    ) -> None:
        """Tell the handlers of a run something: text or data, at most 16 KiB, at most 100 times.

        Handlers that run find it in ``context.feedback`` when they look, those that start later from the beginning, also after a crash
        and in the next run. With a ``task_key`` it is for that task only. Sub-workflows are runs of their own and do not hear it.
        """
        command = c.GiveFeedback(
            now=self._clock.now_ns(), feedback=codec.encode(feedback), requested_by=given_by, task_key=task_key
        )
        await self._command(workflow_id, command)

    async def intervene(self, workflow_id: str, intervention: UserIntervention) -> Sequence[Difference]:
        """Do what a person asks; return how that changes the definition, which only ``modify`` does.

        Raises ``UnsupportedInterventionError`` for an unknown type, naming those there are, ``InvalidInput`` when something it needs is
        missing, and what the call itself raises.
        """
        if not isinstance(intervention, UserIntervention):
            raise InvalidInput(
                f"intervene got a {type(intervention).__name__}",
                hint='give it a UserIntervention("skip", "ada", task_key="report")',
            )
        return await _BY_TYPE[intervention.checked().type](self, workflow_id, intervention) or ()


_Way = Callable[[Any, str, UserIntervention], Awaitable[Sequence[Difference] | None]]
_BY_TYPE: Final[Mapping[str, _Way]] = {
    "pause": lambda o, w, i: o.pause(w, reason=i.reason or "", paused_by=i.user_id),
    "resume": lambda o, w, i: o.resume(w, reason=i.reason or "", resumed_by=i.user_id),
    "abort": lambda o, w, i: o.abort(w, i.reason or "", aborted_by=i.user_id),
    "skip": lambda o, w, i: o.skip_task(w, i.task_key, reason=i.reason or "", skipped_by=i.user_id),
    "retry": lambda o, w, i: o.retry_task(w, i.task_key, reason=i.reason or "", retried_by=i.user_id),
    "set_result": lambda o, w, i: o.set_result(w, i.task_key, i.value, reason=i.reason or "", given_by=i.user_id),
    "cancel_task": lambda o, w, i: o.cancel_task(w, i.task_key, reason=i.reason or "", cancelled_by=i.user_id),
    "approve": lambda o, w, i: o.approve(w, i.task_key, value=i.value, comment=i.reason or "", approved_by=i.user_id),
    "answer": lambda o, w, i: o.approve(w, i.task_key, value=i.value, comment=i.reason or "", approved_by=i.user_id),
    "inject_feedback": lambda o, w, i: o.give_feedback(w, i.feedback, task_key=i.task_key or "", given_by=i.user_id),
    "reject": lambda o, w, i: o.reject(w, i.task_key, comment=i.reason or "", rejected_by=i.user_id),
}
