"""``agenticflow dead-letters …``: look at what was given up, and decide, beside whoever owns the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from shlex import quote
from typing import Any, Final

import msgspec

from agenticflow.app.commands.operations import DiscardLetter, RetryLetter
from agenticflow.cli.access import Delivered, deliver, reading
from agenticflow.cli.commands.runs import demand_run
from agenticflow.cli.exits import Exit, NotThere
from agenticflow.cli.options import person
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, note, print_json, print_table, printable
from agenticflow.communication.bus import DeadLetter
from agenticflow.communication.facts import DEAD_LETTERS
from agenticflow.core.redaction import redact, redact_text
from agenticflow.errors import InvalidInput
from agenticflow.orchestration.quarantine.listing import TaskLetter

__all__ = ["discard", "listing", "retry", "show"]

_Decision = RetryLetter | DiscardLetter
MAX_EVENTS: Final = 10_000
"""Letters of the bus among which one is looked for."""


def listing(*, workflow_id: str | None, after: str | None, limit: int, store: str | None, form: Format) -> int:
    """List open letters of both kinds; of one workflow only tasks, since events belong to none."""
    tasks, events = run_async(_letters(store, workflow_id, after, limit))
    if form is Format.JSON:
        print_json([*map(_plain_task, tasks), *map(_plain_event, events)])
    elif not tasks and not events:
        note("nothing was given up")
    else:
        rows = [(one.letter_id, "task", _moment(one.since), _about_task(one), _died(one)) for one in tasks]
        rows += [
            (one.letter_id, "event", _moment(_at(one)), _about_event(one), redact_text(str(one.error)))
            for one in events
        ]
        print_table(("ID", "KIND", "SINCE", "ABOUT", "WHY"), rows)
    return Exit.OK


async def _letters(
    store: str | None, workflow_id: str | None, after: str | None, limit: int
) -> tuple[Sequence[TaskLetter], Sequence[DeadLetter]]:
    async with reading(store) as (orchestrator, _):
        if workflow_id is not None:
            await demand_run(orchestrator, workflow_id)
        tasks = await orchestrator.dead_letters.list(workflow_id=workflow_id, after=after, limit=limit)
        if workflow_id is not None or after is not None:
            return tasks, []
        return tasks, await (await orchestrator.dead_letters.bus()).dead_letters(limit=limit)


def show(letter_id: str, *, store: str | None, form: Format) -> int:
    """Show one letter."""
    if _is_event(letter_id):
        event = run_async(_event(store, letter_id))
        if form is Format.JSON:
            print_json(_plain_event(event))
        else:
            _show_event(event)
        return Exit.OK
    letter = run_async(_task(store, letter_id))
    if form is Format.JSON:
        print_json(_plain_task(letter))
        return Exit.OK
    print(printable(f"{letter.letter_id}: {_about_task(letter)}, {_died(letter)}"))
    print(printable(f"in quarantine since {_moment(letter.since)}Z, at attempt {letter.attempt}"))
    print(printable(f"params: {json.dumps(letter.params, ensure_ascii=False, default=str)}"))
    for loss in letter.losses:
        print(
            f"process {loss.pid}, which began {_moment(loss.began_at)}Z, died before {_moment(loss.noticed_at)}Z,"
            f" in attempt {loss.attempt}"
        )
    if (report := letter.last_report) is not None:
        part = "" if report.fraction is None else f"{report.fraction:.0%} "
        words = f"{part}{report.message}".rstrip() or "nothing in words"
        print(printable(f"reported last: {words}, {_moment(report.at)}Z, in attempt {report.attempt}"))
    if letter.last_error:
        print(printable(f"last error before: {letter.last_error}"))
    for said in letter.feedback:
        print(printable(f"it was told: {said}"))
    print(printable(letter.what_to_do))
    return Exit.OK


async def _task(store: str | None, letter_id: str) -> TaskLetter:
    async with reading(store) as (orchestrator, _):
        return await orchestrator.dead_letters.get(letter_id)


async def _event(store: str | None, letter_id: str) -> DeadLetter:
    async with reading(store) as (orchestrator, _):
        for letter in await (await orchestrator.dead_letters.bus()).dead_letters(limit=MAX_EVENTS):
            if letter.letter_id == letter_id:
                return letter
    raise NotThere(f"no dead letter {letter_id!r} is open", hint="`agenticflow dead-letters list` shows those that are")


def _show_event(letter: DeadLetter) -> None:
    print(printable(f"{letter.letter_id}: {_about_event(letter)}"))
    print(
        printable(
            f"given up {_moment(_at(letter))}Z after {letter.attempts} attempts: {redact_text(str(letter.error))}"
        )
    )
    print(printable(f"payload: {json.dumps(redact(letter.event.payload), ensure_ascii=False, default=str)}"))
    print(
        printable(
            f"`agenticflow dead-letters retry {quote(letter.letter_id)}` gives it to the subscriber again while its program runs, "
            "`… discard` forgets it"
        )
    )


# --- deciding -----------------------------------------------------------------------------------------------------------


def retry(letter_id: str, *, reason: str, by: str | None, store: str | None, form: Format) -> int:
    """Run it again."""
    operation = RetryLetter(letter_id=letter_id, is_event=_is_event(letter_id), by=person(by), reason=reason)
    return _say(operation, "runs again", store, form)


def discard(letter_id: str, *, reason: str, by: str | None, store: str | None, form: Format) -> int:
    """Give it up."""
    operation = DiscardLetter(letter_id=letter_id, is_event=_is_event(letter_id), by=person(by), reason=reason)
    return _say(operation, "is given up", store, form)


async def _decided(store: str | None, operation: _Decision) -> Delivered:
    try:
        return await deliver(store, operation)
    except InvalidInput:
        if operation.is_event:
            await _event(store, operation.letter_id)  # says so when there is none
        raise


def _say(operation: _Decision, what: str, store: str | None, form: Format) -> int:
    delivered = run_async(_decided(store, operation))
    answer = delivered.answer
    if not delivered.by_owner:
        note("recorded; nobody runs this store now, the next owner acts on it: `agenticflow run` or a program of yours")
    if form is Format.JSON:
        print_json(answer)
    elif answer["is_closed"]:
        print(printable(f"{answer['letter_id']}: {what}"))
    if not answer["is_closed"]:
        note("the subscriber failed again; the letter stays")
        return Exit.FAILED
    return Exit.OK


# --- words --------------------------------------------------------------------------------------------------------------


def _is_event(letter_id: str) -> bool:
    return letter_id.startswith(DEAD_LETTERS)


def _about_task(letter: TaskLetter) -> str:
    return (
        f"task {letter.task_key} ({letter.task_type or letter.performer_id}) of {letter.workflow} {letter.workflow_id}"
    )


def _died(letter: TaskLetter) -> str:
    return f"its process died {len(letter.losses)} times"


def _about_event(letter: DeadLetter) -> str:
    return f"{letter.event.event_type} for {letter.subscription}"


def _at(letter: DeadLetter) -> datetime:
    return datetime.fromtimestamp(letter.at / 1_000_000_000, UTC)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _plain_task(letter: TaskLetter) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(letter)
    return {"kind": "task", **plain}


def _plain_event(letter: DeadLetter) -> dict[str, Any]:
    return {
        "kind": "event",
        "letter_id": letter.letter_id,
        "subscription": letter.subscription,
        "pattern": letter.pattern,
        "event_type": letter.event.event_type,
        "event_id": letter.event.id,
        "payload": redact(letter.event.payload),
        "error": redact_text(str(letter.error)),
        "attempts": letter.attempts,
        "since": _at(letter).isoformat(),
    }
