"""Definitions: what a workflow is, as immutable data that is hashed, stored with the run, and written as YAML or JSON.

Nothing here runs. A definition refuses options that do not go together; ``validate`` in ``orchestration.validation`` checks the whole of it
before anything starts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from agenticflow.core import codec
from agenticflow.core.engine import EffectClass
from agenticflow.errors import DefinitionError, NotSerializable
from agenticflow.orchestration.approvals.terms import Approval, in_order
from agenticflow.resilience.budgets.amounts import Budget
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy

__all__ = [
    "DEFAULT_ITERATIONS",
    "DEFAULT_RETRY",
    "Choice",
    "Compensation",
    "Join",
    "TaskDefinition",
    "WorkflowDefinition",
]

DEFAULT_RETRY: Final = RetryPolicy()
DEFAULT_ITERATIONS: Final = 100
"""How often a loop that gives no limit runs."""
MAX_ITERATIONS: Final = 10_000
MAX_ID_CHARS: Final = 200
MAX_NAMES: Final = 100
_NO_RETRY: Final = RetryPolicy(max_attempts=1)
_RIGHT_CALL: Final = (
    'write TaskDefinition("task_id", "agent_id", "task_type", {"name": "value"}, dependencies={"other_task"})'
)

Join = Literal["all", "any", "settled"] | int


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way out of a choice: the task ``then`` is chosen when the condition ``when`` holds; without one, when no other way was."""

    then: str
    when: str | None = None


class Compensation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What undoes a task that was completed, when its run fails or is aborted.

    ``params`` may refer to what the task could refer to and to its own result; left out, it is given what the task was given. With
    ``effect="at_most_once"`` it is never run twice by itself: an outcome that nobody knows waits for a person.
    """

    agent_id: str
    task_type: str | None = None
    params: Mapping[str, object] | None = None
    retry_policy: RetryPolicy | None = None
    timeout_seconds: float | None = 300
    effect: EffectClass = EffectClass.IDEMPOTENT

    def __post_init__(self) -> None:
        try:
            msgspec.structs.force_setattr(self, "effect", EffectClass(self.effect))
        except ValueError:
            raise DefinitionError(
                f"the effect of a compensation is {self.effect!r:.60}",
                hint=f"there are {', '.join(one.value for one in EffectClass)}",
            ) from None
        retry = self.retry_policy
        if self.effect is EffectClass.AT_MOST_ONCE and isinstance(retry, RetryPolicy) and retry.max_attempts > 1:
            raise DefinitionError(
                f"a compensation by {self.agent_id!r:.60} is at_most_once and cannot have {retry.max_attempts} attempts",
                hint="leave retry_policy out, or make it idempotent with the effect key",
            )


class _TaskHead(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The arguments of a task that may be given by position."""

    task_id: str
    agent_id: str = ""
    task_type: str | None = None
    params: Mapping[str, object] | None = None
    dependencies: Collection[str] = ()


