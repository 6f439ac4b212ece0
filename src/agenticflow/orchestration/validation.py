"""Whether a definition can run: every mistake at once, in words that name the task and say what to write instead.

``validate`` looks at the definition alone; what references need of the input is known when a run starts (``plan.unknown_roots``).
Nothing here runs or changes anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from agenticflow.core import codec
from agenticflow.core.types import MAX_RUN_EVENTS
from agenticflow.errors import DefinitionError
from agenticflow.orchestration.approvals.terms import Approval
from agenticflow.orchestration.conditions import parse_condition
from agenticflow.orchestration.definition import Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.graph import find_cycle
from agenticflow.orchestration.references import Reference, compile_template

__all__ = ["INPUT_ROOTS", "contradictions", "item_roots", "meant", "validate"]

INPUT_ROOTS: Final = frozenset({"input", "context"})
MAP_ROOTS: Final = frozenset({"item", "index"})
LOOP_ROOTS: Final = frozenset({"previous", "iteration"})
RESERVED: Final = INPUT_ROOTS | MAP_ROOTS | LOOP_ROOTS | {"input_data"}
MAX_TASKS: Final = MAX_RUN_EVENTS // 3
MAX_NESTING: Final = 20
"""Sub-workflows inside each other."""


def item_roots(task: TaskDefinition) -> frozenset[str]:
    """Return what references inside this task may name beside tasks and the input."""
    if task.for_each is not None:
        return MAP_ROOTS
    return LOOP_ROOTS if task.repeat_until is not None else frozenset()


def contradictions(definition: WorkflowDefinition) -> list[str]:
    """Return, in words, what new workflows are refused for and recorded ones went on with: policies that contradict themselves, waits for
    nothing that has a name, locks that are none."""
    problems = list(_shared_keys(definition))
    for task in definition.tasks:
        undo = task.compensation
        for policy, where in (
            (task.retry_policy, "its retry policy"),
            (undo.retry_policy if isinstance(undo, Compensation) else None, "the retry policy of its compensation"),
        ):
            if policy is not None and policy.contradiction:
                problems.append(f"task {task.task_id!r}: {where}: {policy.contradiction}")
        if task.signal == "":
            problems.append(f"task {task.task_id!r} waits for a signal without a name")
        if task.approval == "":
            problems.append(f"task {task.task_id!r} asks nothing: its approval has no question")
        if isinstance(task.workflow, WorkflowDefinition):
            found = contradictions(task.workflow)
            problems += [f"in the sub-workflow of task {task.task_id!r}: {problem}" for problem in found]
    return problems


def _shared_keys(definition: WorkflowDefinition) -> Iterator[str]:
    """A lock is a limit of one: where somebody else comes in with other numbers under the same key, it keeps nobody out."""
    locked = {name: task.task_id for task in definition.tasks for name in task.locks}
    for task in definition.tasks if locked else ():
        for limit in task.limits:
            holder = locked.get(limit.key)
            if holder is not None and limit.key not in task.locks and limit.max_concurrent != 1:
                yield (
                    f"task {task.task_id!r} has a limit {limit.key!r} that task {holder!r} has as a lock: "
                    f"the lock would keep it out no more; give the limit a key of its own"
                )


def validate(definition: WorkflowDefinition, depth: int = 0) -> list[str]:
    """Return every mistake of ``definition`` in words; empty when it can run."""
    tasks = definition.tasks
    if definition.code:
        return ["a workflow as code has no tasks of its own: its function plans them"] if tasks else []
    if not tasks:
        return ["there are no tasks"]
    if len(tasks) > MAX_TASKS:
        return [f"{len(tasks):,} tasks pass the limit of {MAX_TASKS:,}; use for_each or start several workflows"]
    by_id = {task.task_id: task for task in tasks}
    known = set(by_id)
    problems = [f"two tasks are called {name!r}" for name, n in Counter(t.task_id for t in tasks).items() if n > 1]
    for task in tasks:
        if not (task.is_usual and known.issuperset(task.dependencies)):
            problems.extend(_unknown_names(task, by_id))
    problems.extend(f"{name!r} cannot be a task id: references use it" for name in sorted(RESERVED & set(by_id)))
    for key in sorted(set(definition.context or ()) & set(by_id)):
        problems.append(f"{key!r} is a task id and a key of the context: references could mean either")
    rescued = {task.fallback: task for task in tasks if task.fallback is not None}
    waits = {task.task_id: [one for one in task.dependencies if one in by_id] for task in tasks}
    for task_id, primary in rescued.items():
        waits.setdefault(task_id, []).append(primary.task_id)
    if cycle := find_cycle(waits):
        problems.append(f"tasks wait for each other: {' -> '.join(cycle)}")
    problems.extend(_fallback_problems(tasks, by_id))
    ancestors = _Ancestors(waits)
    sound: set[int] = set()
    for task in tasks:
        is_usual = task.is_usual
        if task.params or not is_usual:
            problems.extend(_reference_problems(task, by_id, ancestors))
        if not is_usual:
            problems.extend(_join_problems(task))
            problems.extend(_choice_problems(task, by_id))
        if task.workflow is not None and id(task.workflow) not in sound:
            if nested := list(_nested_problems(task, depth)):
                problems.extend(nested)
            else:
                sound.add(id(task.workflow))  # many tasks may be runs of the same one
    if definition.output is not None:
        try:
            compile_template(definition.output)
        except DefinitionError as error:
            problems.append(f"the output: {error}")
    return problems


def _unknown_names(task: TaskDefinition, by_id: Mapping[str, TaskDefinition]) -> Iterator[str]:
    for verb, names in (
        ("depends on", task.dependencies),
        ("cancels", task.cancels),
        ("chooses", tuple(choice.then for choice in task.choices)),
        ("falls back to", (task.fallback,) if task.fallback is not None else ()),
    ):
        for name in names:
            if name not in by_id:
                yield f"task {task.task_id!r} {verb} {name!r}, which does not exist{meant(name, by_id)}"
    if task.task_id in task.cancels:
        yield f"task {task.task_id!r} cancels itself"


def _fallback_problems(tasks: Iterable[TaskDefinition], by_id: Mapping[str, TaskDefinition]) -> Iterator[str]:
    uses = Counter(task.fallback for task in tasks if task.fallback is not None)
    for name, count in uses.items():
        if count > 1:
            yield f"task {name!r} is the fallback of {count} tasks; give each its own"
        if name in by_id and by_id[name].dependencies:
            yield f"task {name!r} is a fallback and starts when another fails; it cannot have dependencies"


def _join_problems(task: TaskDefinition) -> Iterator[str]:
    count = len(task.dependencies)
    if isinstance(task.join, int) and task.join > count:
        yield f"task {task.task_id!r} can never start: it waits for {task.join} of {count} dependencies"
    if task.cancel_rest and count < 2:
        yield f"task {task.task_id!r} has cancel_rest and {count} dependencies: there is no rest"


def _choice_problems(task: TaskDefinition, by_id: Mapping[str, TaskDefinition]) -> Iterator[str]:
    targets = Counter(choice.then for choice in task.choices)
    for name, count in targets.items():
        if count > 1:
            yield f"task {task.task_id!r} chooses {name!r} twice; join the conditions with `or`"
        if name in by_id and task.task_id not in by_id[name].dependencies:
            yield (
                f"task {task.task_id!r} chooses {name!r}, which does not depend on it; "
                f"add {task.task_id!r} to the dependencies of task {name!r}"
            )
    if any(choice.when is None for choice in task.choices[:-1]):
        yield f"task {task.task_id!r} has a way without a condition before others: it would hide them; put it last"


class _Ancestors:
    """Who a task waits for, directly or not; worked out only when a reference is not to a direct dependency."""

    def __init__(self, waits: Mapping[str, Iterable[str]]) -> None:
        self._waits = waits

    def has(self, task: TaskDefinition, root: str) -> bool:
        if root in task.dependencies:
            return True
        seen: set[str] = set()
        stack = list(self._waits[task.task_id])
        while stack:
            task_id = stack.pop()
            if task_id == root:
                return True
            if task_id not in seen:
                seen.add(task_id)
                stack.extend(self._waits[task_id])
        return False


_PER_ATTEMPT: Final = ("params", "locks", "limits", "compensation")
"""What is resolved for each item and iteration."""


def _reference_problems(
    task: TaskDefinition, by_id: Mapping[str, TaskDefinition], ancestors: _Ancestors
) -> Iterator[str]:
    own = item_roots(task)
    for part, references in _references_of(task):
        if isinstance(references, str):
            yield f"{part} of task {task.task_id!r}: {references}"
            continue
        for reference in references:
            root = reference.root
            if root in MAP_ROOTS | LOOP_ROOTS:
                yield from _item_problems(task, part, reference, own)
            elif root == task.task_id and part in ("repeat_until", "compensation"):
                continue
            elif root in by_id and not ancestors.has(task, root):
                yield f"task {task.task_id!r} uses {reference} but does not depend on {root!r}; add it to dependencies"


def _item_problems(task: TaskDefinition, part: str, reference: Reference, own: frozenset[str]) -> Iterator[str]:
    kind = "map" if reference.root in MAP_ROOTS else "loop"
    if reference.root not in own:
        yield f"task {task.task_id!r} uses {reference} but has no {'for_each' if kind == 'map' else 'repeat_until'}"
    elif part not in _PER_ATTEMPT and not (part == "repeat_until" and reference.root == "iteration"):
        yield f"{part} of task {task.task_id!r} uses {reference}, which exists only inside params of a {kind}"


def _references_of(task: TaskDefinition) -> Iterator[tuple[str, tuple[Reference, ...] | str]]:
    if task.is_usual:  # nothing else of it can hold any
        try:
            yield "params", compile_template(task.params).references
        except DefinitionError as error:
            yield "params", str(error)
        return
    templates: list[tuple[str, object]] = [
        (name, getattr(task, name)) for name in ("params", "for_each", "repeat_from", "continue_with", "locks")
    ]
    asks = task.approval
    templates.append(("approval", asks.template if isinstance(asks, Approval) else asks))
    if isinstance(task.compensation, Compensation):
        templates.append(("compensation", task.compensation.params))
    templates.append(("limits", [limit.key for limit in task.limits]))
    for part, template in templates:
        if template not in (None, (), []):
            try:
                yield part, compile_template(template).references
            except DefinitionError as error:
                yield part, str(error)
    conditions = [("when", task.when), ("repeat_until", task.repeat_until)]
    conditions.extend(("choices", choice.when) for choice in task.choices)
    for part, text in conditions:
        if text is not None:
            try:
                yield part, parse_condition(text).references
            except DefinitionError as error:
                yield part, str(error)


def _nested_problems(task: TaskDefinition, depth: int) -> Iterator[str]:
    inner = task.workflow
    if not isinstance(inner, WorkflowDefinition):
        return
    if depth >= MAX_NESTING:
        yield f"task {task.task_id!r} is a sub-workflow {depth + 1} deep, the limit is {MAX_NESTING}"
        return
    for problem in _validated(inner, depth + 1):
        yield f"in the sub-workflow of task {task.task_id!r}: {problem}"


_known: dict[tuple[bytes, int], list[str]] = {}
_MAX_KNOWN: Final = 256


def _validated(inner: WorkflowDefinition, depth: int) -> list[str]:
    """Return the problems of a sub-workflow, looked for once: many tasks may be runs of the same one."""
    # Content-addressed, so the cache cannot make an answer differ; it only saves looking again.
    name = (codec.encode(inner), depth)
    if name not in _known:
        while len(_known) >= _MAX_KNOWN:
            del _known[next(iter(_known))]
        _known[name] = validate(inner, depth)
    return _known[name]


def meant(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'load'?"`` when something known is close to ``name``, else nothing."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
