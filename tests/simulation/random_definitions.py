"""Random definitions with all the control flow there is, and what the world does with their tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from hypothesis import strategies as st

from agenticflow.orchestration.definition import Choice, TaskDefinition, WorkflowDefinition
from agenticflow.resilience.retry import RetryPolicy

GIVEN = {"one": 1}


@dataclass(frozen=True)
class Deed:
    """What the world does with a task: so many attempts fail, then it has its value. A person rejects when attempts fail."""

    fails: int = 0
    is_permanent: bool = False
    value: int = 0

    def of(self, index: int | None) -> tuple[int, int]:
        """Return how often an item or iteration fails, and its value: of items only odd ones fail, iterations count on."""
        if index is None:
            return self.fails, self.value
        return self.fails if index % 2 else 0, (self.value + index) % 3


@dataclass
class Story:
    """A workflow and its world. ``repr`` is what a failing test shows: what is not at its default."""

    tasks: list[TaskDefinition]
    deeds: dict[str, Deed]
    max_parallel: int | None = None
    inner: dict[str, Story] = field(default_factory=dict)
    """Of sub-workflows, by task id."""

    @property
    def definition(self) -> WorkflowDefinition:
        return WorkflowDefinition(self.tasks, max_parallel=self.max_parallel)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def __repr__(self) -> str:
        lines = [f"max_parallel={self.max_parallel}"] if self.max_parallel else []
        for task in self.tasks:
            shown = msgspec.to_builtins(task)
            for name in ("task_id", "agent_id", "task_type", "workflow"):
                shown.pop(name, None)
            deed = self.deeds[task.task_id]
            told = "" if deed == Deed() else f"  # {deed}"
            lines.append(f"{task.task_id}: {', '.join(f'{key}={value!r}' for key, value in shown.items())}{told}")
        lines.extend(f"inside {task_id}:{story!r}".replace("\n", "\n    ") for task_id, story in self.inner.items())
        return "\n" + "\n".join(lines)


KINDS = ("task", "task", "task", "map", "loop", "choice", "choice", "timer", "signal", "approval", "child")


@st.composite
def stories(draw: st.DrawFn, most: int = 7, *, is_inner: bool = False) -> Story:
    """Workflows that nothing is wrong with; every condition can be decided."""
    story = Story([], {})
    kinds = [kind for kind in KINDS if not (is_inner and kind == "child")]
    for number in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(kinds))
        before = [task.task_id for task in story.tasks]
        wanted = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        story.tasks.append(_task(draw, story, f"t{number}", kind, wanted))
    _add_choices(draw, story)
    _add_fallbacks(draw, story)
    _add_cancels(draw, story)
    story.deeds = {task.task_id: draw(_deeds) for task in story.tasks}
    story.max_parallel = draw(st.sampled_from((None, None, None, 1, 2)))
    return story


_deeds = st.builds(Deed, st.sampled_from((0, 0, 0, 1, 2)), st.booleans(), st.integers(0, 2))


def _rarely(draw: st.DrawFn) -> bool:
    return draw(st.sampled_from((False, False, False, True)))


def _task(draw: st.DrawFn, story: Story, task_id: str, kind: str, dependencies: list[str]) -> TaskDefinition:
    options: dict[str, Any] = {"dependencies": dependencies}
    if len(dependencies) > 1:
        options["join"] = draw(st.sampled_from(("all", "all", "any", "settled", 2)))
        options["cancel_rest"] = options["join"] in ("any", 2) and draw(st.booleans())
    elif dependencies and _rarely(draw):
        options["join"] = "settled"
    if _rarely(draw):
        options["when"] = _condition(draw, [*dependencies, *GIVEN])
    options["on_failure"] = draw(st.sampled_from(("fail", "fail", "skip")))
    options["priority"] = draw(st.sampled_from((0, 0, 0, 1, 2)))
    number = int(task_id[1:])
    match kind:
        case "timer":
            # Moments that do not meet: of two that end each other the rules leave open which was first.
            return TaskDefinition.timer(task_id, 1.0 + number * 0.377 + number**2 * 0.0101, **options)
        case "signal":
            return TaskDefinition.wait_for(task_id, f"signal-{task_id}", **options)
        case "approval":
            return TaskDefinition.ask(task_id, "May I?", **options)
        case "choice":
            return TaskDefinition.choice(task_id, {"later": None}, **options)
        case _:
            pass
    if kind == "map" or (kind == "child" and _rarely(draw)):
        options["for_each"] = list(range(draw(st.integers(0, 4))))
        options["max_parallel"] = draw(st.sampled_from((None, 1, 2)))
        most = len(options["for_each"])
        options["enough"] = draw(st.integers(1, most)) if most and draw(st.booleans()) else None
    elif kind == "loop":
        name = draw(st.sampled_from(("iteration", task_id)))
        options["repeat_until"] = f"${{{name}}} == {draw(st.integers(0, 3))}"
        options["max_iterations"] = draw(st.integers(1, 4))
        options["on_limit"] = draw(st.sampled_from(("fail", "complete")))
        options["repeat_delay_seconds"] = draw(st.sampled_from((None, 2.03)))
    if kind == "child":
        inner = story.inner[task_id] = draw(stories(3, is_inner=True))
        return TaskDefinition(task_id, workflow=inner.definition, params=GIVEN, **options)
    if _rarely(draw):
        options |= {"on_failure": "reassign", "reassign_to": ["second"]}
    options["retry_policy"] = RetryPolicy(draw(st.integers(1, 3)), 5.0, jitter=False)
    params = {"seen": f"${{{dependencies[0]}}}"} if dependencies else None
    return TaskDefinition(task_id, "agent", "work", params, **options)


def _condition(draw: st.DrawFn, names: list[str]) -> str:
    def one() -> str:
        name, sign = draw(st.sampled_from(names)), draw(st.sampled_from(("==", "!=")))
        return f"${{{name}}} {sign} {draw(st.integers(0, 2))}"

    word = draw(st.sampled_from(("", " and ", " or ")))
    return one() + word + one() if word else one()


def _add_choices(draw: st.DrawFn, story: Story) -> None:
    """A choice is between some of those that depend on it; without any it is a task like others."""
    for place, task in enumerate(story.tasks):
        if not task.choices:
            continue
        # With a join of some it matters which of two that end at the same moment is first, and the rules leave that open.
        targets = [
            other.task_id
            for other in story.tasks
            if task.task_id in other.dependencies and other.join in ("all", "settled")
        ]
        if not targets:
            story.tasks[place] = TaskDefinition(task.task_id, "agent", "work", None, task.dependencies, when=task.when)
            continue
        chosen_from = draw(st.lists(st.sampled_from(targets), unique=True, min_size=1))
        is_many = draw(st.booleans())
        ways = [Choice(target, _condition(draw, [*task.dependencies, *GIVEN])) for target in chosen_from]
        if not is_many or draw(st.booleans()):
            ways[-1] = Choice(chosen_from[-1])  # something has to be chosen, or the choice has failed
        story.tasks[place] = msgspec.structs.replace(task, choices=ways, choose_many=is_many)


def _add_fallbacks(draw: st.DrawFn, story: Story) -> None:
    for place, task in list(enumerate(story.tasks)):
        if _rarely(draw):
            name = f"f{task.task_id[1:]}"
            story.tasks[place] = msgspec.structs.replace(task, fallback=name)
            skip: Literal["fail", "skip"] = draw(st.sampled_from(("fail", "skip")))
            second = f"g{task.task_id[1:]}" if _rarely(draw) else None
            once = RetryPolicy(1)
            story.tasks.append(
                msgspec.structs.replace(_fallback(draw, story, name, once), fallback=second, on_failure=skip)
            )
            if second is not None:
                story.tasks.append(_fallback(draw, story, second, once))
            if _rarely(draw):
                story.tasks.append(TaskDefinition(f"a{task.task_id[1:]}", "agent", "work", None, [name]))


def _fallback(draw: st.DrawFn, story: Story, task_id: str, once: RetryPolicy) -> TaskDefinition:
    """Whatever a task can be, a fallback can be: most often something plain, for simple stories."""
    kind = draw(st.sampled_from(("plain", "plain", "map", "loop", "timer", "signal", "approval")))
    if kind == "plain":
        return TaskDefinition(task_id, "agent", "work", retry_policy=once)
    return msgspec.structs.replace(_task(draw, story, task_id, kind, []), reassign_to=(), on_failure="fail")


def _add_cancels(draw: st.DrawFn, story: Story) -> None:
    ids = [task.task_id for task in story.tasks]
    for place, task in enumerate(story.tasks):
        others = [one for one in ids if one != task.task_id]
        cancels = draw(st.lists(st.sampled_from(others), unique=True, max_size=2)) if others and _rarely(draw) else []
        ends = _rarely(draw) and _rarely(draw)
        story.tasks[place] = msgspec.structs.replace(task, cancels=cancels, ends_run=ends)
