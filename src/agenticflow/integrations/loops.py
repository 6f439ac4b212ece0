"""A loop of another framework in a task: how its calls are named in the journal, so that they have the same names in each attempt.

A loop asks its model in turns. Calls of the model are numbered; what is called between two of them has its own name (the id of a tool
call) behind the number of the turn. A call that failed takes no number: frameworks try again by themselves, and the next attempt of the
task need not. Loops inside a loop (an agent that is a tool of another) have names of their own before it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, Final

from agenticflow.agents.spending.journalled import AskedModel, JournalledPurse, plain
from agenticflow.core.context import TaskContext
from agenticflow.core.journal import MAX_KEY_CHARS, CallEffect, OnDifference

__all__ = ["INTERRUPTED", "ForeignLoop"]

INTERRUPTED: Final = (
    "This call was interrupted, and nobody knows whether it took effect. It will not be made again. "
    "Do not repeat it; tell the user that its outcome has to be checked."
)
"""What a model is told of a call that must not happen twice and was under way when the process died."""


class ForeignLoop:
    """The calls of one loop of the handler whose attempt ``task`` is."""

    __slots__ = ("_counts", "_inner", "_turn", "on_difference", "path", "purse", "task")

    def __init__(
        self,
        task: TaskContext,
        path: str = "",
        *,
        on_difference: OnDifference = "fail",
        purse: JournalledPurse | None = None,
    ) -> None:
        self.task = task
        self.purse = purse
        """What its calls are paid from; ``None`` without a budget."""
        self.on_difference: OnDifference = on_difference
        self.path = path
        """Stands before the names of its calls."""
        self._turn = 0
        self._counts: dict[str, int] = {}
        self._inner: dict[str, int] = {}

    @classmethod
    def begin(cls, task: TaskContext, key: str = "", *, on_difference: OnDifference = "fail") -> ForeignLoop:
        """Return a loop of the handler itself. The second under one ``key``, or without any, has a number: they begin in the same order
        each time, also when they go on at once."""
        name = task.journal.numbered(key or "run")
        path = f"{name}/"
        if name == f"{key or 'run'}-1":
            path = f"{key}/" if key else ""
        return cls(task, path, on_difference=on_difference)

    def key_of(self, name: str) -> str:
        """Return the key under which the next call of this name is made."""
        number = self._counts.get(name, 0) + 1
        return self._key(f"{self._turn}.{name}{f'#{number}' if number > 1 else ''}")

    def inside(self, name: str) -> ForeignLoop:
        """Return the loop ``name`` that goes on inside this one, and begins now."""
        number = self._inner[name] = self._inner.get(name, 0) + 1
        path = f"{self.path}{self._turn}.{name}{f'#{number}' if number > 1 else ''}/"
        return ForeignLoop(self.task, path, on_difference=self.on_difference, purse=self.purse)

    async def ask(
        self, perform: Callable[[], Awaitable[object]], request: object, asked: Callable[[], AskedModel]
    ) -> Any:
        """Ask the model, or have what it answered before. ``asked`` says what it may cost, where there is a budget.

        Raises ``BudgetExceeded``.
        """
        key = self._key(f"model-{self._turn + 1}")
        options: dict[str, Any] = {"request": request, "on_difference": self.on_difference}
        if self.purse is None:
            value = plain(await self.task.journal.call(key, perform, **options))
        else:
            value = await self.purse.ask(key, asked(), perform, options)
        self._turn += 1
        self._counts.clear()
        self._inner.clear()
        return value

    async def call(
        self,
        name: str,
        perform: Callable[[], Awaitable[object]],
        *,
        request: object = None,
        effect: CallEffect = "idempotent",
        interrupted: object = INTERRUPTED,
        is_tool: bool = False,
    ) -> Any:
        """Make a call between two answers of the model, or have what came of it before. Budgets are about those of
        tools. Raises ``BudgetExceeded``."""
        options: dict[str, Any] = {"request": request, "effect": effect, "on_difference": self.on_difference}
        if effect == "at_most_once":
            options["interrupted"] = interrupted
        key = self.key_of(name)
        if self.purse is None or not is_tool:
            value = plain(await self.task.journal.call(key, perform, **options))
        else:
            value = await self.purse.call(key, perform, options)
        self._counts[name] = self._counts.get(name, 0) + 1
        return value

    def _key(self, name: str) -> str:
        key = self.path + name
        if len(key) <= MAX_KEY_CHARS:
            return key
        return f"{key[:100]}~{blake2b(key.encode(), digest_size=16).hexdigest()}"
