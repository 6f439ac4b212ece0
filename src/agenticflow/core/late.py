"""Doors that a floor needs and a higher one has: who stands behind each is said by the front door and looked up when first asked for.

So an agent can use a tool, and a tool stand behind a circuit breaker, without an import that points up and without an application that
has to be put together first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar, cast

from agenticflow.errors import InvariantError

__all__ = ["Late", "fill"]

T = TypeVar("T")
_LOADERS: Final[dict[str, Callable[[], object]]] = {}


def fill(name: str, load: Callable[[], object]) -> None:
    """Have ``load`` say who stands behind the door ``name``, whoever asks first."""
    _LOADERS[name] = load


class Late(Generic[T]):
    """The door ``name``, for what looks like ``T``. ``get`` asks once and remembers."""

    __slots__ = ("_found", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._found: T | None = None

    def get(self) -> T:
        """Return who stands behind the door. Raises ``InvariantError`` when nobody was named."""
        if self._found is None:
            load = _LOADERS.get(self.name)
            if load is None:
                raise InvariantError(f"nobody stands behind the door {self.name!r}, which `import agenticflow` fills")
            self._found = cast("T", load())
        return self._found
