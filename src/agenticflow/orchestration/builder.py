"""The fluent way to write a definition: steps follow each other unless told otherwise.

``Steps`` are a stretch of steps without a name: a branch of a parallel group, a way out of a choice. ``WorkflowBuilder`` is one with a
name, which becomes a ``WorkflowDefinition``. What is wrong with a step is told where it is added, with the whole where it is built. Nothing
runs here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, Self, Unpack

import msgspec

from agenticflow.errors import DefinitionError
from agenticflow.orchestration.approvals.terms import Approval
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.options import RepeatingOptions, StepOptions, WorkflowOptions
from agenticflow.orchestration.plan import compile_plan
from agenticflow.orchestration.reachability import unreachable

__all__ = ["Steps", "WorkflowBuilder"]

After = str | Collection[str] | None
_TASK_OPTIONS: Final = frozenset(field.name for field in msgspec.structs.fields(TaskDefinition)) - {
    "task_id",
    "agent_id",
}
_WORKFLOW_OPTIONS: Final = frozenset(field.name for field in msgspec.structs.fields(WorkflowDefinition)) - {
    "name",
    "tasks",
    "code",
}


class Steps:
    """``Steps().add_step("reserve", "stock").add_step("ship", "courier")``: a branch, to be put into a builder.

    Every step takes ``depends_on``: left out, it follows what was added before it (after a group, all ends of the group); ``()`` starts at
    once; names are those steps. ``options`` are the keyword arguments of ``TaskDefinition``.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, TaskDefinition] = {}
        self._firsts: list[str] = []
        """Steps that follow whatever stands before this stretch."""
        self._ends: tuple[str, ...] | None = None
        """Steps that the next one follows; ``None`` while there are none."""

    # --- one step -------------------------------------------------------------------------------------------------------

    def add_step(
        self,
        step: str,
        worker: str = "",
        task_type: str | None = None,
        params: Mapping[str, object] | None = None,
        *,
        depends_on: After = None,
        **options: Unpack[RepeatingOptions],
    ) -> Self:
        """Add the task ``step`` performed by ``worker`` (a worker, or an agent with ``task_type``).

        Without a ``worker``, ``capabilities=`` say who can. Raises ``DefinitionError`` for a name that is taken and for options that do
        not go together.
        """
        return self._add(
            step,
            depends_on,
            options,
            lambda after: TaskDefinition(step, worker, task_type, params, after, **options),
        )

    def add_map(
        self,
        step: str,
        worker: str | WorkflowDefinition,
        task_type: str | None = None,
        params: Mapping[str, object] | None = None,
        *,
        for_each: str | Sequence[object],
        depends_on: After = None,
        **options: Unpack[StepOptions],
    ) -> Self:
        """Add a step that runs once per item of ``for_each``, with ``${item}`` and ``${index}`` in its params; its result is the list.

        ``max_parallel=`` bounds how many are in work at once, ``enough=`` completes it early. With a ``WorkflowDefinition`` for
        ``worker`` each item is a run of it.
        """
        return self._add_work(step, worker, task_type, params, depends_on, options, for_each=for_each)

    def add_loop(
        self,
        step: str,
        worker: str | WorkflowDefinition,
        task_type: str | None = None,
        params: Mapping[str, object] | None = None,
        *,
        repeat_until: str,
        repeat_from: object = None,
        depends_on: After = None,
        **options: Unpack[StepOptions],
    ) -> Self:
        """Add a step that runs again until ``repeat_until`` holds, at most ``max_iterations=`` times (100).

        In the condition ``${step}`` is the last result and ``${iteration}`` how many there were; in params ``${previous}`` is the
        result before, at first ``repeat_from``.
        """
        return self._add_work(
            step, worker, task_type, params, depends_on, options, repeat_until=repeat_until, repeat_from=repeat_from
        )

    def add_workflow(
        self,
        step: str,
        workflow: WorkflowDefinition | WorkflowBuilder | str,
        params: Mapping[str, object] | None = None,
        *,
        depends_on: After = None,
        **options: Unpack[RepeatingOptions],
    ) -> Self:
        """Add a run of ``workflow`` (or of the registered one of that name) as a step, with ``params`` as its input."""
        inner = workflow.build() if isinstance(workflow, WorkflowBuilder) else workflow
        return self._add(
            step,
            depends_on,
            options,
            lambda after: TaskDefinition(step, "", None, params, after, workflow=inner, **options),
        )

    def add_timer(self, step: str, seconds: float, *, depends_on: After = None, **options: Unpack[StepOptions]) -> Self:
        """Add a pause of ``seconds``."""
        return self._add(step, depends_on, options, lambda after: TaskDefinition.timer(step, seconds, after, **options))

    def add_signal(self, step: str, signal: str, *, depends_on: After = None, **options: Unpack[StepOptions]) -> Self:
        """Add a wait for ``signal``; the result is what it carries."""
        return self._add(
            step, depends_on, options, lambda after: TaskDefinition.wait_for(step, signal, after, **options)
        )

    def add_approval(
        self, step: str, question: Approval | str, *, depends_on: After = None, **options: Unpack[StepOptions]
    ) -> Self:
        """Add a question to people: approved it is completed, rejected it has failed. An ``Approval`` says who is asked, and how."""
        return self._add(step, depends_on, options, lambda after: TaskDefinition.ask(step, question, after, **options))

    def add_next_run(
        self, step: str, given: object, *, depends_on: After = None, **options: Unpack[StepOptions]
    ) -> Self:
        """Add the end of this run and the beginning of the next, with ``given`` as its input and an empty history."""
        return self._add(
            step,
            depends_on,
            options,
            lambda after: TaskDefinition(step, dependencies=after, continue_with=given, **options),
        )

    def add_fallback(
        self,
        instead_of: str,
        step: str,
        worker: str = "",
        task_type: str | None = None,
        params: Mapping[str, object] | None = None,
        **options: Unpack[StepOptions],
    ) -> Self:
        """Add ``step`` to run when the earlier step ``instead_of`` has failed for good; its result stands for that one's.

        What follows goes on following ``instead_of``.
        """
        primary = self._known(instead_of, f"step {step!r} is the fallback of")
        ends = self._ends
        self.add_step(step, worker, task_type, params, depends_on=(), **options)
        self._ends = ends
        self._tasks[instead_of] = msgspec.structs.replace(primary, fallback=step)
        return self

    # --- several steps --------------------------------------------------------------------------------------------------

    def add_parallel(self, *branches: Steps, depends_on: After = None) -> Self:
        """Add branches that run side by side. The next step joins them: it follows the last step of each."""
        if not branches:
            raise DefinitionError(
                "add_parallel got no branches", hint='write .add_parallel(Steps().add_step("a", "worker"), Steps()…)'
            )
        ends: list[str] = []
        after = self._after(depends_on)
        starts_at_once = depends_on is None and self._ends is None
        for number, branch in enumerate(branches, 1):
            ends.extend(self._take(branch, after, f"branch {number} of add_parallel", is_first=starts_at_once))
        self._ends = tuple(dict.fromkeys(ends))
        return self

    def add_choice(
        self,
        step: str,
        ways: Mapping[str, Steps],
        *,
        otherwise: Steps | None = None,
        depends_on: After = None,
        **options: Unpack[StepOptions],
    ) -> Self:
        """Add a choice: ``ways`` maps conditions to branches, and the first that holds is taken; ``otherwise`` when none does.

        Without ``otherwise`` a run in which none holds fails; an empty ``Steps()`` there goes straight on. ``choose_many=True`` takes every
        way that holds. The next step follows the end of whichever was taken.
        """
        if not ways:
            raise DefinitionError(
                f"choice {step!r} has no ways",
                hint=f'write .add_choice({step!r}, {{"${{score}} > 0.8": Steps().add_step("accept", "clerk")}})',
            )
        branches: list[tuple[str | None, Steps]] = [*ways.items()]
        if otherwise is not None:
            branches.append((None, otherwise if not _is_empty(otherwise) else Steps().add_timer(f"{step}-none", 0)))
        targets: dict[str, str | None] = {}
        for condition, branch in branches:
            where = f"the way {condition!r} of choice {step!r}" if condition is not None else f"otherwise of {step!r}"
            _demand_steps(branch, where)
            if len(branch._firsts) != 1:
                raise DefinitionError(
                    f"{where} begins with {len(branch._firsts)} steps",
                    hint="a choice takes one step: put one before the others, a timer of 0 seconds say",
                )
            targets[branch._firsts[0]] = condition
        self._add(step, depends_on, options, lambda after: TaskDefinition.choice(step, targets, after, **options))
        ends: list[str] = []
        for _, branch in branches:
            ends.extend(self._take(branch, (step,), f"a way of choice {step!r}"))
        goes_on = options.get("choose_many") and otherwise is None
        self._ends = tuple(dict.fromkeys([*ends, step] if goes_on else ends))
        return self

    def add_first_of(self, *ways: Steps, depends_on: After = None) -> Self:
        """Add a race: each way begins with a wait (signal, timer or approval), and the first to be done cancels the others.

        The next step follows the end of the way that was taken.
        """
        firsts: list[str] = []
        for number, way in enumerate(ways, 1):
            _demand_steps(way, f"way {number} of add_first_of")
            for first in way._firsts:
                task = way._tasks[first]
                if task.signal is None and task.delay_seconds is None and task.approval is None:
                    raise DefinitionError(
                        f"way {number} of add_first_of begins with step {first!r}, which does not wait",
                        hint="begin it with add_signal, add_timer or add_approval",
                    )
            firsts.extend(way._firsts)
        if len(ways) < 2 or len(firsts) != len(ways):
            raise DefinitionError(
                f"add_first_of got {len(ways)} ways that begin with {len(firsts)} steps",
                hint="give at least two, each with one wait at its beginning",
            )
        self.add_parallel(*ways, depends_on=depends_on)
        for first in firsts:
            task = self._tasks[first]
            others = [other for other in firsts if other != first]
            self._tasks[first] = msgspec.structs.replace(task, cancels=[*task.cancels, *others])
        return self

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _add_work(
        self,
        step: str,
        worker: str | WorkflowDefinition,
        task_type: str | None,
        params: Mapping[str, object] | None,
        depends_on: After,
        options: StepOptions,
        **kind: Any,
    ) -> Self:
        inner = worker if isinstance(worker, WorkflowDefinition) else None
        performer = "" if isinstance(worker, WorkflowDefinition) else worker
        return self._add(
            step,
            depends_on,
            options,
            lambda after: TaskDefinition(step, performer, task_type, params, after, workflow=inner, **kind, **options),
        )

    def _add(
        self,
        step: str,
        depends_on: After,
        options: Mapping[str, object],
        make: Callable[[Collection[str]], TaskDefinition],
    ) -> Self:
        _check_options(options, _TASK_OPTIONS, f"step {step!r}")
        self._demand_free(step)
        is_first = depends_on is None and self._ends is None
        task = make(self._after(depends_on))
        self._tasks[step] = task
        if is_first:
            self._firsts.append(step)
        self._ends = (step,)
        return self

    def _after(self, depends_on: After) -> Collection[str]:
        if depends_on is None:
            return self._ends or ()
        return (depends_on,) if isinstance(depends_on, str) else depends_on

    def _take(self, branch: Steps, after: Collection[str], where: str, *, is_first: bool = False) -> tuple[str, ...]:
        """Make the steps of ``branch`` our own, its first ones after ``after``; return its ends."""
        _demand_steps(branch, where)
        for task_id, task in branch._tasks.items():
            self._demand_free(task_id)
            begins = task_id in branch._firsts
            self._tasks[task_id] = msgspec.structs.replace(task, dependencies=after) if begins else task
        if is_first:
            self._firsts.extend(branch._firsts)
        return branch._ends or ()

    def _demand_free(self, step: str) -> None:
        if step in self._tasks:
            raise DefinitionError(f"there is a step {step!r} already", hint="give each step its own name")

    def _known(self, step: str, what: str) -> TaskDefinition:
        if step not in self._tasks:
            close = get_close_matches(step, self._tasks, n=1)
            raise DefinitionError(
                f"{what} {step!r}, which was not added",
                hint=f"did you mean {close[0]!r}?" if close else "add it before",
            )
        return self._tasks[step]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._tasks)})"


