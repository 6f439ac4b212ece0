"""Plain functions, as opposed to async ones: which these are, and how they are called in threads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["called", "is_async"]

T = TypeVar("T")


def is_async(function: Callable[..., object]) -> bool:
    """Whether calling ``function``, or an object that can be called, makes something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def called(function: Callable[..., T], /, *args: Any, **options: Any) -> T:
    """Call ``function``. A ``StopIteration``, from ``next(…)`` of an empty iterator, becomes a ``RuntimeError``, as in coroutines.

    PEP 479. No future takes a ``StopIteration``: whoever waits for the thread would wait for ever.
    """
    try:
        return function(*args, **options)
    except StopIteration as error:
        raise RuntimeError("the function raised StopIteration") from error
