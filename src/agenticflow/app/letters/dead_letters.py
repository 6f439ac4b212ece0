"""``orchestrator.dead_letters``: tasks in quarantine, by id, and what people decide about them.

They are found by entries that the runs' commits have written, without folding a run; a decision goes to the run. Works in every process:
reading needs no owner of the store. (Events that a subscriber gave up are letters of the bus: ``EventBus.dead_letters``.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from agenticflow.app.engine.assembly import Engine
from agenticflow.app.event_bus import EventBus
from agenticflow.core.clocks import Clock
from agenticflow.core.context import LAST_REPORTS, LastReport, last_report_key
from agenticflow.core.decider import Command
from agenticflow.core.ids import check_id
from agenticflow.errors import AgenticFlowError, CommandRefused, InvalidInput, WorkflowNotFoundError
from agenticflow.orchestration.approvals.requests import split_approval_id
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.inbox.listing import ordered_key
from agenticflow.orchestration.interventions.intervention import check_words
from agenticflow.orchestration.quarantine.listing import LETTERS, TaskLetter, letter_of, with_params, with_report
from agenticflow.orchestration.state import RunState
from agenticflow.orchestration.suspicion.commands import DiscardLetter, RetryLetter
from agenticflow.orchestration.suspicion.facts import TaskQuarantined
from agenticflow.orchestration.suspicion.suspects import Suspect

__all__ = ["DeadLetters"]

LOCAL_OWNER: Final = "local-owner"
MAX_LISTED: Final = 1_000
_letter: Final = msgspec.msgpack.Decoder(TaskLetter)
_report: Final = msgspec.msgpack.Decoder(LastReport)


class DeadLetters:
    """The tasks in quarantine of one store. ``engine`` gives the running engine, ``bus`` is the orchestrator's."""

    def __init__(self, engine: Callable[[], Awaitable[Engine]], clock: Clock, bus: EventBus | None) -> None:
        self._engine = engine
        self._clock = clock
        self._bus = bus

    async def bus(self) -> EventBus:
        """Return the bus that has the letters of events in this store: the orchestrator's, else one without subscribers."""
        engine = await self._engine()
        return self._bus if self._bus is not None else EventBus(store=engine.store)

    async def list(
        self, *, workflow_id: str | None = None, after: str | None = None, limit: int = 100
    ) -> Sequence[TaskLetter]:
        """Return up to ``limit`` letters, the oldest first; ``after`` is the id of the last one of the page before.

        Raises ``InvalidInput`` for a limit outside 1 to 1,000 and for ``after`` that is no id, ``WorkflowNotFoundError`` for one that is
        not there any more.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LISTED:
            raise InvalidInput(f"a page of {limit!r:.80} letters", hint=f"give 1 to {MAX_LISTED:,}")
        if workflow_id is not None:
            check_id(workflow_id, "a workflow")
        engine = await self._engine()
        start = None if after is None else ordered_key((await self._find(engine, after))[1].since, after)
        found: list[TaskLetter] = []
        while len(found) < limit:
            page = await engine.store.list_values(LETTERS, now=self._clock.now_ns(), after=start, limit=MAX_LISTED)
            if not page:
                break
            letters = [_letter.decode(value.value) for value in page]
            found += [letter for letter in letters if workflow_id in (None, letter.workflow_id)]
            start = page[-1].key
        return found[:limit]

    async def get(self, letter_id: str) -> TaskLetter:
        """Return one letter with what its handler is given and what it reported last, secrets hidden.

        Raises ``InvalidInput`` for what is no id, ``WorkflowNotFoundError`` when there is no such letter, or not any more.
        """
        engine = await self._engine()
        state, suspect = await self._find(engine, letter_id)
        letter = letter_of(state, suspect)
        key = last_report_key(state.stream_id, letter.task_key)
        kept = await engine.store.get_value(LAST_REPORTS, key, now=self._clock.now_ns())
        if kept is not None:
            letter = with_report(letter, _report.decode(kept.value))
        try:
            given = await engine.host.inputs(state.stream_id, letter.task_key)
        except AgenticFlowError as error:
            return with_params(letter, f"cannot be read: {error}")
        return with_params(letter, given.params)

    async def _find(self, engine: Engine, letter_id: str) -> tuple[RunState, Suspect]:
        workflow_id, run_no, key, token = _split(letter_id)
        if await engine.store.get_run(workflow_id, run_no) is not None:
            state: RunState = await engine.host.read(stream_of(workflow_id, run_no))
            suspect = state.suspects.get(key)
            if suspect is not None and suspect.is_open and suspect.token == token:
                return state, suspect
        raise _nothing_there(letter_id)

    async def retry(self, letter_id: str, *, by: str = LOCAL_OWNER, reason: str = "") -> None:
        """Run the task again, with all its attempts and with the count begun anew; who and why is recorded. The effect key stays.

        It runs beside no other suspect, so that should it kill its process again, nothing else is suspected.

        Raises ``CommandRefused`` when the letter is closed or its run has ended, ``InvalidInput``, ``WorkflowNotFoundError``.
        """
        check_words(by, reason)
        _, _, key, token = _split(letter_id)
        now = self._clock.now_ns()
        await self._say(letter_id, RetryLetter(now=now, task_key=key, token=token, requested_by=by, reason=reason))

    async def discard(self, letter_id: str, *, by: str = LOCAL_OWNER, reason: str = "") -> None:
        """Have the task failed for good: its fallback, its ``on_failure`` and what was done before it follow as after any failure.

        Raises like ``retry``.
        """
        check_words(by, reason)
        _, _, key, token = _split(letter_id)
        now = self._clock.now_ns()
        await self._say(letter_id, DiscardLetter(now=now, task_key=key, token=token, requested_by=by, reason=reason))

    async def _say(self, letter_id: str, command: Command) -> None:
        engine = await self._engine()
        workflow_id, run_no, _, token = _split(letter_id)
        if await engine.store.get_run(workflow_id, run_no) is None:
            raise _nothing_there(letter_id)
        stream_id = stream_of(workflow_id, run_no)
        try:
            await engine.host.submit(stream_id, command)
        except CommandRefused:
            # A letter is named after the event that put its task aside: without that it never was, rather than is closed.
            events = await engine.store.read_page(stream_id, token - 1, 1) if token else []
            if [event.event_type for event in events] != [TaskQuarantined.event_type]:
                raise _nothing_there(letter_id) from None
            raise


def _split(letter_id: str) -> tuple[str, int, str, int]:
    try:
        return split_approval_id(letter_id)
    except InvalidInput as error:
        raise InvalidInput(
            f"{letter_id!r:.100} is no id of a dead letter of a run",
            hint="`agenticflow dead-letters list` shows them: spring/1/resize@7",
        ) from error


def _nothing_there(letter_id: str) -> WorkflowNotFoundError:
    return WorkflowNotFoundError(
        f"there is no dead letter {letter_id!r} in this store, or not any more",
        hint="`agenticflow dead-letters list` shows those that nobody has decided about",
    )
