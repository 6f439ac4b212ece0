"""Random definitions with all the control flow there is, in random order: after each thing that happens the run stands where the naive
interpreter says, to its end, also when it is aborted, resumed, paused, or its process dies.

``test_random_graphs.py`` does the same for what the interpreter here leaves out: at-most-once work, handlers that do not let go, early
signals, limits in time, and there the end is known before anything happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from agenticflow.core.engine import ActivityFinished, Effect, PauseActivities, RunActivity, RunChild, StopActivity
from agenticflow.core.results import OutcomeKind
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.state import Phase, TaskStatus
from tests.scenarios.runs import GUEST, Run, seconds
from tests.simulation.naive_interpreter import Interpreter, is_part, is_wait, task_of
from tests.simulation.random_definitions import GIVEN, Deed, Story, stories

T = TypeVar("T")
LAST_STEPS = 2_000
SHOWN = {"RUNNING": "SCHEDULED"}


class Dice:
    """Numbers that choose; when there are no more the first is chosen. So a shorter list is a simpler story."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = list(reversed(numbers))

    def choose(self, options: Sequence[T]) -> T:
        return options[self.numbers.pop() % len(options)] if self.numbers and options else options[0]

    def is_lucky(self, of: int = 4) -> bool:
        return bool(self.numbers) and self.numbers.pop() % of == 1


