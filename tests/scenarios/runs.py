"""A workflow run without an engine: the guest decides, the test plays the world. Every step goes through ``testing.scenarios``, so
purity, refolding and snapshots are checked all along the way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeVar

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import (
    ActivityFinished,
    ActivityStarted,
    Effect,
    ProcessDeath,
    Recovery,
    RunActivity,
    RunChild,
    StopActivity,
    TimersDue,
)
from agenticflow.core.interrupts import Ask, Interrupted, question_in, reply_in
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind, describe_error
from agenticflow.core.values import Values
from agenticflow.errors import CommandRefused, InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration.approvals.requests import Request
from agenticflow.orchestration.chain import Carried
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.guest import WorkflowGuest, run_output, stream_of
from agenticflow.orchestration.interventions.modification import encode_modifications, modifications_of
from agenticflow.orchestration.plan import compile_plan
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.replanning.commands import Propose
from agenticflow.orchestration.replanning.terms import ReplanTerms
from agenticflow.orchestration.state import IN_FLIGHT, RunState, TaskRecord
from agenticflow.orchestration.suspicion.commands import DiscardLetter, RetryLetter
from agenticflow.testing.scenarios import Scenario, given

F = TypeVar("F", bound=Fact)
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
GUEST = WorkflowGuest()
KEPT_ERRORS = ("TaskTimeout", "TemporaryError")


def task(task_id: str, *depends_on: str, **options: Any) -> TaskDefinition:
    """A task of the agent ``agent``, type ``work``, after the tasks ``depends_on``."""
    return TaskDefinition(task_id, "agent", "work", options.pop("params", None), depends_on, **options)


def once(task_id: str, *depends_on: str, **options: Any) -> TaskDefinition:
    """A task that must not run twice."""
    return task(task_id, *depends_on, effect="at_most_once", **options)


def definition_of(tasks: Collection[TaskDefinition], **options: Any) -> WorkflowDefinition:
    return WorkflowDefinition(list(tasks), **options)


def seconds(moment: int | None) -> float | None:
    """Seconds since the run began."""
    return None if moment is None else (moment - START) / SECOND


class Run:
    """One run, from its start. ``now`` stands still until the test moves it."""

    def __init__(
        self,
        *tasks: TaskDefinition,
        input: object = None,
        seed: str = "seed",
        run_no: int = 1,
        carried: Carried | None = None,
        first_generation: int = 0,
        now: int = START,
        scenario: Scenario[RunState] | None = None,
        function: WorkflowFunction | None = None,
        guest: WorkflowGuest | None = None,
        replan: ReplanTerms | None = None,
        **options: Any,
    ) -> None:
        self.now = now
        self.definition = definition_of(tasks, **options) if function is None else function.definition
        self.guest = guest or GUEST
        self.scenario = scenario or given(self.guest, stream_id=stream_of("w", run_no))
        self.state.values = Values()
        self.effects: list[Effect] = []
        """What the last command asked of the world."""
        if scenario is None:
            self.ask(
                c.StartRun(
                    now=now,
                    workflow_id="w",
                    run_no=run_no,
                    definition=compile_plan(self.definition).encoded,
                    input=codec.encode({} if input is None else input),
                    seed=seed,
                    fingerprint="fingerprint",
                    requested_by="somebody",
                    kept=None if carried is None else codec.encode(carried.kept),
                    generations={} if carried is None else carried.generations,
                    signals=None if carried is None else codec.encode(carried.signals),
                    answers=None if carried is None or not carried.answers else codec.encode(carried.answers),
                    first_generation=first_generation,
                    feedback=() if carried is None else tuple(carried.feedback),
                    replan=replan,
                )
            )

    # --- asking -----------------------------------------------------------------------------------------------------

    def ask(self, command: Command) -> list[Fact]:
        """Decide ``command`` as of now; return what became true."""
        before = self.scenario.version
        self.scenario.when(command)
        self.effects = [
            effect
            for number, fact in enumerate(self.scenario.facts)
            for effect in self.guest.effects(self.state, fact, before + number + 1)
        ]
        return self.scenario.facts

    def refused(self, command: Command, match: str = "") -> None:
        """``command`` is refused, in words that contain ``match``."""
        self.scenario.when(command).then_refused(CommandRefused, match)

    def started(self, key: str, *, limit: float | None = None) -> list[Fact]:
        """The handler of ``key`` starts (at-most-once) or has been running for a while."""
        deadline = None if limit is None else self.now + int(limit * SECOND)
        return self.ask(ActivityStarted(now=self.now, task_key=key, token=self.token(key), deadline=deadline))

    def ended(
        self,
        key: str,
        kind: OutcomeKind,
        *,
        value: object = None,
        error: ErrorInfo | None = None,
        token: int | None = None,
        is_abandoned: bool = False,
    ) -> list[Fact]:
        encoded = codec.encode(value) if kind is OutcomeKind.SUCCEEDED else b""
        return self.ask(
            ActivityFinished(
                now=self.now,
                task_key=key,
                token=self.token(key) if token is None else token,
                outcome=Outcome(kind, encoded, error, is_abandoned),
            )
        )

    def succeed(self, *keys: str, value: object = None, token: int | None = None) -> list[Fact]:
        return [fact for key in keys for fact in list(self.ended(key, OutcomeKind.SUCCEEDED, value=value, token=token))]

    def fail(self, key: str, error: BaseException | None = None, *, token: int | None = None) -> list[Fact]:
        """The handler raised ``error``; left out, something another attempt may mend."""
        return self.ended(key, OutcomeKind.FAILED, error=describe_error(error or RuntimeError("it broke")), token=token)

    def fail_for_good(self, key: str) -> list[Fact]:
        return self.ended(key, OutcomeKind.FAILED, error=ErrorInfo("Broken", "for good", is_permanent=True))

    def time_out(self, key: str, *, is_abandoned: bool = False, token: int | None = None) -> list[Fact]:
        error = ErrorInfo("TaskTimeout", "too slow", "timeout", kinds=KEPT_ERRORS)
        return self.ended(key, OutcomeKind.TIMED_OUT, error=error, is_abandoned=is_abandoned, token=token)

    def cancelled(self, key: str) -> list[Fact]:
        """The handler was told to stop, and did."""
        return self.ended(key, OutcomeKind.CANCELLED)

    def pause(self) -> list[Fact]:
        return self.ask(c.Pause(now=self.now, requested_by="somebody"))

    def resume(self) -> list[Fact]:
        return self.ask(c.Resume(now=self.now, requested_by="somebody"))

    def abort(self, reason: str = "enough", grace: float = 10.0) -> list[Fact]:
        return self.ask(c.Abort(now=self.now, requested_by="somebody", reason=reason, grace_seconds=grace))

    def signal(self, name: str, value: object = None) -> list[Fact]:
        return self.ask(c.Signal(now=self.now, signal=name, value=codec.encode(value), requested_by="somebody"))

    def cancel_task(self, task_id: str, *, by: str = "ada", reason: str = "") -> list[Fact]:
        return self.ask(c.CancelTask(now=self.now, task_id=task_id, requested_by=by, reason=reason))

    def skip(self, key: str, *, by: str = "ada", reason: str = "") -> list[Fact]:
        return self.ask(c.SkipTask(now=self.now, task_key=key, requested_by=by, reason=reason))

    def retry(self, key: str, *, by: str = "ada", reason: str = "") -> list[Fact]:
        return self.ask(c.RetryTask(now=self.now, task_key=key, requested_by=by, reason=reason))

    def set_result(self, key: str, value: object = None, *, by: str = "ada", reason: str = "") -> list[Fact]:
        encoded = codec.encode(value)
        return self.ask(c.SetResult(now=self.now, task_key=key, value=encoded, requested_by=by, reason=reason))

    def say(self, feedback: object, key: str = "", *, by: str = "ada") -> list[Fact]:
        encoded = codec.encode(feedback)
        return self.ask(c.GiveFeedback(now=self.now, feedback=encoded, requested_by=by, task_key=key))

    def heard(self, key: str) -> list[object]:
        """What the handler of ``key`` is told that people have said."""
        return [feedback.value for feedback in GUEST.inputs(self.state, key).feedback]

    def modify(self, *given: dict[str, object], by: str = "ada", reason: str = "") -> list[Fact]:
        return self.ask(self.modification(*given, by=by, reason=reason))

    def modification(
        self, *given: dict[str, object], by: str = "ada", reason: str = "", expected_version: int | None = None
    ) -> c.Modify:
        return c.Modify(
            now=self.now,
            modifications=encode_modifications(modifications_of(given)),
            requested_by=by,
            reason=reason,
            definition=self.state.laid_out.content_hash,
            expected_version=expected_version,
        )

    def approve(self, key: str, result: object = None, *, by: str = "ada", comment: str = "") -> list[Fact]:
        encoded = codec.encode({"approved": True} if result is None else result)
        return self.ask(c.Approve(now=self.now, task_key=key, requested_by=by, comment=comment, result=encoded))

    def reject(self, key: str, *, by: str = "ada", comment: str = "", token: int | None = None) -> list[Fact]:
        return self.ask(self.rejecting(key, by=by, comment=comment, token=token))

    def answer(
        self, key: str, value: object = None, *, by: str = "ada", comment: str = "", token: int | None = None
    ) -> list[Fact]:
        """A yes with a value, as the inbox gives it."""
        return self.ask(self.answering(key, value, by=by, comment=comment, token=token))

    def answering(
        self, key: str, value: object = None, *, by: str = "ada", comment: str = "", token: int | None = None
    ) -> c.Approve:
        result = codec.encode({"approved": True, "by": by, "comment": comment, "value": value})
        return c.Approve(now=self.now, task_key=key, requested_by=by, comment=comment, result=result, token=token)

    def rejecting(self, key: str, *, by: str = "ada", comment: str = "", token: int | None = None) -> c.Reject:
        return c.Reject(now=self.now, task_key=key, requested_by=by, comment=comment, token=token)

    def delegating(self, key: str, to: str, *, by: str = "ada", token: int | None = None) -> c.Delegate:
        return c.Delegate(now=self.now, task_key=key, requested_by=by, to=to, token=token)

    def delegate(self, key: str, to: str, *, by: str = "ada") -> list[Fact]:
        return self.ask(self.delegating(key, to, by=by))

    def interrupt(self, task_key: str, value: object = None, *, token: int | None = None, **ask: Any) -> list[Fact]:
        """The handler of ``task_key`` asks a person and stops."""
        ask.setdefault("key", "")
        return self.interrupt_all(task_key, Ask(value=value, **ask), token=token)

    def interrupt_all(self, task_key: str, *asks: Ask, token: int | None = None) -> list[Fact]:
        """The handler of ``task_key`` asks several things at once and stops."""
        encoded = question_in(Interrupted.of(asks), {}, task_key)
        return self.ask(
            ActivityFinished(
                now=self.now,
                task_key=task_key,
                token=self.token(task_key) if token is None else token,
                outcome=Outcome(OutcomeKind.INTERRUPTED, encoded),
            )
        )

    def replies(self, task_key: str) -> dict[str, object]:
        """What the interrupts of the handler of ``task_key`` return."""
        return {key: reply_in(reply).value for key, reply in GUEST.inputs(self.state, task_key).replies.items()}

    def request(self, task_key: str, key: str | None = None) -> Request:
        """The open request of the task, of several the one that its handler asks under ``key``."""
        asked = self.state.requests[task_key]
        return asked[key] if key is not None else next(iter(asked.values()))

    def invalid(self, command: Command, match: str) -> None:
        """``command`` is refused for what is in it, in words that contain ``match``."""
        self.scenario.when(command).then_refused(InvalidInput, match)

    def resolve(
        self, key: str, decision: Literal["completed", "failed", "run_again"], value: object = None, reason: str = ""
    ) -> list[Fact]:
        return self.ask(
            c.Resolve(
                now=self.now,
                task_key=key,
                decision=decision,
                requested_by="somebody",
                value=codec.encode(value),
                reason=reason,
            )
        )

    # --- time -------------------------------------------------------------------------------------------------------

    def wait(self, duration: float) -> list[Fact]:
        """Let time pass as in a healthy engine: every timer is told when it is due."""
        until = self.now + int(duration * SECOND)
        found: list[Fact] = []
        while (due := self.state.next_due) is not None and due <= until:
            self.now = max(self.now, due)
            told = list(self.ask(TimersDue(now=self.now)))
            found.extend(told)
            assert told or self.state.next_due != due, f"the engine would ask again and again about {seconds(due)} s"
        self.now = until
        return found

    def sleep(self, duration: float) -> None:
        """Let time pass while no process looks."""
        self.now += int(duration * SECOND)

    def timers(self) -> list[Fact]:
        """The engine looks which timers are due now."""
        return list(self.ask(TimersDue(now=self.now)))

    # --- restarts ---------------------------------------------------------------------------------------------------

    def crash(self) -> dict[str, RunActivity]:
        """The process died and another takes over: return what it dispatches again, by key."""
        recovery = GUEST.recover(self.state, self.now)
        for command in recovery.commands:
            self.ask(command)
        return {effect.task_key: effect for effect in recovery.effects if isinstance(effect, RunActivity)}

    def die(self, life: str = "first", *, limit: int = 3) -> dict[str, RunActivity]:
        """The process died while it ran this, and another takes over: return what it dispatches again, by key."""
        return self._taken_up(GUEST.recover(self.state, self.now, ProcessDeath(life, START, 4711, limit)))

    def stop(self) -> dict[str, RunActivity]:
        """The process stopped, and another takes over: return what it dispatches again, by key."""
        return self._taken_up(GUEST.recover(self.state, self.now))

    def _taken_up(self, recovery: Recovery) -> dict[str, RunActivity]:
        effects = list(recovery.effects)
        for command in recovery.commands:
            self.ask(command)
            effects += self.effects
        # Its commands are decided together, before any of their effects is performed.
        return {e.task_key: e for e in effects if isinstance(e, RunActivity) and e.task_key in self.in_work}

    def retry_letter(self, key: str, *, by: str = "ada", reason: str = "", token: int | None = None) -> list[Fact]:
        return self.ask(self.letter(RetryLetter, key, by=by, reason=reason, token=token))

    def discard_letter(self, key: str, *, by: str = "ada", reason: str = "", token: int | None = None) -> list[Fact]:
        return self.ask(self.letter(DiscardLetter, key, by=by, reason=reason, token=token))

    def letter(
        self,
        kind: type[RetryLetter | DiscardLetter],
        key: str,
        *,
        by: str = "ada",
        reason: str = "",
        token: int | None = None,
    ) -> RetryLetter | DiscardLetter:
        """A decision about a task in quarantine."""
        given = self.state.suspects[key].token if token is None else token
        return kind(now=self.now, task_key=key, token=given, requested_by=by, reason=reason)

    def propose(
        self, *given: dict[str, object], number: int = 1, problems: tuple[str, ...] = (), reason: str = ""
    ) -> list[Fact]:
        """Whoever plans answers: with modifications, or with why there are none."""
        modifications = encode_modifications(modifications_of(given)) if given else codec.NULL
        return self.ask(
            Propose(
                now=self.now,
                number=number,
                requested_by="replan:planner",
                modifications=modifications,
                reason=reason,
                problems=problems,
            )
        )

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> RunState:
        return self.scenario.state

    @property
    def status(self) -> str:
        return self.state.status.value

    @property
    def in_work(self) -> list[str]:
        """Keys of the attempts that are scheduled or running."""
        return [key for key, record in self.state.tasks.items() if record.status in IN_FLIGHT]

    @property
    def statuses(self) -> dict[str, str]:
        return {key: record.status.value for key, record in self.state.tasks.items()}

    @property
    def due(self) -> float | None:
        """When the next timer is due, in seconds since the start."""
        return seconds(self.state.next_due)

    @property
    def output(self) -> object:
        return run_output(self.state)

    @property
    def dispatched(self) -> dict[str, RunActivity]:
        """Attempts that the last command asked for, by key."""
        return {effect.task_key: effect for effect in self.effects if isinstance(effect, RunActivity)}

    @property
    def children(self) -> dict[str, RunChild]:
        """Sub-workflows that the last command asked for, by key."""
        return {effect.task_key: effect for effect in self.effects if isinstance(effect, RunChild)}

    @property
    def stopped(self) -> list[int]:
        """Tokens of the attempts that the last command told to stop."""
        return [effect.token for effect in self.effects if isinstance(effect, StopActivity)]

    def record(self, key: str) -> TaskRecord:
        return self.state.tasks[key]

    def errors(self, key: str) -> list[ErrorInfo]:
        return list(self.state.tasks[key].errors or ())

    def token(self, key: str) -> int:
        return self.state.tasks[key].token

    def params(self, key: str) -> Mapping[str, object]:
        return GUEST.inputs(self.state, key).params

    def result(self, task_id: str) -> object:
        data = self.state.result_of(task_id)
        assert data is not None, f"{task_id} has no result"
        return codec.decode(data)

    def facts(self, kind: type[F]) -> list[F]:
        """Every fact of this kind so far."""
        return [fact for fact in self.scenario.history if isinstance(fact, kind)]
