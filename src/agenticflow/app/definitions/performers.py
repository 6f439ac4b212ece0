"""Whether those who are there can perform a definition: agents and workers by name or by capability, their handlers, and what these take.

Definition and performers come in, problems in words go out, each naming its task. Params are compared with the signatures of the handlers
as far as the definition says what they are: a reference has a value only in a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from agenticflow.agents.agent import Agent
from agenticflow.agents.workers import Worker
from agenticflow.app.definitions.spellings import close
from agenticflow.core.binding import Handler
from agenticflow.errors import DefinitionError
from agenticflow.orchestration.definition import Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.plan import compile_plan
from agenticflow.orchestration.references import compile_template
from agenticflow.orchestration.validation import INPUT_ROOTS

__all__ = ["Performing", "needed_input", "unperformed", "unused_input"]

Performing = Agent | Worker[..., object]


def unperformed(
    definition: WorkflowDefinition,
    performers: Iterable[Performing],
    *,
    workflows: Collection[str] | None = None,
    given: object = None,
) -> list[str]:
    """Return, in words, every task that ``performers`` cannot perform as it stands.

    ``workflows`` are the names of registered workflows, ``None`` when nobody knows; ``given`` is the workflow input, ``None`` when it is
    not known yet: then what a handler lacks may still be in it (``needed_input``).
    """
    search = _Search({performer.performer_id: performer for performer in performers}, workflows)
    known = None if given is None else {*_keys(definition.context), *_keys(given), "input_data"}
    return list(search.problems(definition, known))


def needed_input(definition: WorkflowDefinition, performers: Iterable[Performing]) -> dict[str, list[str]]:
    """Return the keys that the workflow input has to have, each with the ids of the tasks that need it."""
    search = _Search({performer.performer_id: performer for performer in performers}, None)
    there = _keys(definition.context)
    needs: dict[str, list[str]] = {}
    plan = compile_plan(definition)
    for node in plan.nodes:
        task = node.task
        roots = {reference.root for reference in node.references()} & plan.free_roots
        for handler in search.handlers(task):
            literal, referring = _split(task)
            roots |= handler.unfilled({*literal, *referring, *task.dependencies, "input_data"})
        for root in sorted(roots - there):
            needs.setdefault(root, []).append(task.task_id)
    return needs


def unused_input(definition: WorkflowDefinition, performers: Iterable[Performing], given: object) -> list[str]:
    """Return, in words, every key of the input that nothing in the workflow takes: a slip, as likely as not.

    Empty when that cannot be told: something takes the input as a whole, a handler takes its context, or is not known.
    """
    search = _Search({performer.performer_id: performer for performer in performers}, None)
    plan = compile_plan(definition)
    taken = _keys(definition.context)
    references = {reference for node in plan.nodes for reference in node.references()}
    for reference in references | set(plan.output.references if plan.output is not None else ()):
        if reference.root not in INPUT_ROOTS:
            taken.add(reference.root)
        elif reference.path:
            taken.add(str(reference.path[0]))
        else:
            return []
    for task in definition.tasks:
        undo = task.compensation
        stand_in = TaskDefinition("undo", undo.agent_id, undo.task_type) if isinstance(undo, Compensation) else None
        for one in filter(None, (task, stand_in)):
            handler = next(search.handlers(one), None)
            if handler is None and not (one.agent_id or one.capabilities):
                continue
            if handler is None or handler.takes_context or "input_data" in handler.parameter_names:
                return []
            taken |= handler.parameter_names
    known = taken | plan.free_roots
    return [f"nothing takes {key!r} of the input{close(key, known)}" for key in sorted(_keys(given) - known)]


class _Search:
    def __init__(self, by_id: Mapping[str, Performing], workflows: Collection[str] | None) -> None:
        self._by_id = by_id
        self._workflows = workflows
        self._capabilities = {
            name for performer in by_id.values() if isinstance(performer, Agent) for name in performer.capabilities
        }

    def problems(self, definition: WorkflowDefinition, known: set[str] | None) -> Iterator[str]:
        for task in definition.tasks:
            if isinstance(task.workflow, WorkflowDefinition):
                inner = task.workflow
                filled = {*_keys(inner.context), *_keys(task.params), "input_data"}
                for problem in self.problems(inner, filled):
                    yield f"in the sub-workflow of task {task.task_id!r}: {problem}"
            elif isinstance(task.workflow, str):
                yield from self._workflow_problems(task, task.workflow)
            elif task.agent_id:
                yield from self._agent_problems(task, task.agent_id, "is for")
                for other in task.reassign_to:
                    yield from self._agent_problems(task, other, "is reassigned to")
            elif task.capabilities:
                yield from self._capability_problems(task)
            handler = next(self.handlers(task), None)
            if handler is not None:
                yield from _param_problems(task, handler, known)
            if isinstance(task.compensation, Compensation):
                yield from self._undo_problems(task, task.compensation)

    def handlers(self, task: TaskDefinition) -> Iterator[Handler]:
        """Yield the handler the task comes to, as far as that is known."""
        performer = self._by_id.get(task.agent_id)
        able = [performer] if performer is not None else self._able(task) if task.capabilities else []
        for one in able:
            handler = one.handler_for(task.task_type or "")
            if handler is not None:
                yield handler
                return

    def _able(self, task: TaskDefinition) -> list[Performing]:
        wanted = set(task.capabilities)
        return [one for one in self._by_id.values() if isinstance(one, Agent) and wanted <= one.capabilities]

    def _undo_problems(self, task: TaskDefinition, undo: Compensation) -> Iterator[str]:
        stand_in = TaskDefinition(task.task_id, undo.agent_id, undo.task_type, undo.params)
        yield from self._agent_problems(stand_in, undo.agent_id, "is compensated by")
        handler = next(self.handlers(stand_in), None)
        if handler is not None and undo.params is not None:
            yield from _param_problems(stand_in, handler, None)

    def _workflow_problems(self, task: TaskDefinition, name: str) -> Iterator[str]:
        if self._workflows is not None and name not in self._workflows:
            yield (
                f"task {task.task_id!r} runs the workflow {name!r}, which is not there{close(name, self._workflows)}"
            )

    def _agent_problems(self, task: TaskDefinition, agent_id: str, verb: str) -> Iterator[str]:
        performer = self._by_id.get(agent_id)
        if performer is None:
            yield (
                f"task {task.task_id!r} {verb} {agent_id!r}, and no agent or worker of that name is there"
                f"{close(agent_id, self._by_id)}"
            )
            return
        if performer.handler_for(task.task_type or "") is None:
            yield (
                f"task {task.task_id!r} is of type {task.task_type!r}, and {agent_id!r} has no handler for that"
                f"{_handled(performer, task)}"
            )
        able = performer.capabilities if isinstance(performer, Agent) else frozenset[str]()
        for name in sorted(set(task.capabilities) - able):
            yield f"task {task.task_id!r} needs the capability {name!r}, which {agent_id!r} has not{close(name, able)}"

    def _capability_problems(self, task: TaskDefinition) -> Iterator[str]:
        unknown = sorted(set(task.capabilities) - self._capabilities)
        for name in unknown:
            yield (
                f"task {task.task_id!r} needs the capability {name!r}, which no agent here has"
                f"{close(name, self._capabilities)}"
            )
        if unknown:
            return
        able = self._able(task)
        names = " and ".join(repr(name) for name in task.capabilities)
        if not able:
            yield f"task {task.task_id!r} needs {names}, and no agent here has them all"
        elif not any(one.handler_for(task.task_type or "") for one in able):
            yield (
                f"task {task.task_id!r} is of type {task.task_type!r}, and no agent with {names} has a handler for that"
                f"{_handled(able[0], task)}"
            )


def _handled(performer: Performing, task: TaskDefinition) -> str:
    return close(task.task_type or "", performer.task_types)


def _param_problems(task: TaskDefinition, handler: Handler, known: set[str] | None) -> Iterator[str]:
    literal, referring = _split(task)
    for problem in handler.misfits(literal, referring):
        yield f"task {task.task_id!r}: {problem}"
    if known is not None:
        for name in sorted(handler.unfilled({*literal, *referring, *task.dependencies, *known})):
            yield (
                f"task {task.task_id!r}: nothing fills the parameter {name!r} of the handler {handler.name!r}; "
                "add it to params, or to the input"
            )


def _split(task: TaskDefinition) -> tuple[dict[str, object], set[str]]:
    """Return the params whose values stand in the definition, and the names of those that refer to something."""
    literal: dict[str, object] = {}
    referring: set[str] = set()
    for name, value in (task.params or {}).items():
        try:
            template = compile_template(value)
        except DefinitionError:  # told elsewhere, with what is wrong with it
            referring.add(name)
            continue
        if template.references:
            referring.add(name)
        else:
            literal[name] = template.resolve(dict[str, object]().__getitem__)
    return literal, referring


def _keys(given: object) -> set[str]:
    return set(given) if isinstance(given, Mapping) else set()
