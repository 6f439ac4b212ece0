"""The ledger of one budget, as folded: limits, sums, open reservations, and which calls are settled."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from agenticflow.core.engine import Execution
from agenticflow.core.guests import read_snapshot
from agenticflow.core.values import Values
from agenticflow.resilience.budgets.amounts import NANOSECONDS, Amounts, Budget, Claim, Sums
from agenticflow.resilience.budgets.facts import Carried, Mark, Spent

__all__ = ["BudgetState"]

MAX_OWNERS: Final = 1_000
"""Whose settled calls are remembered: of those heard of last, and of all who have open ones. What a forgotten owner tells again of a
settled call is counted twice: nothing is ever counted too little."""
MAX_BEYOND: Final = 64
"""Numbers remembered one by one of an owner whose calls end in another order."""
CARRIED_OWNERS: Final = 100
_FORM: Final = 1
_NO_LIMITS: Final = Budget()
# Money as text, in every form the same: what the codec of values makes of it is its own.
_encode: Final = msgspec.msgpack.Encoder().encode


class _Saved(msgspec.Struct):
    form: int
    version: int
    parent: str
    asked: Budget
    limits: Budget
    spent: Spent
    open: list[tuple[Claim, Amounts]]
    marks: list[Mark]
    opened_at: int
    since: int
    elapsed_ns: int
    closed_at: int | None
    is_continued: bool


class BudgetState:
    """What a budget allows, what was spent, what is reserved."""

    __slots__ = (
        "asked",
        "claims",
        "closed_at",
        "elapsed_ns",
        "is_continued",
        "limits",
        "marks",
        "opened_at",
        "owners",
        "parent",
        "reserved",
        "since",
        "spent",
        "stream_id",
        "values",
        "version",
    )

    next_due = None
    """Never: what is over by time is seen by who asks."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.values = Values()
        self.version = 0
        self.parent = ""
        self.asked = _NO_LIMITS
        """The limits that the program asked for last."""
        self.limits = _NO_LIMITS
        """The limits in force."""
        self.spent = Spent()
        self.reserved = Sums()
        """What all open reservations come to; money as far as it is known."""
        self.claims: dict[Claim, Amounts] = {}
        """The open reservations."""
        self.owners: dict[str, int] = {}
        """How many of them each owner has."""
        self.marks: OrderedDict[str, Mark] = OrderedDict()
        """Which calls are settled, by owner, those heard of last at the end."""
        self.opened_at = 0
        self.since = 0
        """From when on it is open, without the time before."""
        self.elapsed_ns = 0
        """The time before."""
        self.closed_at: int | None = None
        self.is_continued = False

    @property
    def budget_id(self) -> str:
        """What it is called."""
        return Execution.of(self.stream_id).id

    @property
    def run_no(self) -> int:
        """The how-many-th stream of the budget this is."""
        return Execution.of(self.stream_id).run_no

    @property
    def status(self) -> str:
        """Word for the index."""
        if self.closed_at is None:
            return "OPEN" if self.opened_at else "NEW"
        return "CONTINUED" if self.is_continued else "CLOSED"

    @property
    def is_open(self) -> bool:
        """Whether something can still be asked of this stream."""
        return self.closed_at is None

    def used_ns(self, now: int) -> int:
        """Return for how long it has been open."""
        until = now if self.closed_at is None else self.closed_at
        return self.elapsed_ns + (max(0, until - self.since) if self.opened_at else 0)

    def left_ns(self, now: int) -> int | None:
        """Return for how long calls may still be made; ``None`` without a limit."""
        seconds = self.limits.seconds
        return None if seconds is None else max(0, int(seconds * NANOSECONDS) - self.used_ns(now))

    def is_settled(self, claim: Claim) -> bool:
        """Whether the call is known to be settled, or so old that it is taken for settled."""
        mark = self.marks.get(claim.owner)
        return mark is not None and (claim.number <= mark.upto or claim.number in mark.beyond)

    # --- changes: called by evolve only -----------------------------------------------------------------------------

    def reserve(self, claim: Claim, amounts: Amounts) -> None:
        """Count ``amounts`` as reserved."""
        self.claims[claim] = amounts
        self.owners[claim.owner] = self.owners.get(claim.owner, 0) + 1
        self.reserved = self.reserved.plus(amounts)

    def give_back(self, claim: Claim) -> Amounts | None:
        """Count nothing for the call any more; return what was reserved."""
        amounts = self.claims.pop(claim, None)
        if amounts is None:
            return None
        left = self.owners.pop(claim.owner) - 1
        if left:
            self.owners[claim.owner] = left
        self.reserved = self.reserved.minus(amounts)
        return amounts

    def settle(self, claim: Claim, amounts: Amounts, is_metered: bool) -> None:
        """Count ``amounts`` as spent instead of what was reserved."""
        reserved = self.give_back(claim)
        is_priced = amounts.usd is not None
        if not is_priced and reserved is not None:
            amounts = msgspec.structs.replace(amounts, usd=reserved.usd)  # the best that anybody knows
        spent = self.spent
        self.spent = Spent(
            spent.sums.plus(amounts),
            spent.calls + 1,
            spent.unpriced_calls + (not is_priced),
            spent.unpriced_tokens + (0 if is_priced else amounts.tokens),
            spent.unmetered_calls + (not is_metered),
        )
        self._remember(claim)

    def _remember(self, claim: Claim) -> None:
        mark = self.marks.setdefault(claim.owner, Mark(claim.owner, 0, []))
        self.marks.move_to_end(claim.owner)
        if claim.number > mark.upto and claim.number not in mark.beyond:
            mark.beyond.append(claim.number)
            mark.beyond.sort()
        while mark.beyond and (mark.beyond[0] == mark.upto + 1 or len(mark.beyond) > MAX_BEYOND):
            mark.upto = mark.beyond.pop(0)
        if len(self.marks) > MAX_OWNERS:
            quiet = next((owner for owner in self.marks if owner not in self.owners), None)
            if quiet is not None:
                del self.marks[quiet]

    # --- forms ------------------------------------------------------------------------------------------------------

    def carried(self) -> Carried:
        """Return what the next stream takes over. Asked of a stream that is closed."""
        newest = list(self.marks.values())[-CARRIED_OWNERS:]
        closed_at = self.closed_at or 0
        return Carried(
            self.asked,
            self.limits,
            self.parent,
            self.spent,
            self.used_ns(closed_at),
            closed_at if self.is_continued else None,
            tuple(self.claims.items()),
            tuple(newest),
        )

    def take_over(self, carried: Carried) -> None:
        """Go on where the stream before was."""
        self.spent, self.elapsed_ns = carried.spent, carried.elapsed_ns
        self.since = self.since if carried.since is None else carried.since
        for claim, amounts in carried.open:
            self.reserve(claim, amounts)
        self.marks = OrderedDict((mark.owner, Mark(mark.owner, mark.upto, list(mark.beyond))) for mark in carried.marks)

    def saved(self) -> bytes:
        """Return the state as ``restored`` takes it."""
        return _encode(
            _Saved(
                _FORM,
                self.version,
                self.parent,
                self.asked,
                self.limits,
                self.spent,
                list(self.claims.items()),
                list(self.marks.values()),
                self.opened_at,
                self.since,
                self.elapsed_ns,
                self.closed_at,
                self.is_continued,
            )
        )

    @classmethod
    def restored(cls, stream_id: str, data: bytes) -> BudgetState:
        """Return the state in a snapshot. Raises ``CorruptStore``."""
        saved = read_snapshot(stream_id, data, _Saved, _FORM)
        state = cls(stream_id)
        for name in ("version", "parent", "asked", "limits", "spent", "opened_at", "since", "elapsed_ns"):
            setattr(state, name, getattr(saved, name))
        state.closed_at, state.is_continued = saved.closed_at, saved.is_continued
        for claim, amounts in saved.open:
            state.reserve(claim, amounts)
        state.marks = OrderedDict((mark.owner, mark) for mark in saved.marks)
        return state
