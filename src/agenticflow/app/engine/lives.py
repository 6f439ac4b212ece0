"""The lives of processes over one store: whether the one before has stopped, or died while it ran executions.

While a process performs runs, a value in the store says so; a stop takes it away before anything is drained. Who finds the value of another
has taken up a store whose process died. A process that is killed while it stops has stopped: that says nothing about its handlers.
"""

from __future__ import annotations

import logging
import os
from typing import Final

import msgspec

from agenticflow.config import EngineSettings
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.engine import ProcessDeath
from agenticflow.errors import AgenticFlowError, InvalidInput
from agenticflow.storage.store import Store

__all__ = ["Lives", "check_lost_limit", "check_setting"]

log = logging.getLogger("agenticflow.engine")

NAMESPACE: Final = "engine"
KEY: Final = "life"


FEWEST: Final = 2
MOST: Final = 1_000
"""Of processes that a task may lose; as the setting has it. With one, whatever was in work when a process died would be put aside."""


def check_lost_limit(given: object) -> None:
    """Raise ``InvalidInput`` for what is no number of processes a task may lose."""
    if isinstance(given, bool) or not isinstance(given, int) or not FEWEST <= given <= MOST:
        raise InvalidInput(
            f"max_lost_processes is {given!r:.80}", hint=f"give a whole number from {FEWEST} to {MOST:,}"
        )


def check_setting(name: str, given: object) -> None:
    """Raise ``InvalidInput`` for what the setting ``engine.<name>`` cannot be; ``None`` leaves it to the settings."""
    if given is None:
        return
    try:
        msgspec.convert({name: given}, EngineSettings)
    except msgspec.ValidationError as error:
        words = str(error).partition(" - at ")[0].replace("`", "").replace("Expected", "give")
        raise InvalidInput(f"{name} is {given!r:.80}", hint=words) from None


class _Life(msgspec.Struct, frozen=True):
    life: str
    pid: int
    began_at: int


class Lives:
    """The life of this process over ``store``."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._life: _Life | None = None

    async def begin(self, limit: int) -> ProcessDeath | None:
        """Say that this process performs runs from now on; return the death of the one before, if it has not stopped.

        ``limit`` is how many processes an attempt may lose.
        """
        now = self._clock.now_ns()
        found = await self._store.get_value(NAMESPACE, KEY, now=now)
        self._life = _Life(ambient.ids.next_id(), os.getpid(), now)
        await self._store.put_value(NAMESPACE, KEY, msgspec.msgpack.encode(self._life), now=now)
        if found is None:
            return None
        before = msgspec.msgpack.decode(found.value, type=_Life)
        log.info("the process %d that ran this store has died; what it had in work is suspected", before.pid)
        return ProcessDeath(before.life, before.began_at, before.pid, limit)

    async def end(self) -> None:
        """Say that this process has stopped; whatever is cut off from now on was not its doing. A second call does nothing."""
        life, self._life = self._life, None
        if life is None:
            return
        try:
            found = await self._store.get_value(NAMESPACE, KEY, now=self._clock.now_ns())
            if found is not None and found.value == msgspec.msgpack.encode(life):
                await self._store.delete_value(NAMESPACE, KEY, expected_version=found.version)
        except AgenticFlowError as error:
            log.warning("the stop could not be recorded, the next start will take it for a death: %s", error)
