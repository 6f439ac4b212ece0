"""The purse of a loop whose calls are in the journal of its task: guests of other frameworks have one for each run of theirs.

A call is claimed by its key in the journal and the how-many-th try it is: what a life of the process has reserved and not recorded may
have been made, and paid for. It counts as that, and the call that is made now is another one. The number of the try is recorded with the
answer, so an answer that comes from the journal settles what it left open, and costs nothing again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any, Final

import msgspec

from agenticflow.agents.model.responses import Usage
from agenticflow.agents.spending.purse import Accounts, Purse
from agenticflow.agents.spending.rules import TOOL_CALL, budget_in, is_not_billed
from agenticflow.core.context import TaskContext
from agenticflow.core.interrupts import interrupt_in
from agenticflow.errors import BudgetExceeded, DefinitionError
from agenticflow.resilience.budgets import Amounts, Budget, Claim
from agenticflow.resilience.budgets.amounts import MAX_OWNER_BYTES

__all__ = ["AskedModel", "JournalledPurse", "plain", "purse_for"]

MAX_TRIES: Final = 100
"""Of one call, by lives of processes that ended in the middle of it."""
LAST_SECONDS: Final = 5.0
"""How long an attempt that was told to stop settles what broke off; that goes on by itself then."""
_TRY: Final = "~try"
_MADE: Final = "~made"

_settling: Final[set[asyncio.Task[None]]] = set()
"""Of attempts that are over."""


class AskedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a model, as far as its cost depends on it."""

    model: str
    """``provider:name``, as tables of prices have it."""
    chars: int
    """Of the request."""
    max_output_tokens: int | None
    used: Callable[[Any], Usage | None]
    """Reads in what is recorded what the answer used; ``None`` when nobody told."""
    is_refused: Callable[[Exception], bool] = is_not_billed
    """Whether a call that raised this was refused before the model answered, for certain."""


class JournalledPurse:
    """Spends for one run of a loop, as one attempt of its task makes it."""

    def __init__(self, purse: Purse, task: TaskContext) -> None:
        self._purse = purse
        self._task = task
        self._left: dict[str, list[Claim]] = {}
        """Calls that an earlier life has left open, by owner."""
        self.problem: BudgetExceeded | None = None
        """The first call that was not covered: it is the outcome of the run."""

    async def begin(self) -> None:
        """Find what earlier lives have left open."""
        for claim in await self._purse.left_open(f"{self._task.effect_key}/"):
            self._left.setdefault(claim.owner, []).append(claim)

    def check(self) -> None:
        """Raise what a call was refused with before: loops pass over errors, and what comes about without the call does not count."""
        if self.problem is not None:
            raise self.problem

    async def ask(
        self, key: str, asked: AskedModel, perform: Callable[[], Awaitable[object]], options: Mapping[str, Any]
    ) -> Any:
        """Ask a model under ``key`` of the journal, with the ``options`` of its ``call``, or have what it answered before.

        Raises ``BudgetExceeded``.
        """
        purse = self._purse
        amounts = purse.wanted(asked.model, asked.chars, asked.max_output_tokens)

        async def make(claim: Claim, limit: float | None) -> object:
            return await purse.within_time(asked.model, claim, limit, perform, asked.is_refused)

        return await self._call(
            key, amounts, make, lambda value: purse.cost(asked.model, asked.used(value)), None, options
        )

    async def call(self, key: str, perform: Callable[[], Awaitable[object]], options: Mapping[str, Any]) -> Any:
        """Call a tool in the same way. One that raises has been called; one that asks a person is called again."""

        async def make(claim: Claim, limit: float | None) -> object:
            try:
                return await perform()
            except BaseException as error:
                if interrupt_in(error) is not None:
                    await self._purse.release(claim)
                raise

        return await self._call(key, TOOL_CALL, make, lambda value: TOOL_CALL, TOOL_CALL, options)

    async def _call(
        self,
        key: str,
        amounts: Amounts,
        make: Callable[[Claim, float | None], Awaitable[object]],
        cost: Callable[[Any], Amounts | None],
        broken: Amounts | None,
        options: Mapping[str, Any],
    ) -> Any:
        """Make a call that may cost ``amounts``, and has cost what ``cost`` says of its outcome, ``broken`` when it raised."""
        self.check()
        covered: list[tuple[Claim, float | None]] = []

        async def cover() -> None:
            covered.append(await self._covered(key, amounts))

        async def perform() -> object:
            claim, limit = covered[-1]
            made = await make(claim, limit)
            return {_TRY: claim.number, _MADE: made}

        try:
            found = await self._task.journal.call(key, perform, before=cover, **options)
        except Exception as error:
            if isinstance(error, BudgetExceeded):
                self.problem = self.problem or error
            for claim, _ in covered:
                if self._purse.is_open(claim):
                    await self._purse.settle(claim, broken)
            raise
        number, value = _opened(found)
        for claim in (*(claim for claim, _ in covered), *self._left.pop(self._owner(key), ())):
            await self._purse.settle(claim, cost(value) if claim.number == number else None)
        return value

    async def _covered(self, key: str, amounts: Amounts) -> tuple[Claim, float | None]:
        """Reserve the next try of the call; return its claim, and how many seconds it may take. Raises ``BudgetExceeded``."""
        owner = self._owner(key)
        for claim in self._left.pop(owner, ()):
            await self._purse.settle(claim, None)
        return await self._purse.reserve_next(owner, amounts, MAX_TRIES)

    def _owner(self, key: str) -> str:
        owner = f"{self._task.effect_key}/{key}"
        if len(owner.encode()) <= MAX_OWNER_BYTES:
            return owner
        return f"{self._task.effect_key}/{blake2b(key.encode(), digest_size=16).hexdigest()}"

    async def settle_rest(self) -> None:
        """The attempt is over: nobody knows what calls that broke off have cost. Done to the end, also for who is cancelled meanwhile."""
        task = asyncio.ensure_future(self._purse.settle_rest())
        _settling.add(task)
        task.add_done_callback(_settling.discard)
        await asyncio.wait([task], timeout=LAST_SECONDS)


