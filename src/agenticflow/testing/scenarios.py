"""Given / when / then for deciders: what has happened, what is asked, what becomes true of it. No event loop, no store, no clock.

::

    given(decider, OrderPlaced("a-1")).when(ShipOrder(now=5, order="a-1")).then(OrderShipped("a-1"))
    given(decider, OrderShipped("a-1")).when(CancelOrder(now=6, order="a-1")).then_refused(CommandRefused, "shipped")

Each ``when`` decides like the engine does (``decide``, then ``advance`` until nothing follows) and checks on the way what a decider
promises: ``decide`` and ``advance`` leave the state as it is, deciding twice gives the same bytes, and the state folded from the
encoded facts equals the state that lived through them. Shape: emmett's ``DeciderSpecification``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Command, Decider, Fact
from agenticflow.errors import AgenticFlowError, InvariantError

__all__ = ["Scenario", "describe", "given"]

S = TypeVar("S")
MAX_ROUNDS: Final = 10_000
MAX_VALUE_CHARS: Final = 200


def given(decider: Decider[S], *facts: Fact, stream_id: str = "scenario-1/1", at: int = 0) -> Scenario[S]:
    """Return a scenario in which ``facts`` have happened, as events 1, 2, … of ``stream_id``, recorded at ``at`` (nanoseconds)."""
    return Scenario(decider, facts, stream_id=stream_id, at=at)


class Scenario(Generic[S]):
    """One story of one stream. ``when`` may follow ``then``: the story goes on."""

    def __init__(self, decider: Decider[S], facts: Sequence[Fact], *, stream_id: str, at: int) -> None:
        self.decider = decider
        self.state: S = decider.initial(stream_id)
        """Look, do not touch."""
        self.history: list[Fact] = []
        """Every fact so far, the given ones included."""
        self.facts: list[Fact] = []
        """What the last ``when`` made true."""
        self._folded: S = decider.initial(stream_id)
        self._stream_id = stream_id
        self._refusal: AgenticFlowError | None = None
        self._asked = "nothing has been asked yet"
        for fact in facts:
            self._record(fact, at)
        self._check_refold()

    @property
    def version(self) -> int:
        """Version of the stream."""
        return len(self.history)

    def when(self, command: Command) -> Scenario[S]:
        """Decide ``command``. A refusal is kept for ``then_refused``; every other ``then`` raises it."""
        self._raise_refusal()
        self._asked = describe(command)
        self.facts = []
        for name, data in command.blobs:
            for state in (self.state, self._folded):
                self._put_blob(state, name, data)
        try:
            facts = self._purely("decide", lambda: self.decider.decide(self.state, command))
        except InvariantError:
            raise
        except AgenticFlowError as refusal:
            self._refusal = refusal
            return self
        rounds = 0
        while facts:
            for fact in facts:
                self._record(fact, command.now)
            self.facts.extend(facts)
            facts = self._purely("advance", lambda: self.decider.advance(self.state, command.now))
            rounds += 1
            if rounds > MAX_ROUNDS:
                raise AssertionError(f"after {self._asked} the decider does not settle")
        self._check_refold()
        return self

    def then(self, *expected: Fact) -> Scenario[S]:
        """The command made exactly these facts true, in this order."""
        self._raise_refusal()
        wanted, found = self._encoded(expected), self._encoded(self.facts)
        if wanted != found:
            raise AssertionError(
                self._difference("these facts were expected (-), those were recorded (+)", expected, self.facts)
            )
        return self

    def then_nothing(self) -> Scenario[S]:
        """The command changed nothing."""
        return self.then()

    def then_refused(self, error: type[AgenticFlowError], match: str = "") -> Scenario[S]:
        """The command was refused with ``error``, and the words of it contain the pattern ``match``; nothing was recorded."""
        refusal, self._refusal = self._refusal, None
        if refusal is None:
            raise AssertionError(
                self._difference(f"{self._asked} was to be refused with {error.__name__}", (), self.facts)
            )
        if not isinstance(refusal, error):
            raise AssertionError(
                f"{self._asked} was to be refused with {error.__name__}, not with {type(refusal).__name__}: {refusal}"
            ) from refusal
        if re.search(match, str(refusal)) is None:
            raise AssertionError(f"the refusal {str(refusal)!r} does not say {match!r}") from refusal
        return self

    # --- what a decider promises ------------------------------------------------------------------------------------

    def _purely(self, what: str, call: Callable[[], Sequence[Fact]]) -> Sequence[Fact]:
        """Return the facts of ``call``, having made sure that it leaves the state alone and says the same twice."""
        before = self._digest(self.state)
        try:
            facts = call()
        finally:
            if self._digest(self.state) != before:
                raise AssertionError(f"{what} changed the state at {self._asked}: only evolve may")
        again = call()
        if self._encoded(facts) != self._encoded(again):
            raise AssertionError(
                self._difference(f"{what} gave something else the second time, for {self._asked}", facts, again)
            )
        return facts

    def _record(self, fact: Fact, at: int) -> None:
        self.history.append(fact)
        facts = self.decider.codec
        self.decider.evolve(self.state, fact, self.version, at)
        stored = facts.decode(fact.event_type, facts.encode(fact), fact.schema_version)
        self.decider.evolve(self._folded, stored, self.version, at)

    def _check_refold(self) -> None:
        lived, folded = self._digest(self.state), self._digest(self._folded)
        if lived != folded:
            raise AssertionError(
                f"after {self._asked} the state folded from the stored facts is another than the one that lived through them"
            )
        snapshot = getattr(self.decider, "snapshot", None)
        if snapshot is not None and lived is not None:
            restored = self.decider.initial(self._stream_id, lived)
            if snapshot(restored) != lived:
                raise AssertionError(f"after {self._asked} the state restored from its snapshot is another")

    def _digest(self, state: S) -> bytes | None:
        """Return the state as bytes: its snapshot, or what the codec makes of it; ``None`` when it has no such form (yet)."""
        snapshot: Callable[[S], bytes] | None = getattr(self.decider, "snapshot", None)
        try:
            return codec.encode(state) if snapshot is None else snapshot(state)
        except AgenticFlowError:
            return None

    # --- words ------------------------------------------------------------------------------------------------------

    def _put_blob(self, state: S, name: str, data: bytes) -> None:
        values = getattr(state, "values", None)
        if values is not None:
            values.put(name, data)

    def _raise_refusal(self) -> None:
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise AssertionError(f"{self._asked} was refused: {refusal}") from refusal

    def _encoded(self, facts: Sequence[Fact]) -> list[tuple[str, bytes]]:
        return [(fact.event_type, self.decider.codec.encode(fact)) for fact in facts]

    def _difference(self, what: str, expected: Sequence[Fact], found: Sequence[Fact]) -> str:
        lines = difflib.ndiff([describe(fact) for fact in expected], [describe(fact) for fact in found])
        shown = "\n".join(f"  {line}" for line in lines if not line.startswith("?")) or "  (nothing)"
        return f"after {self._asked}\n{what}:\n{shown}"


def describe(thing: Fact | Command) -> str:
    """Return a fact or a command as one line, encoded values decoded and default fields left out."""
    fields: list[str] = []
    for field in msgspec.structs.fields(thing):
        value = getattr(thing, field.name)
        if value != field.default:
            fields.append(f"{field.name}={_readable(value)}")
    return f"{type(thing).__name__}({', '.join(fields)})"


def _readable(value: object) -> str:
    if isinstance(value, (msgspec.Raw, bytes)):
        data = bytes(value)
        try:
            value = codec.decode(data)
        except AgenticFlowError:
            value = data
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"
