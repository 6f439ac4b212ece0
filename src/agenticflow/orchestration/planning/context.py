"""What the function of a workflow as code may ask for: steps, and a time and randomness that are the same again after a crash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, Literal, NoReturn, Protocol, TypedDict, Unpack

import msgspec

from agenticflow.core.engine import EffectClass
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.orchestration.approvals.terms import Approval
from agenticflow.orchestration.definition import Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.planning.awaiting import Branch, FirstOf, Step, Together, Waitable
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.references import literal
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy

__all__ = ["ContinueAsNew", "StepOptions", "WorkflowContext"]

MANY_STEPS: Final = 10_000
"""Steps after which a run had better go on as a new one: a fifth of what its history can hold."""


class StepOptions(TypedDict, total=False):
    """How a step is performed; each as in ``TaskDefinition``."""

    retry_policy: RetryPolicy | Mapping[str, object] | None
    timeout_seconds: float | None
    total_timeout_seconds: float | None
    stall_seconds: float | None
    effect: EffectClass | str
    capabilities: Collection[str]
    priority: int
    locks: Collection[str]
    limits: Collection[Limit]
    compensation: Compensation | str | None
    on_failure: Literal["fail", "reassign"]
    reassign_to: Collection[str]


class ContinueAsNew(BaseException):
    """The function is over, and its workflow goes on in a new run. Not an error: code that catches those does not catch it."""

    def __init__(self, input: object) -> None:
        super().__init__("the workflow continues as new")
        self.input = input


class Asked(Protocol):
    """Who drives the function."""

    workflow_id: str
    run_no: int
    seed: str
    now_ns: int
    turns: int
    is_replaying: bool
    know: Callable[[WorkflowFunction], None]

    def ask(self, task: TaskDefinition, params: Mapping[str, object] | None, *, is_usual: bool = False) -> Step: ...
    def branch(self, coroutine: Coroutine[Any, Any, Any]) -> Branch: ...
    def patched(self, name: str) -> bool: ...
    def is_recorded(self, key: str) -> bool: ...
    def is_kept(self, key: str) -> bool: ...
    def check(self) -> None: ...


class WorkflowContext:
    """Given to the function of a workflow as code.

    The first argument of whatever is recorded is its key: explicit, and once in a run, so that a step is the same step after a crash
    whatever the order of calls. A step begins when it is asked for: ``a = ctx.task(…); b = ctx.task(…)`` run side by side.
    """

    __slots__ = ("_asked", "_drawn")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._drawn = 0

    # --- steps ------------------------------------------------------------------------------------------------------

    def task(
        self, key: str, worker: str, params: Mapping[str, object] | None = None, **options: Unpack[StepOptions]
    ) -> Step:
        """Have ``worker`` do its job: ``await ctx.task("charge", "charge_card", {"amount": 5})``. Returns its step."""
        task = TaskDefinition(key, worker, **options)  # type: ignore[arg-type]  # a definition normalises what is given
        return self._asked.ask(task, _mapping(key, params), is_usual=not options)

    def agent(
        self,
        key: str,
        agent_id: str,
        task_type: str,
        params: Mapping[str, object] | None = None,
        **options: Unpack[StepOptions],
    ) -> Step:
        """Have an agent perform a task: ``await ctx.agent("stock", "warehouse", "reserve", {"item": "A-7"})``. Without an id
        (``""``) the best that has the ``capabilities`` is taken."""
        task = TaskDefinition(key, agent_id, task_type, **options)  # type: ignore[arg-type]  # as above
        return self._asked.ask(task, _mapping(key, params), is_usual=not options)

    def child(
        self,
        key: str,
        workflow: WorkflowFunction | WorkflowDefinition | str,
        input: Mapping[str, object] | None = None,
        *,
        on_cancel: Literal["cascade", "detach"] = "cascade",
        retry_policy: RetryPolicy | None = None,
    ) -> Step:
        """Run another workflow, given itself or by the name it is registered under; its result is what that gives."""
        if isinstance(workflow, WorkflowFunction):
            self._asked.know(workflow)
            workflow = workflow.definition
        task = TaskDefinition(key, workflow=workflow, on_cancel=on_cancel, retry_policy=retry_policy)
        return self._asked.ask(task, _mapping(key, input))

    def sleep(self, key: str, seconds: float) -> Step:
        """Wait that long, over restarts."""
        return self._asked.ask(TaskDefinition.timer(key, seconds), None)

    def signal(self, key: str, name: str | None = None, *, timeout_seconds: float | None = None) -> Step:
        """Wait for the signal ``name`` (by default ``key``); the result is what it carries. One sent earlier counts. When the time is up
        awaiting it raises ``StepFailed`` with ``reason="timeout"``."""
        waits = TaskDefinition.wait_for(key, key if name is None else name, total_timeout_seconds=timeout_seconds)
        return self._asked.ask(waits, None)

    def approval(self, key: str, question: Approval | str, *, timeout_seconds: float | None = None) -> Step:
        """Ask people; the result is what the one who approves gives. When they reject it, awaiting it raises ``StepFailed`` with
        ``reason="rejected"``."""
        asks = TaskDefinition.ask(key, _final(question), total_timeout_seconds=timeout_seconds)
        return self._asked.ask(asks, None)

    # --- several at once --------------------------------------------------------------------------------------------

    def gather(self, *awaitables: Awaitable[Any], return_exceptions: bool = False) -> Together:
        """Wait until all have ended: steps, and coroutines of yours that are run side by side. Gives the results in order.

        When some failed, the error of the first of them in this order is raised, after all have ended; with ``return_exceptions`` errors
        stand in the list instead.
        """
        return Together([self._waitable(one) for one in awaitables], keeps_errors=return_exceptions)

    def first(self, *awaitables: Awaitable[Any], cancel_rest: bool = True) -> FirstOf:
        """Wait until one has ended, and give that one: ``winner = await ctx.first(paid, late)``, then ``winner.result()``.

        The steps among the others are cancelled, unless ``cancel_rest`` is false.
        """
        if not awaitables:
            raise DefinitionError("ctx.first() got nothing to wait for", hint="give it steps")
        return FirstOf([self._waitable(one) for one in awaitables], cancels_rest=cancel_rest)

    def _waitable(self, one: Awaitable[Any]) -> Waitable[Any]:
        if isinstance(one, Waitable):
            return one
        if isinstance(one, Coroutine):
            return self._asked.branch(one)
        raise DefinitionError(
            f"a workflow cannot wait for a {type(one).__name__}", hint="give steps (ctx.task(…)) or coroutines of yours"
        )

    # --- the same again after a crash -------------------------------------------------------------------------------

    @property
    def workflow_id(self) -> str:
        """Id of the workflow."""
        return self._asked.workflow_id

    @property
    def run_no(self) -> int:
        """Number of the run in its chain."""
        return self._asked.run_no

    def now(self) -> datetime:
        """Return the time, in UTC: when the step ended that the function knows last, at first when the run began."""
        self._asked.check()
        return datetime.fromtimestamp(self._asked.now_ns / 1_000_000_000, UTC)

    def random(self) -> float:
        """Return a number from 0 (included) to 1 (not), the same at each repetition and another in each run."""
        return int.from_bytes(self._draw()[:8], "big") / 2**64

    def new_id(self) -> str:
        """Return an id that nothing else has, the same at each repetition: 32 hexadecimal digits."""
        return self._draw().hex()

    def _draw(self) -> bytes:
        self._asked.check()
        self._drawn += 1
        return blake2b(f"{self._asked.seed}/{self._drawn}".encode(), digest_size=16).digest()

    # --- long lives -------------------------------------------------------------------------------------------------

    def patched(self, name: str) -> bool:
        """Return whether the run goes the new way at a change of the code: recorded, true in runs that come here for the first time.

        ``if ctx.patched("check-fraud"): await ctx.task("fraud", …)`` leaves runs that had passed this place on the old way.
        """
        if not isinstance(name, str) or not 0 < len(name) <= 200:
            raise InvalidInput(f"{name!r:.60} is no name of a change", hint="give a text of 1 to 200 characters")
        return self._asked.patched(name)

    def is_recorded(self, key: str) -> bool:
        """Whether the step ``key`` was asked for before, in this life or one before a crash.

        Another answer after a crash than before it, so for one thing only: a check that a run which has passed it needs no more.
        """
        return self._asked.is_recorded(key)

    def is_kept(self, key: str) -> bool:
        """Whether a run before this one, which was resumed or forked, has given the result of the step ``key``: it does not run again.

        The same at each repetition. For who would otherwise do once more what that result has made needless.
        """
        return self._asked.is_kept(key)

    @property
    def is_replaying(self) -> bool:
        """Whether the function repeats what it did before, after a crash: for logging, never for a decision."""
        return self._asked.is_replaying

    @property
    def steps_ended(self) -> int:
        """How many steps of this run have ended, as far as the function knows."""
        return self._asked.turns

    @property
    def should_continue(self) -> bool:
        """Whether the history has grown so long that the workflow had better ``continue_as_new``."""
        return self._asked.turns >= MANY_STEPS

    def continue_as_new(self, input: object) -> NoReturn:
        """End this run and go on in a new one of the same workflow, with this input and an empty history. Open steps are cancelled."""
        self._asked.check()
        raise ContinueAsNew(input)


def _mapping(key: str, params: Mapping[str, object] | None) -> Mapping[str, object] | None:
    if params is None or type(params) is dict:
        return params
    if not isinstance(params, Mapping):
        raise DefinitionError(
            f"params of step {key!r} are a {type(params).__name__}, not a dict",
            hint='write ctx.task("charge", "charge_card", {"amount": 5})',
        )
    return params


def _final(question: Approval | str) -> Approval | str:
    """Return the question with nothing in it that could be taken for a reference: in a function it is complete."""
    if isinstance(question, str):
        return question.replace("${", "$${")
    changed = {name: literal(getattr(question, name)) for name in ("question", "assignees", "arguments")}
    steps = [msgspec.structs.replace(step, to=literal(step.to)) for step in question.escalation]
    return msgspec.structs.replace(question, **changed, escalation=steps)
