"""How the calls of a loop are named to its budgets, and what a crash has left of them."""

from __future__ import annotations

from typing import Final

from agenticflow.agents.loop.state import LoopState
from agenticflow.agents.spending.purse import Purse
from agenticflow.agents.spending.rules import TOOL_CALL
from agenticflow.resilience.budgets import Amounts, Claim

__all__ = ["Claims", "reconcile"]

_CALLS: Final = "#calls"
_SUMMARIES: Final = "#summaries"


class Claims:
    """What the calls of a loop are claimed as by one of those who drive it: what another one reserved is another call.

    The one before may have made a call that nobody recorded. It has cost what was reserved for it, and is never taken for the one that
    is made now.
    """

    __slots__ = ("_owner",)

    def __init__(self, stream_id: str, taken_up_at: int) -> None:
        """``taken_up_at`` is the version of the stream at which it was taken up: nobody else has the same."""
        self._owner = f"{stream_id}@{taken_up_at}"

    def turn(self, state: LoopState) -> Claim:
        """Return what the next answer of the model is claimed as."""
        return Claim(self._owner, state.turns - state.first_turns + 1)

    def summary(self, state: LoopState) -> Claim:
        """Return what the next summary is claimed as."""
        return Claim(f"{self._owner}{_SUMMARIES}", state.summaries + 1)

    def calls(self, state: LoopState) -> dict[str, Claim]:
        """Return what the calls of the last answer are claimed as, by their ids."""
        owner, before = f"{self._owner}{_CALLS}", state.calls_before
        return {call_id: Claim(owner, before + place + 1) for place, call_id in enumerate(state.calls)}


async def reconcile(purse: Purse, state: LoopState) -> None:
    """After a crash: settle what others who drove the loop have reserved. What nobody recorded may have been made: it has cost that."""
    for claim in await purse.left_open(f"{state.stream_id}@"):
        await purse.settle(claim, _recorded(purse, state, claim))


def _recorded(purse: Purse, state: LoopState, claim: Claim) -> Amounts | None:
    """Return what a call has cost as far as the loop has a record of it."""
    if claim.owner.endswith(_CALLS):
        place = claim.number - state.calls_before
        open_now = list(state.calls.values())
        has_ended = place <= 0 or (place <= len(open_now) and open_now[place - 1].result is not None)
        return TOOL_CALL if has_ended else None
    if claim.owner.endswith(_SUMMARIES) or claim.number != state.turns - state.first_turns:
        return None
    model, used = state.last_used
    return purse.cost(model, used)
