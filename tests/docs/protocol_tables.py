"""The tables of the page of the protocol, from the decider itself: ``python -m tests.docs.protocol_tables`` (``make names``).

Each cell is tried: a small history leads into the status of its row, the command of its column is decided there, and the cell says what
came of it. Nothing here knows what the answer should be. Commands are found by their class, so that a new one is in the tables as soon as
they are written anew; a status needs a history that leads there, and without one the page says that it has none.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from agenticflow import RetryPolicy, TaskDefinition
from agenticflow.core import codec
from agenticflow.core.decider import Command, decide_fully
from agenticflow.core.engine import ActivityFinished, ActivityStarted, TimersDue
from agenticflow.core.interrupts import Ask
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind
from agenticflow.errors import CommandRefused, InvalidInput
from agenticflow.orchestration import Approval
from agenticflow.orchestration import commands as c
from agenticflow.orchestration.interventions.modification import encode_modifications, modifications_of
from agenticflow.orchestration.plan import compile_plan
from agenticflow.orchestration.state import TaskStatus, WorkflowStatus
from agenticflow.testing.scenarios import given
from tests.docs.pages import ROOT
from tests.docs.written_parts import with_part
from tests.scenarios.runs import GUEST, SECOND, START, Run, once, task

__all__ = ["PAGE", "PARTS", "RUNS", "TASKS", "write"]

PAGE: Final = ROOT / "docs" / "reference" / "protocol.md"
REFUSED: Final = "refused"
NOTHING: Final = "–"
RECORDED: Final = "recorded"
LONG: Final = 10**6 * SECOND
TWICE: Final = RetryPolicy(max_attempts=2, initial_delay_seconds=60, jitter=False)


class Row(NamedTuple):
    """A status, in words where one is not enough, and the history that leads into it."""

    status: str
    words: str
    story: Callable[[], Run]


class Column(NamedTuple):
    """What is asked of a run; ``command`` gets the run, and the key of the task that is meant."""

    name: str
    command: Callable[[Run, str], Command]


# --- histories ----------------------------------------------------------------------------------------------------------


def _told(run: Run, *steps: Callable[[Run], object]) -> Run:
    for step in steps:
        step(run)
    return run


def _after(*tasks: TaskDefinition, steps: tuple[Callable[[Run], object], ...] = ()) -> Callable[[], Run]:
    return lambda: _told(Run(*tasks), *steps)


def _not_started() -> Run:
    return Run(task("a"), scenario=given(GUEST, stream_id="workflow-w/1"))


_UNDONE: Final = (task("done", compensation="undo"), task("a", "done"))
_FAILS: Final = (lambda run: run.succeed("done"), lambda run: run.fail_for_good("a"))
_RUNNING, _WAITING = WorkflowStatus.RUNNING, TaskStatus.WAITING

RUNS: Final = (
    Row(WorkflowStatus.PENDING, "", _not_started),
    Row(_RUNNING, "", _after(task("a"), task("b", "a"))),
    Row(_RUNNING, "being cancelled", _after(task("a"), steps=(lambda run: run.abort(),))),
    Row(_RUNNING, "about to be continued", _after(TaskDefinition("a", continue_with={}))),
    Row(WorkflowStatus.PAUSED, "", _after(task("a"), task("b", "a"), steps=(lambda run: run.pause(),))),
    Row(WorkflowStatus.WAITING, "", _after(TaskDefinition.wait_for("a", "go"))),
    Row(
        WorkflowStatus.NEEDS_ATTENTION,
        "",
        _after(once("a"), steps=(lambda run: run.started("a"), lambda run: run.ended("a", OutcomeKind.UNKNOWN))),
    ),
    Row(WorkflowStatus.COMPENSATING, "", _after(*_UNDONE, steps=_FAILS)),
    Row(WorkflowStatus.COMPLETED, "", _after(task("a"), steps=(lambda run: run.succeed("a"),))),
    Row(WorkflowStatus.FAILED, "", _after(task("a"), steps=(lambda run: run.fail_for_good("a"),))),
    Row(
        WorkflowStatus.COMPENSATED,
        "",
        _after(*_UNDONE, steps=(*_FAILS, lambda run: run.succeed("undo:done"))),
    ),
    Row(
        WorkflowStatus.CANCELLED,
        "",
        _after(task("a"), steps=(lambda run: run.abort(), lambda run: run.cancelled("a"))),
    ),
    Row(
        WorkflowStatus.CONTINUED,
        "",
        _after(TaskDefinition("a", continue_with={}), steps=(lambda run: run.ask(c.NextRunStarted(now=START)),)),
    ),
)
"""Of a run; the task that is meant is ``a``."""

_OTHER: Final = task("other")


def _beside(*tasks: TaskDefinition, steps: tuple[Callable[[Run], object], ...] = ()) -> Callable[[], Run]:
    """Tasks beside one that keeps the run going."""
    return _after(*tasks, _OTHER, steps=steps)


TASKS: Final = (
    Row(TaskStatus.PENDING, "", _beside(task("a", "other"))),
    Row(
        TaskStatus.READY,
        "held by a pause",
        _beside(task("z"), task("a", "z"), steps=(lambda run: run.pause(), lambda run: run.succeed("z"))),
    ),
    Row(TaskStatus.SCHEDULED, "", _beside(task("a", retry_policy=TWICE))),
    Row(TaskStatus.RUNNING, "", _beside(task("a", retry_policy=TWICE), steps=(lambda run: run.started("a"),))),
    Row(TaskStatus.RUNNING, "at most once", _beside(once("a"), steps=(lambda run: run.started("a"),))),
    Row(TaskStatus.EXPANDED, "", _beside(task("a", for_each=[1, 2]))),
    Row(TaskStatus.RETRYING, "", _beside(task("a", retry_policy=TWICE), steps=(lambda run: run.fail("a"),))),
    Row(_WAITING, "for a timer", _beside(TaskDefinition.timer("a", 60))),
    Row(_WAITING, "for a signal", _beside(TaskDefinition.wait_for("a", "go"))),
    Row(_WAITING, "for a person", _beside(TaskDefinition.ask("a", Approval("May I?", assignees=["ada"])))),
    Row(TaskStatus.COMPLETED, "", _beside(task("a"), steps=(lambda run: run.succeed("a"),))),
    Row(TaskStatus.FAILED, "", _beside(task("a"), steps=(lambda run: run.fail_for_good("a"),))),
    Row(TaskStatus.SKIPPED, "", _beside(task("a", when="1 > 2"))),
    Row(TaskStatus.CANCELLED, "", _beside(task("a"), steps=(lambda run: run.cancel_task("a"),))),
    Row(
        TaskStatus.UNKNOWN,
        "",
        _beside(once("a"), steps=(lambda run: run.started("a"), lambda run: run.ended("a", OutcomeKind.UNKNOWN))),
    ),
)
"""Of the task ``a``."""


# --- commands -----------------------------------------------------------------------------------------------------------


def _start(run: Run, _: str) -> Command:
    return c.StartRun(
        now=run.now,
        workflow_id="w",
        run_no=1,
        definition=compile_plan(run.definition).encoded,
        input=codec.encode({}),
        seed="seed",
        fingerprint="fingerprint",
        requested_by="ada",
    )


def _modify(run: Run, _: str) -> Command:
    more = modifications_of([{"add": {"task_id": "more", "agent_id": "agent", "task_type": "work"}}])
    seen = "" if run.state.plan is None else run.state.plan.content_hash
    return c.Modify(now=run.now, modifications=encode_modifications(more), requested_by="ada", definition=seen)


_BY_HAND: Final[Mapping[type[Command], Callable[[Run, str], Command]]] = {c.StartRun: _start, c.Modify: _modify}
_GIVEN: Final[Mapping[str, object]] = {
    "requested_by": "ada",
    "to": "bob",
    "signal": "go",
    "result": codec.encode({"approved": True}),
}
_BY_TYPE: Final[Mapping[object, object]] = {
    str: "something",
    bytes: codec.encode("something"),
    int: 0,
    float: 0.0,
    bool: False,
}


def commands() -> list[type[Command]]:
    """Return what can be asked of a run."""
    return [getattr(c, name) for name in c.__all__]


def required(kind: type[Command]) -> list[str]:
    """Return the names of what has to be said with a command, but for its moment."""
    return [field.name for field in msgspec.structs.fields(kind) if field.required and field.name != "now"]


def is_about_a_task(kind: type[Command]) -> bool:
    """Whether it always names a task."""
    return not {"task_key", "task_id"}.isdisjoint(required(kind))


def columns_of(kind: type[Command]) -> Iterator[Column]:
    """Yield a column for the command, one for each word where a field has several."""
    if kind in _BY_HAND:
        yield Column(f"`{kind.__name__}`", _BY_HAND[kind])
        return
    hints = typing.get_type_hints(kind)
    names = required(kind)
    choices = {name: typing.get_args(hints[name]) for name in names if typing.get_origin(hints[name]) is Literal}
    for words in product(*choices.values()):
        chosen = dict(zip(choices, words, strict=True))

        def command(run: Run, key: str, chosen: Mapping[str, object] = chosen) -> Command:
            values: dict[str, Any] = {name: chosen.get(name, _value(name, hints[name], key)) for name in names}
            return kind(now=run.now, **values)

        yield Column(f"`{' '.join([kind.__name__, *map(str, words)])}`", command)


def _value(name: str, hint: object, key: str) -> object:
    if name in ("task_key", "task_id"):
        return key
    origin = typing.get_origin(hint)
    empty = origin() if origin in (tuple, list, dict, set, frozenset) else None
    return _GIVEN.get(name, _BY_TYPE.get(hint, empty))


def _finished(outcome: Outcome, *, is_stale: bool = False) -> Callable[[Run, str], Command]:
    def command(run: Run, key: str) -> Command:
        record = run.state.tasks.get(key)
        token = -1 if record is None else record.token
        if is_stale:
            token -= 1
        return ActivityFinished(now=run.now, task_key=key, token=token, outcome=outcome)

    return command


def _activity_started(run: Run, key: str) -> Command:
    record = run.state.tasks.get(key)
    return ActivityStarted(now=run.now, task_key=key, token=0 if record is None else record.token, deadline=None)


def _outcome(kind: OutcomeKind) -> Outcome:
    match kind:
        case OutcomeKind.SUCCEEDED:
            return Outcome(kind, codec.encode("done"))
        case OutcomeKind.INTERRUPTED:
            return Outcome(kind, codec.encode([Ask("", "How many?")]))
        case _:
            return Outcome(kind, b"", ErrorInfo("Broken", "it broke"))


REPORTS: Final = (
    Column("started", _activity_started),
    *(Column(kind.value.replace("_", " "), _finished(_outcome(kind))) for kind in OutcomeKind),
    Column(
        "failed for good", _finished(Outcome(OutcomeKind.FAILED, b"", ErrorInfo("Broken", "no", is_permanent=True)))
    ),
    Column("of an older attempt", _finished(_outcome(OutcomeKind.SUCCEEDED), is_stale=True)),
    Column("its timers are due", lambda run, _: TimersDue(now=run.now + LONG)),
)
"""What the engine tells of an attempt of the task, and of time."""


# --- tables -------------------------------------------------------------------------------------------------------------


def came_of(row: Row, column: Column, look: Callable[[Run], str]) -> tuple[str, list[str]]:
    """Return, in a word, what came of it, and the types of the facts."""
    run = row.story()
    before = look(run)
    try:
        facts = decide_fully(GUEST, run.state, column.command(run, "a"), run.scenario.version)
    except (CommandRefused, InvalidInput):
        return REFUSED, []
    after = look(run)
    kinds = [fact.event_type for fact in facts]
    if not facts:
        return NOTHING, []
    return (f"`{after}`" if after != before else RECORDED), kinds


def has_place(row: Row, column: Column) -> bool:
    """Whether there can be such a report: of an attempt where there was one."""
    record = row.story().state.tasks.get("a")
    is_of_an_attempt = column in REPORTS and column is not REPORTS[-1]
    return not is_of_an_attempt or (record is not None and record.attempt > 0)


def table(rows: tuple[Row, ...], columns: list[Column], look: Callable[[Run], str], about: str) -> str:
    """Return the table, what each command may make true, and the statuses it has no row for."""
    lines = [f"| {' | '.join([about, *(column.name for column in columns)])} |", f"|{'---|' * (len(columns) + 1)}"]
    known: dict[str, dict[str, None]] = {column.name: {} for column in columns}
    for row in rows:
        found = look(row.story())
        assert found == row.status, f"the history of {row.status} {row.words} leads to {found}"
        cells = [f"`{row.status}`{f' {row.words}' if row.words else ''}"]
        for column in columns:
            word, kinds = came_of(row, column, look) if has_place(row, column) else ("", [])
            cells.append(word)
            known[column.name].update(dict.fromkeys(kinds))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"| {about}: asked | may record |", "|---|---|"]
    lines += [
        f"| {name} | {', '.join(f'`{kind}`' for kind in sorted(kinds)) or NOTHING} |" for name, kinds in known.items()
    ]
    return "\n".join(lines)


def _of_run(run: Run) -> str:
    return run.state.status.value


def _of_task(run: Run) -> str:
    record = run.state.tasks.get("a")
    return TaskStatus.PENDING.value if record is None else record.status.value


def without_a_row(statuses: type[WorkflowStatus | TaskStatus], rows: tuple[Row, ...]) -> list[str]:
    """Return the statuses that no history here leads into."""
    return [status.value for status in statuses if status not in {row.status for row in rows}]


def _missing() -> str:
    found = {"run": without_a_row(WorkflowStatus, RUNS), "task": without_a_row(TaskStatus, TASKS)}
    lines = [
        f"- of a {what}: {', '.join(f'`{status}`' for status in statuses) or 'none'}"
        for what, statuses in found.items()
    ]
    return "\n".join(lines)


def _asked(about_tasks: bool) -> list[Column]:
    kinds = [kind for kind in commands() if is_about_a_task(kind) is about_tasks]
    return [column for kind in kinds for column in columns_of(kind)]


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "run": lambda: table(RUNS, _asked(False), _of_run, "of a run"),
    "task": lambda: table(TASKS, _asked(True), _of_task, "of a task"),
    "attempt": lambda: table(TASKS, list(REPORTS), _of_task, "of a task, and its attempt"),
    "missing": _missing,
}
"""The written parts of the page, by name."""


def write(path: Path = PAGE) -> None:
    text = path.read_text(encoding="utf-8")
    for name, written in PARTS.items():
        text = with_part(text, name, written())
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
