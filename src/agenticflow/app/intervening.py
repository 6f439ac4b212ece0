"""Stepping in: what a person may change in a run that goes on. Each call is one command, durable when it returns.

What a run takes, and when, is decided by the run; here arguments are checked, moments stamped and values encoded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from agenticflow.app.registration.workflows import Workflows
from agenticflow.app.steering import LOCAL_OWNER, Steering
from agenticflow.core import codec
from agenticflow.core.engine import Performer
from agenticflow.core.values import store_form
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration.comparison import Difference
from agenticflow.orchestration.interventions.checking import demand_version, problems_of
from agenticflow.orchestration.interventions.difference import differences
from agenticflow.orchestration.interventions.intervention import ALL_TASKS, UserIntervention, check_words
from agenticflow.orchestration.interventions.modification import (
    Modification,
    decode_modifications,
    encode_modifications,
    modifications_of,
)
from agenticflow.orchestration.interventions.moments import not_now
from agenticflow.orchestration.state import Phase, RunState

__all__ = ["Intervening"]

T = TypeVar("T")


class Intervening(Steering):
    """The interventions of an orchestrator.

    All raise ``WorkflowNotFoundError`` for an unknown workflow, ``InvalidInput`` for an unknown task, and ``CommandRefused`` when the
    run, or the task, does not take it now: the refusal says why, and what is possible.
    """

    _performs: bool
    _performers: dict[str, Performer]
    _workflows: Workflows

    @abstractmethod
    async def _look(self, workflow_id: str, read: Callable[[RunState], T]) -> T:
        """Return what ``read`` finds in the state of the latest run of the workflow."""

    async def skip_task(
        self, workflow_id: str, task_key: str, *, reason: str = "", skipped_by: str = LOCAL_OWNER
    ) -> None:
        """Go on as if the condition of the task did not hold: what depends on it follows its join.

        For a task that nobody works on and that has no result: not started, waiting, between two attempts, failed for good, or in
        question. In this run only: the next run of the workflow would run it.
        """
        check_words(skipped_by, reason, task_key)
        now = self._clock.now_ns()
        await self._command(workflow_id, c.SkipTask(now=now, task_key=task_key, requested_by=skipped_by, reason=reason))

    async def retry_task(
        self, workflow_id: str, task_key: str, *, reason: str = "", retried_by: str = LOCAL_OWNER
    ) -> None:
        """Try a task now: one whose next attempt is due later, or one that has failed for good, which gets all its attempts again.

        It is the same work: the effect key stays. Of a map or a loop that has failed, what failed of it is tried again.
        """
        check_words(retried_by, reason, task_key)
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
        check_words(given_by, reason, task_key)
        stored, blobs = store_form(codec.encode(value))
        command = c.SetResult(
            now=self._clock.now_ns(),
            task_key=task_key,
            value=stored,
            requested_by=given_by,
            reason=reason,
            blobs=blobs,
        )
        await self._command(workflow_id, command)

    async def give_feedback(
        self,
        workflow_id: str,
        feedback: object,
        *,
        task_key: str = "",
        reason: str = "",
        given_by: str = LOCAL_OWNER,
    ) -> None:
        """Tell the handlers of a run something: text or data, at most 16 KiB, at most 100 times.

        Handlers that run find it in ``context.feedback`` when they look, those that start later from the beginning, also after a crash
        and in the next run. With a ``task_key`` it is for that task only. Sub-workflows are runs of their own and do not hear it.
        """
        check_words(given_by, reason, ALL_TASKS if task_key == "" else task_key)
        if feedback is None or (isinstance(feedback, str) and not feedback.strip()):
            raise InvalidInput("the feedback says nothing", hint="give text or data for the handlers")
        command = c.GiveFeedback(
            now=self._clock.now_ns(),
            feedback=codec.encode(feedback),
            requested_by=given_by,
            task_key=task_key,
            reason=reason,
        )
        await self._command(workflow_id, command)

    async def modify_workflow(
        self,
        workflow_id: str,
        modifications: object,
        *,
        reason: str = "",
        modified_by: str = LOCAL_OWNER,
        expected_version: int | None = None,
        dry_run: bool = False,
    ) -> Sequence[Difference]:
        """Change tasks that have not started: ``[{"add": task}, {"replace": task}, {"remove": "task_id"}]``, all or none of it.

        A task is a ``TaskDefinition``, or the same as plain data. Returns what changes, one line each; with ``dry_run`` nothing is
        recorded. An added task whose dependencies are met starts at once. The next run of the workflow goes on with the new definition.

        Raises ``DefinitionError`` with every mistake, against the run as it stands; ``CommandRefused`` when its stream is not at
        ``expected_version``, or somebody else modified it in the same moment.
        """
        check_words(modified_by, reason)
        encoded = encode_modifications(modifications_of(modifications))
        wanted = decode_modifications(encoded)
        unperformed = self._unperformed(wanted)

        def look(state: RunState) -> tuple[str, list[Difference], list[str]]:
            if state.phase is not Phase.RUNNING:
                raise not_now(state, c.Modify.words)
            demand_version(state, expected_version)
            found = [*problems_of(state, wanted), *unperformed]
            return state.laid_out.content_hash, differences(state.laid_out.described(), wanted), found

        seen, changes, problems = await self._look(workflow_id, look)
        if problems:
            raise DefinitionError(
                f"workflow {workflow_id!r} cannot be modified so: {'; '.join(problems)}", problems=problems
            )
        stored, blobs = store_form(encoded)
        if not dry_run:
            command = c.Modify(
                now=self._clock.now_ns(),
                modifications=stored,
                requested_by=modified_by,
                reason=reason,
                definition=seen,
                expected_version=expected_version,
                blobs=blobs,
            )
            await self._command(workflow_id, command)
        return changes

    def _unperformed(self, modifications: Sequence[Modification]) -> list[str]:
        """Return, in words, which of the new tasks nobody here performs: a slip while the run goes on, not a plan."""
        problems: list[str] = []
        for task in (one.task for one in modifications if one.task is not None and self._performs):
            performer = self._performers.get(task.agent_id)
            if isinstance(task.workflow, str) and task.workflow not in self._workflows.by_name:
                problems.append(f"task {task.task_id!r} is a workflow {task.workflow!r}, which is not registered here")
            elif task.agent_id and performer is None:
                problems.append(f"task {task.task_id!r} is for {task.agent_id!r}, which is not registered here")
            elif performer is not None and performer.handler_for(task.task_type or "") is None:
                problems.append(f"task {task.task_id!r}: {task.agent_id!r} has no handler for {task.task_type!r}")
        return problems

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
    "inject_feedback": lambda o, w, i: o.give_feedback(
        w, i.feedback, task_key=i.task_key or "", reason=i.reason or "", given_by=i.user_id
    ),
    "modify": lambda o, w, i: o.modify_workflow(
        w,
        i.modifications,
        reason=i.reason or "",
        modified_by=i.user_id,
        expected_version=i.expected_version,
        dry_run=i.dry_run,
    ),
    "reject": lambda o, w, i: o.reject(w, i.task_key, comment=i.reason or "", rejected_by=i.user_id),
}
