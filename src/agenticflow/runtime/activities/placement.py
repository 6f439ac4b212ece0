"""Who performs an attempt here: the performer it names, one that can do it, or another in the place of one that is not well.

Seats are the performers of this process. What nobody can perform now is kept, said in words, and placed when somebody comes who can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from agenticflow.core.assignment import Assigner
from agenticflow.core.binding import Handler
from agenticflow.core.engine import Performer, RunActivity
from agenticflow.errors import AgentNotFoundError, DefinitionError, NoHealthyAgentError
from agenticflow.runtime.activities.attempts import Seat

__all__ = ["Homeless", "Placement"]

Homeless = tuple[str, RunActivity]
"""An execution's stream, and an effect of it that nobody can perform now."""
MAX_NAMED: Final = 3


class Placement:
    """The seats of this process, and what waits for one that is not there."""

    def __init__(self) -> None:
        self.seats: dict[str, Seat] = {}
        self._homeless: dict[tuple[str, str], list[Homeless]] = {}
        self._assigner: Assigner | None = None
        self._loads = _Loads(self.seats)

    def assign_with(self, assigner: Assigner) -> None:
        """Ask ``assigner`` who stands in for whom from now on."""
        self._assigner = assigner

    def add(self, performer: Performer) -> None:
        """Give ``performer`` a seat. Raises ``DefinitionError`` for a taken id."""
        performer_id = performer.performer_id
        known = self.seats.get(performer_id)
        if known is not None and known.performer is not performer:
            raise DefinitionError(f"there is an agent or worker {performer_id!r} already", hint="give each its own id")
        if known is None:
            self.seats[performer_id] = Seat(performer)

    def find(self, effect: RunActivity) -> tuple[Seat, Handler] | None:
        """Return who performs the effect now, with the handler; ``None`` when nobody can."""
        performer_id = effect.performer_id
        if effect.is_movable and effect.attempt > 1:
            performer_id = self._next_in_turn(effect)
        assigner = self._assigner
        if assigner is not None and (effect.capabilities or performer_id in assigner.noted):
            try:
                wanted = frozenset(effect.capabilities) if effect.capabilities else _NOTHING
                performer_id = assigner.choose(performer_id, effect.task_type, wanted, self._loads)
            except (NoHealthyAgentError, AgentNotFoundError):
                return None
        seat = self.seats.get(performer_id)
        if seat is None:
            return None
        handler = seat.performer.handler_for(effect.task_type)
        return None if handler is None else (seat, handler)

    def _next_in_turn(self, effect: RunActivity) -> str:
        """Return who gets another attempt: the next after its own performer, of those that have its capabilities."""
        own = self.seats.get(effect.performer_id)
        wanted = frozenset(effect.capabilities) or (own.performer.capabilities if own is not None else _NOTHING)
        if not wanted:
            return effect.performer_id
        able = [
            performer_id
            for performer_id, seat in self.seats.items()
            if seat.performer.capabilities >= wanted and seat.performer.handler_for(effect.task_type) is not None
        ]
        able.sort(key=lambda performer_id: (performer_id != effect.performer_id, performer_id))
        return able[(effect.attempt - 1) % len(able)] if able else effect.performer_id

    # --- what nobody can perform now --------------------------------------------------------------------------------

    @property
    def has_homeless(self) -> bool:
        """Whether something waits for a performer."""
        return bool(self._homeless)

    def keep(self, stream_id: str, effect: RunActivity) -> None:
        """Nobody can perform the effect now."""
        self._homeless.setdefault((effect.performer_id, effect.task_type), []).append((stream_id, effect))

    def housed(self) -> Iterator[Homeless]:
        """Take out what somebody can perform by now."""
        if self._assigner is not None and self._homeless:
            self._assigner.check()
        for key, waiting in list(self._homeless.items()):
            placed = [item for item in waiting if self.find(item[1]) is not None]
            if placed:
                left = [item for item in waiting if item not in placed]
                self._homeless[key] = left
                if not left:
                    del self._homeless[key]
                yield from placed

    def take_back(self, stream_id: str, token: int) -> RunActivity | None:
        """Return the effect that is kept for this attempt, which is not wanted any more; ``None`` when there is none."""
        for key, waiting in list(self._homeless.items()):
            for item in waiting:
                if item[0] == stream_id and item[1].token == token:
                    waiting.remove(item)
                    if not waiting:
                        del self._homeless[key]
                    return item[1]
        return None

    def kept(self) -> Iterator[tuple[Homeless, str]]:
        """Yield what is kept until somebody can perform it, each with what is missing in words."""
        for (performer_id, task_type), waiting in self._homeless.items():
            for item in waiting:
                yield item, self._what_is_missing(performer_id, task_type, [item[1]])

    def missing(self, stream_id: str | None = None) -> list[str]:
        """Return, in words, which performers and handlers work (of one execution) waits for."""
        found: list[str] = []
        for (performer_id, task_type), waiting in self._homeless.items():
            effects = [effect for stream, effect in waiting if stream_id is None or stream == stream_id]
            if effects:
                found.append(self._what_is_missing(performer_id, task_type, effects))
        return found

    def _what_is_missing(self, performer_id: str, task_type: str, effects: list[RunActivity]) -> str:
        keys = [effect.task_key for effect in effects]
        tasks = ", ".join(map(repr, keys[:MAX_NAMED])) + (" …" if len(keys) > MAX_NAMED else "")
        if not performer_id:
            wanted = sorted({name for effect in effects for name in effect.capabilities})
            return f"task {tasks} waits for an agent that can {', '.join(wanted)} and has a handler for {task_type!r}"
        seat = self.seats.get(performer_id)
        if seat is None:
            return f"task {tasks} waits for an agent or worker {performer_id!r}, which is not registered here"
        if seat.performer.handler_for(task_type) is None:
            return f"task {tasks} waits for {performer_id!r} to get a handler for {task_type!r}"
        return f"task {tasks} waits for {performer_id!r} to be well again, or for another with the same capabilities"


_NOTHING: Final[frozenset[str]] = frozenset()


class _Loads(Mapping[str, tuple[int, int]]):
    """How much each performer has in work and in its queue, as it is when somebody looks."""

    def __init__(self, seats: Mapping[str, Seat]) -> None:
        self._seats = seats

    def __getitem__(self, performer_id: str) -> tuple[int, int]:
        seat = self._seats[performer_id]
        return seat.in_flight, len(seat.queue)

    def __iter__(self) -> Iterator[str]:
        return iter(self._seats)

    def __len__(self) -> int:
        return len(self._seats)
