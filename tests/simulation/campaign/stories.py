"""Random workflows with all the control flow there is, drawn from a seed, with a world that remembers what was done to it.

What must come out is told by the naive interpreter, where the rules alone decide it. Where the order of events has a say (a join of some, a
cancellation, enough items of a map) only the guarantees are checked.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agenticflow import EffectClass, RetryPolicy, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.definition import Choice
from agenticflow.resilience.limits import Limit
from tests.simulation.naive_interpreter import FAILED, Interpreter, is_part, task_of

GIVEN = {"one": 1}
KINDS = (
    *("task",) * 5,
    "pay",
    "thread",
    "map",
    "loop",
    "choice",
    "timer",
    "signal",
    "approval",
    "child",
    "locked",
    "large",
)
LOCKS = ("till", "stock")
ONCE = RetryPolicy(1)


@dataclass(frozen=True)
class Deed:
    """What the world does with a task: so many attempts fail, then it has its value, after some time. A person rejects where
    attempts fail."""

    fails: int = 0
    is_permanent: bool = False
    value: int = 0
    seconds: float = 0.0

    def of(self, index: int | None) -> tuple[int, int]:
        """Return how often an item or iteration fails, and its value: of items only odd ones fail, iterations count on."""
        if index is None:
            return self.fails, self.value
        return self.fails if index % 2 else 0, (self.value + index) % 3


@dataclass
class Story:
    """A workflow and its world."""

    tasks: list[TaskDefinition]
    deeds: dict[str, Deed]
    max_parallel: int | None = None
    inner: dict[str, Story] = field(default_factory=dict)
    """Of sub-workflows, by task id."""
    rounds: int = 0
    """Above 0: the last task continues the run as the next, so many times."""

    @property
    def definition(self) -> WorkflowDefinition:
        output = {"t1": "${t1}"} if self.rounds else None
        return WorkflowDefinition(self.tasks, name="story", max_parallel=self.max_parallel, output=output)

    @property
    def size(self) -> int:
        """How many tasks there are, those of sub-workflows too."""
        return len(self.tasks) + sum(story.size for story in self.inner.values())

    @property
    def everything(self) -> list[Story]:
        """This story and those inside of it."""
        return [self, *(one for story in self.inner.values() for one in story.everything)]

    @property
    def is_decided(self) -> bool:
        """Whether the rules alone decide what comes out, whatever happens first."""
        return all(
            task.join in ("all", "settled") and not task.cancels and not task.ends_run and task.enough is None
            for story in self.everything
            for task in story.tasks
        )

    def without(self, task_id: str) -> Story | None:
        """Return the story without a task, ``None`` when others are built around it."""
        gone = {task_id, f"f{task_id[1:]}", f"g{task_id[1:]}", f"a{task_id[1:]}"} if task_id[0] == "t" else {task_id}
        if task_id[0] != "t":
            return None
        tasks: list[TaskDefinition] = []
        for task in self.tasks:
            if task.task_id in gone:
                continue
            if task.choices and any(choice.then in gone for choice in task.choices):
                return None
            if task.when is not None and any(f"{{{one}}}" in task.when for one in gone):
                task = msgspec.structs.replace(task, when=None)
            needs = [one for one in task.dependencies if one not in gone]
            changes: dict[str, Any] = {"dependencies": needs, "cancels": [c for c in task.cancels if c not in gone]}
            if len(needs) < 2 or isinstance(task.join, int):
                changes |= {"join": "all", "cancel_rest": False}
            if task.params and "seen" in task.params:
                changes["params"] = {"seen": f"${{{needs[0]}}}"} if needs else None
            if any(f"{{{one}}}" in (choice.when or "") for choice in task.choices for one in gone):
                return None
            tasks.append(msgspec.structs.replace(task, **changes))
        if not tasks:
            return None
        inner = {key: story for key, story in self.inner.items() if key not in gone}
        return Story(tasks, self.deeds, self.max_parallel, inner, self.rounds)

    def __repr__(self) -> str:
        lines = [f"max_parallel={self.max_parallel}"] if self.max_parallel else []
        for task in self.tasks:
            shown = msgspec.to_builtins(task)
            for name in ("task_id", "workflow"):
                shown.pop(name, None)
            deed = self.deeds.get(task.task_id, Deed())
            told = "" if deed == Deed() else f"  # {deed}"
            lines.append(f"{task.task_id}: {', '.join(f'{key}={value!r}' for key, value in shown.items())}{told}")
        lines.extend(f"inside {task_id}:{story!r}".replace("\n", "\n    ") for task_id, story in self.inner.items())
        return "\n" + "\n".join(lines)


def story_of(seed: int, most: int = 20) -> Story:
    """Return the story of a seed: up to ``most`` tasks."""
    chance = random.Random(f"story {seed}")
    if chance.random() < 0.08:
        return _rolling(chance)
    if is_in_a_row(seed):
        return _in_a_row(chance)
    while True:
        story = _Author(chance).write(chance.randint(1, most))
        if story.size <= most:
            return story


def _rolling(chance: random.Random) -> Story:
    """A run that is continued by the next, a few times: what goes on for ever."""
    tasks = [
        TaskDefinition("t0", "agent", "count", {"number": "${number}"}),
        TaskDefinition("t1", "agent", "work", {"seen": "${t0}"}, ["t0"]),
        TaskDefinition("t2", continue_with={"number": "${t0}"}, dependencies=["t0", "t1"], when="${t0} < 3"),
    ]
    deeds = {"t0": Deed(), "t1": Deed(value=1, seconds=chance.choice((0.0, 0.01))), "t2": Deed()}
    return Story(tasks, deeds, rounds=3)


def is_in_a_row(seed: int) -> bool:
    """Whether the story of a seed is one of sub-workflows in a row, unless it is one that rolls."""
    return random.Random(f"row {seed}").random() < 0.12


def _in_a_row(chance: random.Random) -> Story:
    """Sub-workflows one after the other: what follows from the end of each is decided along with it."""
    story = Story([], {})
    for number in range(chance.randint(2, 6)):
        task_id = f"t{number}"
        inner = story.inner[task_id] = _Author(chance, f"{number}n").write(1)
        before = [f"t{number - 1}"] if number else []
        story.tasks.append(TaskDefinition(task_id, workflow=inner.definition, params=GIVEN, dependencies=before))
        story.deeds[task_id] = Deed()
    return story


class _Author:
    def __init__(self, chance: random.Random, prefix: str = "") -> None:
        self.chance = chance
        self.prefix = prefix
        """Of the numbers of tasks: in a sub-workflow that of its task, so that no two tasks have the same id."""
        self.story = Story([], {})
        self.has_joins_of_some = chance.random() < 0.3
        """Whether the order of events may have a say."""

    def write(self, count: int) -> Story:
        chance, story = self.chance, self.story
        for number in range(count):
            kind = chance.choice(KINDS)
            before = [task.task_id for task in story.tasks]
            wanted = chance.sample(before, min(len(before), chance.choice((0, 1, 1, 2, 2, 3))))
            story.tasks.append(
                self.task(number, "task" if kind in ("child", "signal") and self.prefix else kind, wanted)
            )
        self.add_choices()
        self.add_fallbacks()
        if self.has_joins_of_some:
            self.add_cancels()
        for task in story.tasks:
            story.deeds[task.task_id] = self.deed(task)
        story.max_parallel = chance.choice((None, None, None, 1, 2, 5))
        return story

    def rarely(self) -> bool:
        return self.chance.random() < 0.2

    def deed(self, task: TaskDefinition) -> Deed:
        chance = self.chance
        seconds = chance.choice((0.0, 0.001, 0.001, 0.01, 0.3, 1.7))
        return Deed(chance.choice((0, 0, 0, 0, 0, 1, 2)), self.rarely(), chance.randint(0, 2), seconds)

    def task(self, number: int, kind: str, needs: list[str]) -> TaskDefinition:
        chance, task_id = self.chance, f"t{self.prefix}{number}"
        options: dict[str, Any] = {"dependencies": needs}
        if len(needs) > 1:
            options["join"] = chance.choice(("any", 2)) if self.has_joins_of_some and self.rarely() else "all"
            options["cancel_rest"] = options["join"] != "all" and chance.random() < 0.5
        if needs and options.get("join", "all") == "all" and self.rarely():
            options["join"] = "settled"
        if self.rarely():
            options["when"] = self.condition([*needs, *GIVEN])
        options["on_failure"] = chance.choice(("fail", "skip", "skip"))
        options["priority"] = chance.choice((0, 0, 0, 1, 2))
        match kind:
            case "timer":
                return TaskDefinition.timer(task_id, chance.choice((0.01, 1.3, 40.0)), **options)
            case "signal":
                return TaskDefinition.wait_for(task_id, f"signal-{task_id}", **options)
            case "approval":
                return TaskDefinition.ask(task_id, "May I?", **options)
            case "choice":
                return TaskDefinition.choice(task_id, {"later": None}, **options)
            case "child":
                inner = self.story.inner[task_id] = _Author(chance, f"{number}n").write(chance.randint(1, 3))
                if self.rarely():
                    options["for_each"] = [0, 1]
                return TaskDefinition(task_id, workflow=inner.definition, params=GIVEN, **options)
            case "map":
                self.add_items(options)
            case "loop":
                name = chance.choice(("iteration", task_id))
                options["repeat_until"] = f"${{{name}}} == {chance.randint(0, 3)}"
                options["max_iterations"] = chance.randint(1, 4)
                options["on_limit"] = chance.choice(("fail", "complete"))
                options["repeat_delay_seconds"] = chance.choice((None, 0.7))
            case "locked":
                options["locks"] = [chance.choice(LOCKS)]
                if self.rarely():
                    options["limits"] = [Limit("bank", max_concurrent=1, rate=2, per_seconds=1.0)]
            case _:
                pass
        params = {"seen": f"${{{needs[0]}}}"} if needs and options.get("join", "all") == "all" else None
        if kind == "pay":
            options["effect"] = EffectClass.AT_MOST_ONCE
            return TaskDefinition(task_id, "agent", "pay", params, **options)
        if self.rarely():
            options["compensation"] = "undo"
        elif self.rarely():
            options |= {"on_failure": "reassign", "reassign_to": ["second"]}
        options["retry_policy"] = RetryPolicy(
            chance.randint(1, 3), chance.choice((0.05, 5.0)), jitter=chance.random() < 0.5
        )
        return TaskDefinition(
            task_id, "agent", {"thread": "plain", "large": "large"}.get(kind, "work"), params, **options
        )

    def add_items(self, options: dict[str, Any]) -> None:
        count = self.chance.randint(0, 5)
        options["for_each"] = list(range(count))
        options["max_parallel"] = self.chance.choice((None, 1, 2))
        if count and self.has_joins_of_some and self.chance.random() < 0.5:
            options["enough"] = self.chance.randint(1, count)

    def condition(self, names: list[str]) -> str:
        def one() -> str:
            return f"${{{self.chance.choice(names)}}} {self.chance.choice(('==', '!='))} {self.chance.randint(0, 2)}"

        word = self.chance.choice(("", " and ", " or "))
        return one() + word + one() if word else one()

    def add_choices(self) -> None:
        """A choice is between some of those that depend on it; without any it is a task like others."""
        chance, story = self.chance, self.story
        for place, task in enumerate(story.tasks):
            if not task.choices:
                continue
            targets = [
                other.task_id
                for other in story.tasks
                if task.task_id in other.dependencies and other.join in ("all", "settled")
            ]
            if not targets:
                story.tasks[place] = TaskDefinition(
                    task.task_id, "agent", "work", None, task.dependencies, when=task.when, join=task.join
                )
                continue
            chosen_from = chance.sample(targets, chance.randint(1, len(targets)))
            ways = [Choice(target, self.condition([*task.dependencies, *GIVEN])) for target in chosen_from]
            ways[-1] = Choice(chosen_from[-1])  # something has to be chosen, or the choice has failed
            story.tasks[place] = msgspec.structs.replace(task, choices=ways, choose_many=chance.random() < 0.5)

    def add_fallbacks(self) -> None:
        story = self.story
        for place, task in list(enumerate(story.tasks)):
            if self.rarely() and not task.choices:
                name = f"f{task.task_id[1:]}"
                story.tasks[place] = msgspec.structs.replace(task, fallback=name)
                story.tasks.append(TaskDefinition(name, "agent", "work", on_failure="skip", retry_policy=ONCE))
                if self.rarely():
                    story.tasks.append(TaskDefinition(f"a{task.task_id[1:]}", "agent", "work", None, [name]))

    def add_cancels(self) -> None:
        story, chance = self.story, self.chance
        ids = [task.task_id for task in story.tasks]
        for place, task in enumerate(story.tasks):
            others = [one for one in ids if one != task.task_id]
            if others and self.rarely():
                story.tasks[place] = msgspec.structs.replace(
                    task, cancels=[chance.choice(others)], ends_run=self.rarely()
                )


# --- what must come out ---------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """What the naive interpreter says."""

    outcome: object
    model: Interpreter | None = None


def tell(story: Story) -> Told | None:
    """Return what must become of a story, ``None`` where the order of events has a say."""
    if story.rounds:
        return Told({"t1": 1})
    if not story.is_decided:
        return None
    model = _played(story)
    if model.outcome != FAILED:
        return Told(model.output(), model)
    failed = sorted(key for key, status in model.status.items() if status == FAILED)
    return Told(("COMPENSATED" if _did_something(story, model) else "FAILED", failed), model)


def _did_something(story: Story, model: Interpreter) -> bool:
    for key, status in model.status.items():
        task = model.tasks[task_of(key)]
        stood_in = task.fallback is not None and model.status.get(task.fallback) == "COMPLETED"
        is_whole = key not in model.items and not stood_in
        inner = story.inner.get(task_of(key))
        can_be_undone = task.compensation is not None or (inner is not None and _did_something(inner, _played(inner)))
        if status == "COMPLETED" and can_be_undone and (is_part(key) or is_whole):
            return True
    return False


def _played(story: Story) -> Interpreter:
    """Play the rules through, one thing after the other."""
    model = Interpreter(story.definition, GIVEN)
    for _ in range(10_000):
        model.settle(_one_at_a_time(model))
        if model.outcome is not None:
            return model
        for key, status in list(model.status.items()):
            if status == "SCHEDULED":
                _end(story, model, key)
                break
            if status == "RETRYING" or (status == "WAITING" and is_part(key)):
                model.due(key)
                break
            if status == "WAITING":
                _answer(story, model, key)
                break
        else:
            raise AssertionError(f"the interpreter is stuck: {model.status} of {story!r}")
    raise AssertionError("the interpreter does not come to an end")


def _one_at_a_time(model: Interpreter) -> Any:
    def begun(key: str) -> bool:
        return model.places_taken < (model.places or 1)

    return begun


def _end(story: Story, model: Interpreter, key: str) -> None:
    task, deed = model.tasks[task_of(key)], story.deeds[task_of(key)]
    if task.workflow is not None:
        inner = tell(story.inner[task_of(key)])
        assert inner is not None
        if isinstance(inner.outcome, dict):
            model.succeeded(key, inner.outcome)
        else:
            model.failed(key)
        return
    fails, value = deed.of(index_of(key))
    failed_before = model.failures.get(key, 0)
    if model.moves.get(key, 0) or failed_before >= fails:
        model.succeeded(key, value_of(task, value))
    elif task.on_failure == "reassign":
        model.failed(key, for_good=True)
    else:
        model.failed(key, for_good=deed.is_permanent)


def _answer(story: Story, model: Interpreter, key: str) -> None:
    task, deed = model.tasks[task_of(key)], story.deeds[task_of(key)]
    if task.delay_seconds is not None:
        model.due(key)
    elif task.signal is not None:
        model.succeeded(key, deed.value)
    elif deed.fails:
        model.failed(key, for_good=True)
    else:
        model.succeeded(key, {"approved": True, "by": "local-owner", "comment": "", "value": deed.value})


def index_of(key: str) -> int | None:
    """Return the number of an item or iteration."""
    return int(key.partition("[")[2][:-1]) if is_part(key) else None


def value_of(task: TaskDefinition, value: int) -> object:
    """Return the result of a task: a large one does not fit into an event."""
    return f"{value}" + "x" * 66_000 if task.task_type == "large" else value
