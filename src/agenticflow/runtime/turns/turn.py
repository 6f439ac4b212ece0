"""One turn of an execution: a batch of its commands decided, to be committed in one piece and then to take effect.

Nothing here waits or writes: that is the host's.
"""

from __future__ import annotations

from collections.abc import Sequence

from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import ActivityFinished, Effect, RunActivity, RunChild
from agenticflow.errors import AgenticFlowError
from agenticflow.runtime.actors import Actor, Answer, Request, Sequel, Waiting, metadata_of, refuse
from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.rows import Blob, Row

__all__ = ["Turn"]


class Turn:
    """What a batch of commands comes to. The actor's state holds its facts; nobody may see them before they are committed."""

    __slots__ = (
        "_begun",
        "actor",
        "answers",
        "brought",
        "commit",
        "effects",
        "events",
        "facts",
        "is_repeated",
        "refusals",
        "rows",
        "sequels",
        "since",
        "stale",
        "start",
        "starts",
        "version",
    )

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.facts: list[Fact] = []
        self.events: list[NewEvent] = []
        """The facts that are in the state, encoded."""
        self.rows: list[Row] = []
        self._begun = 0
        """How many facts there were before the command that is being decided."""
        self.stale = 0
        """Reports whose token was not current."""
        self.answers: list[tuple[Waiting[Answer], int, int]] = []
        """Who waits, how many facts the command made true, and the version after it."""
        self.refusals: list[tuple[Request, AgenticFlowError]] = []
        """Who is told after the commit that the command was refused."""
        self.is_repeated = False
        """Whether the store had seen its command before."""
        self.brought: Sequence[Sequel] = ()
        """What its commands say that follows from them elsewhere."""
        self.sequels: Sequence[Sequel] = ()
        """What is committed along with it."""

    def decide(self, command: Command, answer: Waiting[Answer] | None = None, sequels: Sequence[Sequel] = ()) -> bool:
        """Decide a command with everything that follows, and take that into the state; return whether that made anything true.

        ``answer`` is told what became of it, and ``sequels`` follow from it elsewhere. Raises what the decider refuses with, and
        ``BlobMissing``: called again with that value at hand it goes on where it was.
        """
        actor, facts, events = self.actor, self.facts, self.events
        guest, state, now = actor.guest, actor.state, command.now
        evolve, encode, metadata = guest.evolve, guest.codec.encode, metadata_of(actor, command)
        begun, version = self._begun, actor.version + len(events)
        following: Sequence[Fact] = facts[len(events) :]
        if not following:
            following = guest.decide(state, command) if len(facts) == begun else guest.advance(state, now)
            facts += following
        while following:
            for fact in following:
                version += 1
                evolve(state, fact, version, now)
                events.append(NewEvent(fact.event_type, encode(fact), now, metadata, fact.schema_version))
            following = guest.advance(state, now)
            facts += following
        done = self._begun = len(facts)
        if done == begun:
            if type(command) is ActivityFinished:
                self.stale += 1
        elif command.blobs:
            self.rows.extend(Blob(name, data) for name, data in command.blobs)
        if answer is not None:
            self.answers.append((answer, done - begun, version))
        if sequels:
            self.brought = (*self.brought, *sequels)
        return done > begun

    @property
    def is_torn(self) -> bool:
        """Whether facts are decided of which not everything that follows is: then its state must not be used any more."""
        return len(self.facts) > self._begun

    def decide_along(self, sequels: Sequence[Sequel]) -> bool:
        """Decide what follows from another turn; return whether any of it made anything true."""
        self.since = [one for one in sequels if self.decide(one.command)]
        """Those of the sequels that did: what is true of that turn when this one is."""
        return bool(self.since)

    def close(self, command_id: str | None, now: int) -> None:
        """Nothing more is decided: find what the facts ask for, and make the commit of them and of what has to be recorded with them."""
        actor, facts = self.actor, self.facts
        state, at, find = actor.state, actor.version, actor.guest.effects
        effects: list[Effect] = []
        self.start: RunChild | RunActivity | None = None
        """What it asks for that may be begun along with it: a sub-workflow, or an attempt that needs permits."""
        self.starts = 0
        for fact in facts:
            at += 1
            if found := find(state, fact, at):
                effects.extend(found)
                first = found[0]
                if type(first) is RunChild or (type(first) is RunActivity and first.permits):
                    self.start = first
                    self.starts += 1
        self.effects = effects
        self.version = at
        rows = self.rows
        actor.add_rows(at, rows, now)
        self.commit = Commit(
            stream_id=actor.stream_id, expected=actor.version, events=self.events, command_id=command_id, rows=rows
        )

    def repeat(self, version: int) -> None:
        """The store had seen the command before: ``version`` was after it, and the facts of that time are true, not these."""
        self.actor.forget()
        self.is_repeated = True
        self.answers = [(answer, 0, version) for answer, _, _ in self.answers]

    def take(self, effect: Effect | None) -> bool:
        """Tell the sequels that stand for ``effect`` that they are true; return whether there are any."""
        is_taken = False
        for sequel in self.sequels:
            if sequel.effect is effect:
                sequel.taken()
                is_taken = True
        return is_taken

    def answer(self) -> None:
        """Tell everybody what became of it: who was refused why, who made how many facts true, at which version."""
        for request, refusal in self.refusals:
            refuse([request], refusal)
        for answer, count, at in self.answers:
            if not answer.done():
                answer.set_result(Answer(at, count, self.is_repeated))
