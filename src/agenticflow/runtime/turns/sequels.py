"""What follows from a turn for other executions and can be decided at once, so that it goes into the same transaction.

A child that ends is reported to its parent, whose next child starts: three executions, three commits, one decision each. An attempt that
ends gives its lock back, and the next has it. What makes the next commit is known before the one before is made, so they are handed to
the store together. Each is decided from a state that holds facts which are not true yet, so when one fails those behind it are thrown
away with their states; what they were to do is then asked for in the usual way by the facts that are true. Nothing depends on this
but time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from agenticflow.core.engine import RunActivity, RunChild, TimersDue
from agenticflow.core.values import BlobMissing, Values
from agenticflow.errors import AgenticFlowError, ConcurrencyConflict, OutcomeUnknown
from agenticflow.runtime.actors import Actors, Request, Sequel
from agenticflow.runtime.turns.turn import Turn

__all__ = ["Foresee", "Sequels"]

log = logging.getLogger("agenticflow.engine")

_stream_of: Final = attrgetter("stream_id")
MOST_TOGETHER: Final = 8
"""Turns in one transaction: executions inside each other may begin or end all at once."""

Foresee = Callable[[str, RunChild | RunActivity], Sequel | None]
"""Returns how the child is started, or the attempt gets its permit, that an effect of this stream asks for; ``None`` when somebody has to
look after that."""


class Sequels:
    """Finds the turns that follow from one, and lets go of them."""

    def __init__(self, actors: Actors, values: Values) -> None:
        self._actors = actors
        self._values = values
        self.foresee: Foresee | None = None

    def behind(self, first: Turn) -> list[Turn]:
        """Return ``first`` and the turns that can be committed behind it, each following from one before.

        Nobody else takes a turn of their executions until they are free again.
        """
        turns, actor = [first], first.actor
        if first.commit.command_id is not None or actor.conflicts or actor.failures:
            return turns  # it may have happened already, or has failed once with what followed
        try:
            for turn in turns:  # those that are added meanwhile too
                for sequels in self._of(turn):
                    if len(turns) == MOST_TOGETHER:
                        return turns
                    following = self._decided(sequels)
                    if following is not None:
                        turn.sequels = [*turn.sequels, *following.since] if turn.sequels else following.since
                        turns.append(following)
        except Exception:
            log.debug("what follows from a turn of %s is left to the usual way", first.actor.stream_id, exc_info=True)
        return turns

    def _of(self, turn: Turn) -> Sequence[Sequence[Sequel]]:
        """Return what follows from the turn for other executions, as far as it is known: together what one of them can decide at once."""
        actor = turn.actor
        following: Sequel | None = None
        if (reporter := actor.reporter) is not None and not actor.state.is_open:
            above = self._actors.get(reporter.stream_id)
            if above is not None and above.state is not None and above.is_idle:
                following = reporter.foresee(actor.state)
        elif turn.start is not None and turn.starts == 1 and self.foresee is not None:
            # Of many that start at once each is as good a first: they share a transaction anyway.
            following = self.foresee(actor.stream_id, turn.start)
        if not turn.brought:
            return () if following is None else ((following,),)
        found = turn.brought if following is None else (*turn.brought, following)
        return [list(sequels) for _, sequels in groupby(found, _stream_of)]

    def _decided(self, sequels: Sequence[Sequel]) -> Turn | None:
        """Take the turn of another execution, if nothing has to be waited for; nothing is refused here and nothing has failed.

        Of several commands those that change nothing are left to whoever asks in the usual way.
        """
        actor, first = self._actors.of(sequels[0].stream_id), sequels[0].command
        if not actor.is_idle or actor.conflicts or actor.failures or first.blobs:
            return None
        if (actor.state is None) is not first.opens_stream:
            return None
        if actor.state is None:
            actor.begin(self._values)
        actor.is_busy = actor.is_deciding = True
        turn = Turn(actor)
        is_whole = False
        try:
            if turn.decide_along(sequels):
                turn.close(None, sequels[-1].command.now)
                is_whole = True
        except (AgenticFlowError, BlobMissing):
            pass  # whoever decides it by itself is told, or fetches what is missing
        finally:
            if not is_whole:
                if turn.facts or not actor.version:
                    actor.forget()
                self.free(turn)
        return turn if is_whole else None

    def of_first(self, turns: Sequence[Turn], made: int) -> list[Turn]:
        """Return the first ``made`` of the turns, which are true, without what those behind them were to be."""
        gone = [sequel for turn in turns[made:] for sequel in turn.since]
        for turn in turns[:made]:
            turn.sequels = [sequel for sequel in turn.sequels if sequel not in gone]
        return list(turns[:made])

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
