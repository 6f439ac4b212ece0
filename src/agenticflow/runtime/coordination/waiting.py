"""Who waits for a budget until what others have reserved in it is settled. Of this process, never recorded: a waiting call holds nothing.

Waiting calls are woken by what happens to the budget, first come first, as many as would be covered side by side. They ask again then; a
call that was reserved meanwhile by somebody else makes them wait on.
"""

from __future__ import annotations

import asyncio
from typing import Final

from agenticflow.resilience.budgets.amounts import Amounts, Sums
from agenticflow.resilience.budgets.guest import is_covered, is_hopeless
from agenticflow.resilience.budgets.state import BudgetState

__all__ = ["Waiters"]

LOOK_SECONDS: Final = 2.0
"""How often the first of them looks by itself: what another process settles over the same store wakes nobody here."""
MAX_WAITING: Final = 10_000
"""Calls that wait for one budget: as many as may be open."""


class _Waiting:
    __slots__ = ("amounts", "woken")

    def __init__(self, amounts: Amounts, woken: asyncio.Future[None]) -> None:
        self.amounts = amounts
        self.woken = woken


class Waiters:
    """The calls that wait, by budget."""

    def __init__(self) -> None:
        self._of: dict[str, list[_Waiting]] = {}

    def has_room(self, budget_id: str) -> bool:
        """Whether one more may wait."""
        return len(self._of.get(budget_id, ())) < MAX_WAITING

    async def wait(self, budget_id: str, amounts: Amounts, seconds: float) -> bool:
        """Wait until the call may be covered, at most for ``seconds``. ``False`` when nothing was heard: look into the store."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        waiting = _Waiting(amounts, loop.create_future())
        queue = self._of.setdefault(budget_id, [])
        queue.append(waiting)
        try:
            while (left := until - loop.time()) > 0:
                await asyncio.wait([waiting.woken], timeout=min(left, LOOK_SECONDS))
                if waiting.woken.done():
                    return True
                if queue[0] is waiting:
                    return False
            return False
        finally:
            queue.remove(waiting)
            if not queue:
                del self._of[budget_id]

    def wake(self, budget_id: str, state: BudgetState | None) -> None:
        """Something has happened to the budget, which is at ``state``; ``None`` when that is not known: then all look."""
        beside = Sums()
        for waiting in self._of.get(budget_id, ()):
            if state is None or not state.is_open or is_hopeless(state, waiting.amounts):
                pass  # it asks again, and is told
            elif is_covered(state, waiting.amounts, beside):
                beside = beside.plus(waiting.amounts)
            else:
                continue
            if not waiting.woken.done():
                waiting.woken.set_result(None)
