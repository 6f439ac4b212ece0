"""Facts as bytes and back, and the loop that decides, folds and lets everything follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
import pytest

from agenticflow.core import decider
from agenticflow.core.decider import Command, Fact, FactCodec, decide_fully, fold
from agenticflow.errors import CorruptStore, InvariantError


class Added(Fact, frozen=True):
    event_type: ClassVar[str] = "added"
    amount: int
    note: str = ""


class Renamed(Fact, frozen=True):
    event_type: ClassVar[str] = "renamed"
    schema_version: ClassVar[int] = 3
    name: str


class Add(Command, frozen=True, kw_only=True):
    amount: int


def to_two(payload: Mapping[str, object]) -> dict[str, object]:
    return {"title": payload["n"]}


def to_three(payload: Mapping[str, object]) -> dict[str, object]:
    return {"name": payload["title"]}


CODEC = FactCodec([Added, Renamed], {("renamed", 1): to_two, ("renamed", 2): to_three})


class Adding:
    """Adds up; whenever the sum is odd, one more follows by itself."""

    codec = CODEC

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> list[int]:
        return []

    def decide(self, state: list[int], command: Command) -> Sequence[Fact]:
        return [Added(command.amount)] if isinstance(command, Add) and command.amount else []

    def advance(self, state: list[int], now: int) -> Sequence[Fact]:
        return [Added(1, "follows")] if sum(state) % 2 else []

    def evolve(self, state: list[int], fact: Fact, version: int, at: int) -> None:
        assert isinstance(fact, Added)
        assert version == len(state) + 1
        assert at == 50
        state.append(fact.amount)


class Restless(Adding):
    def advance(self, state: list[int], now: int) -> Sequence[Fact]:
        return [Added(2)]


def test_everything_that_follows_is_decided_with_it() -> None:
    state: list[int] = []
    assert decide_fully(Adding(), state, Add(now=50, amount=3), 0) == [Added(3), Added(1, "follows")]
    assert state == [3, 1]
    assert decide_fully(Adding(), state, Add(now=50, amount=2), 2) == [Added(2)]
    assert decide_fully(Adding(), state, Add(now=50, amount=0), 3) == []
    assert fold(Adding(), [], [(Added(3), 1, 50), (Added(1), 2, 50)]) == [3, 1]


def test_a_decider_that_never_settles_is_our_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decider, "MAX_ROUNDS", 10)
    with pytest.raises(InvariantError, match="did not settle after 11 rounds"):
        decide_fully(Restless(), [], Add(now=50, amount=2), 0)


@pytest.mark.parametrize("fact", [Added(3), Added(3, "x"), Renamed("ann")])
def test_facts_come_back(fact: Fact) -> None:
    assert CODEC.decode(fact.event_type, CODEC.encode(fact), fact.schema_version) == fact


def test_old_payloads_take_every_step() -> None:
    assert CODEC.decode("renamed", msgspec.msgpack.encode({"n": "ann"}), 1) == Renamed("ann")
    assert CODEC.decode("renamed", msgspec.msgpack.encode({"title": "ann"}), 2) == Renamed("ann")


@pytest.mark.parametrize(
    ("event_type", "data", "version", "words"),
    [
        ("multiplied", b"\x80", 1, "does not know events of type 'multiplied'"),
        ("added", b"\xc1", 1, "payload of an event 'added' is damaged"),
        ("added", b"\x80", 1, "damaged"),
        ("added", msgspec.msgpack.encode({"amount": "three"}), 1, "damaged"),
        ("renamed", msgspec.msgpack.encode({"title": 7}), 2, "damaged"),
        ("renamed", b"\xc1", 1, "not a value in msgpack"),
    ],
)
def test_what_cannot_be_read_is_corrupt(event_type: str, data: bytes, version: int, words: str) -> None:
    with pytest.raises(CorruptStore, match=words):
        CODEC.decode(event_type, data, version)


def test_a_missing_step_is_named() -> None:
    codec = FactCodec([Renamed], {("renamed", 2): to_three})
    with pytest.raises(CorruptStore, match="no upcaster leads 'renamed' from version 1 to 3"):
        codec.decode("renamed", msgspec.msgpack.encode({"n": "ann"}), 1)
