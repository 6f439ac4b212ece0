"""Payload versions and the upcasters that bring old payloads to the present on read.

A stored payload never changes. Each event type has a current version; ``upcaster(type, from_version)`` registers the step to
the next one, and reading applies the steps in order. A payload newer than the code is an error, not a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agenticflow.errors import DefinitionError, PermanentError

__all__ = ["SchemaRegistry", "Upcaster"]

Upcaster = Callable[[dict[str, object]], Mapping[str, object]]
"""Takes a payload of one version, returns that of the next. Must be pure."""


class SchemaRegistry:
    """Current versions and upcasters by event type. Types never mentioned are at version 1."""

    __slots__ = ("_current", "_steps")

    def __init__(self) -> None:
        self._current: dict[str, int] = {}
        self._steps: dict[tuple[str, int], Upcaster] = {}

    def upcaster(self, event_type: str, from_version: int) -> Callable[[Upcaster], Upcaster]:
        """Register the decorated function as the step from ``from_version`` to the next of ``event_type``.

        Raises ``DefinitionError`` for a version below 1 or a step registered twice.
        """
        if from_version < 1:
            raise DefinitionError(
                f"versions start at 1, not {from_version}", hint="the first upcaster is from version 1"
            )

        def register(step: Upcaster) -> Upcaster:
            if (event_type, from_version) in self._steps:
                raise DefinitionError(
                    f"{event_type!r} has an upcaster from version {from_version} already",
                    hint="keep one step per version",
                )
            self._steps[event_type, from_version] = step
            self._current[event_type] = max(self._current.get(event_type, 1), from_version + 1)
            return step

        return register

    def current_version(self, event_type: str) -> int:
        """Return the version that today's code writes."""
        return self._current.get(event_type, 1)

    def upcast(self, event_type: str, version: int, payload: dict[str, object]) -> dict[str, object]:
        """Return ``payload`` in the current version. Raises ``PermanentError`` when no way leads there."""
        target = self.current_version(event_type)
        if version > target:
            raise PermanentError(
                f"{event_type!r} was written in version {version}, this program knows up to {target}",
                hint="read it with the release that wrote it, or a later one",
            )
        while version < target:
            step = self._steps.get((event_type, version))
            if step is None:
                raise PermanentError(
                    f"no upcaster leads {event_type!r} from version {version} to {target}",
                    hint=f"register one with upcaster({event_type!r}, {version})",
                )
            payload = dict(step(payload))
            version += 1
        return payload
