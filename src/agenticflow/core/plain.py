"""Plain functions as they are called in threads: what they raise has to reach whoever waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["called"]

T = TypeVar("T")


def called(function: Callable[..., T], /, *args: Any, **options: Any) -> T:
    """Call ``function``. A ``StopIteration``, from ``next(…)`` of an empty iterator, becomes a ``RuntimeError``, as in coroutines.

    PEP 479. No future takes a ``StopIteration``: whoever waits for the thread would wait for ever.
    """
    try:
        return function(*args, **options)
    except StopIteration as error:
        raise RuntimeError("the function raised StopIteration") from error