class World:
    """Performs what a run asks for, and tells the interpreter."""

    def __init__(self, story: Story, dice: Dice, *, before: World | None = None, log: list[str] | None = None) -> None:
        self.story = story
        self.dice = dice
        self.log: list[str] = [] if log is None else log
        self.attempts: dict[int, str] = {}
        """In work, by token."""
        self.told_to_stop: dict[int, str] = {}
        self.children: dict[str, World] = {}
        self.ended_children: dict[str, World] = {} if before is None else {**before.ended_children, **before.children}
        self.is_mended = False
        self.kept = {} if before is None else before.model.results_to_keep()
        self.model: Interpreter = Interpreter(story.definition, GIVEN, self.kept)
        self.run: Run = Run(
            *story.tasks,
            input=GIVEN,
            run_no=1 if before is None else before.run.state.run_no + 1,
            carried=None if before is None else carry_over(before.run.state),
            max_parallel=story.max_parallel,
        )
        self.meet("started")

    # --- one thing after the other ------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return not self.run.state.is_open and not self.told_to_stop

    def step(self, *, is_calm: bool = False) -> None:
        run = self.run
        is_running = run.state.phase is Phase.RUNNING
        ways: list[tuple[Callable[[str], None], str]] = [(self.resume, "")] * (run.state.is_paused and is_running)
        ways += [(self.end_attempt, str(token)) for token in self.attempts]
        ways += [(self.step_of_child, key) for key in self.children]
        ways += [
            (self.let_go, str(token)) for token in self.told_to_stop if self.told_to_stop[token] not in self.children
        ]
        waiting = [key for key, record in run.state.tasks.items() if record.status is TaskStatus.WAITING]
        ways += [(self.signal, key) for key in waiting if run.record(key).node.task.signal is not None]
        ways += [(self.answer, key) for key in waiting if run.record(key).node.task.approval is not None]
        ways += [(self.look_at_timers, "")] * (run.state.next_due is not None)
        if not is_calm:
            ways += [(self.crash, "")]
            ways += [(self.pause, "")] * (is_running and not run.state.is_paused)
        assert ways, self.story_so_far(f"nothing can happen any more, and the run is {run.status}: {run.statuses}")
        what, key = self.dice.choose(ways)
        what(key)

    def end_attempt(self, token: str) -> None:
        key = self.attempts.pop(int(token))
        fails, value = self.deed(key)
        record = self.run.record(key)
        if self.model.stopping and self.dice.is_lucky(2):
            self.run.cancelled(key)
            self.model.stopped(key)
            self.meet(f"{key} was cancelled")
        elif record.attempt - record.attempts_before > fails:
            self.run.succeed(key, value=value)
            self.model.succeeded(key, value)
            self.meet(f"{key} succeeded with {value}")
        else:
            is_permanent = self.story.deeds[task_of(key)].is_permanent
            (self.run.fail_for_good if is_permanent else self.run.fail)(key)
            self.model.failed(key, for_good=is_permanent)
            self.meet(f"{key} failed{' for good' if is_permanent else ''}")

    def deed(self, key: str) -> tuple[int, int]:
        task = self.story.deeds[task_of(key)]
        if self.is_mended:
            task = Deed(value=task.value)
        return task.of(int(key.partition("[")[2][:-1]) if is_part(key) else None)

    def let_go(self, token: str) -> None:
        """A handler that was told to stop does, or is done: either way too late to matter."""
        key = self.told_to_stop.pop(int(token))
        kind = OutcomeKind.SUCCEEDED if self.dice.is_lucky(2) else OutcomeKind.CANCELLED
        before = dict(self.run.statuses)
        self.run.ended(key, kind, value=7, token=int(token))
        if key in self.model.lingering:
            self.model.stopped(key)
        assert before == {key: self.run.statuses[key] for key in before}, "what comes too late advances nothing"
        self.meet(f"{key} let go")

    def signal(self, key: str) -> None:
        value = self.deed(key)[1]
        self.run.signal(self.run.record(key).node.task.signal or "", value)
        self.model.succeeded(key, value)
        self.meet(f"signal for {key}")

    def answer(self, key: str) -> None:
        fails, value = self.deed(key)
        if fails:
            self.run.reject(key)
            self.model.failed(key, for_good=True)
        else:
            self.run.approve(key, value)
            self.model.succeeded(key, value)
        self.meet(f"{key} was {'rejected' if fails else 'approved'}")

    def look_at_timers(self, _: str) -> None:
        """Time moves to the next timer."""
        state = self.run.state
        assert state.next_due is not None
        self.run.now = now = max(self.run.now, state.next_due)
        given_up = [key for key, until in state.lingering.values() if until <= now]
        due = [
            (record.due, key)
            for key, record in state.tasks.items()
            if record.status in (TaskStatus.RETRYING, TaskStatus.WAITING) and 0 < record.due <= now
        ]
        if state.is_paused:
            due = [(at, key) for at, key in due if is_wait(state.tasks[key].node.task)]
        grace = state.cancel is not None and state.cancel.grace_until <= now
        if grace:
            # The world keeps its promise: whoever is told to stop does so in time.
            for token in list(self.attempts):
                self.end_attempt(str(token))
            while state.is_open and self.children:
                self.step_of_child(next(iter(self.children)))
            return
        self.run.timers()
        for key in given_up:
            self.model.stopped(key)
            self.told_to_stop = {token: other for token, other in self.told_to_stop.items() if other != key}
        for _at, key in sorted(due):
            self.model.due(key)
        self.meet(f"{seconds(now)} s: {', '.join([*given_up, *(key for _, key in sorted(due))])} due")

    def pause(self, _: str) -> None:
        self.run.pause()
        self.model.is_paused = True
        self.meet("paused")

    def resume(self, _: str) -> None:
        self.run.resume()
        self.model.is_paused = False
        self.meet("resumed")

    def abort(self) -> None:
        self.run.abort()
        self.model.abort()
        self.meet("aborted")

    def crash(self, _: str) -> None:
        """Every handler dies, and another process takes over."""
        recovery = GUEST.recover(self.run.state, self.run.now)
        lost = [effect for effect in recovery.effects if not isinstance(effect, PauseActivities)]
        again = {effect.token for effect in lost if isinstance(effect, RunActivity)}
        for command in recovery.commands:
            assert isinstance(command, ActivityFinished)
            self.run.ask(command)
            if command.outcome.kind is OutcomeKind.CANCELLED:
                del self.attempts[command.token]
            else:
                self.told_to_stop.pop(command.token)
            self.model.stopped(command.task_key)
            self.meet(f"crash: {command.task_key} is gone")
        assert again == set(self.attempts), "what is in work is dispatched again, and nothing else"
        children = {effect.task_key for effect in lost if isinstance(effect, RunChild)}
        in_work = {key for key in self.children if key in self.model.in_work}
        assert in_work <= children <= set(self.children), "one that was given up is not asked for again"
        self.log.append("crash")

    # --- sub-workflows ------------------------------------------------------------------------------------------------

    def begin_child(self, effect: RunChild) -> None:
        """The child of an earlier attempt or run goes on; one that is done is done."""
        key = effect.task_key
        inner = self.story.inner[task_of(key)]
        before = self.ended_children.get(key)
        self.log.append(f"[ child {key}")
        if before is not None and before.run.status == "COMPLETED":
            self.children[key] = before
        else:
            self.children[key] = child = World(inner, self.dice, before=before, log=self.log)
            child.is_mended = self.is_mended
        self.log.append(f"] child {key}")

    def step_of_child(self, key: str) -> None:
        child = self.children[key]
        if not child.is_over:
            self.log.append(f"[ child {key}")
            child.step(is_calm=True)
            self.log.append(f"] child {key}")
        if not child.is_over:
            return
        del self.children[key]
        self.ended_children[key] = child
        token = self.run.token(key)
        self.told_to_stop.pop(token, None)
        is_done = child.run.status == "COMPLETED"
        kind = OutcomeKind.SUCCEEDED if is_done else OutcomeKind.CANCELLED
        if key not in self.model.in_work:
            self.run.ended(key, kind, value=child.model.output(), token=token)
            if key in self.model.lingering:
                self.model.stopped(key)
        elif is_done:
            self.run.succeed(key, value=child.model.output())
            self.model.succeeded(key, child.model.output())
        elif child.run.status == "CANCELLED":
            self.run.cancelled(key)
            self.model.stopped(key)
        else:
            self.run.fail(key)
            self.model.failed(key)
        self.meet(f"child {key} ended {child.run.status}")

    # --- comparing ----------------------------------------------------------------------------------------------------

    def meet(self, what: str) -> None:
        """The interpreter says what follows of ``what``; the run has to stand there."""
        self.log.append(what)
        run, model = self.run, self.model
        was_ready = {key for key, status in model.status.items() if status == "READY"}
        model.settle(self.has_begun)
        found = {key: SHOWN.get(status, status) for key, status in run.statuses.items()}
        assert found == model.status, self.story_so_far(f"found {found}\nsaid  {model.status}")
        ended = None if run.state.is_open else run.status
        assert ended == model.outcome, self.story_so_far(f"the run has ended {ended}, said {model.outcome}")
        assert {key for key, _ in run.state.lingering.values()} == model.lingering
        self.take_orders(run.effects)
        if model.stopping is None and model.outcome is None:
            self.check_places(was_ready)
        if ended == "COMPLETED" and model.stopping is None:
            assert run.output == model.output()

    def has_begun(self, key: str) -> bool:
        """Whether a ready task got a place: with ``max_parallel`` that is the run's to say."""
        record = self.run.state.tasks.get(key)
        if record is None or record.status is TaskStatus.READY:
            return False
        has_parts = record.items is not None or f"{key}[0]" in self.run.state.tasks
        return record.status is not TaskStatus.CANCELLED or record.attempt > record.attempts_before or has_parts

    def take_orders(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, RunActivity):
                assert effect.token not in self.attempts, "one attempt was handed out twice"
                assert effect.task_key not in self.kept, "what is completed is not run again"
                self.attempts[effect.token] = effect.task_key
                self.check_params(effect.task_key)
            elif isinstance(effect, RunChild):
                assert effect.task_key not in self.kept, "what is completed is not run again"
                self.begin_child(effect)
        for effect in effects:
            if isinstance(effect, StopActivity):
                key = self.attempts.get(effect.token) or self.key_of_child(effect.token)
                if key in self.model.lingering:
                    self.attempts.pop(effect.token, None)
                    self.told_to_stop[effect.token] = key
                if key in self.children and self.children[key].run.state.phase is Phase.RUNNING:
                    self.children[key].abort()

    def key_of_child(self, token: int) -> str:
        return next(key for key in self.children if self.run.token(key) == token)

    def check_params(self, key: str) -> None:
        task = self.run.record(key).node.task
        if task.params:
            assert self.run.params(key) == {"seen": self.model.result(next(iter(task.dependencies)))}, key

    def check_places(self, was_ready: set[str]) -> None:
        """No more in work than there are places, none left free, and of two that waited the more important one went first."""
        model, places = self.model, self.story.max_parallel
        if places is None:
            return
        assert model.places_taken <= places, self.story_so_far("more is in work than there are places")
        waiting = {key for key, status in model.status.items() if status == "READY"}
        assert not waiting or model.places_taken == places or model.is_paused, self.story_so_far("a place is left free")
        began = was_ready & model.in_work
        for key in began:
            for other in waiting & was_ready:
                mine, others = (model.tasks[task_of(one)].priority for one in (key, other))
                assert mine >= others, self.story_so_far(f"{key} went before {other}")

    def story_so_far(self, what: str) -> str:
        return f"{what}\n  after: {'; '.join(self.log)}\n  of: {self.story!r}"

    def finish(self) -> None:
        """Bring the run to its end without further interference."""
        for _ in range(LAST_STEPS):
            if self.is_over:
                return
            self.step(is_calm=True)
        pytest.fail(self.story_so_far(f"the run does not end: {self.run.status} {self.run.statuses}"))


