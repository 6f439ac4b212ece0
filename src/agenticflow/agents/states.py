"""The state machine of an agent: a table of transitions, pure and small.

An event without a matching transition is handled in the current state; only a transition somebody demands (``transition_to``) can be
illegal. Times and recording are the business of whoever holds the machine.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from agenticflow.errors import IllegalTransition

__all__ = ["DEFAULT_TRANSITIONS", "AgentState", "StateMachine", "StateTransition"]


class AgentState(enum.StrEnum):
    """Where an agent stands."""

    IDLE = "IDLE"
    PROCESSING = "PROCESSING"
    """At least one task is in work."""
    WAITING_RESOURCE = "WAITING_RESOURCE"
    WAITING_APPROVAL = "WAITING_APPROVAL"
    ERROR = "ERROR"
    SUSPENDED = "SUSPENDED"
    """Takes no work until it is resumed."""


class StateTransition(msgspec.Struct, frozen=True):
    """From ``from_state`` (``None`` is any) to ``to_state`` on ``event_type``, when ``condition(payload)`` holds.

    ``to_state=None`` leads back to the state before the last transition into ``from_state``.
    """

    from_state: AgentState | None
    to_state: AgentState | None
    event_type: str
    condition: Callable[[Mapping[str, object]], bool] | None = None


_S = AgentState
DEFAULT_TRANSITIONS: Final = (
    StateTransition(_S.IDLE, _S.PROCESSING, "task_assigned"),
    StateTransition(_S.PROCESSING, _S.IDLE, "task_completed"),
    StateTransition(_S.PROCESSING, _S.IDLE, "attempt_ended"),
    StateTransition(_S.PROCESSING, _S.WAITING_APPROVAL, "approval_required"),
    StateTransition(_S.WAITING_APPROVAL, _S.PROCESSING, "approval_granted"),
    StateTransition(_S.WAITING_APPROVAL, _S.PROCESSING, "approval_rejected"),
    StateTransition(_S.PROCESSING, _S.WAITING_RESOURCE, "resource_wait"),
    StateTransition(_S.WAITING_RESOURCE, _S.PROCESSING, "resource_acquired"),
    StateTransition(_S.PROCESSING, _S.ERROR, "task_failed"),
    StateTransition(_S.ERROR, _S.IDLE, "error_resolved"),
    StateTransition(None, _S.SUSPENDED, "suspend_agent"),
    StateTransition(_S.SUSPENDED, None, "resume_agent"),
)
"""The table every agent starts with."""

_Index = dict[tuple[AgentState, str], tuple[StateTransition, ...]]


def _index(transitions: Iterable[StateTransition]) -> _Index:
    """Return what an event can do in each state: the transitions from the very state, and then those from any."""
    found = sorted(transitions, key=lambda transition: transition.from_state is None)
    index: _Index = {}
    for transition in found:
        for state in AgentState if transition.from_state is None else (transition.from_state,):
            key = (state, transition.event_type)
            index[key] = (*index.get(key, ()), transition)
    return index


_DEFAULT_INDEX: Final = _index(DEFAULT_TRANSITIONS)
_NOTHING: Final[Mapping[str, object]] = {}


class StateMachine:
    """A state and the table that moves it. A transition from the very state is tried before one from any state."""

    __slots__ = ("_before", "_index", "count", "state")

    def __init__(
        self, transitions: Iterable[StateTransition] | None = None, *, initial: AgentState = AgentState.IDLE
    ) -> None:
        self._index = _DEFAULT_INDEX if transitions is None else _index(transitions)
        self._before = initial
        self.state = initial
        self.count = 0
        """Transitions so far."""

    def handle(self, event_type: str, payload: Mapping[str, object] = _NOTHING) -> tuple[AgentState, AgentState] | None:
        """Take an event; return the states before and after when it moved the machine, ``None`` when it did not."""
        state = self.state
        for transition in self._index.get((state, event_type), ()):
            if transition.condition is None or transition.condition(payload):
                target = transition.to_state or self._before
                return None if target is state else self._move(target)
        return None

    def transition_to(self, target: AgentState) -> tuple[AgentState, AgentState]:
        """Move to ``target`` if any transition leads there from here. Raises ``IllegalTransition``."""
        ways = [
            transition
            for (from_state, _), transitions in self._index.items()
            if from_state is self.state
            for transition in transitions
            if (transition.to_state if transition.to_state is not None else self._before) is target
        ]
        if target is self.state or not ways:
            raise IllegalTransition(
                f"no transition leads from {self.state} to {target}",
                hint=f"from {self.state} one can reach {', '.join(sorted(self._reachable())) or 'nothing'}",
            )
        return self._move(target)

    def _reachable(self) -> set[str]:
        return {
            str(transition.to_state if transition.to_state is not None else self._before)
            for (from_state, _), transitions in self._index.items()
            if from_state is self.state
            for transition in transitions
        } - {str(self.state)}

    def _move(self, target: AgentState) -> tuple[AgentState, AgentState]:
        before = self._before = self.state
        self.state = target
        self.count += 1
        return before, target
