"""What follows from a turn for other executions and can be decided at once, so that it goes into the same transaction.

A child that ends is reported to its parent, whose next child starts: three executions, three commits, one decision each. What makes the
next one is known before the one before is committed, so they are handed to the store together. Each is decided from a state that
holds facts which are not true yet, so when one fails those behind it are thrown away with their states; what they were to do is then asked
for in the usual way by the facts that are true. Nothing depends on this but time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from agenticflow.core.engine import RunChild, TimersDue
from agenticflow.core.values import BlobMissing, Values
from agenticflow.errors import AgenticFlowError, ConcurrencyConflict, OutcomeUnknown
from agenticflow.runtime.actors import Actors, Request, Sequel
from agenticflow.runtime.turns.turn import Turn

__all__ = ["Foresee", "Sequels"]

MOST_TOGETHER: Final = 8
"""Turns in one transaction: executions inside each other may begin or end all at once."""

Foresee = Callable[[str, RunChild], Sequel | None]
"""Returns how the child is started that an effect of this stream asks for, ``None`` when somebody has to look after it."""


class Sequels:
    """Finds the turns that follow from one, and lets go of them."""

    def __init__(self, actors: Actors, values: Values) -> None:
        self._actors = actors
        self._values = values
        self.foresee: Foresee | None = None

    def behind(self, first: Turn) -> list[Turn]:
        """Return ``first`` and the turns that can be committed behind it, each following from the one before.

        Nobody else takes a turn of their executions until they are free again.
        """
        turns, turn, actor = [first], first, first.actor
        if first.commit.command_id is not None or actor.conflicts or actor.failures:
            return turns  # it may have happened already, or has failed once with what followed
        try:
            while (sequel := self._of(turn)) is not None and (following := self._decided(sequel)) is not None:
                turn.sequel = sequel
                turns.append(following)
                if len(turns) == MOST_TOGETHER:
                    break
                turn = following
        except Exception:  # noqa: BLE001 - a mistake of theirs is not the first's: it shows when they are asked in the usual way
            turn.sequel = None
        return turns

    def _of(self, turn: Turn) -> Sequel | None:
        """Return what follows from the turn for another execution, if that is one thing, and known."""
        actor, child = turn.actor, turn.child
        if (reporter := actor.reporter) is not None and not actor.state.is_open:
            above = self._actors.get(reporter.stream_id)
            is_free = above is not None and above.state is not None and above.is_idle
            return reporter.foresee(actor.state) if is_free else None
        if child is None or turn.starts > 1 or self.foresee is None:
            return None  # of many that start at once each is as good a first: they share a transaction anyway
        return self.foresee(actor.stream_id, child)

    def _decided(self, sequel: Sequel) -> Turn | None:
        """Take the turn of another execution, if nothing has to be waited for; nothing is refused here and nothing has failed."""
        command = sequel.command
        actor = self._actors.of(sequel.stream_id)
        if not actor.is_idle or actor.conflicts or actor.failures or command.blobs:
            return None
        if (actor.state is None) is not command.opens_stream:
            return None
        if actor.state is None:
            actor.begin(self._values)
        actor.is_busy = actor.is_deciding = True
        turn = Turn(actor)
        is_whole = False
        try:
            if turn.decide(command):
                turn.close(None, command.now)
                is_whole = True
        except (AgenticFlowError, BlobMissing):
            pass  # whoever decides it by itself is told, or fetches what is missing
        finally:
            if not is_whole:
                actor.forget()
                self.free(turn)
        return turn if is_whole else None

    def free(self, turn: Turn) -> bool:
        """The turn has taken effect, or was thrown away: others may take theirs. Return whether somebody waits for that."""
        actor = turn.actor
        actor.is_busy = actor.is_deciding = False
        if actor.settled:
            actor.tell_settled()
        return bool(actor.inbox)

    def throw_away(self, turns: Sequence[Turn], error: AgenticFlowError | None) -> None:
        """The turns are not true, as far as anybody knows; ``error`` is what happened to the first, ``None`` when it was never tried.

        They are as if they had never been decided, except that a conflict is counted where it was met.
        """
        for turn in turns:
            actor = turn.actor
            actor.forget()
            if isinstance(error, OutcomeUnknown):
                # What was written after all is found by reading again, which any command brings about.
                actor.dispatched = max(actor.dispatched, 0)
                actor.inbox.append(Request(TimersDue(now=turn.events[0].timestamp), None, None))
            elif isinstance(error, ConcurrencyConflict) and turn is turns[0]:
                actor.conflicts += 1
                actor.dispatched = -1  # what somebody else made true is theirs to dispatch
