"""Random graphs, failures, orders of events, restarts, pauses and aborts: every run ends as the rules say, and never gets stuck.

A short form runs always; ``HYPOTHESIS_PROFILE=thorough`` looks for longer.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from agenticflow.core.decider import Fact
from agenticflow.core.engine import ActivityStarted, CheckActivity, PauseActivities, RunActivity
from agenticflow.errors import CommandRefused
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import Carried, carry_over
from agenticflow.orchestration.liveness import Holding, breaches_of
from agenticflow.orchestration.state import Phase, TaskStatus
from agenticflow.orchestration.waiting import sentence, waits_of
from tests.scenarios.runs import GUEST, Run
from tests.simulation.random_graphs import DONE, FAILED, INPUT, NEVER, SKIPPED, Spec, graphs, predict, result_of

RANDOM_STEPS = 60
LAST_STEPS = 3_000
ADVANCING = (
    f.TaskScheduled, f.TimerSet, f.TimerFired, f.SignalAwaited, f.MapExpanded, f.TaskRetryScheduled, f.TaskSkipped
)  # fmt: skip
ENDS = {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED, TaskStatus.CANCELLED, TaskStatus.UNKNOWN}
FEW = settings(max_examples=300) if settings().max_examples <= 100 else settings()


class World:
    """Performs what the run asks for, in any order, and interferes."""

    def __init__(self, specs: list[Spec], random: Random, *, run_no: int = 1, carried: Carried | None = None) -> None:
        self.specs = specs
        self.random = random
        self.attempts: dict[int, RunActivity] = {}
        """Handed out and not ended, by token."""
        self.lost: dict[int, RunActivity] = {}
        """Abandoned: given up, and still running somewhere."""
        self.old: list[RunActivity] = []
        self.unsent = [spec.signal for spec in specs if spec.signal and not spec.signal.startswith("never")]
        self.run = Run(
            *(spec.definition() for spec in specs), input=INPUT, run_no=run_no, carried=carried, seed=str(run_no)
        )
        self.take_orders()

    # --- what can happen ----------------------------------------------------------------------------------------------

    def step(self, *, is_calm: bool = False) -> None:
        """Let one thing happen. ``is_calm``: only what brings the run forward."""
        run, random = self.run, self.random
        choices = [self.end_attempt] * 4 * bool(self.attempts)
        choices += [self.end_lost] * bool(self.lost)
        choices += [self.look_at_timers] * (run.state.next_due is not None)
        choices += [self.send_signal] * bool(self.unsent)
        choices += [self.resolve] * (run.state.unknown > 0 and run.state.phase is Phase.RUNNING)
        if is_calm and run.state.is_paused and run.state.phase is Phase.RUNNING:
            choices = [self.resume]
        elif not is_calm:
            choices += [self.repeat_old_report] * bool(self.old)
            choices += [self.crash, self.pause if not run.state.is_paused else self.resume]
        random.choice(choices)()
        self.check()

    def take_orders(self) -> None:
        for effect in self.run.effects:
            if isinstance(effect, RunActivity):
                assert effect.token not in self.attempts, "one attempt was handed out twice"
                self.attempts[effect.token] = effect

    def end_attempt(self) -> None:
        effect = self.random.choice(list(self.attempts.values()))
        spec, index = self.spec_of(effect.task_key)
        run = self.run
        if effect.effect == "at_most_once" or self.random.random() < 0.3:
            deadline = run.now + 10**16
            facts = run.ask(
                ActivityStarted(now=run.now, task_key=effect.task_key, token=effect.token, deadline=deadline)
            )
            if effect.effect == "at_most_once" and not facts and run.record(effect.task_key).status != "RUNNING":
                del self.attempts[effect.token]  # superseded, or the run is being cancelled: it must not run
                if run.state.phase is Phase.CANCELLING:
                    run.cancelled(effect.task_key)
                return
            if self.random.random() < 0.3:
                return
        del self.attempts[effect.token]
        if run.state.phase is Phase.CANCELLING and self.random.random() < 0.5:
            run.cancelled(effect.task_key)
        elif spec.kind == "once":
            self.end_once(spec, effect)
        elif effect.attempt > (spec.fails_before if index is None or index % 2 else 0):
            run.succeed(effect.task_key, value=result_of(spec), token=effect.token)
        elif spec.is_permanent:
            run.fail_for_good(effect.task_key)
        elif self.random.random() < 0.3:
            run.time_out(effect.task_key, is_abandoned=True)
            self.lost[effect.token] = effect
        else:
            run.fail(effect.task_key)
        self.old.append(effect)
        self.take_orders()

    def end_once(self, spec: Spec, effect: RunActivity) -> None:
        if spec.once == "lost" and effect.generation == 0:
            self.run.time_out(spec.id)
        elif spec.once == "fails":
            self.run.fail(spec.id)
        else:
            self.run.succeed(spec.id, value=result_of(spec))

    def end_lost(self) -> None:
        effect = self.lost.pop(self.random.choice(list(self.lost)))
        before = dict(self.run.statuses)
        self.run.succeed(effect.task_key, token=effect.token)
        assert self.run.statuses == before, "what comes too late advances nothing"
        self.take_orders()

    def look_at_timers(self) -> None:
        due = self.run.state.next_due
        assert due is not None
        late = self.random.choice((0, 0, 10**9, 10**11))
        self.run.now = max(self.run.now, due) + late
        facts = self.run.timers()
        assert facts or self.run.state.next_due != due, "the engine would ask for ever"
        self.take_orders()

    def send_signal(self) -> None:
        name = self.unsent.pop(self.random.randrange(len(self.unsent)))
        if self.run.state.phase is Phase.RUNNING:
            self.run.signal(name, name)
            self.take_orders()

    def resolve(self) -> None:
        key = next(key for key, record in self.run.state.tasks.items() if record.status is TaskStatus.UNKNOWN)
        spec, _ = self.spec_of(key)
        truth = {"ok": "completed", "fails": "failed"}
        if spec.once == "lost" and self.run.state.generations.get(key, 0) == 0:
            self.run.resolve(key, spec.resolution, value=result_of(spec))
        else:
            self.run.resolve(key, "failed" if truth.get(spec.once) == "failed" else "completed", result_of(spec))
        self.take_orders()

    def repeat_old_report(self) -> None:
        effect = self.random.choice(self.old)
        if effect.token in self.lost or effect.token in self.run.state.lingering:
            return
        if self.run.statuses[effect.task_key] == "UNKNOWN" and self.run.token(effect.task_key) == effect.token:
            return
        report = self.random.choice((self.run.succeed, self.run.fail))
        assert report(effect.task_key, token=effect.token) == [], "a stale token changes nothing"

    def pause(self) -> None:
        if self.run.state.phase is Phase.RUNNING:
            self.run.pause()

    def resume(self) -> None:
        if self.run.state.phase is Phase.RUNNING:
            self.run.resume()
            self.take_orders()

    def crash(self) -> None:
        """Every handler dies, and another process takes over, perhaps after a while."""
        self.attempts.clear()
        self.lost.clear()
        self.run.now += self.random.choice((0, 10**9, 10**11))
        self.run.effects = []
        recovery = GUEST.recover(self.run.state, self.run.now)
        orders = [effect for effect in recovery.effects if not isinstance(effect, CheckActivity)]
        if self.run.state.is_paused and self.run.state.phase is Phase.RUNNING:
            assert orders.pop(0) == PauseActivities(True)
        for effect in orders:
            assert isinstance(effect, RunActivity)
            self.attempts[effect.token] = effect
        for command in recovery.commands:
            self.run.ask(command)
            self.take_orders()

    def spec_of(self, key: str) -> tuple[Spec, int | None]:
        task_id, _, index = key.partition("[")
        return self.specs[int(task_id[1:])], int(index[:-1]) if index else None

    def finish(self) -> None:
        """Bring the run to its end without further interference."""
        for _ in range(LAST_STEPS):
            if not self.run.state.is_open:
                return
            self.step(is_calm=True)
        pytest.fail(f"the run does not end: {self.run.status} {self.run.statuses}")

    @property
    def moment(self) -> int:
        """Now, for a look at what is stuck: in a healthy engine no timer is late."""
        return min(self.run.now, self.run.state.next_due or self.run.now)

    # --- what always holds --------------------------------------------------------------------------------------------

    def check(self) -> None:
        state = self.run.state
        count = Counter(record.status for record in state.tasks.values())
        in_flight = count[TaskStatus.SCHEDULED] + count[TaskStatus.RUNNING]
        assert state.in_flight == in_flight
        assert state.active == in_flight + count[TaskStatus.RETRYING] + count[TaskStatus.WAITING]
        assert state.unknown == count[TaskStatus.UNKNOWN]
        handed_out = {
            effect.task_key for token, effect in self.attempts.items() if token == self.run.token(effect.task_key)
        }
        assert set(self.run.in_work) <= handed_out, "scheduled, and nobody was told"
        for spec in self.specs:
            if spec.max_parallel is not None and state.phase is Phase.RUNNING:
                items = [r for r in state.tasks.values() if r.index is not None and r.node.task.task_id == spec.id]
                assert sum(record.status not in ENDS - {TaskStatus.UNKNOWN} for record in items) <= spec.max_parallel
        assert not state.deliverable, "a signal and its waiter have not met"
        assert {record.status for record in state.ready} <= {TaskStatus.READY}
        waiting = [key for keys in state.waiting.values() for key in keys]
        assert {self.run.statuses[key] for key in waiting} <= {"WAITING"}
        holding = Holding(self.attempts, state.next_due)
        assert breaches_of(state, holding, self.moment) == [], "a healthy run is never said to be stuck"
        waits = waits_of(state)
        assert all(sentence(wait, "w") for wait in waits)
        assert bool(waits) == state.is_open, "an open run waits for something, and can say for what"
        if state.is_open:
            ready = bool(state.ready)
            assert not ready or state.is_paused or state.phase is Phase.CANCELLING, "ready, and not started"
            has_waiting = count[TaskStatus.WAITING] > 0
            assert in_flight or state.next_due is not None or has_waiting or state.unknown or state.is_paused, "stuck"
        else:
            assert state.next_due is None
            assert set(count) <= ENDS
        assert sum(isinstance(fact, TERMINAL) for fact in self.run.scenario.history) == (not state.is_open)
        assert max(completions(self.run.scenario.history).values(), default=1) == 1


TERMINAL = (f.WorkflowCompleted, f.WorkflowFailed, f.WorkflowCancelled)


def completions(history: list[Fact]) -> Counter[tuple[str, int]]:
    """How often each task was completed in each generation."""
    found: Counter[tuple[str, int]] = Counter()
    generations: dict[str, int] = {}
    for fact in history:
        if isinstance(fact, f.WorkflowStarted):
            generations = dict(fact.generations)
        elif isinstance(fact, f.TaskRerunRequested):
            generations[fact.task_key] = fact.generation
        elif isinstance(fact, f.TaskCompleted):
            found[fact.task_key, generations.get(fact.task_key, 0)] += 1
    return found


def check_order(specs: list[Spec], history: list[Fact]) -> None:
    """Replay the history with nothing but the rule when a task may start."""
    ends: dict[str, str] = {}
    items: dict[str, int] = {}
    cancelled = False
    for fact in history:
        cancelled = cancelled or isinstance(fact, f.WorkflowCancelRequested)
        assert not (cancelled and isinstance(fact, ADVANCING)), "nothing advances after an abort"
        if isinstance(fact, (f.TaskScheduled, f.TimerSet, f.SignalAwaited, f.MapExpanded)):
            spec = specs[int(fact.task_key.partition("[")[0][1:])]
            before = [ends.get(f"t{number}") for number in spec.dependencies]
            assert DONE in before or not before, f"{fact.task_key} started too early"
            assert spec.is_any or set(before) <= {DONE, SKIPPED}, f"{fact.task_key} started too early"
        if isinstance(fact, f.MapExpanded):
            items[fact.task_key] = fact.count
            if not fact.count:
                ends[fact.task_key] = DONE
        elif isinstance(fact, (f.TaskCompleted, f.TimerFired)):
            task_id, _, index = fact.task_key.partition("[")
            if index:
                items[task_id] -= 1
            if not index or items[task_id] == 0:
                ends[task_id] = DONE
        elif isinstance(fact, f.TaskSkipped):
            ends[fact.task_key] = SKIPPED


def check_end(specs: list[Spec], run: Run, *, attempts: bool = True) -> None:
    """The run ended as the naive interpreter says."""
    expected = predict(specs)
    found = {key: run.statuses.get(key, NEVER) for key in {**expected.ends, **run.statuses}}
    assert found == expected.ends
    assert run.status == expected.status
    if attempts:
        assert {key: run.record(key).attempt for key in expected.attempts} == expected.attempts
        assert all(
            len(run.errors(key)) == number - (expected.ends[key] == DONE) for key, number in expected.attempts.items()
        )
    if expected.status == FAILED:
        (problem,) = run.facts(f.WorkflowFailed)
        assert set(problem.failed) == expected.failed
        assert problem.remaining == expected.remaining


@for_all(specs=graphs(), seed=st.integers(0, 2**32 - 1))
@FEW
def test_every_run_ends_as_the_rules_say(specs: list[Spec], seed: int) -> None:
    random = Random(seed)
    world = World(specs, random)
    world.check()
    for _ in range(random.randrange(RANDOM_STEPS)):
        if world.run.state.is_open:
            world.step()
    world.finish()
    check_end(specs, world.run)
    check_order(specs, world.run.scenario.history)


@for_all(specs=graphs(), seed=st.integers(0, 2**32 - 1))
@FEW
def test_whatever_is_lost_of_a_run_is_found(specs: list[Spec], seed: int) -> None:
    """Take an attempt, or the timer, of a healthy run away at a random moment: the rule names exactly what is missing."""
    random = Random(seed)
    world = World(specs, random)
    for _ in range(random.randrange(RANDOM_STEPS)):
        if world.run.state.is_open:
            world.step()
    state, now = world.run.state, world.moment
    if state.next_due is not None:
        [breach] = breaches_of(state, Holding(world.attempts), now)
        assert breach.missing == "timer"
    for key in world.run.in_work if state.phase is Phase.RUNNING else ():
        left = set(world.attempts) - {world.run.token(key)}
        [breach] = breaches_of(state, Holding(left, state.next_due), now)
        assert (breach.missing, breach.task_key, breach.token) == ("attempt", key, world.run.token(key))


@for_all(specs=graphs(), seed=st.integers(0, 2**32 - 1), grace=st.sampled_from((0.0, 1.0, 30.0)))
@FEW
def test_an_aborted_run_ends_and_the_next_one_brings_it_to_its_end(specs: list[Spec], seed: int, grace: float) -> None:
    random = Random(seed)
    first = World(specs, random)
    for _ in range(random.randrange(RANDOM_STEPS // 2)):
        if first.run.state.is_open:
            first.step()
    if first.run.state.is_open:
        settled = {key: status for key, status in first.run.statuses.items() if status in (DONE, FAILED, SKIPPED)}
        first.run.abort(grace=grace)
        first.check()
        for _ in range(random.randrange(10)):
            if first.run.state.is_open:
                first.step()
        first.finish()
        assert first.run.status == "CANCELLED"
        assert settled.items() <= first.run.statuses.items()
    check_order(specs, first.run.scenario.history)
    once = {spec.id for spec in specs if spec.kind == "once"}
    if any(first.run.statuses.get(key) == "UNKNOWN" for key in once):
        with pytest.raises(CommandRefused):
            carry_over(first.run.state)
        return
    second = World(specs, random, run_no=2, carried=carry_over(first.run.state))
    second.check()
    for _ in range(random.randrange(RANDOM_STEPS)):
        if second.run.state.is_open:
            second.step()
    second.finish()
    check_end(specs, second.run, attempts=False)
    done_in = [completions(world.run.scenario.history) for world in (first, second)]
    assert not done_in[0].keys() & done_in[1].keys(), "a recorded task was run again"
