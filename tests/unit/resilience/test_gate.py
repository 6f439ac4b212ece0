"""The gate as a decider: who gets a key, in which order, and what is remembered."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import GrantPermit, Permit, TimersDue
from agenticflow.errors import CommandRefused, CorruptStore, DefinitionError, InvariantError
from agenticflow.resilience import gate
from agenticflow.resilience.gate import (
    Acquire,
    GateClosed,
    GateGuest,
    GateState,
    PermitGranted,
    PermitReleased,
    PermitRequested,
    Release,
)
from agenticflow.resilience.limits import Limit
from agenticflow.testing.scenarios import Scenario, given

SECOND = 1_000_000_000
GUEST = GateGuest()
ONE = Permit("x", 1)


class Door:
    """A gate, asked by tests."""

    def __init__(self) -> None:
        self.scenario: Scenario[GateState] = given(GUEST, stream_id="gate-x/1")
        self.now = 1_000 * SECOND

    def ask(self, command: Command) -> list[Fact]:
        self.scenario.when(command)
        return self.scenario.facts

    def acquire(self, holder: str, permit: Permit = ONE, priority: int = 0) -> list[Fact]:
        return self.ask(Acquire(now=self.now, holder=holder, permit=permit, priority=priority))

    def at_once(self, holder: str, permit: Permit = ONE) -> list[Fact]:
        return self.ask(Acquire(now=self.now, holder=holder, permit=permit, at_once=True))

    def release(self, holder: str) -> list[Fact]:
        return self.ask(Release(now=self.now, holder=holder))

    def look(self) -> list[Fact]:
        return self.ask(TimersDue(now=self.now))

    @property
    def state(self) -> GateState:
        return self.scenario.state


def granted(facts: list[Fact]) -> list[str]:
    return [fact.holder for fact in facts if isinstance(fact, PermitGranted)]


def test_one_gets_it_the_next_waits_and_gets_it_when_it_is_given_back() -> None:
    door = Door()
    assert door.acquire("a") == [PermitGranted("a", ONE)]
    assert door.acquire("b") == [PermitRequested("b", ONE, 0)]
    assert door.state.status == "WAITED_FOR"
    assert door.release("a") == [PermitReleased("a"), PermitGranted("b")]
    assert door.state.status == "HELD"
    door.release("b")
    assert (door.state.status, GUEST.summary(door.state).is_open) == ("FREE", False)


def test_asking_again_and_giving_back_what_nobody_has_change_nothing() -> None:
    door = Door()
    door.acquire("a")
    door.acquire("b")
    assert door.acquire("a") == door.acquire("b") == door.release("c") == door.look() == []


def test_who_waits_no_more_is_passed_over() -> None:
    door = Door()
    for holder in "abc":
        door.acquire(holder)
    assert door.release("b") == [PermitReleased("b")]
    assert granted(door.release("a")) == ["c"]


def test_the_higher_priority_goes_first_and_equals_keep_their_order() -> None:
    door = Door()
    door.acquire("holds")
    for holder, priority in (("low", 0), ("high", 5), ("also high", 5), ("middle", 1)):
        door.acquire(holder, priority=priority)
    order = []
    last = "holds"
    while new := granted(door.release(last)):
        order += new
        last = new[0]
    assert order == ["high", "also high", "middle", "low"]


def test_the_limits_asked_for_last_are_in_force() -> None:
    door = Door()
    door.acquire("a")
    door.acquire("b")
    assert granted(door.acquire("c", Permit("x", 3))) == ["b", "c"]


def test_at_once_it_is_had_only_if_nobody_has_to_wait_and_otherwise_nothing_happened() -> None:
    door, two = Door(), Permit("x", 2)
    assert door.at_once("a") == [PermitGranted("a", ONE)]
    assert door.at_once("a") == door.at_once("b") == [], "who has it, and who cannot have it"
    assert door.at_once("b", two) == [PermitGranted("b", two)], "the limits asked for last are in force"
    door.acquire("c", two)
    assert door.at_once("d", Permit("x", 9)) == [], "nobody goes before those who wait"
    assert door.at_once("c", Permit("x", 9)) == []
    assert (list(door.state.holders), [one.holder for one in door.state.queue]) == (["a", "b"], ["c"])


def test_at_once_a_rate_that_is_used_up_lets_nobody_in() -> None:
    door, rated = Door(), Permit("x", None, 1, 10.0)
    assert granted(door.at_once("a", rated)) == ["a"]
    assert door.at_once("b", rated) == []
    door.now += 10 * SECOND
    assert granted(door.at_once("b", rated)) == ["b"]


def test_at_once_a_closed_gate_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_EVENTS", 2)
    door = Door()
    door.acquire("a")
    assert door.release("a") == [PermitReleased("a"), GateClosed()]
    door.scenario.when(Acquire(now=door.now, holder="b", permit=ONE, at_once=True)).then_nothing()


def test_a_rate_looks_back_on_the_last_starts() -> None:
    door, rated = Door(), Permit("x", None, 2, 10.0)
    assert granted(door.acquire("a", rated)) == ["a"]
    door.now += 4 * SECOND
    assert granted(door.acquire("b", rated)) == ["b"]
    assert granted(door.acquire("c", rated)) == []
    door.release("a")
    door.release("b")
    assert door.state.next_due == (1_000 + 10) * SECOND
    assert door.look() == []
    door.now = (1_000 + 10) * SECOND
    assert granted(door.look()) == ["c"]
    door.acquire("d", rated)
    assert door.state.next_due == (1_000 + 14) * SECOND


def test_a_full_gate_with_a_rate_waits_for_somebody_to_leave() -> None:
    door, both = Door(), Permit("x", 1, 5, 10.0)
    door.acquire("a", both)
    door.acquire("b", both)
    assert door.state.next_due is None


def test_a_long_stream_is_closed_when_nobody_is_there_and_nothing_has_to_be_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "MAX_EVENTS", 3)
    door, rated = Door(), Permit("x", None, 2, 10.0)
    for holder in "ab":
        door.acquire(holder, rated)
        door.release(holder)
    assert door.state.is_open, "its rate is remembered"
    door.now += 20 * SECOND
    door.acquire("c", rated)
    door.now += 20 * SECOND
    assert GateClosed() in door.release("c")
    assert (door.state.status, door.state.is_open) == ("CLOSED", False)
    door.scenario.when(Acquire(now=door.now, holder="d", permit=rated)).then_refused(CommandRefused, "is closed")
    assert door.look() == []
    summary = GUEST.summary(door.state)
    assert (summary.execution_id, summary.run_no, summary.ended_at) == ("x", 1, door.now)


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_WAITING", 1)
    door = Door()
    door.acquire("a")
    door.acquire("b")
    door.scenario.when(Acquire(now=door.now, holder="c", permit=ONE)).then_refused(CommandRefused, "1 attempts wait")


def test_what_it_asks_of_the_engine() -> None:
    door = Door()
    door.acquire("a")
    assert list(GUEST.effects(door.state, PermitGranted("a"), 1)) == [GrantPermit("a")]
    assert list(GUEST.effects(door.state, PermitReleased("a"), 1)) == []
    recovery = GUEST.recover(door.state, door.now)
    assert (list(recovery.commands), list(recovery.effects)) == ([], [])
    assert not GUEST.is_in_work(door.state, 1)
    assert GUEST.kind == "gate"
    assert GateState("gate-x/1").has_room(0)
    assert GateState("gate-x/1").is_quiet(0)


def test_what_no_gate_understands_is_a_bug() -> None:
    door = Door()
    with pytest.raises(InvariantError, match="does not know the command"):
        door.ask(Command(now=1))
    with pytest.raises(InvariantError, match="does not know the fact"):
        GUEST.evolve(door.state, Fact(), 1, 1)
    with pytest.raises(InvariantError, match="has no tasks"):
        GUEST.inputs(door.state, "a")


@pytest.mark.parametrize("data", [b"\xc1", b"\x80"])
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptStore, match="cannot be read"):
        GUEST.initial("gate-x/1", data)


def test_a_snapshot_of_another_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    door.acquire("a")
    saved = GUEST.snapshot(door.state)
    monkeypatch.setattr(gate, "_FORM", 2)
    with pytest.raises(CorruptStore, match="has form 1, this program knows 2"):
        GUEST.initial("gate-x/1", saved)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": ""}, "is no key of a limit"),
        ({"key": "x" * 201}, "is no key of a limit"),
        ({"key": "x"}, "limits nothing"),
        ({"key": "x", "rate": 0}, "rate of the limit 'x' is 0"),
        ({"key": "x", "max_concurrent": True}, "max_concurrent of the limit 'x' is True"),
        ({"key": "x", "rate": 1, "per_seconds": 0}, "per_seconds of the limit 'x' is 0"),
        ({"key": "x", "rate": 1, "per_seconds": 100_000}, "per_seconds"),
    ],
)
def test_limits_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        Limit(**options)
