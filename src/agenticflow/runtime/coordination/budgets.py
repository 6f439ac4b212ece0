"""Budgets from the side of those who spend: a call is reserved in a budget and all it is a part of, and settled there.

The budgets themselves are executions of the engine (``resilience.budgets``), one stream each, and nothing is committed over two of them:
a request goes from the innermost budget outwards, and what it has reserved is given back when a later one refuses. When the process dies in
between, the owner of the call asks again and finds what it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Final

from agenticflow.core.clocks import Clock
from agenticflow.core.decider import Command
from agenticflow.errors import (
    AgenticFlowError,
    BudgetExceeded,
    CommandRefused,
    ConcurrencyConflict,
    InvalidInput,
    OutcomeUnknown,
    TemporaryError,
    WorkflowNotFoundError,
)
from agenticflow.resilience.budgets.amounts import NANOSECONDS, Amounts, Budget, Claim, Sums, check_budget_id
from agenticflow.resilience.budgets.facts import ChangeBudget, CloseBudget, OpenBudget, Release, Reserve, Settle
from agenticflow.resilience.budgets.guest import KIND, is_covered, stream_of_budget
from agenticflow.resilience.budgets.keeping import BudgetView, KeepsBudgets, Reservation, view_of
from agenticflow.resilience.budgets.state import BudgetState
from agenticflow.runtime.actors import Answer
from agenticflow.runtime.coordination.waiting import Waiters
from agenticflow.runtime.host import Host
from agenticflow.storage.store import Store

__all__ = ["BudgetKeeper"]

log = logging.getLogger("agenticflow.engine")

CACHED_BUDGETS: Final = 10_000
MAX_NESTING: Final = 50
"""Budgets inside each other: as deep as sub-workflows may be."""
MAX_LISTED: Final = 1_000
TRIES: Final = 10
"""How often a request is made while the store is away."""
RETRY_SECONDS: Final = 0.2
GIVE_BACK_SECONDS: Final = 5.0
"""How long a refused request waits until what it has reserved is given back; that goes on by itself then."""
MAX_TURNS: Final = 10
"""How often a request follows a budget that goes on in the next stream meanwhile."""


class BudgetKeeper(KeepsBudgets):
    """Keeps the budgets of one store."""

    def __init__(self, host: Host, store: Store, clock: Clock) -> None:
        self._host = host
        self._store = store
        self._clock = clock
        self._run_nos: OrderedDict[str, int] = OrderedDict()
        """In which stream budgets go on that are open."""
        self._waiters = Waiters()
        self._returning: dict[Claim, asyncio.Task[None]] = {}
        """What is being given back."""

    # --- what those who spend ask -----------------------------------------------------------------------------------

    async def open(self, budget_id: str, budget: Budget, parent: str | None = None) -> BudgetView:
        """See ``KeepsBudgets.open``."""
        check_budget_id(budget_id)
        if not isinstance(budget, Budget):
            raise InvalidInput(f"{budget!r:.80} is no budget", hint="give Budget(usd=…, tokens=…)")
        if parent is not None:
            above = await self._lineage(parent)
            if budget_id in above:
                raise InvalidInput(f"the budget {budget_id!r} would be a part of itself", hint="give another parent")
            if len(above) >= MAX_NESTING:
                raise CommandRefused(
                    f"{len(above)} budgets are inside each other already", hint="spend of one of these"
                )
            if not (await self._state(parent)).is_open:
                raise CommandRefused(f"the budget {parent!r} is closed", hint="open it again first")
        await self._open(budget_id, budget, parent or "")
        return await self.get(budget_id)

    async def reserve(
        self, lineage: Sequence[str], claim: Claim, amounts: Amounts, *, wait_seconds: float = 0
    ) -> Reservation:
        """See ``KeepsBudgets.reserve``. Between two requests a waiting call has given back whatever it had: nobody waits for who waits."""
        _check(lineage, claim, amounts)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                return await self._reserve(lineage, claim, amounts)
            except BudgetExceeded as error:
                waited = loop.time() - began
                if not error.is_held or wait_seconds <= 0 or not self._waiters.has_room(error.budget_id):
                    raise
                if waited >= wait_seconds:
                    raise _in_vain(error, waited) from error
                held = error.budget_id
            left = min(wait_seconds - waited, await self._left_seconds(lineage))
            if is_covered(await self._state(held), amounts, Sums()):
                continue  # since it was asked: nobody wakes who does not wait yet
            if not await self._waiters.wait(held, amounts, left):
                await self._look_again(held)

    async def _left_seconds(self, lineage: Sequence[str]) -> float:
        """Return how long calls may still be made by the tightest of the budgets."""
        now = self._clock.now_ns()
        left = [(await self._state(budget_id)).left_ns(now) for budget_id in lineage]
        return min((one / NANOSECONDS for one in left if one is not None), default=inf)

    async def _look_again(self, budget_id: str) -> None:
        """Have the budget folded anew: somebody else may have written to it."""
        stream_id = (await self._state(budget_id)).stream_id
        actor = self._host.actors.get(stream_id)
        if actor is not None and actor.is_idle:
            del self._host.actors[stream_id]

    async def _reserve(self, lineage: Sequence[str], claim: Claim, amounts: Amounts) -> Reservation:
        await self._returned(claim)
        asked: list[str] = []
        left: list[int] = []

        def request() -> Reserve:
            return Reserve(now=self._clock.now_ns(), claim=claim, amounts=amounts)

        try:
            for budget_id in lineage:
                state = await self._state(budget_id)
                if claim not in state.claims:
                    asked.append(budget_id)
                    await self._decide(budget_id, request)
                    state = await self._state(budget_id)
                nanoseconds = state.left_ns(self._clock.now_ns())
                left += [] if nanoseconds is None else [nanoseconds]
        except BaseException as error:
            # What was open before this request may belong to a call that was made. Not when one of the budgets does not cover it, and so
            # has never heard of it: a call is made only when all have.
            returning = self._start_giving_back(lineage if isinstance(error, BudgetExceeded) else asked, claim)
            if returning is not None and isinstance(error, Exception):
                await asyncio.wait([returning], timeout=GIVE_BACK_SECONDS)
            raise
        return Reservation(claim, amounts, not asked, min(left) / NANOSECONDS if left else None)

    async def settle(self, lineage: Sequence[str], claim: Claim, actual: Amounts | None) -> None:
        """See ``KeepsBudgets.settle``. When one budget cannot be told, the others are; then that error is raised."""
        _check(lineage, claim, actual)
        await self._everywhere(lineage, lambda: Settle(now=self._clock.now_ns(), claim=claim, actual=actual))

    async def release(self, lineage: Sequence[str], claim: Claim) -> None:
        """See ``KeepsBudgets.release``. When one budget cannot be told, the others are; then that error is raised."""
        _check(lineage, claim)
        await self._everywhere(lineage, lambda: Release(now=self._clock.now_ns(), claim=claim))

    # --- what people ask --------------------------------------------------------------------------------------------

    async def change(self, budget_id: str, budget: Budget, *, only: Collection[str] | None = None) -> BudgetView:
        """See ``KeepsBudgets.change``."""
        if not isinstance(budget, Budget):
            raise InvalidInput(f"{budget!r:.80} is no budget", hint="give Budget(usd=…, tokens=…)")
        names = None if only is None else _limits_named(only)
        await self._decide(budget_id, lambda: ChangeBudget(now=self._clock.now_ns(), limits=budget, only=names))
        return await self.get(budget_id)

    async def close(self, budget_id: str) -> BudgetView:
        """See ``KeepsBudgets.close``."""
        if (await self._state(budget_id)).is_open:
            await self._decide(budget_id, lambda: CloseBudget(now=self._clock.now_ns()))
        return await self.get(budget_id)

    async def open_calls(self, budget_id: str, owners: str) -> Sequence[Claim]:
        """See ``KeepsBudgets.open_calls``."""
        if not isinstance(owners, str):
            raise InvalidInput(f"{owners!r:.80} begins no owner of calls", hint="give a text; an empty one is all")
        state = _there(budget_id, await self._newest(budget_id, begin=False))
        return tuple(claim for claim in state.claims if claim.owner.startswith(owners))

    async def get(self, budget_id: str) -> BudgetView:
        """See ``KeepsBudgets.get``."""
        lineage = await self._lineage(budget_id)
        return view_of(_there(budget_id, await self._newest(budget_id, begin=False)), lineage, self._clock.now_ns())

    async def list(self, *, after: str | None = None, limit: int = 100) -> Sequence[BudgetView]:
        """Return up to ``limit`` budgets, those opened last first; ``after`` is the id of the last one of the page before.

        Raises ``InvalidInput`` for a limit outside 1 to 1,000 and an ``after`` that is not there.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LISTED:
            raise InvalidInput(f"a page of {limit!r:.80} budgets", hint=f"give 1 to {MAX_LISTED:,}")
        found: list[BudgetView] = []
        last = None if after is None else _there(after, await self._newest(after, begin=False)).stream_id
        while rows := await self._store.list_runs(kind=KIND, after=last, limit=limit):
            last = rows[-1].stream_id
            for row in rows:
                newest = await self._store.get_run(row.execution_id, kind=KIND)
                if newest is None or newest.run_no != row.run_no:
                    continue
                try:
                    found.append(await self.get(row.execution_id))
                except InvalidInput:
                    continue  # retention let go of it in this moment
                if len(found) == limit:
                    return found
        return found

    async def stop(self) -> None:
        """Finish giving back, for a moment; what is left stays counted until its owner releases it."""
        if tasks := list(self._returning.values()):
            await asyncio.wait(tasks, timeout=1)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)

    # --- one stream after the other ---------------------------------------------------------------------------------

    async def _open(self, budget_id: str, budget: Budget, parent: str) -> None:
        for _ in range(MAX_TURNS):
            state = await self._newest(budget_id)
            seen = None if state is None else (state.run_no, state.is_open)
            carried = None if state is None or state.is_open else state.carried()
            run_no = 1 if state is None else state.run_no + (carried is not None)
            command = OpenBudget(now=self._clock.now_ns(), limits=budget, parent=parent, carried=carried)
            try:
                answer = await self._submit(stream_of_budget(budget_id, run_no), command)
            except CommandRefused:
                newest = await self._newest(budget_id, begin=False)
                if newest is None or (newest.run_no, newest.is_open) == seen:
                    raise
                continue  # it was closed meanwhile, or goes on in another stream
            self._remember(budget_id, run_no)
            self._waiters.wake(budget_id, self._host.actors.peek(stream_of_budget(budget_id, run_no)))
            if carried is None or answer.facts:
                return
        raise _restless(budget_id)

    async def _decide(self, budget_id: str, command: Callable[[], Command]) -> None:
        """Have a command decided by the stream in which the budget goes on."""
        for _ in range(MAX_TURNS):
            stream_id = (await self._state(budget_id)).stream_id
            try:
                await self._submit(stream_id, command())
                self._waiters.wake(budget_id, self._host.actors.peek(stream_id))
                return
            except CommandRefused:
                if not (await self._host.read(stream_id)).is_continued:
                    raise
        raise _restless(budget_id)

    async def _submit(self, stream_id: str, command: Command) -> Answer:
        """Submit, and again while the store is away for a moment: every command of a budget may be decided twice."""
        tries = 0
        while True:
            try:
                return await self._host.submit(stream_id, command)
            except (ConcurrencyConflict, OutcomeUnknown, TemporaryError) as error:
                tries += 1
                if tries == TRIES or self._host.is_closing:
                    raise
                log.warning("cannot ask %s, trying again: %s", stream_id, error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _everywhere(self, lineage: Sequence[str], command: Callable[[], Command]) -> None:
        answers = await asyncio.gather(
            *(self._decide(budget_id, command) for budget_id in lineage), return_exceptions=True
        )
        for answer in answers:
            if answer is not None:
                raise answer

    def _start_giving_back(self, budget_ids: Sequence[str], claim: Claim) -> asyncio.Task[None] | None:
        if not budget_ids:
            return None
        task = asyncio.get_running_loop().create_task(self._give_back(tuple(budget_ids), claim))
        self._returning[claim] = task
        task.add_done_callback(lambda _: self._returning.pop(claim, None))  # an owner asks for a call once at a time
        return task

    async def _returned(self, claim: Claim) -> None:
        """Return when nothing of an earlier request for the call is being given back: it must not take what the next one gets."""
        task = self._returning.get(claim)
        if task is not None:
            await asyncio.wait([task], timeout=GIVE_BACK_SECONDS)
            if not task.done():
                raise TemporaryError(f"what {claim} had reserved is still being given back", hint="ask once more")

    async def _give_back(self, budget_ids: Sequence[str], claim: Claim) -> None:
        try:
            await self.release(budget_ids, claim)
        except AgenticFlowError as error:
            log.warning("%s stays reserved in %s until it is released: %s", claim, ", ".join(budget_ids), error)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _lineage(self, budget_id: str) -> tuple[str, ...]:
        """Return the budget and all it is a part of. Raises ``InvalidInput`` when there is none; one further out may be gone."""
        found = [budget_id]
        state: BudgetState | None = _there(budget_id, await self._newest(budget_id, begin=False))
        while state is not None and state.parent and len(found) <= MAX_NESTING:
            found.append(state.parent)
            state = await self._newest(state.parent, begin=False)
        return tuple(found)

    async def _state(self, budget_id: str) -> BudgetState:
        """Return the budget: look, do not touch, do not keep it across an await. Raises ``InvalidInput`` when there is none."""
        return _there(budget_id, await self._newest(budget_id))

    async def _newest(self, budget_id: str, *, begin: bool = True) -> BudgetState | None:
        """Return the state of the stream in which the budget goes on, ``None`` for no budget.

        ``begin`` that stream when it is missing: not for who only reads the store.
        """
        check_budget_id(budget_id)
        # Only streams that are open are remembered: others may be deleted.
        run_no = self._run_nos.pop(budget_id, None) or await self._last_run(budget_id)
        while run_no:
            state = await self._read(budget_id, run_no)
            if state is not None and state.is_open:
                self._remember(budget_id, run_no)
                return state
            newer = await self._last_run(budget_id)
            if newer != run_no:
                run_no = newer
            elif state is not None and state.is_continued and begin:
                run_no += 1
                await self._begin(budget_id, run_no)
            else:
                return await self._read(budget_id, run_no)
        return None

    async def _begin(self, budget_id: str, run_no: int) -> None:
        """Begin the next stream of a budget with what the one before carries over, unless somebody has."""
        before = _there(budget_id, await self._read(budget_id, run_no - 1))
        command = OpenBudget(
            now=self._clock.now_ns(), limits=before.asked, parent=before.parent, carried=before.carried()
        )
        try:
            await self._submit(stream_of_budget(budget_id, run_no), command)
        except CommandRefused as refusal:
            log.debug("%s went on and has ended since: %s", budget_id, refusal)

    async def _read(self, budget_id: str, run_no: int) -> BudgetState | None:
        try:
            state: BudgetState = await self._host.read(stream_of_budget(budget_id, run_no))
        except WorkflowNotFoundError:
            return None
        return state

    async def _last_run(self, budget_id: str) -> int:
        row = await self._store.get_run(budget_id, kind=KIND)
        return 0 if row is None else row.run_no

    def _remember(self, budget_id: str, run_no: int) -> None:
        self._run_nos[budget_id] = run_no
        self._run_nos.move_to_end(budget_id)
        while len(self._run_nos) > CACHED_BUDGETS:
            self._run_nos.popitem(last=False)


def _check(lineage: Sequence[str], claim: Claim, amounts: Amounts | None = None) -> None:
    if (
        isinstance(lineage, str)
        or not isinstance(lineage, Sequence)
        or not 0 < len(lineage) <= MAX_NESTING
        or not all(isinstance(one, str) for one in lineage)
        or len(set(lineage)) < len(lineage)
    ):
        raise InvalidInput(
            f"{lineage!r:.80} is no lineage of a budget", hint="take the lineage of the innermost budget's view"
        )
    if not isinstance(claim, Claim):
        raise InvalidInput(f"{claim!r:.80} is no claim", hint="give Claim(owner, number)")
    if amounts is not None and not isinstance(amounts, Amounts):
        raise InvalidInput(f"{amounts!r:.80} are no amounts", hint="give Amounts(usd=…, tokens=…, tool_calls=…)")


def _limits_named(only: Collection[str]) -> tuple[str, ...]:
    names = Budget.__struct_fields__
    if isinstance(only, str) or not isinstance(only, Collection) or not only or not all(one in names for one in only):
        raise InvalidInput(f"{only!r:.80} names no limits of a budget", hint=f"give some of {', '.join(names)}")
    return tuple(only)


def _there(budget_id: str, state: BudgetState | None) -> BudgetState:
    if state is None:
        raise InvalidInput(f"there is no budget {budget_id!r} in this store", hint="open it first")
    return state


def _in_vain(error: BudgetExceeded, waited: float) -> BudgetExceeded:
    return BudgetExceeded(
        f"{error.message}; after {waited:,.0f} s these have not settled for less",
        hint=error.hint,
        budget_id=error.budget_id,
        dimension=error.dimension,
        is_held=True,
    )


def _restless(budget_id: str) -> TemporaryError:
    return TemporaryError(f"the budget {budget_id!r} ends and goes on all the time", hint="ask once more")