class TaskDefinition(_TaskHead, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One node of a workflow: who performs what, with which params, after which other tasks.

    ``TaskDefinition("report", "reporter", "create_report", {"rows": "${load.rows}"}, dependencies={"load"})``. For a worker, which has
    one job, ``task_type`` is left out. ``dependencies`` is any collection of task ids.
    """

    # --- how it is performed
    retry_policy: RetryPolicy | None = None
    """``None`` is the default policy, and no retry for at-most-once work and sub-workflows."""
    timeout_seconds: float | None = 300
    """Limit of one attempt, from the start of its handler. A sub-workflow has its own, in its definition."""
    total_timeout_seconds: float | None = None
    """Limit of the task with all its attempts, from the moment it was first scheduled; for a signal or an approval, of the wait."""
    stall_seconds: float | None = None
    """Limit of the silence between two reports of progress (``context.report_progress``), from the start of the handler."""
    effect: EffectClass = EffectClass.IDEMPOTENT
    capabilities: Collection[str] = ()
    """What whoever performs it has to be able to do. Without an ``agent_id`` the best agent that can is taken."""
    priority: int = 0
    """Who goes first where several wait: the higher number. What waits for an agent, a lock or a limit is ordered by it."""
    locks: Collection[str] = ()
    """Names held by one attempt at a time, over all runs of the store: ``"stock-${item}"``."""
    limits: Collection[Limit] = ()
    """How many attempts with the same key are in work at once, or start within a time, over all runs of the store."""

    # --- when it starts, and what its end means
    when: str | None = None
    """Condition; the task is skipped when it does not hold."""
    join: Join = "all"
    """Starts when ``"all"`` dependencies are met (a skipped one counts as met), when ``"any"`` or that many of them are completed, or when
    all are ``"settled"``, failed ones too."""
    cancel_rest: bool = False
    """With a join of some: cancel what only led here and is no longer needed."""
    on_failure: Literal["fail", "skip", "reassign"] = "fail"
    """When the task has failed for good: ``fail`` the run (other branches finish), go on as if it had been skipped (``skip``), or give
    it to another agent first (``reassign``)."""
    reassign_to: Sequence[str] = ()
    """The agents asked in turn, each with all attempts. Left out: a healthy one with the same capabilities."""
    compensation: Compensation | str | None = None
    """What undoes the task when it was completed and the run fails for good or is aborted, or the worker that does: compensations run one
    after the other, the last completed task first, each with its own attempts. One that fails for good waits for a person."""
    fallback: str | None = None
    """The task that runs instead when this one has failed for good; its result stands for this one's."""
    cancels: Collection[str] = ()
    """Tasks that are cancelled when this one is completed, as far as they are not done."""
    ends_run: bool = False
    """When it is completed the run is: whatever else is open is cancelled."""

    # --- what kind of task it is
    for_each: str | Sequence[object] | None = None
    """A dynamic map: run once per item of this list (usually ``"${task.key}"``), with ``${item}`` and ``${index}`` in params."""
    max_parallel: int | None = None
    """For a map: how many items are in work at once."""
    enough: int | None = None
    """For a map: completed when that many items are; the others are cancelled. The result has those that were completed."""
    repeat_until: str | None = None
    """A loop: run again until this condition holds. ``${its_own_id}`` is the result of the last iteration, ``${iteration}`` how many there
    were. In params ``${previous}`` is the result of the iteration before, at first what ``repeat_from`` gives."""
    repeat_from: object = None
    """For a loop: what ``${previous}`` is in the first iteration."""
    repeat_delay_seconds: float | None = None
    """For a loop: how long it waits between two iterations."""
    max_iterations: int | None = None
    """For a loop: its limit, 100 when left out."""
    on_limit: Literal["fail", "complete"] = "fail"
    """For a loop that reaches its limit: it has failed, or is completed with the last result."""
    workflow: WorkflowDefinition | str | None = None
    """A sub-workflow, or the name of a registered one: the task is a run of it, with ``params`` as its input."""
    on_cancel: Literal["cascade", "detach"] = "cascade"
    """For a sub-workflow: whether cancelling the task ends it, or lets it go on by itself."""
    choices: Sequence[Choice] = ()
    """Makes the task a choice between tasks that depend on it: the first whose condition holds is chosen, the others are not."""
    choose_many: bool = False
    """For a choice: every one whose condition holds is chosen."""
    delay_seconds: float | None = None
    """Makes the task a timer: it completes that long after it became ready, without a performer."""
    signal: str | None = None
    """Makes the task a wait for the signal of this name; its result is what the signal carries."""
    continue_with: object = None
    """Makes the task the end of this run and the beginning of the next, with this (resolved) as its input and an empty history: for what
    goes on for ever. Whatever else is open is cancelled."""
    approval: Approval | str | None = None
    """Makes the task a question to people: completed when it is approved, failed when it is rejected. A text asks anybody."""

    @classmethod
    def timer(cls, task_id: str, seconds: float, dependencies: Collection[str] = (), **options: Any) -> TaskDefinition:
        """Return a task that completes ``seconds`` after it became ready."""
        return cls(task_id, dependencies=dependencies, delay_seconds=seconds, **options)

    @classmethod
    def wait_for(cls, task_id: str, signal: str, dependencies: Collection[str] = (), **options: Any) -> TaskDefinition:
        """Return a task that completes with what the signal ``signal`` carries."""
        return cls(task_id, dependencies=dependencies, signal=signal, **options)

    @classmethod
    def ask(
        cls, task_id: str, question: Approval | str, dependencies: Collection[str] = (), **options: Any
    ) -> TaskDefinition:
        """Return a task that waits until a person approves or rejects; an ``Approval`` says who, until when, and with what."""
        return cls(task_id, dependencies=dependencies, approval=question, **options)

    @classmethod
    def choice(
        cls, task_id: str, ways: Mapping[str, str | None], dependencies: Collection[str] = (), **options: Any
    ) -> TaskDefinition:
        """Return a choice: ``ways`` maps the tasks to choose from to their conditions, in this order; ``None`` is "otherwise"."""
        choices = [Choice(then, when) for then, when in ways.items()]
        return cls(task_id, dependencies=dependencies, choices=choices, **options)

    @property
    def policy(self) -> RetryPolicy:
        """The retry policy in force."""
        if self.retry_policy is not None:
            return self.retry_policy
        return _NO_RETRY if self.effect is EffectClass.AT_MOST_ONCE or self.workflow is not None else DEFAULT_RETRY

    @property
    def iterations(self) -> int:
        """The limit of a loop."""
        return self.max_iterations or DEFAULT_ITERATIONS

    @property
    def is_usual(self) -> bool:
        """Whether it is just a task for somebody, or just a sub-workflow: nearly every one is, and is looked at no further."""
        options = _in_order(self)[_FIRST_OPTION:]
        # Asked for each task of each definition that is read: a comparison of tuples is the quickest there is.
        return options == _USUAL or (self.workflow is not None and _without_workflow(options) == _USUAL_OTHERS)

    def __post_init__(self) -> None:
        _check_head(self)
        msgspec.structs.force_setattr(self, "dependencies", _names(self, "dependencies") if self.dependencies else ())
        policy = self.retry_policy
        if policy is not None and type(policy) is not RetryPolicy:
            if not isinstance(policy, Mapping):
                raise DefinitionError(
                    f"retry_policy of task {self.task_id!r} is {policy!r:.60}", hint="write RetryPolicy(max_attempts=3)"
                )
            msgspec.structs.force_setattr(self, "retry_policy", RetryPolicy.from_dict(policy))
        if not isinstance(self.effect, EffectClass):
            try:
                msgspec.structs.force_setattr(self, "effect", EffectClass(self.effect))
            except ValueError:
                raise DefinitionError(
                    f"effect={self.effect!r} of task {self.task_id!r} is unknown",
                    hint="use 'pure', 'idempotent' or 'at_most_once'",
                ) from None
        if self.is_usual:
            # The other options are as they are when left out: only what kind of task it is can be wrong.
            if type(self.workflow) is WorkflowDefinition and not (self.agent_id or self.task_type):
                return  # as it has to be
            if self.workflow is not None or not self.agent_id:
                _check_kind(self)
            return
        for name in ("capabilities", "locks", "cancels", "reassign_to"):
            msgspec.structs.force_setattr(self, name, _names(self, name) if getattr(self, name) else ())
        msgspec.structs.force_setattr(self, "choices", tuple(self.choices))
        limits = (self.limits,) if isinstance(self.limits, Limit) else tuple(self.limits)
        msgspec.structs.force_setattr(self, "limits", limits)
        if isinstance(self.compensation, str):
            msgspec.structs.force_setattr(self, "compensation", Compensation(self.compensation))
        _check_numbers(self)
        _check_words(self)
        _check_kind(self)
        _check_company(self)


class WorkflowDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A named graph of tasks. Equal definitions have equal hashes on every machine and in every process."""

    tasks: Sequence[TaskDefinition]
    type: str = msgspec.field(default="", name="type")
    """A label to find it by; it changes nothing in how it runs."""
    strategy: str = ""
    """A label saying how it was decomposed; it changes nothing in how it runs."""
    context: Mapping[str, object] | None = None
    """Defaults of the workflow input."""
    name: str = "workflow"
    version: str = "1"
    timeout_seconds: float | None = None
    """Limit of one run, from its start."""
    output: object = None
    """Template of the run's result, ``"${report}"`` say. Left out: the results of the tasks nothing depends on, by task id."""
    max_parallel: int | None = None
    """How many tasks of one run are in work at once."""
    priority: int = 0
    """Added to the priority of every task."""
    budget: Budget | str | None = None
    """What the calls of one run may cost, with those of its sub-workflows and of the runs that go on after it; the id of an open one is
    shared by all that name it."""
    code: str = ""
    """Of a workflow as code (``@workflow``): the hash of its source when the run began. Its function plans the tasks as the run goes on."""

    def __post_init__(self) -> None:
        is_list = type(self.tasks) in (list, tuple)  # nearly always: as a recorded one is read
        if not is_list and (
            isinstance(self.tasks, TaskDefinition)
            or not isinstance(self.tasks, (Sequence, set, frozenset))
            or isinstance(self.tasks, str)
        ):
            raise DefinitionError(
                "tasks is not a list of TaskDefinition", hint="write WorkflowDefinition([TaskDefinition(…), …])"
            )
        for task in self.tasks:
            if not isinstance(task, TaskDefinition):
                raise DefinitionError(f"{task!r:.60} is not a TaskDefinition", hint=_RIGHT_CALL)
        # A set has another order in each process; the definition must not.
        is_ordered = is_list or isinstance(self.tasks, Sequence)
        tasks = tuple(self.tasks) if is_ordered else tuple(sorted(self.tasks, key=lambda task: task.task_id))
        msgspec.structs.force_setattr(self, "tasks", tasks)
        if not isinstance(self.name, str) or not self.name or len(self.name) > MAX_ID_CHARS:
            raise DefinitionError(
                f"{self.name!r:.60} is no workflow name", hint=f"give a text of 1 to {MAX_ID_CHARS} characters"
            )
        if (
            self.timeout_seconds is None
            and self.budget is None
            and self.max_parallel is None
            and type(self.priority) is int
            and not self.priority
        ):
            return
        where = f"of workflow {self.name!r}"
        if not _is_number(self.timeout_seconds, above=0):
            raise DefinitionError(f"timeout_seconds {where} is {self.timeout_seconds!r}", hint="give seconds above 0")
        if not _is_whole(self.max_parallel, least=1):
            raise DefinitionError(f"max_parallel {where} is {self.max_parallel!r}", hint="give a whole number above 0")
        if not _is_whole(self.priority):
            raise DefinitionError(f"priority {where} is {self.priority!r}", hint="give a whole number")
        if not isinstance(self.budget, (Budget, str, type(None))) or self.budget == "":
            raise DefinitionError(
                f"the budget {where} is {self.budget!r:.60}", hint="give Budget(usd=0.5), or the id of one that is open"
            )

    def encoded(self) -> bytes:
        """Return the definition on the wire; equal definitions give equal bytes in every process.

        Raises ``NotSerializable`` naming the task whose params do not go there.
        """
        try:
            return codec.encode(self._in_order())
        except RecursionError as error:
            raise NotSerializable(f"workflow {self.name!r} is nested too deep") from error
        except NotSerializable:
            for task in self.tasks:
                try:
                    codec.encode(task.params)
                except NotSerializable as error:
                    raise NotSerializable(
                        f"params of task {task.task_id!r}: {error.message}", hint=error.hint
                    ) from error
            raise

    def _in_order(self) -> WorkflowDefinition:
        """Sets have another order in each process, and equal dicts may differ in theirs: neither may change the hash."""
        tasks: list[TaskDefinition] = []
        is_same = True
        ordered_inner: dict[int, WorkflowDefinition] = {}
        for task in self.tasks:
            changed = {
                name: ordered
                for name in (("params",) if task.is_usual else ("params", "for_each", "repeat_from", "continue_with"))
                if (given := getattr(task, name)) is not None and (ordered := codec.in_order(given)) is not given
            }
            if isinstance(task.approval, Approval) and (asks := in_order(task.approval)) is not task.approval:
                changed["approval"] = asks
            if isinstance(task.workflow, WorkflowDefinition):
                inner = ordered_inner.get(id(task.workflow))
                if inner is None:  # many tasks may be runs of the same one
                    inner = ordered_inner[id(task.workflow)] = task.workflow._in_order()
                if inner is not task.workflow:
                    changed["workflow"] = inner
            is_same = is_same and not changed
            tasks.append(msgspec.structs.replace(task, **changed) if changed else task)
        context, output = codec.in_order(self.context), codec.in_order(self.output)
        if is_same and context is self.context and output is self.output:
            return self
        return msgspec.structs.replace(self, tasks=tasks, context=context, output=output)

    @property
    def content_hash(self) -> str:
        """Name of the content: 40 hexadecimal digits."""
        return codec.content_hash(self.encoded())


_in_order: Final = msgspec.structs.astuple
_FIELDS: Final = msgspec.structs.fields(TaskDefinition)
_FIRST_OPTION: Final = [field.name for field in _FIELDS].index("retry_policy") + 1
_USUAL: Final = tuple(field.default for field in _FIELDS[_FIRST_OPTION:])
_WORKFLOW: Final = [field.name for field in _FIELDS].index("workflow") - _FIRST_OPTION


def _without_workflow(options: tuple[object, ...]) -> tuple[object, ...]:
    return options[:_WORKFLOW] + options[_WORKFLOW + 1 :]


_USUAL_OTHERS: Final = _without_workflow(_USUAL)


# --- which options go together --------------------------------------------------------------------------------------------


def _names(task: TaskDefinition, name: str) -> tuple[str, ...]:
    """Return the names in a collection, each once; a set has another order in each process, and the definition must not."""
    given = getattr(task, name)
    if type(given) in (tuple, list) and len(given) == 1 and type(given[0]) is str and given[0]:
        return (given[0],)  # nearly always
    if (
        isinstance(given, (str, Mapping))
        or not isinstance(given, Collection)
        or not all(isinstance(one, str) and one for one in given)
    ):
        what = "task ids" if name in ("dependencies", "cancels") else "texts"
        raise DefinitionError(
            f"{name} of task {task.task_id!r} are {given!r:.60}, not a collection of {what}",
            hint=f"write {name}={{{given!r}}}" if isinstance(given, str) else _RIGHT_CALL,
        )
    return tuple(dict.fromkeys(sorted(given) if isinstance(given, (set, frozenset)) else given))


def _check_head(task: TaskDefinition) -> None:
    if not (isinstance(task.task_id, str) and isinstance(task.agent_id, str)):
        name = "agent_id" if isinstance(task.task_id, str) else "task_id"
        raise DefinitionError(f"{name} is {getattr(task, name)!r:.60}, not a text", hint=_RIGHT_CALL)
    task_id = task.task_id
    if len(task_id) > MAX_ID_CHARS or not (
        task_id.isidentifier() or task_id.replace("-", "_").replace(".", "_").isidentifier()
    ):
        raise DefinitionError(
            f"{task.task_id!r:.80} is no task id",
            hint=f"use letters, digits, '_', '-' and '.', not a digit first, at most {MAX_ID_CHARS} characters",
        )
    if task.task_type is not None and not isinstance(task.task_type, str):
        raise DefinitionError(
            f"task_type of task {task.task_id!r} is a {type(task.task_type).__name__}, not a text", hint=_RIGHT_CALL
        )
    if task.params is not None and type(task.params) is not dict and not isinstance(task.params, Mapping):
        raise DefinitionError(
            f"params of task {task.task_id!r} are a {type(task.params).__name__}, not a dict", hint=_RIGHT_CALL
        )


def _is_number(value: object, *, above: float = -1.0) -> bool:
    return value is None or (
        not isinstance(value, bool) and isinstance(value, (int, float)) and above < value < 1_000_000_000
    )


def _is_whole(value: object, *, least: int = -1_000_000, most: int = 1_000_000) -> bool:
    return value is None or (not isinstance(value, bool) and isinstance(value, int) and least <= value <= most)


def _check_numbers(task: TaskDefinition) -> None:
    where = f"of task {task.task_id!r}"
    for name in ("timeout_seconds", "total_timeout_seconds", "stall_seconds"):
        if not _is_number(getattr(task, name), above=0):
            raise DefinitionError(
                f"{name} {where} is {getattr(task, name)!r}", hint="give seconds above 0, or None for no limit"
            )
    for name in ("delay_seconds", "repeat_delay_seconds"):
        if not _is_number(getattr(task, name)):
            raise DefinitionError(f"{name} {where} is {getattr(task, name)!r}", hint="give seconds, 0 or more")
    for name, most in (("max_parallel", 1_000_000), ("enough", 1_000_000), ("max_iterations", MAX_ITERATIONS)):
        if not _is_whole(getattr(task, name), least=1, most=most):
            raise DefinitionError(
                f"{name} {where} is {getattr(task, name)!r}", hint=f"give a whole number from 1 to {most:,}"
            )
    if not _is_whole(task.priority):
        raise DefinitionError(f"priority {where} is {task.priority!r}", hint="give a whole number; higher goes first")


_TEXTS: Final = (
    ("when", 'a condition is text: when="${score} > 0.8"'),
    ("repeat_until", 'a condition is text: repeat_until="${refine.score} > 0.9"'),
    ("fallback", "give the id of a task"),
    ("signal", 'give its name: signal="payment"'),
)


def _check_words(task: TaskDefinition) -> None:
    where = f"of task {task.task_id!r}"
    for name, hint in _TEXTS:
        value = getattr(task, name)
        if not isinstance(value, (str, type(None))):
            raise DefinitionError(f"{name} {where} is {value!r:.60}", hint=hint)
    for name in ("cancel_rest", "ends_run", "choose_many"):
        if not isinstance(getattr(task, name), bool):
            raise DefinitionError(f"{name} {where} is {getattr(task, name)!r:.60}", hint="give True or False")
    if isinstance(task.for_each, (bool, int, float, bytes, Mapping)):
        raise DefinitionError(
            f"for_each {where} is {task.for_each!r:.60}", hint='give a list, or a reference to one: "${load.rows}"'
        )
    if task.join not in ("all", "any", "settled") and not (_is_whole(task.join, least=1) and task.join is not None):
        raise DefinitionError(
            f"join={task.join!r} {where} is unknown", hint="use 'all', 'any', 'settled', or how many have to complete"
        )
    for name, words in (
        ("on_failure", ("fail", "skip", "reassign")),
        ("on_limit", ("fail", "complete")),
        ("on_cancel", ("cascade", "detach")),
    ):
        if getattr(task, name) not in words:
            raise DefinitionError(
                f"{name}={getattr(task, name)!r} {where} is unknown", hint=f"use {' or '.join(map(repr, words))}"
            )
    if not all(isinstance(choice, Choice) for choice in task.choices):
        raise DefinitionError(
            f"choices {where} are {task.choices!r:.60}",
            hint='write TaskDefinition.choice("route", {"accept": "${score} > 0.8", "reject": None}, {"score"})',
        )
    if not isinstance(task.approval, (Approval, str, type(None))):
        raise DefinitionError(
            f"approval {where} is a {type(task.approval).__name__}",
            hint='write approval="Publish?", or approval=Approval("Publish?", assignees=["ada"])',
        )
    if not all(isinstance(limit, Limit) for limit in task.limits):
        raise DefinitionError(f"limits {where} are {task.limits!r:.60}", hint='write [Limit("api", max_concurrent=10)]')
    for name in ("locks", "limits", "reassign_to", "capabilities"):
        if len(getattr(task, name)) > MAX_NAMES:
            raise DefinitionError(f"task {task.task_id!r} has more than {MAX_NAMES} {name}")


_WAITS: Final = ("delay_seconds", "signal", "approval", "choices", "continue_with")
"""What needs no performer."""
_REPEATS: Final = ("for_each", "repeat_until")


def _kinds_of(task: TaskDefinition) -> list[str]:
    return [name for name in (*_WAITS, "workflow", *_REPEATS) if getattr(task, name) not in (None, ())]


def _check_kind(task: TaskDefinition) -> None:
    kinds = _kinds_of(task)
    repeats = [name for name in kinds if name in _REPEATS]
    others = [name for name in kinds if name not in _REPEATS]
    if len(repeats) > 1 or len(others) > 1 or (repeats and others and others[0] != "workflow"):
        raise DefinitionError(f"task {task.task_id!r} has {' and '.join(kinds)}", hint="it can be only one of these")
    kind = others[0] if others else None
    if kind in _WAITS:
        if task.agent_id or task.task_type or task.params or task.capabilities:
            raise DefinitionError(
                f"task {task.task_id!r} waits ({kind}) and cannot have an agent, a type or params"
                if kind != "choices"
                else f"task {task.task_id!r} is a choice and cannot have an agent, a type or params"
            )
    elif kind == "workflow":
        if task.agent_id or task.task_type or task.capabilities:
            raise DefinitionError(f"task {task.task_id!r} is a sub-workflow and cannot have an agent or a type")
        if not isinstance(task.workflow, (WorkflowDefinition, str)) or task.workflow == "":
            raise DefinitionError(
                f"workflow of task {task.task_id!r} is a {type(task.workflow).__name__}",
                hint="give a WorkflowDefinition, or the name of a registered one",
            )
    elif not task.agent_id and not task.capabilities:
        raise DefinitionError(f"task {task.task_id!r} has no agent", hint=_RIGHT_CALL)


def _check_company(task: TaskDefinition) -> None:
    """Refuse options that mean nothing without another."""
    where = f"of task {task.task_id!r}"
    for name, needs, why in (
        ("max_parallel", "for_each", "only a map has several items in work"),
        ("enough", "for_each", "only a map has several items"),
        ("max_iterations", "repeat_until", "only a loop has iterations"),
        ("repeat_from", "repeat_until", "only a loop has iterations"),
        ("repeat_delay_seconds", "repeat_until", "only a loop has iterations"),
        ("choose_many", "choices", "only a choice chooses"),
        ("reassign_to", "on_failure", "write on_failure='reassign' with it"),
    ):
        is_given = getattr(task, name) not in (None, (), False)
        lacks = task.on_failure != "reassign" if needs == "on_failure" else getattr(task, needs) in (None, ())
        if is_given and lacks:
            raise DefinitionError(f"{name} {where} needs {needs}", hint=why)
    undo = task.compensation
    if undo is not None and not (isinstance(undo, Compensation) and isinstance(undo.agent_id, str) and undo.agent_id):
        raise DefinitionError(
            f"compensation {where} is {undo!r:.60}",
            hint='write compensation="release_stock", or Compensation("warehouse", "release", {"id": "${reserve.id}"})',
        )
    if undo is not None and any(
        kind in _kinds_of(task) for kind in ("delay_seconds", "signal", "choices", "continue_with")
    ):
        raise DefinitionError(f"task {task.task_id!r} does nothing that a compensation could undo")
    if task.cancel_rest and task.join in ("all", "settled"):
        raise DefinitionError(f"cancel_rest {where} needs a join of some", hint="write join='any', or how many")
    limit = task.approval.deadline_seconds if isinstance(task.approval, Approval) else None
    if limit is not None and task.total_timeout_seconds is not None and limit >= task.total_timeout_seconds:
        raise DefinitionError(
            f"the deadline of the approval {task.task_id!r} after {limit:g} s never comes: its total_timeout_seconds is "
            f"{task.total_timeout_seconds:g}",
            hint="leave total_timeout_seconds out",
        )
    is_once = task.effect is EffectClass.AT_MOST_ONCE
    if is_once and task.retry_policy is not None and task.retry_policy.max_attempts > 1:
        raise DefinitionError(
            f"task {task.task_id!r} is at_most_once and cannot have {task.retry_policy.max_attempts} attempts",
            hint="leave retry_policy out, or make the task idempotent with the effect key",
        )
    if is_once and task.on_failure == "reassign":
        raise DefinitionError(
            f"task {task.task_id!r} is at_most_once and cannot be given to another agent",
            hint="use a fallback, or make the task idempotent with the effect key",
        )
    if is_once and task.workflow is not None:
        raise DefinitionError(
            f"task {task.task_id!r} is a sub-workflow and cannot be at_most_once",
            hint="give the effect class to the tasks inside it",
        )
