"""The plan: a valid definition laid out for the run decider.

``compile_plan`` turns a definition into integer-indexed nodes with counts, parsed references and conditions. A plan is immutable and shared
by all runs of the same definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.errors import CorruptStore, DefinitionError
from agenticflow.orchestration.conditions import Condition, parse_condition
from agenticflow.orchestration.definition import Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.references import Reference, Template, compile_template
from agenticflow.orchestration.validation import INPUT_ROOTS, item_roots, meant, validate
from agenticflow.resilience.limits import Limit

__all__ = ["ChildNode", "FullNode", "Node", "Plan", "compile_plan", "decode_plan", "node_of", "unknown_roots"]

CACHED_PLANS: Final = 256
_NO_PARAMS: Final = codec.encode({})
_NOWHERE: Final = dict[str, object]().__getitem__


class Node:
    """One task, laid out: indexes instead of ids, parsed templates instead of text.

    What nearly every task leaves as it is stands in the class; ``node_of`` makes one with options of its own. A long run has thousands of
    nodes, and a restart waits until they are there.
    """

    __slots__ = (
        "dependents",
        "depends_on",
        "encoded_params",
        "index",
        "is_alternative",
        "is_ordered",
        "is_plain",
        "params",
        "performer_id",
        "priority",
        "task",
        "task_type",
    )

    def __init__(self, index: int, task: TaskDefinition, depends_on: tuple[int, ...]) -> None:
        self.index = index
        self.task = task
        self.depends_on = depends_on
        self.dependents: list[int] = []
        self.performer_id = task.agent_id
        self.task_type = task.task_type or ""
        self.priority = 0
        self.is_ordered = False
        """Whether what becomes ready may go before what is ready already: there are priorities, or places."""
        self.is_alternative = False
        """Whether it is another task's fallback."""
        self.is_plain = True
        """Whether nothing has to be looked at before it starts: the way of nearly every task, and a short one."""
        self.params: Template | None = None
        """``None`` when there are no references: then ``encoded_params`` is decoded anew for each attempt."""
        self.encoded_params = _NO_PARAMS
        if task.params:
            params = compile_template(task.params)
            if params.references:
                self.params = params
            else:
                self.encoded_params = codec.encode(params.resolve(_NOWHERE))

    permits: tuple[tuple[Template, Limit], ...] = ()
    """Keys to hold before an attempt may start."""
    choices: tuple[tuple[int, Condition | None], ...] = ()
    cancels: tuple[int, ...] = ()
    rest: tuple[int, ...] = ()
    """With ``cancel_rest``: what leads only here."""
    fallback: int | None = None
    is_settled: bool = False
    """Whether it starts also after failures."""
    is_wait: bool = False
    """Whether nobody works on it: it takes no place among ``max_parallel``."""
    has_consequences: bool = False
    """Whether its end means more than that its dependents may start."""
    needs: int = 0
    """How many dependencies have to be completed; 0 when all have to be met."""
    condition: Condition | None = None
    until: Condition | None = None
    for_each: Template | None = None
    repeat_from: Template | None = None
    continue_with: Template | None = None
    approval: Template | None = None
    workflow: bytes | None = None
    """The definition of a sub-workflow, encoded, when it is not looked up by name; set by whoever lays out the plan."""
    compensation: Node | None = None
    is_undone_by_run: bool = False
    """Whether it is a sub-workflow that undoes itself what it did."""

    @property
    def undo(self) -> Node | None:
        """Lays out what undoes it: its compensation, else of a sub-workflow the run that undoes it."""
        if self.compensation is None and self.is_undone_by_run:
            return _undoing_child(self)  # laid out when it comes to that, which it hardly ever does
        return self.compensation

    def can_be_undone(self, is_undoable: bool) -> bool:
        """Whether something undoes it once it is completed: of a sub-workflow without a compensation only what that says it can undo."""
        return self.compensation is not None or (is_undoable and self.is_undone_by_run)

    def references(self) -> Iterator[Reference]:
        """Yield what its params, conditions and keys refer to."""
        if self.is_plain:
            yield from self.params.references if self.params is not None else ()
            return
        if self.compensation is not None:
            yield from self.compensation.references()
        templates = (self.params, self.for_each, self.condition, self.until, self.repeat_from, self.approval)
        for template in (
            *templates,
            self.continue_with,
            *(key for key, _ in self.permits),
            *(way for _, way in self.choices),
        ):
            if template is not None:
                yield from template.references


_options: Final = attrgetter(
    "when",
    "for_each",
    "repeat_until",
    "choices",
    "continue_with",
    "approval",
    "delay_seconds",
    "signal",
    "workflow",
    "total_timeout_seconds",
    "priority",
    "stall_seconds",
    "capabilities",
    "on_failure",
    "compensation",
)
_USUAL: Final = (None, None, None, (), None, None, None, None, None, None, 0, None, (), "fail", None)


def _undoing(node: Node, task: TaskDefinition, given: Compensation) -> Node:
    undoing = TaskDefinition(
        task.task_id,
        given.agent_id,
        given.task_type,
        task.params if given.params is None else given.params,
        retry_policy=given.retry_policy,
        timeout_seconds=given.timeout_seconds,
        effect=given.effect,
    )
    return node_of(node.index, undoing, (*node.depends_on, node.index))


