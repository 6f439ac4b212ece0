"""Gates from the side of those who ask: an attempt gets its permits, one after the other in an order common to all, and gives them back.

The gates themselves are executions of the engine (``resilience.gate``): who holds what is in the store. After a crash attempts ask again
and have what they had; what belongs to nobody any more is released by ``clear``.

Nearly always there is nothing to wait for. Then a permit is had in the transaction that schedules the attempt, and given back in that of
its end (``_Entry`` and ``_Exit``, see ``runtime.turns.sequels``); what cannot be done so is asked for and told as said above.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, Final

from agenticflow.core.clocks import Clock
from agenticflow.core.decider import Command
from agenticflow.core.engine import Permit, RunActivity
from agenticflow.errors import (
    AgenticFlowError,
    CommandRefused,
    ConcurrencyConflict,
    OutcomeUnknown,
    TemporaryError,
    WorkflowNotFoundError,
)
from agenticflow.resilience.gate import Acquire, GateState, Release
from agenticflow.runtime.actors import Answer
from agenticflow.runtime.failpoints import reach
from agenticflow.runtime.host import Host
from agenticflow.storage.store import Store

__all__ = ["Gatekeeper"]

log = logging.getLogger("agenticflow.engine")

KIND: Final = "gate"
CACHED_GATES: Final = 10_000
RETRY_SECONDS: Final = 0.2
PAGE: Final = 1_000


class _Entry:
    """The request for the only permit of an attempt that is scheduled along with it, if nobody has to wait for it."""

    __slots__ = ("_gates", "_let_in", "command", "effect", "stream_id")

    def __init__(
        self, gates: Gatekeeper, gate: str, effect: RunActivity, command: Acquire, let_in: Callable[[], None]
    ) -> None:
        self._gates = gates
        self._let_in = let_in
        self.stream_id = gate
        self.effect = effect
        self.command = command

    def taken(self) -> None:
        self._gates.entered(self.command.holder, self.stream_id)
        self._let_in()


class _Exit:
    """What gives a permit back along with the report of the end of its attempt."""

    __slots__ = ("_gates", "command", "stream_id")

    effect = None

    def __init__(self, gates: Gatekeeper, gate: str, command: Release) -> None:
        self._gates = gates
        self.stream_id = gate
        self.command = command

    def taken(self) -> None:
        self._gates.left(self.command.holder, self.stream_id)


class Gatekeeper:
    """Asks gates in the name of attempts."""

    def __init__(self, host: Host, store: Store, clock: Clock) -> None:
        self._host = host
        self._store = store
        self._clock = clock
        self._run_nos: OrderedDict[str, int] = OrderedDict()
        self._waiting: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._held: dict[str, list[str]] = {}
        """Of each holder: the streams of the gates it asked."""
        self._coming: Counter[str] = Counter()
        """Of each key: how many are on their way to ask for it, who are not to be overtaken."""

    def waits(self, stream_id: str, token: int) -> bool:
        """Whether the attempt waits for a permit."""
        holder = _holder(stream_id, token)
        return any(holder == waiting for _, waiting in self._waiting)

    def waiting(self) -> list[tuple[str, str, int]]:
        """Return who waits here to be let in: the stream of the gate, the stream of the attempt, its token."""
        found: list[tuple[str, str, int]] = []
        for (gate, holder), granted in self._waiting.items():
            if not granted.done():
                stream_id, _, token = holder.rpartition("@")
                found.append((gate, stream_id, int(token)))
        return found

    def announce(self, permits: tuple[Permit, ...]) -> Callable[[object], None]:
        """Somebody is about to ask for ``permits``: return what is to be called when that is over, whatever came of it."""
        keys = [permit.key for permit in permits]
        self._coming.update(keys)

        def is_over(_: object) -> None:
            self._coming.subtract(keys)
            for key in keys:
                if not self._coming[key]:
                    del self._coming[key]

        return is_over

    def foresee(self, stream_id: str, effect: RunActivity, let_in: Callable[[], None]) -> _Entry | None:
        """Return how the attempt of ``effect``, which is not committed yet, gets its permit along with that, ``None`` when it needs several
        or has to wait for something. ``let_in`` is called when it has it."""
        if len(effect.permits) != 1:
            return None
        permit = effect.permits[0]
        run_no = self._run_nos.get(permit.key)
        if run_no is None or permit.key in self._coming:
            return None
        gate = _gate_of(permit.key, run_no)
        state: GateState | None = self._host.actors.peek(gate)
        if state is None or state.queue:
            return None
        self._remember(permit.key, run_no)
        command = Acquire(
            now=self._clock.now_ns(),
            holder=_holder(stream_id, effect.token),
            permit=permit,
            priority=effect.priority,
            at_once=True,
        )
        return _Entry(self, gate, effect, command, let_in)

    def entered(self, holder: str, gate: str) -> None:
        """The attempt has its only permit."""
        self._held[holder] = [gate]

    def leaving(self, stream_id: str, token: int) -> list[_Exit]:
        """Return how the attempt gives back what it holds along with its end, which is about to be reported. ``release`` does the rest."""
        holder = _holder(stream_id, token)
        reach("gates.before_release")
        command = Release(now=self._clock.now_ns(), holder=holder)
        return [_Exit(self, gate, command) for gate in self._held.get(holder, ())]

    def left(self, holder: str, gate: str) -> None:
        """The attempt has given this permit back."""
        if (held := self._held.get(holder)) is not None:
            held.remove(gate)
            if not held:
                del self._held[holder]

    async def acquire(self, stream_id: str, token: int, permits: tuple[Permit, ...], priority: int) -> None:
        """Return when the attempt has all its ``permits``. Cancelled, it may have some: ``release`` gives them back.

        Raises ``CommandRefused`` when too many wait already.
        """
        holder = _holder(stream_id, token)
        asked = self._held.setdefault(holder, [])
        for permit in permits:
            while True:
                try:
                    await self._acquire(holder, asked, permit, priority)
                    break
                except TemporaryError as error:
                    # The store cannot be read for a while: that delays the attempt, and is no outcome of it.
                    await self._try_again(holder, asked, error)

    async def _acquire(self, holder: str, asked: list[str], permit: Permit, priority: int) -> None:
        command = Acquire(now=self._clock.now_ns(), holder=holder, permit=permit, priority=priority)
        while True:
            gate = await self._gate(permit.key)
            granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[gate, holder] = granted
            asked.append(gate)
            try:
                answer = await self._ask(gate, command, asked)
                if answer is not None:
                    if not granted.done() and not answer.facts and await self._has(gate, holder):
                        return
                    await granted
                    return
            finally:
                del self._waiting[gate, holder]
                if granted.done() and not granted.cancelled():
                    granted.exception()  # it may have been given up while nobody waited
            asked.remove(gate)
            self._remember(permit.key, int(gate.rpartition("/")[2]) + 1)

    async def _ask(self, gate: str, command: Acquire, asked: list[str]) -> Answer | None:
        """Have the request recorded, however long the store takes to come back; ``None`` when this stream of the gate is closed."""
        while True:
            try:
                return await self._host.submit(gate, command)
            except CommandRefused:
                if await self._is_closed(gate):
                    return None
                raise
            except (ConcurrencyConflict, OutcomeUnknown, TemporaryError) as error:
                await self._try_again(command.holder, asked, error)

    async def _try_again(self, holder: str, asked: list[str], error: AgenticFlowError) -> None:
        """Wait a moment. Raises ``error`` when the engine stops, ``CommandRefused`` when nobody wants the permit any more: what was told
        to give it back may have been told before it was asked for."""
        if self._host.is_closing:
            raise error
        log.warning("cannot ask for a permit of %s, trying again: %s", holder, error)
        await asyncio.sleep(RETRY_SECONDS)
        if self._held.get(holder) is not asked:
            raise CommandRefused(f"{holder!r} does not want its permits any more")

    def granted(self, gate: str, holder: str) -> None:
        """The gate has let ``holder`` in."""
        future = self._waiting.get((gate, holder))
        if future is not None and not future.done():
            future.set_result(None)

    def release(self, stream_id: str, token: int) -> None:
        """Give back what the attempt holds, and wait for nothing more in its name."""
        holder = _holder(stream_id, token)
        for gate in self._held.pop(holder, ()):
            waiting = self._waiting.get((gate, holder))
            if waiting is not None and not waiting.done():
                waiting.set_exception(CommandRefused(f"{holder!r} does not want the permit of {gate!r} any more"))
            self._tell(gate, Release(now=self._clock.now_ns(), holder=holder))

    def _tell(self, gate: str, command: Command) -> None:
        reach("gates.before_release")
        self._host.tell(gate, command)

    async def clear(self) -> int:
        """After a start: release what belongs to attempts that are over; return how many."""
        cleared = 0
        after: str | None = None
        while rows := await self._store.list_runs(kind=KIND, is_open=True, after=after, limit=PAGE):
            for row in rows:
                state: GateState = await self._host.read(row.stream_id)
                holders = [*state.holders, *(waiting.holder for waiting in state.queue)]
                for holder in holders:
                    if not await self._is_in_work(holder):
                        self._tell(row.stream_id, Release(now=self._clock.now_ns(), holder=holder))
                        cleared += 1
            after = rows[-1].stream_id
        return cleared

    async def _is_in_work(self, holder: str) -> bool:
        stream_id, _, token = holder.rpartition("@")
        try:
            return await self._host.is_in_work(stream_id, int(token))
        except (WorkflowNotFoundError, ValueError):
            return False
        except AgenticFlowError as error:
            log.warning("cannot tell whether %s is still in work, it keeps its permits: %s", holder, error)
            return True

    async def _has(self, gate: str, holder: str) -> bool:
        state: Any = await self._host.read(gate)
        return holder in state.holders

    async def _is_closed(self, gate: str) -> bool:
        state: Any = await self._host.read(gate)
        return not state.is_open

    async def _gate(self, key: str) -> str:
        """Return the stream in which the gate of ``key`` goes on."""
        run_no = self._run_nos.get(key)
        if run_no is None:
            row = await self._store.get_run(key, kind=KIND)
            run_no = 1 if row is None else row.run_no
        self._remember(key, run_no)
        return _gate_of(key, run_no)

    def _remember(self, key: str, run_no: int) -> None:
        self._run_nos[key] = run_no
        self._run_nos.move_to_end(key)
        while len(self._run_nos) > CACHED_GATES:
            self._run_nos.popitem(last=False)


def _gate_of(key: str, run_no: int) -> str:
    return f"{KIND}-{key}/{run_no}"


def _holder(stream_id: str, token: int) -> str:
    return f"{stream_id}@{token}"
