"""What must become of a workflow: the documented rules, played through by looking at everything again and again.

Written without a look at the engine, and sharing nothing with it but the definition it reads: no counters, no queues, no plan; where
the engine counts, this one looks; it knows no time and no encoding. What the world does is told to it, one thing after the other:
``succeeded``, ``failed``, ``due``, ``answered``, ``stopped``, ``abort``; ``settle`` says what follows.

Two things the rules leave open, and are told too: the order of what happens, and, with ``max_parallel``, which of several ready tasks
got the place (``begun``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition

READY, SCHEDULED, RETRYING, WAITING, EXPANDED = "READY", "SCHEDULED", "RETRYING", "WAITING", "EXPANDED"
COMPLETED, FAILED, SKIPPED, CANCELLED = "COMPLETED", "FAILED", "SKIPPED", "CANCELLED"
OPEN = {READY, SCHEDULED, RETRYING, WAITING}
ROUNDS = 10_000

Begun = Callable[[str], bool]


def everything(key: str) -> bool:
    """Without ``max_parallel`` what is ready begins."""
    return True


class Interpreter:
    """One run. ``status`` and ``value`` are by task key; what nobody has looked at yet has no status."""

    def __init__(
        self, definition: WorkflowDefinition, given: Mapping[str, object], kept: Mapping[str, object] | None = None
    ) -> None:
        self.tasks: dict[str, TaskDefinition] = {task.task_id: task for task in definition.tasks}
        self.places = definition.max_parallel
        self.stands_in_for = {task.fallback: task.task_id for task in definition.tasks if task.fallback is not None}
        self.given = given
        self.kept = dict(kept or {})
        self.status: dict[str, str] = {}
        self.value: dict[str, object] = {}
        self.told: dict[str, str] = {}
        """What those that depend on a task know of its end: COMPLETED, SKIPPED or FAILED."""
        self.failures: dict[str, int] = {}
        """Failed attempts with the present agent."""
        self.moves: dict[str, int] = {}
        """How many other agents had it."""
        self.items: dict[str, list[object]] = {}
        self.not_chosen: set[str] = set()
        self.blocked: set[str] = set()
        """Ready only to be skipped."""
        self.unwanted: set[str] = set()
        self.has_enough: set[str] = set()
        """Maps whose other items are not wanted any more."""
        self.lingering: set[str] = set()
        """Told to stop, and not heard of since."""
        self.is_paused = False
        self.is_final = False
        self.stopping: str | None = None
        self.outcome: str | None = None
        for task_id in self.tasks:
            if task_id in self.kept:
                self._keep(task_id)
        for task_id in [task_id for task_id in self.tasks if task_id in self.kept]:
            self._completed(self.tasks[task_id])
            self.unwanted |= self.only_led_to(task_id)
        self._look()

    # --- what the world says ------------------------------------------------------------------------------------------

    def succeeded(self, key: str, value: object) -> None:
        """An attempt, a sub-workflow, a timer, a signal or a person gave a result."""
        self.status[key], self.value[key] = COMPLETED, value
        self._ended(key)

    def failed(self, key: str, *, for_good: bool = False) -> None:
        """An attempt has failed, or a person said no (``for_good``, and no other agent is asked then either)."""
        task = self.tasks[task_of(key)]
        self.failures[key] = self.failures.get(key, 0) + 1
        if self.stopping is None and self.status[key] == SCHEDULED:
            if not for_good and self.failures[key] < task.policy.max_attempts:
                self.status[key] = RETRYING
                return
            if self.moves.get(key, 0) < len(task.reassign_to):
                self.moves[key] = self.moves.get(key, 0) + 1
                self.failures[key] = 0
                self.status[key] = READY
                return
        self.status[key] = FAILED
        self._ended(key)

    def due(self, key: str) -> None:
        """The delay of a retry, of an iteration, or of a timer is over."""
        if is_part(key) and self.status[key] == WAITING:
            self.status[key] = SCHEDULED if self.places is None else READY
        elif self.status[key] == RETRYING:
            self.status[key] = SCHEDULED
        else:
            self.succeeded(key, None)

    def stopped(self, key: str) -> None:
        """An attempt that was told to stop has done so: while the run ends, or because it was not wanted."""
        if key in self.lingering:
            self.lingering.discard(key)
        else:
            self.status[key] = CANCELLED

    def abort(self) -> None:
        """Somebody ends the run."""
        self._stop("abort")

    # --- what follows -------------------------------------------------------------------------------------------------

    def settle(self, begun: Begun = everything) -> None:
        """Apply the rules until none says anything new."""
        for _ in range(ROUNDS):
            if self.outcome is not None or not self._one_round(begun):
                return
        raise AssertionError("the rules do not come to an end")

    def _one_round(self, begun: Begun) -> bool:
        if self.stopping is not None:
            if not self.in_work and not self.lingering:
                self.outcome = CANCELLED if self.stopping == "abort" else COMPLETED
            return False
        if self.is_final:
            self._stop("completed")
            return True
        if self._cancel():
            return True
        if loops := [task_id for task_id in self.tasks if self._is_between(task_id)]:
            for task_id in loops:
                self._go_round(task_id)
            return True
        ready = [key for key, status in self.status.items() if status == READY]
        if starting := [] if self.is_paused else [key for key in ready if self._may_begin(key, begun)]:
            for key in starting:
                self._begin(key)
            return True
        if not self.lingering and not any(status in OPEN for status in self.status.values()):
            self.outcome = FAILED if any(not self._is_tolerated(key) for key in self._failed_keys()) else COMPLETED
        return False

    def _may_begin(self, key: str, begun: Begun) -> bool:
        return self.places is None or not self.takes_place(key) or begun(key)

    def takes_place(self, key: str) -> bool:
        """Whether somebody has to work on it."""
        task = self.tasks[task_of(key)]
        return key not in self.blocked and not is_wait(task)

    @property
    def in_work(self) -> set[str]:
        return {key for key, status in self.status.items() if status == SCHEDULED}

    @property
    def places_taken(self) -> int:
        """Work, and what is between two attempts."""
        return sum(status in (SCHEDULED, RETRYING) for status in self.status.values())

    # --- joins --------------------------------------------------------------------------------------------------------

    def _tell(self, task_id: str, how: str) -> None:
        self.told[task_id] = how
        self._look()

    def _look(self) -> None:
        """Who has become ready, to run or to be skipped?"""
        for task_id, task in self.tasks.items():
            if task_id in self.status:
                continue
            verdict = self._of_fallback(task) if task_id in self.stands_in_for else self._of_join(task)
            if verdict is not None:
                self.status[task_id] = READY
                if verdict == SKIPPED or task_id in self.not_chosen:
                    self.blocked.add(task_id)
                else:
                    self.unwanted |= self.only_led_to(task_id)

    def _of_fallback(self, task: TaskDefinition) -> str | None:
        primary = self.stands_in_for[task.task_id]
        status = self.status.get(primary)
        if status == FAILED:
            return READY if primary not in self.told else None
        return SKIPPED if status in (COMPLETED, SKIPPED, CANCELLED) else None

    def _of_join(self, task: TaskDefinition) -> str | None:
        words = [self.told.get(one) for one in task.dependencies]
        done = words.count(COMPLETED)
        if task.join == "settled":
            return READY if None not in words else None
        if task.join == "all":
            if None in words or FAILED in words:
                return None
            return READY if done or not words else SKIPPED
        needed = 1 if task.join == "any" else int(task.join)
        if done >= needed:
            return READY
        if FAILED in words:
            return None
        return SKIPPED if done + words.count(None) < needed else None

    def only_led_to(self, task_id: str) -> set[str]:
        """Return what a cancelling join does not need any more: everything whose every way on ends at the join."""
        found: set[str] = set()
        if not self.tasks[task_id].cancel_rest:
            return found
        while True:
            more = {
                one
                for one in self.tasks
                if (ways := [t.task_id for t in self.tasks.values() if one in t.dependencies])
                and all(way == task_id or way in found for way in ways)
            }
            if more == found:
                return found
            found = more

    # --- the beginning of a task --------------------------------------------------------------------------------------

    def _begin(self, key: str) -> None:
        task = self.tasks[task_of(key)]
        if is_part(key) or key in self.moves:
            self.status[key] = SCHEDULED
        elif key in self.blocked or (task.when is not None and not self.holds(task.when)):
            self.status[key] = SKIPPED
            self._ended(key)
        elif task.for_each is not None:
            self._expand(task)
        elif task.repeat_until is not None:
            self.status[key] = EXPANDED
            self._iterate(key, 0)
        elif task.choices:
            self._choose(task)
        else:
            self.status[key] = WAITING if is_wait(task) else SCHEDULED

    def _choose(self, task: TaskDefinition) -> None:
        chosen: list[str] = []
        for choice in task.choices:
            if (self.holds(choice.when) if choice.when is not None else not chosen) and (
                task.choose_many or not chosen
            ):
                chosen.append(choice.then)
        self._bar(task, chosen)
        self.succeeded(task.task_id, chosen if task.choose_many else chosen[0])

    def _bar(self, task: TaskDefinition, chosen: Iterable[object]) -> None:
        self.not_chosen |= {choice.then for choice in task.choices} - set(map(str, chosen))

    def _expand(self, task: TaskDefinition) -> None:
        key = task.task_id
        self.status[key] = EXPANDED
        assert isinstance(task.for_each, (list, tuple))
        self.items[key] = list(task.for_each)
        kept = [part for part in self.parts(key) if part in self.kept]
        if task.enough is not None and len(kept) >= task.enough:
            for part in kept:
                self._keep(part)
        self._next_items(key)

    def _next_items(self, key: str) -> None:
        """As many items as may be in work at once, and whether the map has its end."""
        self._end_map(key)
        if self.status[key] != EXPANDED:
            return
        most = self.tasks[key].max_parallel or len(self.items[key])
        for part in self.parts(key):
            if part not in self.status and self._unended(key) < most:
                if part in self.kept:
                    self._keep(part)
                else:
                    self.status[part] = READY
        self._end_map(key)

    def _unended(self, key: str) -> int:
        return sum(self.status.get(part) in OPEN for part in self.parts(key))

    def _end_map(self, key: str) -> None:
        if self.status[key] != EXPANDED:
            return
        ends = [self.status.get(part) for part in self.parts(key)]
        enough = self.tasks[key].enough
        if enough is None:
            if all(end in (COMPLETED, FAILED) for end in ends):
                self.status[key] = FAILED if FAILED in ends else COMPLETED
                self._ended(key)
        elif ends.count(COMPLETED) >= enough or len(ends) - ends.count(FAILED) < enough:
            self.status[key] = COMPLETED if ends.count(COMPLETED) >= enough else FAILED
            self.has_enough.add(key)
            self._ended(key)

    def parts(self, key: str) -> list[str]:
        """Return the keys of the items of a map, begun or not."""
        return [f"{key}[{index}]" for index in range(len(self.items[key]))]

    # --- loops --------------------------------------------------------------------------------------------------------

    def _iterations(self, key: str) -> list[str]:
        found: list[str] = []
        while f"{key}[{len(found)}]" in self.status:
            found.append(f"{key}[{len(found)}]")
        return found

    def _is_between(self, key: str) -> bool:
        if self.tasks[key].repeat_until is None or self.status.get(key) != EXPANDED:
            return False
        return self.status[self._iterations(key)[-1]] == COMPLETED

    def _go_round(self, key: str) -> None:
        task = self.tasks[key]
        before = self._iterations(key)
        last = self.value[before[-1]]
        assert task.repeat_until is not None
        is_done = self.holds(task.repeat_until, {"iteration": len(before), key: last})
        is_limit = len(before) >= (task.max_iterations or 100)
        if is_done or (is_limit and task.on_limit == "complete"):
            self.succeeded(key, last)
        elif is_limit:
            self.status[key] = FAILED
            self._ended(key)
        else:
            self._iterate(key, len(before))

    def _iterate(self, key: str, number: int) -> None:
        part = f"{key}[{number}]"
        if part in self.kept:
            self._keep(part)
        else:
            self.status[part] = WAITING if number and self.tasks[key].repeat_delay_seconds else READY

    # --- the end of a task --------------------------------------------------------------------------------------------

    def _keep(self, key: str) -> None:
        """The run before has the result."""
        self.status[key], self.value[key] = COMPLETED, self.kept[key]
        if not is_part(key) and (task := self.tasks[key]).choices:
            chosen = self.kept[key]
            self._bar(task, chosen if isinstance(chosen, list) else [chosen])

    def _ended(self, key: str) -> None:
        if is_part(key):
            self._part_ended(key)
            return
        task, how = self.tasks[key], self.status[key]
        if self.stopping is not None:
            if how == COMPLETED:
                self._stand_in(task)
        elif how == COMPLETED:
            self._completed(task)
        elif how == FAILED and task.fallback is not None and task.fallback not in self.status:
            self._look()
        else:
            self._give_up(task, SKIPPED if how != FAILED or task.on_failure == "skip" else FAILED)

    def _completed(self, task: TaskDefinition) -> None:
        self.unwanted |= set(task.cancels)
        self.is_final = self.is_final or task.ends_run
        self._tell(task.task_id, COMPLETED)
        self._stand_in(task)

    def _stand_in(self, task: TaskDefinition) -> None:
        """The result of a fallback is that of the task it stands in for."""
        primary = self.stands_in_for.get(task.task_id)
        if primary is not None and self.status.get(primary) == FAILED:
            self.status[primary], self.value[primary] = COMPLETED, self.result(task.task_id)
            self._ended(primary)

    def _give_up(self, task: TaskDefinition, how: str) -> None:
        """Nobody will give this task's result any more."""
        self._tell(task.task_id, how)
        primary = self.stands_in_for.get(task.task_id)
        if primary is not None and self.status.get(primary) == FAILED:
            self._give_up(self.tasks[primary], SKIPPED if self.tasks[primary].on_failure == "skip" else FAILED)

    def _part_ended(self, key: str) -> None:
        """An item of a map, or an iteration of a loop."""
        whole = task_of(key)
        is_loop = self.tasks[whole].repeat_until is not None
        if self.stopping is not None:
            if not is_loop and all(self.status.get(part) in (COMPLETED, FAILED) for part in self.parts(whole)):
                done = sum(self.status[part] == COMPLETED for part in self.parts(whole))
                needed = self.tasks[whole].enough or len(self.parts(whole))
                self.status[whole] = COMPLETED if done >= needed else FAILED
        elif self.status[whole] == EXPANDED and not is_loop:
            self._next_items(whole)
        elif self.status[whole] == EXPANDED and self.status[key] == FAILED:
            self.status[whole] = FAILED
            self._ended(whole)

    # --- what is not wanted -------------------------------------------------------------------------------------------

    def _cancel(self) -> bool:
        """Cancel what is not wanted, as far as it is not done; with a task its fallback."""
        while more := {t.fallback for t in self.tasks.values() if t.task_id in self.unwanted and t.fallback} - (
            self.unwanted
        ):
            self.unwanted |= more
        keys: list[str] = []
        for task_id in self.unwanted:
            if self.status.get(task_id) == EXPANDED:
                keys += [*self._open_parts(task_id), task_id]
            elif self.status.get(task_id) in OPEN | {None}:
                keys.append(task_id)
        for task_id in self.has_enough:
            keys += self._open_parts(task_id)
        self.unwanted, self.has_enough = set(), set()
        for key in keys:
            if self.status.get(key) == SCHEDULED:
                self.lingering.add(key)
            self.status[key] = CANCELLED
        for key in keys:
            if not is_part(key):
                self._ended(key)
        return bool(keys)

    def _open_parts(self, task_id: str) -> list[str]:
        return [key for key, status in self.status.items() if key.startswith(f"{task_id}[") and status in OPEN]

    def _stop(self, why: str) -> None:
        self.stopping = why
        for key, status in self.status.items():
            if status in (READY, RETRYING, WAITING, EXPANDED):
                self.status[key] = CANCELLED

    # --- the end of the run -------------------------------------------------------------------------------------------

    def _failed_keys(self) -> list[str]:
        return [key for key, status in self.status.items() if status == FAILED]

    def _is_tolerated(self, key: str) -> bool:
        task_id = task_of(key)
        if is_part(key) and self.status[task_id] in (COMPLETED, CANCELLED):
            return True
        while task_id in self.stands_in_for:
            task_id = self.stands_in_for[task_id]
        return self.tasks[task_id].on_failure == "skip"

    def result(self, task_id: str) -> object:
        """Return the result of a task, ``None`` when it has none."""
        if self.status.get(task_id) != COMPLETED:
            return None
        if task_id in self.items and task_id not in self.value:
            return [self.value[part] for part in self.parts(task_id) if self.status.get(part) == COMPLETED]
        return self.value[task_id]

    def output(self) -> dict[str, object]:
        """Return the result of the run: those of the tasks that nothing depends on, as far as there are any."""
        needed = {one for task in self.tasks.values() for one in task.dependencies}
        last = [t for t in self.tasks if t not in needed and t not in self.stands_in_for]
        return {task_id: self.result(task_id) for task_id in last if self.status.get(task_id) == COMPLETED}

    def results_to_keep(self) -> dict[str, object]:
        """Return what the next run is given."""
        done = {key: self.value[key] for key, s in self.status.items() if s == COMPLETED and key in self.value}
        stood_in = {key: self.result(key) for key in self.stands_in_for if self.status.get(key) == COMPLETED}
        return self.kept | done | stood_in

    # --- conditions ---------------------------------------------------------------------------------------------------

    def holds(self, text: str, own: Mapping[str, object] | None = None) -> bool:
        """Whether a condition of the small kind used here holds: ``${a} == 1 and ${b} != 2``, with one connective."""
        if " or " in text:
            return any(self.holds(part, own) for part in text.split(" or "))
        if " and " in text:
            return all(self.holds(part, own) for part in text.split(" and "))
        match = re.fullmatch(r"\$\{(\w+)\} (==|!=) (\d+)", text)
        assert match is not None, text
        name, sign, number = match.groups()
        known = {**self.given, **(own or {})}
        value = known[name] if name in known else self.result(name)
        return (value == int(number)) == (sign == "==")


def is_part(key: str) -> bool:
    """Whether ``key`` is that of an item or an iteration."""
    return key.endswith("]")


def task_of(key: str) -> str:
    """Return the id of the task of a key."""
    return key.partition("[")[0]


def is_wait(task: TaskDefinition) -> bool:
    """Whether a task has no performer."""
    return bool(task.delay_seconds is not None or task.signal or task.approval or task.choices)