def plain(found: Any) -> Any:
    """Return what came of a recorded call, for who has no purse: that the task had a budget once changes nothing of it."""
    return _opened(found)[1]


def _opened(found: Any) -> tuple[int, Any]:
    """Return which try of the call was recorded, 0 when no budget was about it, and what came of it."""
    if isinstance(found, Mapping) and _TRY in found:
        return int(found[_TRY]), found[_MADE]
    return 0, found


@asynccontextmanager
async def purse_for(
    task: TaskContext, task_budget: object, own_budget: object, path: str = ""
) -> AsyncGenerator[JournalledPurse | None]:
    """Give the purse of a run in the handler whose attempt ``task`` is; ``None`` when neither its task nor the run has a budget.

    ``path`` tells several runs in one handler apart. Budgets that were opened for the run are closed after it, unless they were exceeded:
    then somebody may allow more. Raises ``InvalidInput`` for what is no budget, ``DefinitionError`` where nobody keeps budgets.
    """
    outer_given, inner_given = budget_in(task_budget), budget_in(own_budget)
    if task.accounts is None:
        if outer_given is None and inner_given is None:
            yield None
            return
        raise DefinitionError(
            f"task {task.task_key!r} has a budget, and nobody keeps budgets here: its handler is not performed by an orchestrator, or "
            "runs in a process of its own",
            hint="leave the budget out, or run it with an orchestrator",
        )
    accounts: Accounts = task.accounts.accounts()
    of_run = await accounts.of_run(task.workflow_id, task.run_no)
    if outer_given is None and inner_given is None and not of_run.lineage:
        yield None
        return
    name = task.effect_key if not path else f"{task.effect_key}.{blake2b(path.encode(), digest_size=8).hexdigest()}"
    is_done = False
    async with _of_task(of_run, outer_given, task.effect_key) as outer:
        inner = await outer.within(inner_given, name)
        purse = JournalledPurse(inner, task)
        await purse.begin()
        try:
            yield purse
            purse.check()
            is_done = True
        except BudgetExceeded:
            raise
        except Exception as error:
            if purse.problem is not None:
                raise purse.problem from error
            is_done = True
            raise
        finally:
            await purse.settle_rest()
            if is_done:
                await inner.close()


@asynccontextmanager
async def _of_task(of_run: Purse, given: Budget | str | None, effect_key: str) -> AsyncGenerator[Purse]:
    """Give the purse of the task, which all runs in its handler have: its budget is closed after the last of them."""
    if not isinstance(given, Budget):
        yield await of_run.within(given, effect_key)
        return
    accounts = of_run.accounts
    async with accounts.opening:
        purse = await of_run.within(given, effect_key, kind="task")
        (budget_id,) = purse.own
        accounts.in_use[budget_id] += 1
    is_done = False
    try:
        yield purse
        is_done = True
    except BudgetExceeded:
        raise
    except Exception:
        is_done = True
        raise
    finally:
        accounts.in_use[budget_id] -= 1
        if not accounts.in_use[budget_id]:
            del accounts.in_use[budget_id]
            if is_done:
                async with accounts.opening:
                    if budget_id not in accounts.in_use:
                        await purse.close()
