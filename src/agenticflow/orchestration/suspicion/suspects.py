"""A task whose attempts have lost processes: part of a run's state; only the fold changes it."""

from __future__ import annotations

import msgspec

from agenticflow.core.engine import Caution

__all__ = ["Loss", "Suspect"]


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """A process that died while an attempt was in work. Moments in nanoseconds since the epoch."""

    life: str
    began_at: int
    noticed_at: int
    """By the process after it: when exactly it died nobody has seen."""
    pid: int
    attempt: int


class Suspect(msgspec.Struct):
    """What is known of one suspected task."""

    task_key: str
    limit: int
    losses: list[Loss] = []
    is_released: bool = False
    """Whether a person lets it run again after its time in quarantine: the count has begun anew, the suspicion has not."""
    token: int = 0
    """Version of the event that put it in quarantine; 0 while it is not there."""
    since: int = 0
    """When that was."""
    is_open: bool = False
    """Whether it is in quarantine."""

    @property
    def caution(self) -> Caution:
        """With how much care the next attempt is run: what may lose no more than one process, beside no other suspect."""
        return 2 if self.is_released or len(self.losses) >= self.limit - 1 else 1

    def counts(self, life: str) -> bool:
        """Whether the death of this process is counted already."""
        return any(loss.life == life for loss in self.losses)