numbers = st.lists(st.integers(0, 30), max_size=40)


def play(story: Story, rolls: Sequence[int]) -> World:
    """From start to end, with pauses and crashes as long as there are rolls."""
    dice = Dice(rolls)
    world = World(story, dice)
    while not world.is_over and dice.numbers:
        world.step()
    world.finish()
    return world


def play_aborted(story: Story, rolls: Sequence[int], later: Sequence[int], *, is_mended: bool) -> None:
    """Aborted when the rolls are used up, and gone on with in the next run, twice if that fails."""
    world = World(story, Dice(rolls))
    while not world.is_over and world.dice.numbers:
        world.step()
    if world.run.state.phase is Phase.RUNNING:
        world.abort()
        world.dice = Dice(later[::2])
        world.finish()
        assert world.run.status == "CANCELLED"
    world.finish()
    for _ in range(2):
        if world.run.status == "COMPLETED":
            return
        dice = Dice(later)
        world = World(story, dice, before=world)
        world.is_mended = is_mended
        while not world.is_over and dice.numbers:
            world.step()
        world.finish()


FEW = settings(max_examples=400) if settings().max_examples <= 100 else settings()
MANY = settings(max_examples=20_000)
SHRINKING_SECONDS = 600
"""A story that fails is made as short as it gets, which takes its time; one that does not is told in seconds."""


