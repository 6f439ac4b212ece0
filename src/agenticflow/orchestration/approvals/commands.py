"""What can be asked of a request to people. Data only."""

from __future__ import annotations

from typing import ClassVar

from agenticflow.core.decider import Command

__all__ = ["Approve", "Delegate", "Reject"]


class Approve(Command, frozen=True, kw_only=True):
    """A person says yes. ``result`` (encoded ``{"approved", "by", "comment", "value"}``) is what the task is completed with."""

    words: ClassVar[str] = "approval"
    task_key: str
    requested_by: str
    comment: str = ""
    result: bytes = b"\xc0"
    token: int | None = None
    """Of the request that is meant; ``None`` for whatever the task asks now."""


class Reject(Command, frozen=True, kw_only=True):
    """A person says no."""

    words: ClassVar[str] = "rejection"
    task_key: str
    requested_by: str
    comment: str = ""
    token: int | None = None


class Delegate(Command, frozen=True, kw_only=True):
    """A person who may answer hands that to another."""

    words: ClassVar[str] = "delegation"
    task_key: str
    requested_by: str
    to: str
    comment: str = ""
    token: int | None = None
