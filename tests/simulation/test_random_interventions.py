"""People who do anything at any moment, to random definitions: no run is ever stuck, what is counted is what there is, and a run that was
modified in the middle ends as one that had those tasks from the beginning."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from agenticflow.core import codec
from agenticflow.core.decider import Command
from agenticflow.errors import AgenticFlowError, InvariantError
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.interventions.modification import applied, modifications_of
from agenticflow.orchestration.interventions.taking import was_told
from agenticflow.orchestration.liveness import Holding, breaches_of
from agenticflow.orchestration.state import IN_FLIGHT, Phase, RunState, TaskStatus
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import GUEST, Run
from tests.simulation.random_definitions import GIVEN, Deed, Story, stories
from tests.simulation.test_random_definitions import Dice

LAST_STEPS = 3_000
NUMBERS = st.builds(
    lambda seed, count: [chance.randrange(10_000) for chance in [random.Random(seed)] for _ in range(count)],
    st.integers(0, 2**32),
    st.integers(0, 300),
)
"""Many at once: a person is there for as long as there are any. Fewer of them are a simpler story."""


class People:
    """One run, a world that performs it, and people who step in."""

    def __init__(self, story: Story, dice: Dice) -> None:
        self.story = story
        self.dice = dice
        self.log: list[str] = []
        self.taken: Counter[str] = Counter()
        self.run = Run(*story.tasks, input=GIVEN, max_parallel=story.max_parallel)

    def play(self) -> None:
        while self.dice.numbers and self.run.state.is_open:
            self.go_on() if self.dice.is_lucky(3) else self.intervene()
            self.check()
        for _ in range(LAST_STEPS):
            if not self.run.state.is_open:
                return
            self.go_on()
            self.check()
        raise AssertionError(f"stuck: {self.run.status}, {self.run.statuses}\n" + "\n".join(self.log))

    # --- the world --------------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        run, state = self.run, self.run.state
        waiting = [key for key, record in state.tasks.items() if record.status is TaskStatus.WAITING]
        ways: list[tuple[Any, str]] = [(self.end, key) for key in run.in_work]
        ways += [(self.signal, key) for key in waiting if run.record(key).node.task.signal is not None]
        ways += [(self.answer, key) for key in waiting if run.record(key).node.task.approval is not None]
        ways += [(self.let_go, str(token)) for token in state.lingering]
        ways += [(self.ring, "")] * (state.next_due is not None)
        ways += [(self.unpause, "")] * (state.is_paused and state.phase is Phase.RUNNING)
        assert ways, f"nothing can happen any more: {run.status}, {run.statuses}\n" + "\n".join(self.log)
        what, key = self.dice.choose(ways)
        self.log.append(f"{what.__name__} {key}")
        what(key)

    def end(self, key: str) -> None:
        record = self.run.record(key)
        fails, value = self.story.deeds.get(key.partition("[")[0], Deed()).of(record.index)
        if record.attempt - record.attempts_before > fails and not self.dice.is_lucky(3):
            self.run.succeed(key, value=value)
        else:
            (self.run.fail_for_good if self.dice.is_lucky(2) else self.run.fail)(key)

    def signal(self, key: str) -> None:
        self.run.signal(self.run.record(key).node.task.signal or "", 1)

    def answer(self, key: str) -> None:
        (self.run.reject if self.dice.is_lucky() else self.run.approve)(key)

    def let_go(self, token: str) -> None:
        self.run.ask(_ended(self.run, int(token)))

    def ring(self, _: str) -> None:
        due = self.run.state.next_due or 0
        self.run.now = max(self.run.now, due)
        self.run.timers()

    def unpause(self, _: str) -> None:
        self.run.resume()

    # --- people -----------------------------------------------------------------------------------------------------

    def intervene(self) -> None:
        run, now = self.run, self.run.now
        failed = [key for key, status in run.statuses.items() if status in ("FAILED", "RETRYING")]
        key = self.dice.choose([*failed, *failed, *failed, *run.state.tasks, *run.state.laid_out.by_id])
        value = codec.encode(self.dice.choose([0, 1, "later", ["later"]]))
        choices: list[Command] = [
            c.SkipTask(now=now, task_key=key, requested_by="ada"),
            c.RetryTask(now=now, task_key=key, requested_by="ada"),
            c.SetResult(now=now, task_key=key, value=value, requested_by="ada"),
            c.RetryTask(now=now, task_key=key, requested_by="ada"),
            c.GiveFeedback(now=now, feedback=value, requested_by="ada", task_key=key),
            c.CancelTask(now=now, task_id=key.partition("[")[0], requested_by="ada"),
            c.Pause(now=now, requested_by="ada"),
        ]
        command = self.dice.choose([*choices, None, None])
        if command is None:
            command = run.modification(*self.changes())
        self.log.append(f"{type(command).__name__} {key}")
        try:
            GUEST.decide(run.state, command)
        except InvariantError:
            raise
        except AgenticFlowError as refusal:
            run.scenario.when(command).then_refused(type(refusal))
            self.log[-1] += f" is refused: {refusal.message}"
            return
        ended = {key: run.statuses.get(key) for key in run.statuses if run.statuses[key] == "COMPLETED"}
        if run.ask(command):
            self.taken[type(command).__name__] += 1
        assert all(run.statuses[key] == "COMPLETED" for key in ended), "what has its result keeps it"
        if self.dice.is_lucky(6):
            run.crash()

    def changes(self) -> list[dict[str, object]]:
        known = list(self.run.state.laid_out.by_id)
        changes: list[dict[str, object]] = []
        for number in range(1 + self.dice.choose([0, 1, 2])):
            name = self.dice.choose(known)
            kind = self.dice.choose(["add", "replace", "replace", "remove"])
            if kind == "remove":
                changes.append({"remove": name})
                continue
            if kind == "add":
                name = f"n{len(known)}_{number}"
            after = list(dict.fromkeys(self.dice.choose([*known, name]) for _ in range(self.dice.choose([0, 1, 2, 3]))))
            join: Any = self.dice.choose(["all", "any", "settled", 2]) if after else "all"
            changes.append({kind: TaskDefinition(name, "agent", "work", None, after, join=join)})
        return changes

    # --- what has to hold -------------------------------------------------------------------------------------------

    def check(self) -> None:
        run, state = self.run, self.run.state
        tokens = {run.token(key) for key in run.in_work}
        found = breaches_of(state, Holding(tokens, state.next_due), run.now)
        assert not found, f"{found}\n" + "\n".join(self.log)
        statuses = Counter(record.status for record in state.tasks.values())
        waiting = statuses[TaskStatus.RETRYING] + statuses[TaskStatus.WAITING]
        in_flight = sum(statuses[status] for status in IN_FLIGHT)
        assert (state.in_flight, state.active) == (in_flight, in_flight + waiting)
        assert (state.held, state.unknown) == (statuses[TaskStatus.RETRYING], statuses[TaskStatus.UNKNOWN])
        assert {record.key for record in state.ready} == {k for k, v in run.statuses.items() if v == "READY"}
        limit = state.laid_out.definition.max_parallel
        assert limit is None or state.in_flight + state.held <= limit
        for record in state.tasks.values():
            most = record.node.task.max_parallel
            if record.items is not None and most is not None:
                parts = [state.tasks.get(f"{record.key}[{index}]") for index in range(len(record.items))]
                open_parts = [part for part in parts if part is not None and part.status.value in _OPEN]
                assert len(open_parts) <= most, f"{record.key}\n" + "\n".join(self.log)
        if state.phase is Phase.RUNNING:
            assert counted(state) == recounted(state), "\n".join(self.log)


_OPEN = ("READY", "SCHEDULED", "RUNNING", "RETRYING")


def _ended(run: Run, token: int) -> Command:
    from agenticflow.core.engine import ActivityFinished
    from agenticflow.core.results import Outcome, OutcomeKind

    key = run.state.lingering[token][0]
    return ActivityFinished(now=run.now, task_key=key, token=token, outcome=Outcome(OutcomeKind.CANCELLED))


def counted(state: RunState) -> dict[str, tuple[int, int, int, int]]:
    """What is counted at each task nobody has come to: open dependencies, whether one is live, whether one has failed, completed ones."""
    return {
        node.task.task_id: (
            state.unmet[node.index],
            state.has_live_dependency[node.index] if not node.needs else 0,
            state.has_failed_dependency[node.index] if node.needs else 0,
            state.completed.get(node.index, 0),
        )
        for node in state.laid_out.nodes
        if node.task.task_id not in state.tasks
    }


def recounted(state: RunState) -> dict[str, tuple[int, int, int, int]]:
    """The same by looking at everything."""
    found: dict[str, tuple[int, int, int, int]] = {}
    nodes = state.laid_out.nodes
    for node in nodes:
        if node.task.task_id in state.tasks:
            continue
        told = [was_told(state, nodes[index]) for index in node.depends_on]
        done = told.count(TaskStatus.COMPLETED)
        failed = told.count(TaskStatus.FAILED)
        met = len(told) - told.count(None)
        if node.needs:
            found[node.task.task_id] = (len(told) - met, 0, int(failed > 0), done)
        else:
            open_ones = len(told) - met + (0 if node.is_settled else failed)
            found[node.task.task_id] = (open_ones, int(done > 0), 0, 0)
    return found


@settings(max_examples=150, deadline=None)
@for_all(stories(10).filter(lambda story: len(story.tasks) > 3), NUMBERS)
def test_no_run_is_stuck_whatever_people_do(story: Story, numbers: list[int]) -> None:
    People(story, Dice(numbers)).play()


@pytest.mark.crash
@settings(max_examples=5_000, deadline=None)
@for_all(stories(10).filter(lambda story: len(story.tasks) > 3), NUMBERS)
def test_no_run_is_stuck_whatever_people_do_at_length(story: Story, numbers: list[int]) -> None:
    People(story, Dice(numbers)).play()


# --- modified in the middle, or from the beginning ----------------------------------------------------------------------


@st.composite
def plain_tasks(draw: st.DrawFn, names: Sequence[str], known: Sequence[str], skips: bool) -> list[TaskDefinition]:
    """Tasks whose end does not depend on the order in which things happen.

    With joins of some it would when failures that are skipped are among others: whether what can no longer be met is skipped or never runs,
    depends on which was first.
    """
    found: list[TaskDefinition] = []
    for name in names:
        before = [*known, *(task.task_id for task in found)]
        after = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        options: dict[str, Any] = {"on_failure": draw(st.sampled_from(("fail", "skip"))) if skips else "fail"}
        if len(after) > 1:
            options["join"] = draw(st.sampled_from(("all", "settled") if skips else ("all", "settled", "any", 2)))
        found.append(TaskDefinition(name, "agent", "work", None, after, retry_policy=RetryPolicy(1), **options))
    return found


@st.composite
def modified(draw: st.DrawFn) -> tuple[list[TaskDefinition], list[dict[str, object]], set[str], list[int]]:
    """Tasks, modifications of them, which fail, and the order of things."""
    names = [f"t{number}" for number in range(draw(st.integers(2, 6)))]
    skips = draw(st.booleans())
    tasks = draw(plain_tasks(names, (), skips))
    changes: list[dict[str, object]] = [{"add": task} for task in draw(plain_tasks(["n0", "n1"], names, skips))]
    for number, name in enumerate(names):
        match draw(st.sampled_from(("keep", "keep", "replace", "remove"))):
            case "replace":
                [task] = draw(plain_tasks([name], names[:number], skips))
                changes.append({"replace": task})
            case "remove":
                changes.append({"remove": name})
            case _:
                pass
    return tasks, changes, set(draw(st.lists(st.sampled_from([*names, "n0", "n1"])))), draw(NUMBERS)


def end_of(run: Run, fails: set[str], dice: Dice, steps: int) -> None:
    for _ in range(steps):
        if not run.in_work:
            return
        key = dice.choose(run.in_work)
        run.fail_for_good(key) if key in fails else run.succeed(key)


@settings(max_examples=200, deadline=None)
@for_all(modified(), st.integers(0, 4))
def test_modified_in_the_middle_is_as_from_the_beginning(
    given: tuple[list[TaskDefinition], list[dict[str, object]], set[str], list[int]], steps: int
) -> None:
    tasks, changes, fails, numbers = given
    dice = Dice(numbers)
    run = Run(*tasks, TaskDefinition.wait_for("open", "open"))
    end_of(run, fails, dice, steps)
    fitting = deque(changes)
    taken: list[dict[str, object]] = []
    while fitting:
        # One after the other where they go together with nothing else; those that do not fit are left out.
        change = fitting.popleft()
        try:
            GUEST.decide(run.state, run.modification(*taken, change))
        except AgenticFlowError:
            continue
        taken.append(change)
    if taken:
        run.modify(*taken)
    end_of(run, fails, dice, 100)
    run.signal("open")
    definition = WorkflowDefinition([*tasks, TaskDefinition.wait_for("open", "open")])
    fresh = Run(*applied(definition, modifications_of(taken)).tasks if taken else definition.tasks)
    end_of(fresh, fails, dice, 100)
    fresh.signal("open")
    assert run.statuses == {key: fresh.statuses[key] for key in run.statuses}
    assert set(run.statuses) == set(fresh.statuses)
    assert run.status == fresh.status
    assert len(run.facts(f.WorkflowModified)) == bool(taken)
