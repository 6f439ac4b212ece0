"""What guests of the engine share: how a snapshot is read, and what the engine asks of those that have no tasks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from agenticflow.core.decider import Fact
from agenticflow.core.engine import ActivityInput, Effect, Guest, GuestState, ProcessDeath, Recovery
from agenticflow.errors import CorruptStore, InvariantError

__all__ = ["TasklessGuest", "decode_snapshot", "read_snapshot"]


class _Saved(Protocol):
    @property
    def form(self) -> int:
        """The edition of its shape."""


S = TypeVar("S", bound=GuestState)
D = TypeVar("D", bound=_Saved)
T = TypeVar("T")


class TasklessGuest(Guest[S]):
    """A guest whose streams are written by commands alone: nobody performs anything for it, and a crash leaves nothing of it open."""

    def effects(self, state: S, fact: Fact, version: int) -> Sequence[Effect]:
        return ()

    def recover(self, state: S, now: int, died: ProcessDeath | None = None) -> Recovery:
        """Nothing: whoever wrote to it asks again."""
        return Recovery((), ())

    def is_in_work(self, state: S, token: int) -> bool:
        return False

    def inputs(self, state: S, task_key: str) -> ActivityInput:
        raise InvariantError(f"the {self.kind} {state.stream_id!r} has no tasks, nobody can perform {task_key!r}")


def decode_snapshot(stream_id: str, data: bytes, saved: type[T]) -> T:
    """Return what ``data``, a snapshot of ``stream_id`` whose form is known otherwise, says. Raises ``CorruptStore`` when it is none."""
    try:
        return msgspec.msgpack.decode(data, type=saved)
    except msgspec.DecodeError as error:
        raise CorruptStore(f"the snapshot of {stream_id!r} cannot be read: {error}") from error


def read_snapshot(stream_id: str, data: bytes, saved: type[D], form: int) -> D:
    """Return what ``data``, a snapshot of ``stream_id``, says. Raises ``CorruptStore`` when it is none, or not of this form."""
    found = decode_snapshot(stream_id, data, saved)
    if found.form != form:
        raise CorruptStore(f"the snapshot of {stream_id!r} has form {found.form}, this program knows {form}")
    return found
