"""Definitions: what a workflow is, as immutable data that is hashed, stored with the run, and written as YAML or JSON.

Nothing here runs. ``validate`` in ``orchestration.plan`` checks a whole definition before anything starts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from agenticflow.core import codec
from agenticflow.core.engine import EffectClass
from agenticflow.errors import DefinitionError, NotSerializable
from agenticflow.resilience.retry import RetryPolicy

__all__ = ["DEFAULT_RETRY", "Join", "TaskDefinition", "WorkflowDefinition"]

Join = Literal["all", "any"]
DEFAULT_RETRY: Final = RetryPolicy()
MAX_ID_CHARS: Final = 200


class _TaskHead(msgspec.Struct, frozen=True, omit_defaults=True):
    """The arguments of a task that may be given by position."""

    task_id: str
    agent_id: str = ""
    task_type: str | None = None
    params: Mapping[str, object] | None = None
    dependencies: Collection[str] = ()


class TaskDefinition(_TaskHead, frozen=True, omit_defaults=True, kw_only=True):
    """One node of a workflow: who performs what, with which params, after which other tasks.

    ``TaskDefinition("report", "reporter", "create_report", {"rows": "${load.rows}"}, dependencies={"load"})``. For a worker, which has
    one job, ``task_type`` is left out. ``dependencies`` is any collection of task ids.
    """

    retry_policy: RetryPolicy | None = None
    """``None`` is the default policy, and no retry for at-most-once work."""
    timeout_seconds: float | None = 300
    """Limit of one attempt, from the start of its handler."""
    total_timeout_seconds: float | None = None
    """Limit of the task with all its attempts, from the moment it was first scheduled; for a signal, of the wait."""
    effect: EffectClass = EffectClass.IDEMPOTENT
    when: str | None = None
    """Condition; the task is skipped when it does not hold."""
    join: Join = "all"
    """Starts when ``all`` dependencies are met (a skipped one counts as met), or when ``any`` is completed."""
    for_each: str | Sequence[object] | None = None
    """A dynamic map: run once per item of this list (usually ``"${task.key}"``), with ``${item}`` and ``${index}`` in params."""
    max_parallel: int | None = None
    """For a map: how many items are in work at once."""
    delay_seconds: float | None = None
    """Makes the task a timer: it completes that long after it became ready, without a performer."""
    signal: str | None = None
    """Makes the task a wait for the signal of this name; its result is what the signal carries."""

    @classmethod
    def timer(cls, task_id: str, seconds: float, dependencies: Collection[str] = (), **options: Any) -> TaskDefinition:
        """Return a task that completes ``seconds`` after it became ready."""
        return cls(task_id, dependencies=dependencies, delay_seconds=seconds, **options)

    @classmethod
    def wait_for(cls, task_id: str, signal: str, dependencies: Collection[str] = (), **options: Any) -> TaskDefinition:
        """Return a task that completes with what the signal ``signal`` carries."""
        return cls(task_id, dependencies=dependencies, signal=signal, **options)

    @property
    def policy(self) -> RetryPolicy:
        """The retry policy in force."""
        if self.retry_policy is not None:
            return self.retry_policy
        return _NO_RETRY if self.effect is EffectClass.AT_MOST_ONCE else DEFAULT_RETRY

    def __post_init__(self) -> None:
        _check_head(self)
        names = (
            sorted(self.dependencies) if isinstance(self.dependencies, (set, frozenset)) else list(self.dependencies)
        )
        msgspec.structs.force_setattr(self, "dependencies", tuple(dict.fromkeys(names)))
        if isinstance(self.retry_policy, Mapping):
            msgspec.structs.force_setattr(self, "retry_policy", RetryPolicy.from_dict(self.retry_policy))
        if not isinstance(self.effect, EffectClass):
            try:
                msgspec.structs.force_setattr(self, "effect", EffectClass(self.effect))
            except ValueError:
                raise DefinitionError(
                    f"effect={self.effect!r} of task {self.task_id!r} is unknown",
                    hint="use 'pure', 'idempotent' or 'at_most_once'",
                ) from None
        _check_options(self)


_NO_RETRY: Final = RetryPolicy(max_attempts=1)
_RIGHT_CALL: Final = (
    'write TaskDefinition("task_id", "agent_id", "task_type", {"name": "value"}, dependencies={"other_task"})'
)


def _check_head(task: TaskDefinition) -> None:
    for name in ("task_id", "agent_id"):
        if not isinstance(getattr(task, name), str):
            raise DefinitionError(f"{name} is {getattr(task, name)!r:.60}, not a text", hint=_RIGHT_CALL)
    if (
        not task.task_id
        or len(task.task_id) > MAX_ID_CHARS
        or not task.task_id.replace("-", "_").replace(".", "_").isidentifier()
    ):
        raise DefinitionError(
            f"{task.task_id!r:.80} is no task id",
            hint=f"use letters, digits, '_', '-' and '.', not a digit first, at most {MAX_ID_CHARS} characters",
        )
    if task.task_type is not None and not isinstance(task.task_type, str):
        raise DefinitionError(
            f"task_type of task {task.task_id!r} is a {type(task.task_type).__name__}, not a text", hint=_RIGHT_CALL
        )
    if task.params is not None and not isinstance(task.params, Mapping):
        raise DefinitionError(
            f"params of task {task.task_id!r} are a {type(task.params).__name__}, not a dict", hint=_RIGHT_CALL
        )
    if (
        isinstance(task.dependencies, (str, Mapping))
        or not isinstance(task.dependencies, Collection)
        or not all(isinstance(dependency, str) for dependency in task.dependencies)
    ):
        raise DefinitionError(
            f"dependencies of task {task.task_id!r} are {task.dependencies!r:.60}, not a collection of task ids",
            hint=f"write dependencies={{{task.dependencies!r}}}" if isinstance(task.dependencies, str) else _RIGHT_CALL,
        )


def _check_options(task: TaskDefinition) -> None:
    where = f"of task {task.task_id!r}"
    for name in ("timeout_seconds", "total_timeout_seconds", "delay_seconds"):
        limit = getattr(task, name)
        lowest = 0 if name == "delay_seconds" else 1e-9
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, (int, float)) or not lowest <= limit < 1e9
        ):
            raise DefinitionError(f"{name} {where} is {limit!r}", hint="give seconds above 0, or None for no limit")
    if task.join not in ("all", "any"):
        raise DefinitionError(f"join={task.join!r} {where} is unknown", hint="use 'all' or 'any'")
    if task.max_parallel is not None and (not isinstance(task.max_parallel, int) or task.max_parallel < 1):
        raise DefinitionError(
            f"max_parallel {where} is {task.max_parallel!r}", hint="give a whole number of at least 1"
        )
    if task.max_parallel is not None and task.for_each is None:
        raise DefinitionError(f"max_parallel {where} needs for_each", hint="only a map has several items in work")
    waits = [name for name in ("delay_seconds", "signal", "for_each") if getattr(task, name) is not None]
    if len(waits) > 1:
        raise DefinitionError(f"task {task.task_id!r} has {' and '.join(waits)}", hint="it can be only one of these")
    if waits and waits[0] != "for_each":
        if task.agent_id or task.task_type or task.params:
            raise DefinitionError(
                f"task {task.task_id!r} waits ({waits[0]}) and cannot have an agent, a type or params"
            )
    elif not task.agent_id:
        raise DefinitionError(f"task {task.task_id!r} has no agent", hint=_RIGHT_CALL)
    if task.effect is EffectClass.AT_MOST_ONCE and task.retry_policy is not None and task.retry_policy.max_attempts > 1:
        raise DefinitionError(
            f"task {task.task_id!r} is at_most_once and cannot have {task.retry_policy.max_attempts} attempts",
            hint="leave retry_policy out, or make the task idempotent with the effect key",
        )


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

    def __post_init__(self) -> None:
        if (
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
        is_ordered = isinstance(self.tasks, Sequence)
        tasks = tuple(self.tasks) if is_ordered else tuple(sorted(self.tasks, key=lambda task: task.task_id))
        msgspec.structs.force_setattr(self, "tasks", tasks)
        if not isinstance(self.name, str) or not self.name or len(self.name) > MAX_ID_CHARS:
            raise DefinitionError(
                f"{self.name!r:.60} is no workflow name", hint=f"give a text of 1 to {MAX_ID_CHARS} characters"
            )
        limit = self.timeout_seconds
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < 1e9
        ):
            raise DefinitionError(
                f"timeout_seconds of workflow {self.name!r} is {limit!r}", hint="give seconds above 0"
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
        for task in self.tasks:
            params, for_each = codec.in_order(task.params), codec.in_order(task.for_each)
            if params is not task.params or for_each is not task.for_each:
                task = msgspec.structs.replace(task, params=params, for_each=for_each)
            tasks.append(task)
        return msgspec.structs.replace(
            self, tasks=tasks, context=codec.in_order(self.context), output=codec.in_order(self.output)
        )

    @property
    def content_hash(self) -> str:
        """Name of the content: 40 hexadecimal digits."""
        return codec.content_hash(self.encoded())
