"""One schedule: a workflow, its outside world and a plan, played from the start to the end on virtual time.

Everything that happens is a function of the case and the plan: who goes next, how long a commit is on its way, what fails, who dies. Its
``Schedule.violations`` are what was promised and not kept, its ``story`` what happened, in order.
"""

from __future__ import annotations

import contextvars
import logging
import random  # noqa: TID251 - everything that happens follows from the seed of the plan
import threading
import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from agenticflow.app.engine import starting
from agenticflow.core.context import TaskContext
from agenticflow.core.decider import Fact
from agenticflow.errors import AgenticFlowError
from agenticflow.orchestration import facts as f
from agenticflow.runtime import actors, failpoints
from agenticflow.storage.commits import Commit, Committed
from agenticflow.testing.crashes.cases import CrashCase
from agenticflow.testing.crashes.record import TERMINAL
from agenticflow.testing.crashes.watch import Calls
from agenticflow.testing.simulation.checks import problems_of_schedule
from agenticflow.testing.simulation.disk import Disk, at_once, facts_of
from agenticflow.testing.simulation.faults import Fault, FaultKind, Plan, counting_marks, sometimes
from agenticflow.testing.simulation.loop import PROCESS, SimulatedLoop, Standstill
from agenticflow.testing.simulation.outside import WORKFLOW_ID, Outside
from agenticflow.testing.simulation.process import SimulatedProcess, stream_of_call
from agenticflow.testing.virtual_time import waiting_tasks

__all__ = ["Schedule"]

LIMIT_SECONDS: Final = 6 * 3600.0
"""Of virtual time: clocks are set back by an hour, a process may be gone for half a minute, several times."""
QUIET_SECONDS: Final = 60.0
"""How long after the end permits may take to come back: a store that fails is asked again."""
RESTART_SECONDS: Final = 1.0
POWER_BACK_SECONDS: Final = 0.5
SLOW_COMMITS: Final = 12
LOOK_AFTER_SECONDS: Final = 120.0
"""How long after a second orchestrator was at work somebody looks whether the run has ended."""
MAX_STORY: Final = 400
CONTROL_SECONDS: Final = 1.0
"""Within this time after a pause or an abort no handler starts any more."""
HEALTHY: Final = frozenset({FaultKind.KILL, FaultKind.POWER_LOSS, FaultKind.MESSAGE_LOST, FaultKind.REPLY_LOST})
"""With these alone the watch over open runs has nothing to tell: recovery brings everything back."""


class _CallsOfSchedule(Calls):
    """Every call of a handler, checked when it is made, as strictly as what happened before allows."""

    def __init__(self, schedule: Schedule, once_only: Collection[str]) -> None:
        super().__init__(schedule.disk.recorded, once_only)
        self._schedule = schedule
        self._made_here: Counter[tuple[str, str, int]] = Counter()
        self._once = once_only

    def note(self, context: TaskContext) -> None:
        schedule = self._schedule
        self._recorded = schedule.disk.recorded
        schedule.demand_life()
        stream_id, key = stream_of_call(context), context.task_key
        before = len(self.violations)
        super().note(context)
        if schedule.is_lenient:
            # Work of an orchestrator that another one has overtaken runs again; what it must not do is count, or be at-most-once.
            strict = [what for what in self.violations[before:] if "at-most-once" in what and not schedule.has_lost]
            self.violations[before:] = strict
        elif (
            schedule.is_undisturbed
            and (since := schedule.held_since.get(stream_id)) is not None
            and not key.startswith("undo:")
        ):
            late = schedule.loop.time() - since
            if late > CONTROL_SECONDS:
                self.violations.append(
                    f"task {key!r} of {stream_id!r} began {late:g} s after the run was paused or aborted"
                )
        sometimes("a handler was called again", self._made_here[stream_id, key, context.generation] > 0)
        self._made_here[stream_id, key, context.generation] += 1


