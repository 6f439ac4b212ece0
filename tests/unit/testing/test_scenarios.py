"""The given / when / then helper itself: what it proves of a decider, and how it complains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
import pytest

from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.errors import CommandRefused, InvalidInput, InvariantError
from agenticflow.testing.scenarios import describe, given


class Deposited(Fact, frozen=True):
    event_type: ClassVar[str] = "deposited"
    amount: int
    note: msgspec.Raw = msgspec.Raw(b"\xc0")


class Thanked(Fact, frozen=True):
    event_type: ClassVar[str] = "thanked"


class Deposit(Command, frozen=True, kw_only=True):
    amount: int


class Purse(msgspec.Struct):
    amount: int = 0
    owes_thanks: bool = False
    written: int = 0


class Account:
    """A well-behaved decider."""

    codec: ClassVar[FactCodec] = FactCodec([Deposited, Thanked])

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> Purse:
        return Purse()

    def decide(self, state: Purse, command: Command) -> Sequence[Fact]:
        assert isinstance(command, Deposit)
        if command.amount < 0:
            raise CommandRefused(f"{command.amount} is no deposit", hint="give more")
        return [Deposited(command.amount)] if command.amount else []

    def advance(self, state: Purse, now: int) -> Sequence[Fact]:
        return [Thanked()] if state.owes_thanks else []

    def evolve(self, state: Purse, fact: Fact, version: int, at: int) -> None:
        if isinstance(fact, Deposited):
            state.amount += fact.amount
        state.owes_thanks = isinstance(fact, Deposited)


class Snapshotting(Account):
    """With snapshots of its own."""

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> Purse:
        return Purse() if snapshot is None else msgspec.msgpack.decode(snapshot, type=Purse)

    def snapshot(self, state: Purse) -> bytes:
        return msgspec.msgpack.encode(state)


def test_what_happens_follows_from_what_has_happened_and_what_is_asked() -> None:
    story = given(Account(), Deposited(5), Thanked())
    story.when(Deposit(now=1, amount=2)).then(Deposited(2), Thanked())
    story.when(Deposit(now=2, amount=0)).then_nothing()
    story.when(Deposit(now=3, amount=-1)).then_refused(CommandRefused, "no deposit .*give more")
    story.when(Deposit(now=4, amount=1)).then(Deposited(1), Thanked())
    assert story.state.amount == 8
    assert (story.version, len(story.history), story.facts) == (6, 6, [Deposited(1), Thanked()])


def test_deciders_with_snapshots_are_asked_for_them() -> None:
    given(Snapshotting()).when(Deposit(now=1, amount=2)).then(Deposited(2), Thanked())


def test_large_values_of_a_command_are_at_hand_where_the_state_wants_them() -> None:
    given(Account()).when(Deposit(now=1, amount=2, blobs=(("name", b"data"),))).then(Deposited(2), Thanked())


def test_a_difference_is_shown_fact_by_fact() -> None:
    story = given(Account()).when(Deposit(now=1, amount=2))
    with pytest.raises(AssertionError) as caught:
        story.then(Deposited(3), Thanked())
    assert str(caught.value).splitlines() == [
        "after Deposit(now=1, amount=2)",
        "these facts were expected (-), those were recorded (+):",
        "  - Deposited(amount=3)",
        "  + Deposited(amount=2)",
        "    Thanked()",
    ]


def test_facts_where_none_were_expected_are_shown() -> None:
    with pytest.raises(AssertionError, match=r"\+ Deposited\(amount=2\)"):
        given(Account()).when(Deposit(now=1, amount=2)).then_nothing()


def test_a_refusal_that_was_not_expected_is_an_error_with_its_words() -> None:
    story = given(Account()).when(Deposit(now=1, amount=-2))
    with pytest.raises(AssertionError, match="was refused: -2 is no deposit"):
        story.then_nothing()
    with pytest.raises(AssertionError, match="was refused"):
        story.when(Deposit(now=1, amount=-2)).when(Deposit(now=1, amount=1))


def test_a_missing_or_another_refusal_is_an_error() -> None:
    with pytest.raises(AssertionError, match="was to be refused with CommandRefused"):
        given(Account()).when(Deposit(now=1, amount=2)).then_refused(CommandRefused)
    with pytest.raises(AssertionError, match="refused with InvalidInput, not with CommandRefused"):
        given(Account()).when(Deposit(now=1, amount=-2)).then_refused(InvalidInput)
    with pytest.raises(AssertionError, match="does not say 'something else'"):
        given(Account()).when(Deposit(now=1, amount=-2)).then_refused(CommandRefused, "something else")


def test_a_decide_that_changes_the_state_is_found() -> None:
    class Hasty(Account):
        def decide(self, state: Purse, command: Command) -> Sequence[Fact]:
            state.written += 1
            return super().decide(state, command)

    with pytest.raises(AssertionError, match="decide changed the state"):
        given(Hasty()).when(Deposit(now=1, amount=2))
    with pytest.raises(AssertionError, match="decide changed the state"):
        given(Hasty()).when(Deposit(now=1, amount=-2))


def test_an_advance_that_changes_the_state_is_found() -> None:
    class Hasty(Account):
        def advance(self, state: Purse, now: int) -> Sequence[Fact]:
            state.written += 1
            return ()

    with pytest.raises(AssertionError, match="advance changed the state"):
        given(Hasty()).when(Deposit(now=1, amount=2))


def test_a_decision_that_is_another_the_second_time_is_found() -> None:
    class Moody(Account):
        moods = iter(range(100))

        def decide(self, state: Purse, command: Command) -> Sequence[Fact]:
            return [Deposited(next(self.moods))]

    with pytest.raises(AssertionError, match=r"decide gave something else the second time[^+]*- Deposited\(amount=0\)"):
        given(Moody()).when(Deposit(now=1, amount=2))


def test_a_state_that_cannot_be_folded_again_is_found() -> None:
    class Forgetful(Account):
        evolved = iter(range(1, 100))

        def evolve(self, state: Purse, fact: Fact, version: int, at: int) -> None:
            state.written = next(self.evolved)

    with pytest.raises(AssertionError, match="folded from the stored facts is another"):
        given(Forgetful(), Thanked())


def test_a_snapshot_that_loses_something_is_found() -> None:
    class Lossy(Snapshotting):
        def initial(self, stream_id: str, snapshot: bytes | None = None) -> Purse:
            return Purse()

    with pytest.raises(AssertionError, match="restored from its snapshot is another"):
        given(Lossy()).when(Deposit(now=1, amount=2))


def test_a_decider_that_never_settles_is_found() -> None:
    class Endless(Account):
        def advance(self, state: Purse, now: int) -> Sequence[Fact]:
            return [Thanked()]

    with pytest.raises(AssertionError, match="does not settle"):
        given(Endless()).when(Deposit(now=1, amount=2))


def test_a_broken_invariant_is_never_taken_for_a_refusal() -> None:
    class Broken(Account):
        def decide(self, state: Purse, command: Command) -> Sequence[Fact]:
            raise InvariantError("a bug")

    with pytest.raises(InvariantError):
        given(Broken()).when(Deposit(now=1, amount=2))


def test_facts_are_described_in_one_line_with_decoded_values() -> None:
    assert describe(Deposited(1, msgspec.Raw(b"\x81\xa1a\x01"))) == "Deposited(amount=1, note={'a': 1})"
    assert describe(Deposited(1, msgspec.Raw(b"\xc1"))) == r"Deposited(amount=1, note=b'\xc1')"
    assert describe(Deposited(1, msgspec.Raw(b"\xda\x01\xf4" + b"x" * 500))).endswith("xxx…)")
