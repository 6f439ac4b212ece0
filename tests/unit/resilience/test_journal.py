"""The journal of a task as a decider: who may write, what may be written, and what is remembered."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import TimersDue
from agenticflow.core.journal import Fingerprint
from agenticflow.core.results import ErrorInfo
from agenticflow.errors import BoundExceeded, CommandRefused, CorruptStore, InvariantError
from agenticflow.resilience import journal
from agenticflow.resilience.journal import (
    EndCall,
    ForgetCalls,
    JournalCallEnded,
    JournalCallsForgotten,
    JournalCallStarted,
    JournalCallWithdrawn,
    JournalGuest,
    JournalOpened,
    JournalState,
    OpenJournal,
    StartCall,
    WithdrawCall,
    journal_of,
)
from agenticflow.storage.retention import family_of
from agenticflow.testing.scenarios import Scenario, given

GUEST = JournalGuest()
STREAM = "journal-w~0f/1"
ASKED: Fingerprint = (("model", "'m'"),)
ONE, TWO = codec.encode(1), codec.encode(2)


class Book:
    """A journal, written by tests."""

    def __init__(self, token: int = 3) -> None:
        self.scenario: Scenario[JournalState] = given(GUEST, stream_id=STREAM)
        self.opening = 0
        self.open(token)

    def open(self, token: int, run_no: int = 1) -> int:
        self.scenario.when(_open(token, run_no))
        self.opening = self.scenario.version
        return self.opening

    def when(self, command: Command) -> Scenario[JournalState]:
        return self.scenario.when(command)

    def start(self, key: str, opening: int | None = None, asked: Fingerprint = ASKED) -> Scenario[JournalState]:
        opening = self.opening if opening is None else opening
        return self.when(StartCall(now=9, opening=opening, key=key, fingerprint=asked))

    def end(
        self, key: str, value: bytes | None = ONE, effect: Any = "idempotent", **more: Any
    ) -> Scenario[JournalState]:
        given_by: dict[str, Any] = {"opening": self.opening, "fingerprint": ASKED, **more}
        return self.when(EndCall(now=9, key=key, effect=effect, value=value, **given_by))


def _open(token: int, run_no: int = 1) -> OpenJournal:
    return OpenJournal(now=9, parent=(f"workflow-w/{run_no}", "t", token), run_no=run_no)


def test_what_came_of_a_call_stands_and_is_written_once() -> None:
    book = Book()
    book.end("a").then(JournalCallEnded("a", ASKED, ONE))
    book.end("a").then_nothing()
    book.end("a", TWO).then_refused(CommandRefused, "is over")
    entry = book.scenario.state.entries["a"]
    assert (entry.value, entry.effect, entry.is_over) == (ONE, "idempotent", True)


def test_what_must_not_happen_twice_begins_before_it_ends() -> None:
    book = Book()
    book.end("pay", effect="at_most_once").then_refused(CommandRefused, "has not begun")
    book.start("pay").then(JournalCallStarted("pay", ASKED))
    book.start("pay").then_nothing()
    assert not book.scenario.state.entries["pay"].is_over
    book.end("pay", effect="at_most_once").then(JournalCallEnded("pay", (), ONE))
    book.start("pay").then_refused(CommandRefused, "has begun before")


def test_another_request_under_the_same_key_is_not_begun() -> None:
    book = Book()
    book.start("pay")
    book.start("pay", asked=(("model", "'n'"),)).then_refused(CommandRefused, "has begun before")


def test_an_error_is_an_end() -> None:
    book, error = Book(), ErrorInfo("ValueError", "no")
    book.start("pay")
    book.end("pay", None, "at_most_once", error=error).then(JournalCallEnded("pay", (), None, error))
    assert book.scenario.state.entries["pay"].error == error


def test_a_call_that_an_earlier_attempt_began_ends_only_by_what_is_given_for_it() -> None:
    book = Book()
    book.start("pay")
    book.open(8)
    book.start("pay").then_refused(CommandRefused, "has begun before")
    book.end("pay", effect="at_most_once").then_refused(CommandRefused, "by an earlier attempt")
    book.end("pay", TWO, "at_most_once", is_given=True).then(JournalCallEnded("pay", (), TWO, None, True))
    book.open(9)
    book.end("pay", TWO, "at_most_once").then_refused(CommandRefused, "is over")


def test_a_call_that_was_not_made_may_begin_again() -> None:
    book = Book()
    book.when(WithdrawCall(now=9, opening=book.opening, key="pay")).then_nothing()
    book.start("pay")
    book.when(WithdrawCall(now=9, opening=book.opening, key="pay")).then(JournalCallWithdrawn("pay"))
    assert (book.scenario.state.entries, book.scenario.state.bytes) == ({}, 0)
    book.start("pay").then(JournalCallStarted("pay", ASKED))
    book.end("pay", effect="at_most_once")
    book.when(WithdrawCall(now=9, opening=book.opening, key="pay")).then_nothing()


def test_a_superseded_attempt_writes_nothing() -> None:
    book = Book()
    stale = book.opening
    book.open(8)
    for command in (
        StartCall(now=9, opening=stale, key="a", fingerprint=ASKED),
        EndCall(now=9, opening=stale, key="a", fingerprint=ASKED, effect="idempotent", value=ONE),
        WithdrawCall(now=9, opening=stale, key="a"),
        ForgetCalls(now=9, opening=stale, key="a"),
    ):
        book.when(command).then_refused(CommandRefused, "another attempt has opened")
    book.when(_open(3)).then_refused(CommandRefused, "a later attempt writes")


def test_the_same_attempt_and_one_of_the_next_run_may_open_it() -> None:
    book = Book(5)
    book.when(_open(5)).then(JournalOpened(("workflow-w/1", "t", 5), 1))
    book.when(_open(2, run_no=2)).then(JournalOpened(("workflow-w/2", "t", 2), 2))
    book.when(_open(9)).then_refused(CommandRefused, "a later attempt")


def test_nobody_writes_before_it_is_opened() -> None:
    scenario = given(GUEST, stream_id=STREAM)
    scenario.when(WithdrawCall(now=1, opening=0, key="a")).then_refused(CommandRefused)


def test_calls_are_forgotten_from_one_on() -> None:
    book = Book()
    for key in ("a", "b", "c"):
        book.end(key)
    book.when(ForgetCalls(now=9, opening=book.opening, key="b")).then(JournalCallsForgotten("b", 2))
    assert list(book.scenario.state.entries) == ["a"]
    book.when(ForgetCalls(now=9, opening=book.opening, key="b")).then_nothing()
    book.end("b", TWO).then(JournalCallEnded("b", ASKED, TWO))


def test_what_must_not_happen_twice_is_not_forgotten() -> None:
    book = Book()
    book.end("a")
    book.start("pay")
    refused = book.when(ForgetCalls(now=9, opening=book.opening, key="a"))
    refused.then_refused(CommandRefused, "'pay' must not happen twice")


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book()
    monkeypatch.setattr(journal, "MAX_CALLS", 1)
    book.end("a")
    book.end("b").then_refused(BoundExceeded, "has 1 calls")
    book.start("b").then_refused(BoundExceeded, "divide the work")
    monkeypatch.setattr(journal, "MAX_CALLS", 10)
    monkeypatch.setattr(journal, "MAX_JOURNAL_BYTES", 30)
    book.end("b", b"x" * 40).then_refused(BoundExceeded)
    monkeypatch.setattr(journal, "MAX_RUN_EVENTS", 2)
    book.when(_open(9)).then_refused(BoundExceeded)


def test_what_it_asks_of_the_engine() -> None:
    book = Book()
    book.end("a")
    state = book.scenario.state
    book.when(TimersDue(now=10)).then_nothing()
    assert list(GUEST.effects(state, JournalCallWithdrawn("a"), 1)) == []
    recovery = GUEST.recover(state, 5)
    assert (list(recovery.commands), list(recovery.effects)) == ([], [])
    assert not GUEST.is_in_work(state, 1)
    summary = GUEST.summary(state)
    assert (summary.execution_id, summary.run_no, summary.name, summary.is_open) == ("w~0f", 1, "t", False)
    assert (summary.ended_at, summary.started_at, state.next_due, state.is_open) == (9, 9, None, True)
    assert (GUEST.kind, state.status) == ("journal", "KEPT")


def test_what_no_journal_understands_is_a_bug() -> None:
    book = Book()
    with pytest.raises(InvariantError, match="does not know the command"):
        book.when(Command(now=1))
    with pytest.raises(InvariantError, match="does not know the fact"):
        GUEST.evolve(book.scenario.state, Fact(), 1, 1)
    with pytest.raises(InvariantError, match="has no tasks"):
        GUEST.inputs(book.scenario.state, "a")


@pytest.mark.parametrize("data", [b"\xc1", b"\x80"])
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptStore, match="cannot be read"):
        GUEST.initial(STREAM, data)


def test_a_snapshot_of_another_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = GUEST.snapshot(Book().scenario.state)
    monkeypatch.setattr(journal, "_FORM", 2)
    with pytest.raises(CorruptStore, match="has form 1, this program knows 2"):
        GUEST.initial(STREAM, saved)


def test_its_id_is_that_of_a_part_of_the_workflow_however_long_that_is() -> None:
    assert journal_of("w", "0f").stream_id == STREAM
    assert family_of(journal_of("w", "0f").id).names == ("w",)
    long = journal_of("w" * 190, "0f" * 16)
    assert len(long.id) <= 200
    assert family_of(long.id).beginning == "w" * 100
