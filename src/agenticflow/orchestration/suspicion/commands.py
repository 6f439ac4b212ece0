"""What can be asked about attempts whose process has ended, and about tasks in quarantine. Data only."""

from __future__ import annotations

from typing import ClassVar

from agenticflow.core.decider import Command
from agenticflow.core.engine import ProcessDeath

__all__ = ["DiscardLetter", "ProcessDied", "RetryLetter", "SuspectsInterrupted"]


class ProcessDied(Command, frozen=True, kw_only=True):
    """The process that ran this has died."""

    death: ProcessDeath


class SuspectsInterrupted(Command, frozen=True, kw_only=True):
    """The process that ran this was stopped."""


class RetryLetter(Command, frozen=True, kw_only=True):
    """A person lets a task in quarantine run again. ``token`` tells which of its times in quarantine is meant."""

    words: ClassVar[str] = "retry of a dead letter"
    task_key: str
    token: int
    requested_by: str
    reason: str = ""


class DiscardLetter(Command, frozen=True, kw_only=True):
    """A person gives a task in quarantine up: it has failed for good."""

    words: ClassVar[str] = "discarding of a dead letter"
    task_key: str
    token: int
    requested_by: str
    reason: str = ""