class WorkflowBuilder(Steps):
    """``WorkflowBuilder("orders").add_step("reserve", "reserve_stock").add_step("ship", "ship_order").build()``."""

    def __init__(self, name: str, **options: Unpack[WorkflowOptions]) -> None:
        """``options`` are the keyword arguments of ``WorkflowDefinition``."""
        if not isinstance(name, str):
            raise DefinitionError(
                f"the name of a workflow is a text, not {name!r:.60}", hint='write WorkflowBuilder("orders")'
            )
        _check_options(options, _WORKFLOW_OPTIONS, f"workflow {name!r}")
        super().__init__()
        self._name = name
        self._options = options

    def build(self) -> WorkflowDefinition:
        """Return the definition. Raises ``DefinitionError`` with every mistake found."""
        definition = WorkflowDefinition(list(self._tasks.values()), name=self._name, **self._options)
        compile_plan(definition)
        if problems := unreachable(definition):
            raise DefinitionError(f"workflow {self._name!r} cannot work: {'; '.join(problems)}", problems=problems)
        return definition


def _is_empty(branch: object) -> bool:
    return isinstance(branch, Steps) and not branch._tasks


def _demand_steps(branch: object, where: str) -> None:
    if not isinstance(branch, Steps):
        raise DefinitionError(
            f"{where} is a {type(branch).__name__}, not Steps", hint='write Steps().add_step("name", "worker")'
        )
    if not branch._tasks:
        raise DefinitionError(f"{where} has no steps", hint='write Steps().add_step("name", "worker")')


def _check_options(options: Mapping[str, object], known: Collection[str], whose: str) -> None:
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}=?" if close else f"there are {', '.join(sorted(known))}"
            raise DefinitionError(f"{whose} has no option {name}=", hint=hint)
