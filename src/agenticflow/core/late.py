"""What is looked up when first asked for: doors that a floor needs and a higher one has, and the names of a room.

Who stands behind a door is said by the front door. So an agent can use a tool, and a tool stand behind a circuit breaker, without an import
that points up and without an application that has to be put together first. A room whose names are looked up late costs who needs one of
its modules that module only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar, cast

from agenticflow.errors import InvariantError

__all__ = ["Late", "fill", "names_of"]

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


def names_of(room: dict[str, object], homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of the package whose ``globals()`` are ``room``: a name comes from its home, the module that ``homes`` has
    it under, and stays. Raises ``AttributeError`` for any other name."""
    home_of = {name: home for home, names in homes.items() for name in names}

    def find(name: str) -> object:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {room['__name__']!r} has no attribute {name!r}")
        value: object = getattr(importlib.import_module(home), name)
        room[name] = value
        return value

    return find