class Schedule:
    """One play. ``play()`` once; then look."""

    def __init__(self, case: CrashCase, plan: Plan) -> None:
        self.plan = plan
        self.case = case
        self.violations: list[str] = []
        self.story: list[str] = []
        self.marks: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.arrivals = 0
        self.commits = 0
        self.disk = Disk(plan.synced_every, joins_commits=plan.seed % 3 != 0)
        self._chance = random.Random(f"schedule {plan.seed}")  # noqa: S311 - repeatable by its seed
        self.loop = SimulatedLoop(self._chance, disorder=plan.disorder)
        self.calls = _CallsOfSchedule(self, case.once_only)
        self.processes: list[SimulatedProcess] = []
        self.is_lenient = False
        """Whether more than one orchestrator was at work, or acknowledged commits were lost."""
        self.held_since: dict[str, float] = {}
        """By stream: when a pause or an abort of it became true."""
        self.ended: set[str] = set()
        self._messages = 0
        self._bad_reads = 0
        self._slow: tuple[int, float] = (0, 0.0)
        self._offset_seconds = 0.0
        self._faults: dict[tuple[str, int], list[Fault]] = {}
        for fault in plan.faults:
            self._faults.setdefault((_counted(fault), fault.at), []).append(fault)
        self._outside_context = contextvars.Context()
        self.outside = Outside(case, self.loop, self, self._outside_context)

    @property
    def has_lost(self) -> bool:
        """Whether acknowledged commits went with the power."""
        return self.disk.lost_commits > 0

    @property
    def outcome(self) -> object:
        """What the client was told."""
        return self.outside.outcome

    @property
    def is_undisturbed(self) -> bool:
        """Whether nothing went wrong but processes that died: then the watch has nothing to tell either."""
        return all(fault.kind in HEALTHY for fault in self.plan.faults) and not self.is_lenient

    # --- the play -----------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """From the start of the workflow to the end of everything."""
        with counting_marks(self.marks), self._instead():
            self._outside_context = contextvars.copy_context()
            self.outside = Outside(self.case, self.loop, self, self._outside_context)
            try:
                self._live()
                failpoints.watch(None)
                self._judge()
            finally:
                self.loop.close()

    def _live(self) -> None:
        try:
            self._outside_context.run(self._begin)
            self.loop.run_until(self._is_over, limit_seconds=LIMIT_SECONDS)
            with suppress(Standstill):  # a permit that is still held then is told of
                self.loop.run_until(self._is_quiet, limit_seconds=QUIET_SECONDS)
            self._end()
        except Standstill as stuck:
            self.violations.append(f"the run was stuck: {stuck}; {self._standing()}")

    def _judge(self) -> None:
        self.violations += self.calls.violations
        self.violations += self.loop.problems
        self.violations += self.case.check()
        try:
            self.violations += at_once(problems_of_schedule(self))
        except Exception as error:  # noqa: BLE001 - a history that cannot be folded is what is looked for
            self.violations.append(f"G5: the history cannot be read: {error!r}")

    def _begin(self) -> None:
        self._start_process()
        self.outside.begin()

    def _is_over(self) -> bool:
        return self.outside.has_outcome and not at_once(
            self.disk.store.list_runs(kind="workflow", is_open=True, limit=1)
        )

    def _is_quiet(self) -> bool:
        return not at_once(self.disk.store.list_runs(kind="gate", is_open=True, limit=1))

    def _end(self) -> None:
        """Everything has ended: the orchestrators stop in good order."""
        stopping: list[SimulatedProcess] = [process for process in self.processes if not process.is_dead]
        done: list[SimulatedProcess] = []

        async def stop(process: SimulatedProcess) -> None:
            await process.orchestrator.stop(drain_seconds=1)
            done.append(process)

        def begin() -> None:
            for process in stopping:
                process.cut_off_until = 0.0
                process.spawn(stop(process))

        self._faults.clear()
        self._outside_context.run(begin)
        self.loop.run_until(
            lambda: all(process in done or process.is_dead for process in stopping), limit_seconds=LIMIT_SECONDS
        )

    def _standing(self) -> str:
        rows = at_once(self.disk.store.list_runs(kind="workflow", is_open=True))
        alive = ", ".join(str(process) for process in self.processes if not process.is_dead)
        runs = "; ".join(f"{row.stream_id} {row.status} due {row.next_due}" for row in rows) or "no run is open"
        return f"{runs}; alive: {alive or 'nobody'}; waiting: {'; '.join(waiting_tasks(self.loop))}"[:2_000]

    def demand_life(self) -> None:
        """End whoever asks if it is dead."""
        process = PROCESS.get()
        if isinstance(process, SimulatedProcess):
            process.arrive("handler")

    @contextmanager
    def _instead(self) -> Iterator[None]:
        """Put in the place of chance, logs and points what belongs to this schedule."""
        seeds = vars(starting)
        new_seed = seeds["new_seed"]
        snapshot_every = vars(actors)["SNAPSHOT_EVERY"]
        log = logging.getLogger("agenticflow")
        level, propagates = log.level, log.propagate
        handler = _CriticalLog(self)
        excepthook = threading.excepthook
        seeds["new_seed"] = lambda: f"{self._chance.getrandbits(64):016x}"
        if self.plan.snapshot_every is not None:
            vars(actors)["SNAPSHOT_EVERY"] = self.plan.snapshot_every
        log.addHandler(handler)
        log.propagate = False
        log.setLevel(logging.CRITICAL)
        failpoints.watch(_tell_process)
        try:
            with warnings.catch_warnings():
                # a coroutine that was to start when its process died never will
                warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
                yield
        finally:
            failpoints.watch(None)
            threading.excepthook = excepthook
            log.removeHandler(handler)
            log.propagate = propagates
            log.setLevel(level)
            seeds["new_seed"] = new_seed
            vars(actors)["SNAPSHOT_EVERY"] = snapshot_every

    # --- processes ----------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> list[SimulatedProcess]:
        """Those that were started and not killed."""
        return [process for process in self.processes if not process.is_dead]

    def _start_process(self) -> None:
        process = SimulatedProcess(
            len(self.processes) + 1,
            self.case,
            self.calls,
            self.loop,
            self.disk,
            self,
            self._outside_context,
            offset_seconds=self._offset_seconds,
        )
        self.tell(f"{process} starts")
        self.processes.append(process)
        process.begin()

    def _restart(self) -> None:
        if not self.alive:
            self._start_process()

    def _later(self, seconds: float, callback: Any, *args: object) -> None:
        self.loop.call_later(seconds, callback, *args, context=self._outside_context)

    def _die(self, process: SimulatedProcess, why: str, restart_seconds: float) -> None:
        if process.is_dead:
            return
        process.is_dead = True
        self.tell(f"{process} {why}")
        self._later(restart_seconds, self._restart)

    def gave_up(self, process: SimulatedProcess, error: AgenticFlowError) -> None:
        self._die(process, f"could not start: {error}", RESTART_SECONDS)

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def arrived(self, process: SimulatedProcess, point: str) -> None:
        self.arrivals += 1
        number = self.arrivals
        if number == self.plan.pause_at:
            self.tell("somebody pauses the run")
            self._later(0, self.outside.pause)
        if number == self.plan.abort_at:
            self.tell("somebody aborts the run")
            self._later(0, self.outside.abort)
        for fault in self._faults.pop(("arrival", number), ()):
            if not process.is_dead:
                self._strike(process, f"{point}#{number}", fault)

    def _strike(self, process: SimulatedProcess, where: str, fault: Fault) -> None:
        self.injected[fault.kind.value] += 1
        match fault.kind:
            case FaultKind.KILL:
                sometimes("killed while starting", not process.is_ready)
                sometimes("killed twice", len(self.processes) > 1)
                self._die(process, f"was killed at {where}", fault.amount)
            case FaultKind.POWER_LOSS:
                for one in self.alive:
                    self._die(one, f"lost its power at {where}", POWER_BACK_SECONDS)
                had_lost = self.disk.lost_commits
                lost = self.disk.lose_power(fault.amount)
                sometimes("a commit on its way was lost with the power", lost > 0)
                self.tell(f"{lost} writes are gone, {self.disk.lost_commits - had_lost} of them acknowledged")
                if self.disk.lost_commits > had_lost:
                    sometimes("acknowledged commits were lost with the power")
                    self.is_lenient = True
                if lost:
                    self._look_again()
            case FaultKind.TAKEOVER:
                if len(self.alive) == 1 and process.is_ready:
                    self.is_lenient = True
                    self.tell(f"{process} is overtaken at {where}")
                    self._later(0, self._start_process)
                    self._later(fault.amount, self._die, process, "was killed", 0.0)
                    self._later(fault.amount + LOOK_AFTER_SECONDS, self._look_after)
            case FaultKind.PARTITION:
                process.cut_off_until = self.loop.time() + fault.amount
                self.tell(f"{process} is cut off from the store at {where} for {fault.amount:g} s")
            case FaultKind.CLOCK_JUMP:
                self._offset_seconds += fault.amount
                process.clock.offset_seconds += fault.amount
                self.tell(f"the clock of {process} jumps by {fault.amount:g} s at {where}")
            case _:
                self._slow = (SLOW_COMMITS, fault.amount)
                self.tell(f"commits take {fault.amount:g} s from {where} on")

    def _look_again(self) -> None:
        """What everybody knows may not be true any more: begin with what is left."""
        self.held_since.clear()
        self.ended.clear()
        left = [
            (entry.commit.stream_id, fact)
            for entry in self.disk.written
            if entry.commit
            for fact in facts_of(entry.commit)
        ]
        self._later(0, self._tell_again, left)

    def _tell_again(self, left: list[tuple[str, Fact]]) -> None:
        self.outside.begin_again()
        for stream_id, fact in left:
            self._observe(stream_id, fact)

    def commit_asked(self, process: SimulatedProcess) -> FaultKind | None:
        self.commits += 1
        for fault in self._faults.pop(("commit", self.commits), ()):
            self.injected[fault.kind.value] += 1
            self.tell(f"commit {self.commits} of {process}: {fault.kind.value}")
            if fault.kind is not FaultKind.UNREADABLE:
                return fault.kind
            self._bad_reads = int(fault.amount)
        return None

    def fails_to_read(self) -> bool:
        if self._bad_reads:
            self._bad_reads -= 1
            sometimes("a read failed")
            return True
        return False

    def latency(self) -> float:
        left, seconds = self._slow
        if left:
            self._slow = (left - 1, seconds)
            return seconds
        return self._chance.random() * self.plan.latency_seconds

    def fate_of_message(self) -> tuple[FaultKind, float] | None:
        self._messages += 1
        for fault in self._faults.pop(("message", self._messages), ()):
            self.injected[fault.kind.value] += 1
            return fault.kind, fault.amount
        return None

    def receiver(self) -> SimulatedProcess | None:
        ready = [process for process in self.alive if process.is_ready]
        return self._chance.choice(ready) if ready else None

    def _look_after(self) -> None:
        """Orchestrators that share a store do not hear what the other did, and may answer from what was true before: whoever looks
        after them starts the last one again, and everybody asks once more."""
        if self._is_over() or not self.is_lenient:
            return
        sometimes("an orchestrator was started again after it had overtaken another")
        for process in self.alive:
            self._die(process, "is started again by somebody who looks after it", 0.0)
        self._look_again()
        self._later(LOOK_AFTER_SECONDS, self._look_after)

    # --- what becomes true --------------------------------------------------------------------------------------------

    def became_true(self, process: SimulatedProcess, commit: Commit, committed: Committed) -> None:
        sometimes("a command id was known already", committed.is_repeated)
        if committed.is_repeated:
            return
        for fact in facts_of(commit):
            self.tell(f"{process}: {commit.stream_id} {_words(fact)}")
            self._observe(commit.stream_id, fact)

    def conflicted(self, process: SimulatedProcess, commit: Commit) -> None:
        sometimes("a commit met a conflict")
        if len(self.alive) > 1 and commit.stream_id.startswith("workflow-"):
            sometimes("an orchestrator that was overtaken met the fence", process is self.alive[0])
            self.tell(f"{process}: conflict on {commit.stream_id}")

    def _observe(self, stream_id: str, fact: Fact) -> None:
        workflow_id = stream_id.removeprefix("workflow-").rpartition("/")[0]
        mark = _MARKS.get(type(fact))
        if mark is not None:
            sometimes(mark)
        if isinstance(fact, f.WorkflowPaused | f.WorkflowCancelRequested):
            self.held_since.setdefault(stream_id, self.loop.time())
        elif isinstance(fact, f.WorkflowResumed):
            self.held_since.pop(stream_id, None)
        elif fact.event_type in TERMINAL:
            self.ended.add(stream_id)
            if workflow_id == WORKFLOW_ID and not isinstance(fact, f.WorkflowContinued):
                self._later(0, self.outside.fetch_outcome)
        else:
            self._later(0, self.outside.observe, workflow_id, fact)

    def tell(self, what: str) -> None:
        if len(self.story) < MAX_STORY:
            self.story.append(f"{self.loop.time():9.4f} s  {what}")


