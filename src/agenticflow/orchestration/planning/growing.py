"""A plan that grows: the steps a workflow as code has asked for so far, laid out as nodes that depend on nothing."""

from __future__ import annotations

import msgspec

from agenticflow.core import codec
from agenticflow.core.values import reference_in
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.facts import PlannedStep
from agenticflow.orchestration.plan import ChildNode, FullNode, Node, Plan, node_of

__all__ = ["GrowingPlan"]


class GrowingPlan(Plan):
    """Private to one run, unlike other plans. ``definition`` and its hash are those of the workflow, without the steps."""

    __slots__ = ("steps",)

    def __init__(self, base: Plan) -> None:
        self.definition = base.definition
        self.encoded = base.encoded
        self.content_hash = base.content_hash
        self.by_id = {}
        self.nodes = []
        self.alternatives = {}
        self.is_limited = base.is_limited
        # What is planned later may go before what is ready already.
        self.has_order = True
        self.unmet = []
        self.roots = []
        self.sinks = []
        self.output = None
        self.free_roots = frozenset()
        self.steps: list[PlannedStep] = []

    def grow(self, step: PlannedStep) -> Node:
        """Add ``step``; return its node."""
        task, params = step.task, bytes(step.params)
        node = node_of(len(self.nodes), task, ())
        node.encoded_params = params
        if isinstance(node, (ChildNode, FullNode)) and isinstance(task.workflow, WorkflowDefinition):
            node.workflow = codec.encode(task.workflow)
        if self.is_limited or task.priority or self.definition.priority:
            node.priority = task.priority + self.definition.priority
            node.is_ordered = self.is_limited or node.priority != 0
            node.is_plain = node.is_plain and not node.priority
        undo = node.compensation
        if undo is not None and undo.params is None and not undo.task.params:
            undo.encoded_params = params
        self.by_id[task.task_id] = node.index
        self.nodes.append(node)
        self.steps.append(step)
        return node

    def described(self) -> WorkflowDefinition:
        return msgspec.structs.replace(self.definition, tasks=[_described(step) for step in self.steps])


def _described(step: PlannedStep) -> TaskDefinition:
    """Return the step as a task with its params, as far as they are at hand."""
    params = bytes(step.params)
    given = None if reference_in(params) is not None else codec.decode(params)
    return msgspec.structs.replace(step.task, params=given) if isinstance(given, dict) and given else step.task
