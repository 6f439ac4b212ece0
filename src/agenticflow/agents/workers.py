"""Workers: stateless functions with a name. ``@worker("reserve_stock")`` makes one; a task names it as its agent, without a type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Generic, ParamSpec, TypeVar

from agenticflow.core.binding import CHECK_SECONDS, Check, Handler
from agenticflow.core.results import CheckAnswer, Outcome
from agenticflow.errors import DefinitionError

__all__ = ["Worker", "worker"]

P = ParamSpec("P")
R = TypeVar("R")
DEFAULT_CONCURRENCY: Final = 1_000


class Worker(Generic[P, R]):
    """A function that performs tasks. Calling it calls the function."""

    __slots__ = ("__weakref__", "_handler", "concurrency", "function", "name")

    def __init__(self, name: str, function: Callable[P, R], *, run_in: str | None = None, concurrency: int) -> None:
        self.name = name
        self.function = function
        self.concurrency = concurrency
        self._handler = Handler(function, name=name, run_in=run_in)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def check_with(self, check: Check) -> None:
        """Ask ``check`` whether its work has happened, when nobody knows."""
        self._handler.check = check

    @property
    def performer_id(self) -> str:
        return self.name

    @property
    def task_types(self) -> frozenset[str]:
        """The types of tasks it performs: its one job may be named or left out."""
        return frozenset({self.name})

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset()  # it has one job, and is named for it

    def handler_for(self, task_type: str) -> Handler | None:
        return self._handler if task_type in ("", self.name) else None

    def work_began(self, in_flight: int, now: int) -> None:
        """A worker has no state to move."""

    def work_ended(self, in_flight: int, now: int, outcome: Outcome | None) -> None:
        """A worker has no state to move."""

    def told(self, event_type: str, now: int) -> None:
        """A worker has no state to move."""

    def __repr__(self) -> str:
        return f"Worker({self.name!r})"


def worker(
    name: str,
    *,
    run_in: str | None = None,
    concurrency: int = DEFAULT_CONCURRENCY,
    check: Callable[..., CheckAnswer | Awaitable[CheckAnswer]] | None = None,
    check_timeout_seconds: float = CHECK_SECONDS,
) -> Callable[[Callable[P, R]], Worker[P, R]]:
    """Make a worker of the decorated function: ``@worker("reserve_stock")``.

    ``run_in``, ``check`` and its time as for ``Agent.task``. Raises ``DefinitionError`` when the name is missing.
    """
    if not isinstance(name, str) or not name or "/" in name:
        raise DefinitionError(
            f"@worker got {getattr(name, '__name__', name)!r}, not a name",
            hint='write @worker("reserve_stock") above the function',
        )

    def make(function: Callable[P, R]) -> Worker[P, R]:
        made = Worker(name, function, run_in=run_in, concurrency=concurrency)
        if check is not None:
            made.check_with(Check.of(Handler(check, name=f"check of {name}"), check_timeout_seconds))
        return made

    return make
