"""The ledger as a decider: what is let through, what is counted, and what is never given back by itself."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import pytest

from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import TimersDue
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    BudgetExceeded,
    CommandRefused,
    CorruptStore,
    InvariantError,
)
from agenticflow.resilience import Amounts, Budget, Claim, Sums
from agenticflow.resilience.budgets import guest, state
from agenticflow.resilience.budgets.facts import (
    BudgetChanged,
    BudgetClosed,
    BudgetOpened,
    BudgetReleased,
    BudgetReserved,
    BudgetSettled,
    Carried,
    ChangeBudget,
    CloseBudget,
    OpenBudget,
    Release,
    Reserve,
    Settle,
)
from agenticflow.resilience.budgets.guest import BudgetGuest, is_covered, is_hopeless, stream_of_budget
from agenticflow.resilience.budgets.keeping import view_of
from agenticflow.resilience.budgets.state import BudgetState
from agenticflow.resilience.gate import PermitReleased
from agenticflow.testing.scenarios import Scenario, given

SECOND = 1_000_000_000
GUEST = BudgetGuest()


def claim(number: int, owner: str = "a") -> Claim:
    return Claim(owner, number)


def usd(amount: str, tokens: int = 0) -> Amounts:
    return Amounts(usd=Decimal(amount), tokens=tokens)


class Ledger:
    """A budget, asked by tests."""

    def __init__(self, limits: Budget | None = None, *, run_no: int = 1, carried: Carried | None = None) -> None:
        self.scenario: Scenario[BudgetState] = given(GUEST, stream_id=stream_of_budget("b", run_no))
        self.now = 1_000 * SECOND
        if limits is not None:
            self.ask(OpenBudget(now=self.now, limits=limits, carried=carried))

    def ask(self, command: Command) -> list[Fact]:
        self.scenario.when(command)
        return self.scenario.facts

    def refuses(self, error: type[AgenticFlowError], match: str, command: Command) -> None:
        self.scenario.when(command).then_refused(error, match)

    def reserve(self, number: int, amounts: Amounts | None = None, owner: str = "a") -> list[Fact]:
        return self.ask(self.reserving(number, amounts, owner))

    def reserving(self, number: int, amounts: Amounts | None = None, owner: str = "a") -> Reserve:
        return Reserve(now=self.now, claim=claim(number, owner), amounts=amounts or Amounts())

    def settle(self, number: int, actual: Amounts | None = None, owner: str = "a") -> list[Fact]:
        return self.ask(Settle(now=self.now, claim=claim(number, owner), actual=actual))

    def release(self, number: int, owner: str = "a") -> list[Fact]:
        return self.ask(Release(now=self.now, claim=claim(number, owner)))

    def close(self) -> list[Fact]:
        return self.ask(CloseBudget(now=self.now))

    @property
    def state(self) -> BudgetState:
        return self.scenario.state

    @property
    def spent(self) -> Sums:
        return self.state.spent.sums


def test_a_call_is_reserved_before_it_and_settled_after_it() -> None:
    ledger = Ledger(Budget(usd=1))
    assert ledger.reserve(1, usd("0.5", 100)) == [BudgetReserved(claim(1), usd("0.5", 100))]
    assert (ledger.state.reserved, ledger.spent) == (Sums(Decimal("0.5"), 100), Sums())
    assert ledger.settle(1, usd("0.2", 40)) == [BudgetSettled(claim(1), usd("0.2", 40))]
    assert (ledger.state.reserved, ledger.spent) == (Sums(Decimal("0.0")), Sums(Decimal("0.2"), 40))
    assert ledger.state.spent.calls == 1


def test_asking_again_changes_nothing() -> None:
    ledger = Ledger(Budget(usd=1))
    ledger.reserve(1, usd("0.6"))
    assert ledger.reserve(1, usd("0.6")) == []
    ledger.settle(1, usd("0.6"))
    assert ledger.settle(1, usd("0.6")) == ledger.settle(1) == ledger.release(1) == ledger.release(9) == []
    assert ledger.spent.usd == Decimal("0.6")


def test_a_settled_call_is_not_reserved_again() -> None:
    ledger = Ledger(Budget())
    ledger.reserve(1)
    ledger.settle(1, usd("0.6"))
    ledger.refuses(CommandRefused, "next number", ledger.reserving(1))


def test_a_released_call_costs_nothing_and_may_be_reserved_again() -> None:
    ledger = Ledger(Budget(usd=1))
    ledger.reserve(1, usd("1"))
    assert ledger.release(1) == [BudgetReleased(claim(1))]
    assert ledger.state.reserved.usd == ledger.spent.usd == 0
    assert not ledger.state.owners
    assert ledger.reserve(1, usd("1")) == [BudgetReserved(claim(1), usd("1"))]


@pytest.mark.parametrize(
    ("limits", "first", "second", "dimension"),
    [
        (Budget(usd=1), usd("0.7"), usd("0.4"), "usd"),
        (Budget(tokens=10), Amounts(tokens=7), Amounts(tokens=4), "tokens"),
        (Budget(tool_calls=1), Amounts(tool_calls=1), Amounts(tool_calls=1), "tool_calls"),
    ],
)
def test_what_is_reserved_is_never_more_than_the_limit(
    limits: Budget, first: Amounts, second: Amounts, dimension: str
) -> None:
    ledger = Ledger(limits)
    ledger.reserve(1, first)
    with pytest.raises(BudgetExceeded, match=r"budgets\.change") as caught:
        GUEST.decide(ledger.state, ledger.reserving(2, second))
    assert (caught.value.budget_id, caught.value.dimension) == ("b", dimension)
    ledger.settle(1, first)
    ledger.refuses(BudgetExceeded, f"of 10? {dimension}", ledger.reserving(2, second))


def test_the_refusal_says_how_it_stands() -> None:
    ledger = Ledger(Budget(usd=1))
    ledger.reserve(1, usd("0.25"))
    ledger.settle(1, usd("0.30"))
    ledger.reserve(2, usd("0.50"))
    ledger.refuses(
        BudgetExceeded,
        r"the budget 'b' of 1 usd does not cover this call: 0.30 spent, 0.50 reserved by 1 open calls, and this call may need 0.21",
        ledger.reserving(3, usd("0.21")),
    )
    ledger.reserve(3, usd("0.20"))


def test_a_call_that_turned_out_dearer_is_recorded_and_the_next_is_refused() -> None:
    ledger = Ledger(Budget(tokens=10))
    ledger.reserve(1, Amounts(tokens=10))
    ledger.settle(1, Amounts(tokens=15))
    assert ledger.spent.tokens == 15
    assert view_of(ledger.state, ("b",), ledger.now).left.tokens == 0
    ledger.refuses(BudgetExceeded, "15 spent", ledger.reserving(2, Amounts(tool_calls=1)))


def test_a_free_call_passes_when_all_is_spent_and_no_more() -> None:
    ledger = Ledger(Budget(usd=1))
    ledger.reserve(1, usd("1"))
    assert ledger.reserve(2, Amounts(tokens=5))
    ledger.refuses(BudgetExceeded, "the price of this call is not known", ledger.reserving(3, Amounts(usd=None)))


def test_tokens_without_a_price_are_counted_and_reported() -> None:
    ledger = Ledger(Budget(usd=1))
    ledger.reserve(1, Amounts(usd=None, tokens=50))
    assert ledger.state.reserved == Sums(tokens=50)
    ledger.settle(1, Amounts(usd=None, tokens=40))
    spent = ledger.state.spent
    assert (spent.sums, spent.unpriced_calls, spent.unpriced_tokens) == (Sums(tokens=40), 1, 40)
    assert not view_of(ledger.state, ("b",), ledger.now).is_complete


def test_a_call_whose_price_is_not_known_afterwards_counts_as_what_was_reserved() -> None:
    ledger = Ledger(Budget(usd=1))
    ledger.reserve(1, usd("0.4", 50))
    ledger.settle(1, Amounts(usd=None, tokens=40))
    spent = ledger.state.spent
    assert (spent.sums, spent.unpriced_tokens, spent.unmetered_calls) == (Sums(Decimal("0.4"), 40), 40, 0)


def test_a_call_whose_usage_nobody_tells_counts_as_what_was_reserved() -> None:
    ledger = Ledger(Budget(usd=1))
    ledger.reserve(1, usd("0.4", 50))
    assert ledger.settle(1) == [BudgetSettled(claim(1), usd("0.4", 50), is_metered=False)]
    spent = ledger.state.spent
    assert (spent.sums, spent.unpriced_calls, spent.unmetered_calls) == (Sums(Decimal("0.4"), 50), 0, 1)


def test_what_nobody_reserved_was_spent_all_the_same() -> None:
    ledger = Ledger(Budget(usd=1))
    ledger.settle(5, usd("0.4"))
    assert ledger.settle(6) == [BudgetSettled(claim(6), Amounts(), is_metered=False)]
    ledger.reserve(7, usd("0.1"))
    ledger.release(7)
    ledger.settle(7, usd("0.2"))
    assert (ledger.spent.usd, ledger.state.spent.unmetered_calls) == (Decimal("0.6"), 1)
    assert ledger.settle(5, usd("0.4")) == []


def test_time_counts_from_the_opening_on() -> None:
    ledger = Ledger(Budget(seconds=60))
    ledger.now += 59 * SECOND
    ledger.reserve(1)
    assert ledger.state.left_ns(ledger.now) == SECOND
    ledger.now += SECOND
    ledger.refuses(BudgetExceeded, "is over: it has been open for 60.0 s of 60.0 s", ledger.reserving(2))
    assert ledger.state.left_ns(ledger.now - 3_600 * SECOND) == 60 * SECOND, "a clock that is set back gives no more"
    ledger.settle(1)
    assert Ledger(Budget()).state.left_ns(ledger.now) is None


def test_the_program_defines_a_budget_and_somebody_changes_it() -> None:
    ledger = Ledger(Budget(usd=1))
    assert ledger.ask(OpenBudget(now=ledger.now, limits=Budget(usd=1))) == []
    assert ledger.ask(ChangeBudget(now=ledger.now, limits=Budget(usd=5))) == [BudgetChanged(Budget(usd=5))]
    assert ledger.ask(ChangeBudget(now=ledger.now, limits=Budget(usd=5))) == []
    # A restart opens it as before: what somebody changed stays.
    assert ledger.ask(OpenBudget(now=ledger.now, limits=Budget(usd=1))) == []
    assert ledger.state.limits == Budget(usd=5)
    # Another release asks for more: that counts.
    assert ledger.ask(OpenBudget(now=ledger.now, limits=Budget(usd=2))) == [BudgetChanged(Budget(usd=2), True)]
    assert (ledger.state.limits, ledger.state.asked) == (Budget(usd=2), Budget(usd=2))


def test_a_change_of_some_limits_leaves_the_others_as_they_are() -> None:
    ledger = Ledger(Budget(usd=1, tokens=10, seconds=60))
    asked = ChangeBudget(now=ledger.now, limits=Budget(tokens=20, usd=9), only=("tokens", "seconds"))
    assert ledger.ask(asked) == [BudgetChanged(Budget(usd=1, tokens=20))]
    assert ledger.ask(asked) == []


def test_a_budget_is_a_part_of_one_other() -> None:
    ledger = Ledger(Budget())
    ledger.refuses(
        CommandRefused, "part of no other, not of 'p'", OpenBudget(now=ledger.now, limits=Budget(), parent="p")
    )


def test_nothing_can_be_asked_before_it_is_open() -> None:
    ledger = Ledger()
    assert (ledger.state.status, ledger.state.used_ns(5)) == ("NEW", 0)
    ledger.refuses(CommandRefused, "never opened", ledger.reserving(1))


def test_a_closed_budget_goes_on_in_the_next_stream_with_what_was_spent() -> None:
    first = Ledger(Budget(usd=1, seconds=100))
    first.reserve(1, usd("0.4"))
    first.refuses(CommandRefused, "1 calls .* are open", CloseBudget(now=first.now))
    first.settle(1, usd("0.4"))
    first.ask(ChangeBudget(now=first.now, limits=Budget(usd=3, seconds=100)))
    first.now += 10 * SECOND
    assert first.close() == [BudgetClosed()]
    assert (first.state.status, first.state.is_open) == ("CLOSED", False)
    # What is told again after a crash changes nothing; anything else is refused.
    assert first.close() == first.settle(1, usd("0.4")) == first.release(4) == []
    first.refuses(CommandRefused, "open it again", first.reserving(2))
    first.refuses(CommandRefused, "open it again", Settle(now=first.now, claim=claim(2), actual=None))

    second = Ledger(Budget(usd=1, seconds=100), run_no=2, carried=first.state.carried())
    assert second.state.limits == Budget(usd=3, seconds=100), "what somebody changed stays in force"
    assert (second.spent.usd, second.state.used_ns(second.now + 5 * SECOND)) == (Decimal("0.4"), 15 * SECOND)
    assert second.settle(1, usd("0.4")) == []
    assert second.ask(OpenBudget(now=second.now, limits=Budget(), carried=first.state.carried())) == []
    third = Ledger(Budget(usd=9), run_no=2, carried=first.state.carried())
    assert third.scenario.facts == [BudgetOpened(Budget(usd=9), "", first.state.carried())]
    other = Ledger()
    command = OpenBudget(now=0, limits=Budget(), parent="p", carried=first.state.carried())
    other.refuses(CommandRefused, "part of no other, not of 'p'", command)


def test_a_long_stream_goes_on_in_the_next_with_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_EVENTS", 4)
    monkeypatch.setattr(guest, "CARRIED_OPEN", 1)
    first = Ledger(Budget(usd=1, seconds=100))
    first.reserve(1, usd("0.1"))
    first.reserve(2, usd("0.2"), owner="b")
    first.now += SECOND
    assert first.reserve(3, usd("0.3")) == [BudgetReserved(claim(3), usd("0.3"))], "too many are open to go on"
    first.settle(1, usd("0.1"))
    assert first.release(3)[-1] == BudgetClosed(is_continued=True)
    assert (first.state.status, first.ask(TimersDue(now=first.now))) == ("CONTINUED", [])
    # What belongs into the next stream must not be taken for told.
    first.refuses(CommandRefused, "closed", Settle(now=first.now, claim=claim(1), actual=None))
    first.refuses(CommandRefused, "closed", Release(now=first.now, claim=claim(1)))

    first.now += 50 * SECOND
    second = Ledger(Budget(usd=1, seconds=100), run_no=2, carried=first.state.carried())
    assert second.state.claims == {claim(2, "b"): usd("0.2")}
    assert second.reserve(2, usd("0.2"), owner="b") == []
    assert second.settle(1, usd("0.1")) == []
    assert second.state.used_ns(1_052 * SECOND) == 52 * SECOND, "it was never closed"
    assert GUEST.summary(second.state).run_no == 2


def test_a_stream_that_cannot_go_on_keeps_room_for_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "LAST_EVENTS", 3)
    ledger = Ledger(Budget())
    ledger.reserve(1)
    ledger.reserve(2)
    ledger.refuses(BoundExceeded, "full while more than 500 calls are open", ledger.reserving(3))
    ledger.settle(1)


def test_so_many_calls_are_open_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_OPEN", 2)
    ledger = Ledger(Budget())
    ledger.reserve(1)
    ledger.reserve(2)
    ledger.refuses(BoundExceeded, "2 calls of the budget 'b' are open", ledger.reserving(3))


def test_calls_that_end_in_another_order_are_remembered_one_by_one() -> None:
    ledger = Ledger(Budget())
    for number in (1, 2, 3):
        ledger.reserve(number)
    ledger.settle(3)
    assert ledger.state.is_settled(claim(3))
    assert not ledger.state.is_settled(claim(2))
    ledger.settle(1)
    ledger.settle(2)
    assert (ledger.state.marks["a"].upto, ledger.state.marks["a"].beyond) == (3, [])


def test_what_is_remembered_is_bounded_and_an_open_call_is_never_taken_for_settled() -> None:
    ledger = Ledger(Budget())
    ledger.reserve(1, usd("1"))
    for number in range(2, 3 + state.MAX_BEYOND):
        ledger.settle(number)
    mark = ledger.state.marks["a"]
    assert (mark.upto, len(mark.beyond)) == (2 + state.MAX_BEYOND, 0)
    assert ledger.reserve(1) == []
    assert len(ledger.settle(1, usd("1"))) == 1
    assert ledger.settle(1, usd("1")) == []


def test_owners_heard_of_long_ago_are_forgotten_unless_they_have_open_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MAX_OWNERS", 2)
    monkeypatch.setattr(state, "CARRIED_OWNERS", 1)
    ledger = Ledger(Budget())
    for owner in "abc":
        ledger.reserve(1, owner=owner)
        ledger.reserve(2, owner=owner)
        ledger.settle(1, owner=owner)
    assert list(ledger.state.marks) == ["a", "b", "c"]
    ledger.settle(2, owner="b")
    assert list(ledger.state.marks) == ["a", "c"]
    ledger.settle(2, owner="a")
    ledger.settle(2, owner="c")
    ledger.close()
    assert [mark.owner for mark in ledger.state.carried().marks] == ["c"]


def test_money_is_compared_exactly_in_every_context() -> None:
    ledger = Ledger(Budget(usd=Decimal("1000.000001")))
    ledger.reserve(1, usd("1000"))
    ledger.settle(1, usd("1000"))
    with localcontext() as context:
        context.prec = 3
        ledger.reserve(2, usd("0.000001"))
        ledger.refuses(BudgetExceeded, "not known", ledger.reserving(3, Amounts(usd=None)))
        assert view_of(ledger.state, ("b",), ledger.now).left.money == 0


def test_the_view_says_everything() -> None:
    ledger = Ledger(Budget(usd=1, tokens=100, seconds=60, tool_calls=5))
    ledger.reserve(1, Amounts(usd=Decimal("0.5"), tokens=40, tool_calls=1))
    ledger.settle(1, Amounts(usd=Decimal("0.4"), tokens=30, tool_calls=1))
    ledger.reserve(2, Amounts(usd=Decimal("0.1"), tokens=10))
    view = view_of(ledger.state, ("b", "p"), ledger.now + 15 * SECOND)
    assert view.left == Budget(usd=Decimal("0.5"), tokens=60, seconds=45.0, tool_calls=4)
    assert (view.status, view.calls, view.open_count, list(view.open_calls)) == ("OPEN", 1, 1, [claim(2)])
    assert (view.lineage, view.seconds_used, view.is_complete) == (("b", "p"), 15.0, True)
    assert view_of(Ledger(Budget()).state, ("b",), 0).left == Budget()


def test_what_the_engine_asks() -> None:
    ledger = Ledger(Budget())
    summary = GUEST.summary(ledger.state)
    assert (summary.execution_id, summary.run_no, summary.is_open, summary.next_due) == ("b", 1, True, None)
    assert (GUEST.kind, ledger.state.next_due) == ("budget", None)
    assert GUEST.effects(ledger.state, BudgetClosed(), 1) == ()
    recovery = GUEST.recover(ledger.state, 0)
    assert (list(recovery.commands), list(recovery.effects)) == ([], [])
    assert not GUEST.is_in_work(ledger.state, 1)
    with pytest.raises(InvariantError, match="no tasks"):
        GUEST.inputs(ledger.state, "x")
    with pytest.raises(InvariantError, match="command Command"):
        GUEST.decide(ledger.state, Command(now=0))
    with pytest.raises(InvariantError, match="fact PermitReleased"):
        GUEST.evolve(ledger.state, PermitReleased("x"), 2, 0)


def test_a_snapshot_that_cannot_be_read_is_told() -> None:
    saved: Any = bytearray(GUEST.snapshot(Ledger(Budget()).state))
    with pytest.raises(CorruptStore, match="cannot be read"):
        GUEST.initial("budget-b/1", bytes(saved[:-4]))
    with pytest.raises(CorruptStore, match="form 2, this program knows 1"):
        GUEST.initial("budget-b/1", bytes(saved.replace(b"\xa4form\x01", b"\xa4form\x02")))


# --- what others hold ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "asked", "dimension", "is_held"),
    [
        (Budget(usd=1), usd("0.5"), "usd", True),
        (Budget(usd=1), usd("0.9"), "usd", False),
        (Budget(usd=1, tokens=100), usd("0.5", 95), "tokens", False),
        (Budget(usd=1, tokens=100), usd("0.5", 70), "usd", True),
        (Budget(tokens=100), Amounts(usd=None, tokens=70), "tokens", True),
        (Budget(tool_calls=1), Amounts(tool_calls=1), "tool_calls", False),
        (Budget(usd=0.8), Amounts(usd=None), "usd", True),
        (Budget(usd=0.2), Amounts(usd=None), "usd", False),
        (Budget(usd=1, seconds=0), usd("0.5"), "seconds", False),
    ],
)
def test_a_refusal_says_whether_it_is_for_what_others_hold(
    limits: Budget, asked: Amounts, dimension: str, is_held: bool
) -> None:
    """0.2 dollars and 10 tokens are spent, 0.6 dollars, 40 tokens and a call of a tool reserved."""
    ledger = Ledger(Budget())
    ledger.reserve(1, usd("0.2", 10))
    ledger.settle(1, usd("0.2", 10))
    ledger.reserve(2, Amounts(usd=Decimal("0.6"), tokens=40, tool_calls=1))
    ledger.ask(ChangeBudget(now=ledger.now, limits=limits))
    with pytest.raises(BudgetExceeded) as refused:
        GUEST.decide(ledger.state, ledger.reserving(3, asked))
    assert (refused.value.dimension, refused.value.is_held) == (dimension, is_held)


def test_what_is_covered_counts_those_beside_it() -> None:
    ledger = Ledger(Budget(usd=1, tokens=100))
    ledger.reserve(1, usd("0.2", 10))
    assert is_covered(ledger.state, usd("0.4", 40), Sums(Decimal("0.4"), 50))
    assert not is_covered(ledger.state, usd("0.4", 40), Sums(Decimal("0.5"), 50))
    assert not is_covered(ledger.state, usd("0.4", 40), Sums(Decimal("0.4"), 51))
    assert is_hopeless(ledger.state, usd("1.1"))
    assert is_hopeless(ledger.state, usd("0.4", 101))
    assert not is_hopeless(ledger.state, usd("1", 100)), "what is reserved may come to nothing"
    ledger.ask(ChangeBudget(now=ledger.now, limits=Budget()))
    assert is_covered(ledger.state, usd("900", 10**9), Sums()), "there are no limits"