_MARKS: Final[dict[type[Fact], str]] = {
    f.TaskRetryScheduled: "a task was tried again",
    f.TaskReassigned: "a task was given to another agent",
    f.TaskOutcomeUnknown: "an outcome was unknown",
    f.TaskLateOutcome: "an outcome came late",
    f.TaskRerunRequested: "at-most-once work was run again by a person",
    f.TaskSkipped: "a task was skipped",
    f.TasksCancelled: "tasks were cancelled",
    f.MapExpanded: "a map was expanded",
    f.LoopContinued: "a loop went round",
    f.TimerFired: "a timer fired",
    f.SignalReceived: "a signal was received",
    f.ApprovalGranted: "a person said yes",
    f.ApprovalRejected: "a person said no",
    f.ChoiceMade: "a choice was made",
    f.WorkflowPaused: "a run was paused",
    f.WorkflowCancelRequested: "a run was told to end",
    f.WorkflowContinued: "a run was continued by the next",
    f.CompensationStarted: "a run was undone",
    f.WorkflowFailed: "a run failed",
}


def _tell_process(point: str) -> None:
    process = PROCESS.get()
    if isinstance(process, SimulatedProcess):
        process.arrive(point)


def _words(fact: Fact) -> str:
    key = getattr(fact, "task_key", "") or getattr(fact, "signal", "")
    attempt = getattr(fact, "attempt", 1)
    return f"{fact.event_type} {key}{f' (attempt {attempt})' if attempt > 1 else ''}".strip()


def _counted(fault: Fault) -> str:
    match fault.kind:
        case FaultKind.REFUSED | FaultKind.LOST | FaultKind.UNANSWERED | FaultKind.UNREADABLE:
            return "commit"
        case FaultKind.MESSAGE_LOST | FaultKind.REPLY_LOST | FaultKind.DUPLICATED | FaultKind.DELAYED:
            return "message"
        case _:
            return "arrival"


class _CriticalLog(logging.Handler):
    """Takes what the engine calls critical: a worker that ended, an invariant that broke, a run that is stuck."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(logging.CRITICAL)
        self._schedule = schedule

    def emit(self, record: logging.LogRecord) -> None:
        process = PROCESS.get()
        if isinstance(process, SimulatedProcess) and (process.is_dead or not process.is_ready):
            return  # one that could not start, and says so, is started again
        message = record.getMessage()
        if " is stuck: " in message or "branches of runs are stuck" in message:
            sometimes("the watch found a stuck run")
            if self._schedule.is_lenient:
                self._schedule.tell(f"the watch: {message}")
                return
        self._schedule.violations.append(f"the engine reported: {message}")