@pytest.mark.timeout(SHRINKING_SECONDS)
@for_all(story=stories(), rolls=numbers)
@FEW
def test_a_run_stands_where_the_naive_interpreter_says_after_each_thing_that_happens(
    story: Story, rolls: list[int]
) -> None:
    play(story, rolls)


@pytest.mark.timeout(SHRINKING_SECONDS)
@for_all(story=stories(), rolls=numbers, later=numbers, is_mended=st.booleans())
@FEW
def test_an_aborted_run_goes_on_in_the_next_as_the_naive_interpreter_says(
    story: Story, rolls: list[int], later: list[int], is_mended: bool
) -> None:
    play_aborted(story, rolls, later, is_mended=is_mended)


@pytest.mark.crash
@for_all(story=stories(10), rolls=numbers)
@MANY
def test_twenty_thousand_runs_stand_where_the_naive_interpreter_says(story: Story, rolls: list[int]) -> None:
    play(story, rolls)


@pytest.mark.crash
@for_all(story=stories(10), rolls=numbers, later=numbers, is_mended=st.booleans())
@MANY
def test_twenty_thousand_aborted_runs_go_on_as_the_naive_interpreter_says(
    story: Story, rolls: list[int], later: list[int], is_mended: bool
) -> None:
    play_aborted(story, rolls, later, is_mended=is_mended)