def _undoing_child(node: Node) -> Node:
    # What is being undone is undone to its end: nobody tells it to stop.
    undoing = TaskDefinition(node.task.task_id, workflow=node.task.workflow, on_cancel="detach")
    return node_of(node.index, undoing, (*node.depends_on, node.index))


def _needs(task: TaskDefinition, count: int) -> int:
    if isinstance(task.join, int):
        return task.join
    return 1 if task.join == "any" and count > 1 else 0


class ChildNode(Node):
    """A sub-workflow without options of its own, laid out."""

    __slots__ = ("workflow",)

    is_undone_by_run = True

    def __init__(self, index: int, task: TaskDefinition, depends_on: tuple[int, ...]) -> None:
        super().__init__(index, task, depends_on)
        self.workflow = None


class FullNode(Node):
    """A task with options of its own, laid out."""

    __slots__ = (
        "approval",
        "cancels",
        "choices",
        "compensation",
        "condition",
        "continue_with",
        "fallback",
        "for_each",
        "has_consequences",
        "is_settled",
        "is_undone_by_run",
        "is_wait",
        "needs",
        "permits",
        "repeat_from",
        "rest",
        "until",
        "workflow",
    )

    def __init__(self, index: int, task: TaskDefinition, depends_on: tuple[int, ...]) -> None:
        super().__init__(index, task, depends_on)
        self.permits, self.choices, self.cancels, self.rest = (), (), (), ()
        self.fallback = self.workflow = None
        self.is_settled = task.join == "settled"
        self.is_wait = bool(task.signal or task.approval or task.choices) or not (
            task.delay_seconds is None and task.continue_with is None
        )
        self.needs = _needs(task, len(self.depends_on))
        self.condition = parse_condition(task.when) if task.when is not None else None
        self.until = parse_condition(task.repeat_until) if task.repeat_until is not None else None
        self.for_each = compile_template(task.for_each) if task.for_each is not None else None
        self.repeat_from = compile_template(task.repeat_from) if task.repeat_from is not None else None
        self.continue_with = compile_template(task.continue_with) if task.continue_with is not None else None
        asks = task.approval
        self.approval = None if asks is None else compile_template(asks if isinstance(asks, str) else asks.template)
        if task.locks or task.limits:
            limits = (*(Limit(name, max_concurrent=1) for name in task.locks), *task.limits)
            self.permits = tuple((compile_template(limit.key), limit) for limit in limits)
        self.has_consequences = bool(
            task.cancels or task.ends_run or task.continue_with is not None or task.fallback is not None
        )
        self.is_plain = not self.permits and _options(task) == _USUAL
        undo = task.compensation
        self.compensation = _undoing(self, task, undo) if isinstance(undo, Compensation) else None
        self.is_undone_by_run = task.workflow is not None and task.on_cancel != "detach"


def node_of(index: int, task: TaskDefinition, depends_on: tuple[int, ...]) -> Node:
    """Return ``task`` laid out."""
    if not task.is_usual:
        return FullNode(index, task, depends_on)
    kind = Node if task.workflow is None else ChildNode
    return kind(index, task, depends_on)


