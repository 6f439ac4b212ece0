"""What can be true of the shared state of one agent, and what can be asked of it: a small pure decider.

The stream ``state-<agent id>`` holds every value a key ever had; the state is the last one of each. A key has a version of its own,
the number of its modifications: whoever modifies says which version was seen, and is refused when it is not the current one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.core.guests import decode_snapshot
from agenticflow.core.ids import check_id
from agenticflow.errors import BoundExceeded, ConcurrencyConflict, InvalidInput

__all__ = [
    "STATE_FACTS",
    "ModifyState",
    "SharedState",
    "SharedStateDecider",
    "StateModified",
    "check_key",
    "stream_of_state",
]

MAX_KEYS: Final = 1_000
MAX_KEY_CHARS: Final = 200
STREAM: Final = "state-"


class StateModified(Fact, frozen=True):
    """A key of an agent's shared state has a new value."""

    event_type: ClassVar[str] = "state_modified"
    stream: ClassVar[str] = "state-<agent id>"
    key: str
    version: int
    """Of the key: 1 for its first value."""
    value: msgspec.Raw
    """The whole value, or the reference to a large one."""


class ModifyState(Command, frozen=True, kw_only=True):
    """Give ``key`` the encoded ``value``, if it is still at the version that was ``seen``."""

    key: str
    seen: int
    value: bytes


STATE_FACTS: Final = FactCodec([StateModified])


class SharedState:
    """Version and encoded value of each key."""

    __slots__ = ("keys", "size_bytes", "stream_id")

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.keys: dict[str, tuple[int, bytes]] = {}
        self.size_bytes = 0
        """Of all values as they are kept here."""

    def get(self, key: str) -> tuple[int, bytes]:
        """Return version and encoded value; 0 and null for a key that never had one."""
        return self.keys.get(key, (0, codec.NULL))


class SharedStateDecider:
    """Decides over the stream of one agent's shared state."""

    codec: FactCodec = STATE_FACTS

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> SharedState:
        """Return the state before the first event, or as it was in ``snapshot``. Raises ``CorruptStore``."""
        state = SharedState(stream_id)
        if snapshot is not None:
            state.keys = decode_snapshot(stream_id, snapshot, dict[str, tuple[int, bytes]])
            state.size_bytes = sum(len(value) for _, value in state.keys.values())
        return state

    def snapshot(self, state: SharedState) -> bytes:
        """Return the state in a form ``initial`` takes."""
        return msgspec.msgpack.encode(state.keys)

    def decide(self, state: SharedState, command: Command) -> Sequence[Fact]:
        """Return the modification, or refuse it.

        Raises ``ConcurrencyConflict`` when the key has moved on, ``BoundExceeded`` for one key too many, ``InvalidInput`` for what is no
        key or no such command.
        """
        if not isinstance(command, ModifyState):
            raise InvalidInput(f"shared state takes no {type(command).__name__}", hint="it takes ModifyState")
        key = command.key
        check_key(key)
        version = state.get(key)[0]
        if version != command.seen:
            raise ConcurrencyConflict(f"{state.stream_id}#{key}", command.seen, version)
        if version == 0 and len(state.keys) >= MAX_KEYS:
            raise BoundExceeded(
                f"{state.stream_id!r} has {len(state.keys):,} keys, the limit is {MAX_KEYS:,}",
                hint="keep a dict under one key, or use a memory for many values",
            )
        return [StateModified(key, version + 1, msgspec.Raw(command.value))]

    def advance(self, state: SharedState, now: int) -> Sequence[Fact]:
        """Nothing follows by itself."""
        return ()

    def evolve(self, state: SharedState, fact: Fact, version: int, at: int) -> None:
        """Take ``fact`` into the state."""
        assert isinstance(fact, StateModified)
        before = state.keys.get(fact.key)
        value = bytes(fact.value)
        state.keys[fact.key] = (fact.version, value)
        state.size_bytes += len(value) - (0 if before is None else len(before[1]))


def check_key(key: str) -> None:
    """Refuse what is no key. Raises ``InvalidInput``."""
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARS or not key.isprintable():
        raise InvalidInput(
            f"{key!r:.80} is no key of shared state", hint=f"use 1 to {MAX_KEY_CHARS} printable characters"
        )


def stream_of_state(agent_id: str) -> str:
    """Return where the shared state of the agent is. Raises ``InvalidInput`` for what is no agent id."""
    check_id(agent_id, "an agent")
    if len(agent_id) > 200 or "/" in agent_id:
        raise InvalidInput(
            f"{agent_id!r:.60} is no id of an agent", hint='write modify_state("analyst", "key", function)'
        )
    return f"{STREAM}{agent_id}"
