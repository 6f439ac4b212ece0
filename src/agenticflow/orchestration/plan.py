"""The plan: a definition checked as a whole and laid out for the run decider.

``validate`` finds every mistake at once; ``compile_plan`` turns a valid definition into integer-indexed nodes with counts, parsed
references and conditions. A plan is immutable and shared by all runs of the same definition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.types import MAX_RUN_EVENTS
from agenticflow.errors import CorruptStore, DefinitionError
from agenticflow.orchestration.conditions import Condition, parse_condition
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.graph import find_cycle
from agenticflow.orchestration.references import Reference, Template, compile_template

__all__ = ["Node", "Plan", "compile_plan", "decode_plan", "unknown_roots", "validate"]

ITEM_ROOTS: Final = frozenset({"item", "index"})
INPUT_ROOTS: Final = frozenset({"input", "context"})
MAX_TASKS: Final = MAX_RUN_EVENTS // 3
CACHED_PLANS: Final = 256


class Node:
    """One task, laid out: indexes instead of ids, parsed templates instead of text."""

    __slots__ = (
        "condition",
        "dependents",
        "depends_on",
        "encoded_params",
        "for_each",
        "index",
        "is_any",
        "params",
        "performer_id",
        "task",
        "task_type",
    )

    def __init__(self, index: int, task: TaskDefinition, depends_on: tuple[int, ...]) -> None:
        self.index = index
        self.task = task
        self.depends_on = depends_on
        self.dependents: list[int] = []
        self.is_any = task.join == "any" and len(depends_on) > 1
        self.performer_id = task.agent_id
        self.task_type = task.task_type or ""
        self.condition: Condition | None = parse_condition(task.when) if task.when is not None else None
        self.for_each: Template | None = compile_template(task.for_each) if task.for_each is not None else None
        params = compile_template(task.params or {})
        self.params: Template | None = params if params.references else None
        """``None`` when there are no references: then ``encoded_params`` is decoded anew for each attempt."""
        self.encoded_params = codec.encode(
            params.resolve(dict[str, object]().__getitem__) if not params.references else {}
        )


class Plan:
    """A valid definition, laid out."""

    __slots__ = (
        "by_id",
        "content_hash",
        "definition",
        "encoded",
        "free_roots",
        "nodes",
        "output",
        "roots",
        "sinks",
        "unmet",
    )

    def __init__(self, definition: WorkflowDefinition, encoded: bytes) -> None:
        self.definition = definition
        self.encoded = encoded
        self.content_hash = codec.content_hash(encoded)
        self.by_id = {task.task_id: index for index, task in enumerate(definition.tasks)}
        self.nodes = [
            Node(index, task, tuple(self.by_id[dependency] for dependency in task.dependencies))
            for index, task in enumerate(definition.tasks)
        ]
        for node in self.nodes:
            for dependency in node.depends_on:
                self.nodes[dependency].dependents.append(node.index)
        self.unmet = [len(node.depends_on) for node in self.nodes]
        self.roots = [node.index for node in self.nodes if not node.depends_on]
        self.sinks = [node.index for node in self.nodes if not node.dependents]
        self.output: Template | None = None if definition.output is None else compile_template(definition.output)
        self.free_roots = self._free_roots()
        """What references name that is no task: it has to be in the input."""

    def _free_roots(self) -> frozenset[str]:
        found = {reference.root for reference in self.output.references} if self.output is not None else set()
        for node in self.nodes:
            known = ITEM_ROOTS if node.for_each is not None else frozenset()
            for template in (node.params, node.for_each, node.condition):
                if template is not None:
                    found |= {reference.root for reference in template.references} - known
        return frozenset(found - INPUT_ROOTS - set(self.by_id))


_plans: dict[str, Plan] = {}


def compile_plan(definition: WorkflowDefinition) -> Plan:
    """Return the plan of ``definition``. Raises ``DefinitionError`` with every mistake found."""
    encoded = definition.encoded()
    name = codec.content_hash(encoded)
    plan = _plans.get(name)
    if plan is None:
        definition = _as_recorded(definition, encoded)
        if problems := validate(definition):
            raise DefinitionError(
                f"workflow {definition.name!r} has {len(problems)} mistake{'s' if len(problems) > 1 else ''}: {'; '.join(problems)}",
                problems=problems,
            )
        plan = _remember(name, Plan(definition, encoded))
    return plan


def _as_recorded(definition: WorkflowDefinition, encoded: bytes) -> WorkflowDefinition:
    """Return the definition as every later process will read it, so that a run behaves the same in all of them."""
    try:
        return msgspec.msgpack.decode(encoded, type=WorkflowDefinition)
    except (msgspec.ValidationError, DefinitionError) as error:
        raise DefinitionError(
            f"workflow {definition.name!r} could not be read back: {error}",
            hint="keys of params and of the context are texts; names, labels and signals too",
        ) from error


def decode_plan(encoded: bytes) -> Plan:
    """Return the plan of the definition recorded as ``encoded``. Raises ``CorruptStore`` when it cannot be read."""
    name = codec.content_hash(encoded)
    plan = _plans.get(name)
    if plan is None:
        try:
            definition = msgspec.msgpack.decode(encoded, type=WorkflowDefinition)
        except (msgspec.DecodeError, msgspec.ValidationError, DefinitionError) as error:
            raise CorruptStore(f"a recorded definition cannot be read: {error}") from error
        plan = _remember(name, Plan(definition, encoded))
    return plan


def _remember(name: str, plan: Plan) -> Plan:
    # Content-addressed, so the cache cannot make a decision differ; it only saves parsing.
    while len(_plans) >= CACHED_PLANS:
        del _plans[next(iter(_plans))]
    _plans[name] = plan
    return plan


def validate(definition: WorkflowDefinition) -> list[str]:
    """Return every mistake of ``definition`` in words; empty when it can run."""
    tasks = definition.tasks
    if not tasks:
        return ["there are no tasks"]
    if len(tasks) > MAX_TASKS:
        return [f"{len(tasks):,} tasks pass the limit of {MAX_TASKS:,}; use for_each or start several workflows"]
    problems: list[str] = []
    by_id: dict[str, TaskDefinition] = {}
    for task in tasks:
        if task.task_id in by_id:
            problems.append(f"two tasks are called {task.task_id!r}")
        by_id[task.task_id] = task
    for task in tasks:
        for dependency in task.dependencies:
            if dependency not in by_id:
                problems.append(
                    f"task {task.task_id!r} depends on {dependency!r}, which does not exist{_meant(dependency, by_id)}"
                )
    for reserved in sorted((ITEM_ROOTS | INPUT_ROOTS | {"input_data"}) & set(by_id)):
        problems.append(f"{reserved!r} cannot be a task id: references use it")
    for key in sorted(set(definition.context or ()) & set(by_id)):
        problems.append(f"{key!r} is a task id and a key of the context: references could mean either")
    if cycle := find_cycle({task.task_id: [d for d in task.dependencies if d in by_id] for task in tasks}):
        return [*problems, f"tasks wait for each other: {' -> '.join(cycle)}"]
    ancestors = _Ancestors(by_id)
    for task in tasks:
        problems.extend(_reference_problems(task, by_id, ancestors))
    if definition.output is not None:
        try:
            compile_template(definition.output)
        except DefinitionError as error:
            problems.append(f"the output: {error}")
    return problems


class _Ancestors:
    """Who a task depends on, directly or not; worked out only when a reference is not to a direct dependency."""

    def __init__(self, by_id: Mapping[str, TaskDefinition]) -> None:
        self._by_id = by_id

    def has(self, task: TaskDefinition, root: str) -> bool:
        if root in task.dependencies:
            return True
        seen: set[str] = set()
        stack = [d for d in task.dependencies if d in self._by_id]
        while stack:
            task_id = stack.pop()
            if task_id == root:
                return True
            if task_id not in seen:
                seen.add(task_id)
                stack.extend(d for d in self._by_id[task_id].dependencies if d in self._by_id)
        return False


def _reference_problems(
    task: TaskDefinition, by_id: Mapping[str, TaskDefinition], ancestors: _Ancestors
) -> Iterable[str]:
    for part, references in _references_of(task):
        if isinstance(references, str):
            yield f"{part} of task {task.task_id!r}: {references}"
            continue
        for reference in references:
            root = reference.root
            if root in ITEM_ROOTS and part != "params":
                yield f"{part} of task {task.task_id!r} uses {reference}, which exists only inside params of a map"
            elif root in ITEM_ROOTS and task.for_each is None:
                yield f"task {task.task_id!r} uses {reference} but has no for_each"
            elif root in by_id and not ancestors.has(task, root):
                yield f"task {task.task_id!r} uses {reference} but does not depend on {root!r}; add it to dependencies"


def _references_of(task: TaskDefinition) -> Iterable[tuple[str, tuple[Reference, ...] | str]]:
    for part, template in (("params", task.params), ("for_each", task.for_each)):
        if template is not None:
            try:
                yield part, compile_template(template).references
            except DefinitionError as error:
                yield part, str(error)
    if task.when is not None:
        try:
            yield "when", parse_condition(task.when).references
        except DefinitionError as error:
            yield "when", str(error)


def unknown_roots(plan: Plan, workflow_input: object) -> list[str]:
    """Return, in words, every reference that is neither to a task nor to a key of ``workflow_input``, and every collision."""
    keys = set(workflow_input) if isinstance(workflow_input, Mapping) else set()
    if plan.free_roots <= keys and keys.isdisjoint(plan.by_id):
        return []
    problems = [
        f"{key!r} is a task id and a key of the input: references could mean either"
        for key in sorted(keys & set(plan.by_id))
    ]
    known = keys | set(plan.by_id) | INPUT_ROOTS
    for node in plan.nodes:
        references: list[Reference] = []
        for template in (node.params, node.for_each, node.condition):
            if template is not None:
                references.extend(template.references)
        allowed = known | ITEM_ROOTS if node.for_each is not None else known
        problems.extend(
            f"task {node.task.task_id!r} uses {reference}, but {reference.root!r} is neither a task nor a key of the input"
            f"{_meant(reference.root, known)}"
            for reference in references
            if reference.root not in allowed
        )
    if plan.output is not None:
        problems.extend(
            f"the output uses {reference}, but {reference.root!r} is neither a task nor a key of the input"
            for reference in plan.output.references
            if reference.root not in known
        )
    return problems


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