class Plan:
    """A valid definition, laid out."""

    __slots__ = (
        "alternatives",
        "by_id",
        "content_hash",
        "definition",
        "encoded",
        "free_roots",
        "has_order",
        "is_limited",
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
        self.by_id = by_id = {task.task_id: index for index, task in enumerate(definition.tasks)}
        self.nodes = [
            node_of(index, task, tuple([by_id[dependency] for dependency in task.dependencies]))
            for index, task in enumerate(definition.tasks)
        ]
        nodes = self.nodes
        for node in nodes:
            for dependency in node.depends_on:
                nodes[dependency].dependents.append(node.index)
        self.alternatives: dict[int, int] = {}
        """Of each fallback: the node it stands in for."""
        inner: dict[int, bytes] = {}
        for node in self.nodes:
            if node.task.priority or definition.priority:
                node.priority = node.task.priority + definition.priority
                node.is_plain = node.is_plain and not node.priority
            if isinstance(node, FullNode):
                self._lay_out(node)
            elif not isinstance(node, ChildNode):
                continue  # nearly always: it names no other task and no workflow
            if isinstance(workflow := node.task.workflow, WorkflowDefinition):
                node.workflow = inner.get(id(workflow)) or inner.setdefault(id(workflow), codec.encode(workflow))
        self.is_limited = definition.max_parallel is not None
        self.has_order = self.is_limited or len({node.priority for node in self.nodes}) > 1
        if self.has_order:
            for node in self.nodes:
                node.is_ordered = True
        self.unmet = [len(node.depends_on) for node in self.nodes]
        self.roots = [node.index for node in self.nodes if not node.depends_on and not node.is_alternative]
        self.sinks = [node.index for node in self.nodes if not node.dependents and not node.is_alternative]
        self.output: Template | None = None if definition.output is None else compile_template(definition.output)
        self.free_roots = self._free_roots()
        """What references name that is no task: it has to be in the input."""

    def described(self) -> WorkflowDefinition:
        """Return the definition with the tasks the run has: those of a workflow as code, as far as they are planned."""
        return self.definition

    def _lay_out(self, node: FullNode) -> None:
        task = node.task
        if task.cancels:
            node.cancels = tuple(self.by_id[task_id] for task_id in task.cancels)
        if task.choices:
            node.choices = tuple(
                (self.by_id[choice.then], parse_condition(choice.when) if choice.when is not None else None)
                for choice in task.choices
            )
        if task.fallback is not None:
            node.fallback = self.by_id[task.fallback]
            self.nodes[node.fallback].is_alternative = True
            self.alternatives[node.fallback] = node.index
        if task.cancel_rest:
            node.rest = self._leading_only_to(node)

    def _leading_only_to(self, join: Node) -> tuple[int, ...]:
        """Return what has no way on but to ``join``: nobody needs it once the join is met."""
        found: set[int] = set()
        stack = list(join.depends_on)
        while stack:
            node = self.nodes[stack.pop()]
            if node.index not in found and all(index == join.index or index in found for index in node.dependents):
                found.add(node.index)
                stack.extend(node.depends_on)
        return tuple(sorted(found))

    def _free_roots(self) -> frozenset[str]:
        found = {reference.root for reference in self.output.references} if self.output is not None else set()
        for node in self.nodes:
            if node.params is not None or not node.is_plain:
                found |= {reference.root for reference in node.references()} - item_roots(node.task)
        return frozenset(found - INPUT_ROOTS - set(self.by_id))


_plans: dict[bytes, Plan] = {}


def compile_plan(definition: WorkflowDefinition) -> Plan:
    """Return the plan of ``definition``. Raises ``DefinitionError`` with every mistake found."""
    encoded = definition.encoded()
    plan = _plans.get(encoded)
    if plan is None:
        definition = _as_recorded(definition, encoded)
        if problems := validate(definition):
            raise DefinitionError(
                f"workflow {definition.name!r} has {len(problems)} mistake{'s' if len(problems) > 1 else ''}: {'; '.join(problems)}",
                problems=problems,
            )
        plan = _remember(Plan(definition, encoded))
    return plan


def _as_recorded(definition: WorkflowDefinition, encoded: bytes) -> WorkflowDefinition:
    """Return the definition as every later process will read it, so that a run behaves the same in all of them."""
    try:
        recorded = msgspec.msgpack.decode(encoded, type=WorkflowDefinition)
    except (msgspec.ValidationError, DefinitionError) as error:
        raise DefinitionError(
            f"workflow {definition.name!r} could not be read back: {error}",
            hint="keys of params and of the context are texts; names, labels and signals too",
        ) from error
    inner: dict[int, WorkflowDefinition] = {}
    for given, task in zip(definition.tasks, recorded.tasks, strict=True):
        if isinstance(task.workflow, WorkflowDefinition):
            # One that many tasks run is one object again: it is looked at once.
            msgspec.structs.force_setattr(task, "workflow", inner.setdefault(id(given.workflow), task.workflow))
    return recorded


def decode_plan(encoded: bytes) -> Plan:
    """Return the plan of the definition recorded as ``encoded``. Raises ``CorruptStore`` when it cannot be read."""
    plan = _plans.get(encoded)
    if plan is None:
        try:
            definition = msgspec.msgpack.decode(encoded, type=WorkflowDefinition)
        except (msgspec.DecodeError, msgspec.ValidationError, DefinitionError) as error:
            raise CorruptStore(f"a recorded definition cannot be read: {error}") from error
        plan = _remember(Plan(definition, encoded))
    return plan


def _remember(plan: Plan) -> Plan:
    # Content-addressed, so the cache cannot make a decision differ; it only saves parsing.
    while len(_plans) >= CACHED_PLANS:
        del _plans[next(iter(_plans))]
    _plans[plan.encoded] = plan
    return plan


def unknown_roots(plan: Plan, workflow_input: object) -> list[str]:
    """Return, in words, every reference that is neither to a task nor to a key of ``workflow_input``, and every collision."""
    if (not plan.free_roots and not workflow_input) or plan.definition.code:
        return []
    keys = set(workflow_input) if isinstance(workflow_input, Mapping) else set()
    if plan.free_roots <= keys and keys.isdisjoint(plan.by_id):
        return []
    problems = [
        f"{key!r} is a task id and a key of the input: references could mean either"
        for key in sorted(keys & set(plan.by_id))
    ]
    known = keys | set(plan.by_id) | INPUT_ROOTS
    for node in plan.nodes:
        allowed = known | item_roots(node.task)
        problems.extend(
            f"task {node.task.task_id!r} uses {reference}, but {reference.root!r} is neither a task nor a key of the input"
            f"{meant(reference.root, known)}"
            for reference in node.references()
            if reference.root not in allowed
        )
    if plan.output is not None:
        problems.extend(
            f"the output uses {reference}, but {reference.root!r} is neither a task nor a key of the input"
            for reference in plan.output.references
            if reference.root not in known
        )
    return problems
