"""What a workflow as code can wait for: a step, a part of the function that runs beside others, all of several, the first of several.

They are awaited like anything else, and hand themselves to whoever drives the coroutine (``planning.driving``): no event loop is involved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, Generic, TypeVar

from agenticflow.errors import InvalidInput

__all__ = ["Branch", "FirstOf", "Step", "Together", "Waitable"]

T = TypeVar("T")


class Waitable(Generic[T]):
    """Something that ends once, with a value or an error."""

    __slots__ = ("_error", "_value", "is_settled", "waiters")

    def __init__(self) -> None:
        self.is_settled = False
        """Whether it has ended."""
        self.waiters: list[Callable[[Waitable[Any]], None]] = []
        """Who is told, in this order, when it ends."""
        self._value: T | None = None
        self._error: Callable[[], BaseException] | None = None

    def __await__(self) -> Generator[Waitable[Any], None, T]:
        if not self.is_settled:
            yield self
        return self.result()

    def result(self) -> T:
        """Return its value, or raise its error. Raises ``InvalidInput`` before it has ended."""
        if not self.is_settled:
            raise InvalidInput(f"{self!r} has not ended yet", hint="await it")
        if self._error is not None:
            raise self._error()  # anew each time: an exception that is raised again grows its traceback
        return self._value  # type: ignore[return-value]  # a value is a T, which may be None itself

    @property
    def error(self) -> BaseException | None:
        """The error it ended with; ``None`` when it has not ended, or well."""
        return None if self._error is None else self._error()

    def settle(self, value: T | None, error: Callable[[], BaseException] | None = None) -> None:
        """End with ``value``, or with what ``error`` makes, and tell whoever waits. Called by whoever drives, once."""
        self.is_settled = True
        self._value, self._error = value, error
        for waiter in self.waiters:
            waiter(self)
        self.waiters.clear()


class Step(Waitable[Any]):
    """A step that was asked for. It begins at once, awaited or not; awaiting it gives its result, or raises ``StepFailed``."""

    __slots__ = ("_cancel", "key")

    def __init__(self, key: str, cancel: Callable[[str], None]) -> None:
        super().__init__()
        self.key = key
        self._cancel = cancel

    def cancel(self) -> None:
        """Have it cancelled: awaiting it raises ``StepFailed`` with ``reason="cancelled"``. Does nothing when it has ended."""
        if not self.is_settled:
            self._cancel(self.key)

    def __repr__(self) -> str:
        return f"step {self.key!r}"


class Branch(Waitable[Any]):
    """A coroutine that is driven beside others; it stands in ``queue`` when it can go on."""

    __slots__ = ("_queue", "coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], queue: deque[Branch]) -> None:
        super().__init__()
        self.coroutine = coroutine
        self._queue = queue

    def wake(self, _: Waitable[Any]) -> None:
        """What it waited for has ended."""
        self._queue.append(self)

    def __repr__(self) -> str:
        return f"branch {getattr(self.coroutine, '__qualname__', '')!r}"


class Together(Waitable[list[Any]]):
    """Ends when all parts have ended: with their values in order, or with the error of the first part, in this order, that has one."""

    __slots__ = ("_keeps_errors", "_open", "parts")

    def __init__(self, parts: Sequence[Waitable[Any]], *, keeps_errors: bool) -> None:
        super().__init__()
        self.parts = parts
        self._keeps_errors = keeps_errors
        waited_for = {id(part): part for part in parts if not part.is_settled}  # the same one may be given twice
        self._open = len(waited_for)
        for part in waited_for.values():
            part.waiters.append(self._ended)
        if not self._open:
            self._finish()

    def _ended(self, part: Waitable[Any]) -> None:
        self._open -= 1
        if not self._open:
            self._finish()

    def _finish(self) -> None:
        if self._keeps_errors:
            self.settle([part.result() if part.error is None else part.error for part in self.parts])
            return
        failed = next((part for part in self.parts if part.error is not None), None)
        if failed is None:
            self.settle([part.result() for part in self.parts])
        else:
            self.settle(None, failed._error)

    def __repr__(self) -> str:
        return f"all of {len(self.parts)}"


class FirstOf(Waitable[Waitable[Any]]):
    """Ends when one part has ended, with that part; the steps among the others are cancelled when ``cancels_rest``."""

    __slots__ = ("_cancels_rest", "parts")

    def __init__(self, parts: Sequence[Waitable[Any]], *, cancels_rest: bool) -> None:
        super().__init__()
        self.parts = parts
        self._cancels_rest = cancels_rest
        ended = next((part for part in parts if part.is_settled), None)
        if ended is not None:
            self._ended(ended)
            return
        for part in parts:
            part.waiters.append(self._ended)

    def _ended(self, part: Waitable[Any]) -> None:
        if self.is_settled:
            return
        if self._cancels_rest:
            for other in self.parts:
                if other is not part and isinstance(other, Step):
                    other.cancel()
        self.settle(part)

    def __repr__(self) -> str:
        return f"the first of {len(self.parts)}"
