"""The ports of what guards calls and attempts: turns under a rate, and circuit breakers. ``app.tools.guarding`` stands behind ``Guards``.

Guards are shared by name in the process, whoever asks: the first to name one says its numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from agenticflow.core.late import Late
from agenticflow.core.results import Outcome

__all__ = ["AttemptEnded", "AttemptGuard", "Guards", "Leave", "guards"]

Leave = Callable[[BaseException | None], None]
"""Is told, once, how a guarded call ended: with an error or, ``None``, well."""
AttemptEnded = Callable[[Outcome | None], None]
"""Is told, once, how a guarded attempt ended; ``None``: its handler did not begin, or was interrupted by the stop of the engine."""


class AttemptGuard(Protocol):
    """Stands before the handlers of a performer."""

    def enter(self) -> AttemptEnded:
        """Let an attempt begin; whoever runs it says to what is returned how it ended.

        Raises ``CircuitOpen`` while nothing may begin, ``DefinitionError`` when what guards it has other numbers already.
        """


class Guards(Protocol):
    """Lets calls through, or not."""

    async def turn(self, name: str, rate: int, per_seconds: float, *, timeout_seconds: float) -> None:
        """Return when it is this call's turn among at most ``rate`` in any ``per_seconds``.

        Raises ``ResourceExhausted`` at once when that would take longer than ``timeout_seconds``, ``DefinitionError`` when ``name`` has
        other numbers already. Cancelled, the turn goes to the next one.
        """

    def enter(
        self, name: str, failure_threshold: int, window_seconds: float, recovery_seconds: float, max_probes: int
    ) -> Leave:
        """Let a call behind the breaker ``name``; whoever calls says to what is returned how it ended.

        Raises ``CircuitOpen`` while it lets nothing through, ``DefinitionError`` when ``name`` has other numbers already.
        """


guards: Final[Late[Guards]] = Late("guards")
