"""The door of the process that owns a store: operations come in by name, and are carried out one by one.

They come from the owner's socket, or straight from a program that has just taken the lock.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import msgspec

from agenticflow.app.commands import budgets as b
from agenticflow.app.commands import operations as o
from agenticflow.app.commands import schedules as s
from agenticflow.app.commands.operation import Operation, Steered
from agenticflow.errors import AgenticFlowError, InvalidInput, InvariantError
from agenticflow.runtime.ownership import CommandServer, Ownership
from agenticflow.storage.store import Store

__all__ = ["carry_out", "open_door"]

log = logging.getLogger("agenticflow.engine")


_OPERATIONS: Final[dict[str, type[Operation]]] = {
    operation.name: operation
    for operation in (
        *(
            o.Start,
            o.Signal,
            o.Approve,
            o.Reject,
            o.Pause,
            o.Unpause,
            o.Cancel,
            o.CancelTask,
            o.Resume,
            o.Fork,
            o.Resolve,
        ),
        o.Intervene,
        *(o.AnswerRequest, o.RejectRequest, o.DelegateRequest, o.RetryLetter, o.DiscardLetter),
        *(o.Compact, o.Waits, o.Why, o.Liveness, o.Ping, o.Metrics),
        *(b.OpenBudget, b.ChangeBudget, b.CloseBudget, b.SettleCall, b.ReleaseCall),
        *(s.CreateSchedule, s.PauseSchedule, s.ResumeSchedule, s.DeleteSchedule, s.TriggerSchedule),
    )
}


async def carry_out(orchestrator: Steered, name: str, arguments: Mapping[str, object]) -> dict[str, object]:
    """Carry out the operation called ``name``. Raises ``InvalidInput`` for an unknown one or wrong arguments."""
    kind = _OPERATIONS.get(name)
    if kind is None:
        raise InvalidInput(f"there is no operation {name!r}", hint=f"there are {', '.join(_OPERATIONS)}")
    try:
        operation = msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the operation {name!r} does not take these arguments: {error}") from error
    return await operation.carry_out(orchestrator)


async def open_door(store: Store, orchestrator: Steered) -> CommandServer | None:
    """Answer commands of other processes as long as this one owns ``store``; ``None`` when the store is not owned by a process."""
    ownership = getattr(store, "ownership", None)
    if not isinstance(ownership, Ownership):
        return None

    async def answer(name: str, arguments: dict[str, object]) -> object:
        try:
            return await carry_out(orchestrator, name, arguments)
        except AgenticFlowError:
            raise
        except Exception as error:
            log.exception("the operation %r of another process failed", name)
            raise InvariantError(f"the owner failed at {name!r}: {type(error).__name__}: {error}") from error

    door = CommandServer(ownership, answer)
    await door.start()
    return door
