"""Interrupts: how a handler asks a person in its middle. The attempt ends there, and the handler runs again when there is an answer.

Data, and the signal that carries it out of the handler. The signal is no error: an ``except Exception`` of the handler lets it through.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, Protocol

import msgspec

from agenticflow.core import codec
from agenticflow.core.forms import form_problems, misfit
from agenticflow.errors import InvalidInput

__all__ = [
    "MAX_ARGUMENTS_BYTES",
    "MAX_ESCALATIONS",
    "MAX_INTERRUPTS",
    "MAX_NAME_CHARS",
    "MAX_PEOPLE",
    "NO_REPLIES",
    "Ask",
    "EscalationStep",
    "Interrupted",
    "OnDeadline",
    "interrupt_in",
    "reply_in",
]

OnDeadline = Literal["fail", "approve", "reject"]
"""What happens when nobody has answered by then: the task fails, or it is answered with the default, or with a no."""
MAX_ARGUMENTS_BYTES: Final = 16 * 1024
"""Of what is shown to a person, and of an answer given by default."""
MAX_INTERRUPTS: Final = 100
"""Of one task."""
MAX_NAME_CHARS: Final = 200
"""Of the key of an interrupt, and of the name of a person."""
MAX_PEOPLE: Final = 100
"""Of one request, at each step of its escalation."""
MAX_ESCALATIONS: Final = 10
"""Steps at which more people may answer."""
NO_REPLIES: Final[Mapping[str, bytes]] = {}


class EscalationStep(Protocol):
    """From ``after_seconds`` on the people in ``to`` may answer as well (``orchestration.Escalation`` is one)."""

    @property
    def after_seconds(self) -> float: ...
    @property
    def to(self) -> Collection[str] | str: ...


class Ask(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a handler asks."""

    key: str
    """Tells several interrupts of one handler apart; empty for the only one."""
    value: object = None
    question: str = ""
    response_schema: dict[str, object] | None = None
    assignees: tuple[str, ...] = ()
    deadline_seconds: float | None = None
    on_deadline: OnDeadline = "fail"
    default: object = None
    quorum: int = 1
    rejection_ends: bool = True
    escalation: tuple[tuple[float, tuple[str, ...]], ...] = ()
    """Seconds after the question, and who may answer from then on."""

    def check(self, task_key: str) -> None:
        """Raise ``InvalidInput`` for what cannot be asked."""
        where = (
            f"the interrupt {self.key!r} of task {task_key!r}" if self.key else f"the interrupt of task {task_key!r}"
        )
        problem = self._problem()
        if problem is not None:
            raise InvalidInput(f"{where}: {problem}", hint='write context.interrupt(value, key="price", question="…")')

    def _problem(self) -> str | None:
        if not isinstance(self.key, str) or len(self.key) > MAX_NAME_CHARS:
            return f"its key is no text of at most {MAX_NAME_CHARS} characters"
        if not isinstance(self.question, str):
            return f"its question is a {type(self.question).__name__}, not a text"
        if len(self.assignees) > MAX_PEOPLE or not all(
            isinstance(one, str) and 0 < len(one) <= MAX_NAME_CHARS for one in self.assignees
        ):
            return f"its assignees are not at most {MAX_PEOPLE} names of 1 to {MAX_NAME_CHARS} characters"
        if self.response_schema is not None and (problems := form_problems(self.response_schema)):
            return f"its response_schema: {problems[0]}"
        limit = self.deadline_seconds
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < 1_000_000_000
        ):
            return f"its deadline_seconds is {limit!r}, not seconds above 0"
        if self.on_deadline not in ("fail", "approve", "reject"):
            return f"on_deadline={self.on_deadline!r} is unknown; use 'fail', 'approve' or 'reject'"
        return self._problem_of_people() or self._problem_of_default()

    def _problem_of_people(self) -> str | None:
        if isinstance(self.quorum, bool) or not isinstance(self.quorum, int) or not 1 <= self.quorum <= MAX_PEOPLE:
            return f"its quorum is {self.quorum!r}, not a whole number from 1 to {MAX_PEOPLE}"
        if self.escalation and not self.assignees:
            return "escalation needs assignees: without them anybody may answer already"
        if len(self.escalation) > MAX_ESCALATIONS:
            return f"its escalation has {len(self.escalation)} steps, the limit is {MAX_ESCALATIONS}"
        before = 0.0
        for after, people in self.escalation:
            if isinstance(after, bool) or not isinstance(after, (int, float)) or not before < after < 1_000_000_000:
                return f"after_seconds of its escalation is {after!r}, not seconds above {before:g}"
            if self.deadline_seconds is not None and after >= self.deadline_seconds:
                return (
                    f"its escalation after {after:g} s never comes: the deadline is after {self.deadline_seconds:g} s"
                )
            if not 1 <= len(people) <= MAX_PEOPLE or not all(
                isinstance(one, str) and 0 < len(one) <= MAX_NAME_CHARS for one in people
            ):
                return f"its escalation goes to {people!r:.100}, not to 1 to {MAX_PEOPLE} names"
            before = after
        everybody = {*self.assignees, *(name for _, people in self.escalation for name in people)}
        if self.assignees and len(everybody) < self.quorum:
            return f"a quorum of {self.quorum} cannot be reached by {len(everybody)}: {', '.join(sorted(everybody))}"
        return None

    def _problem_of_default(self) -> str | None:
        if self.deadline_seconds is None and (self.on_deadline != "fail" or self.default is not None):
            return "on_deadline and default need deadline_seconds"
        if self.on_deadline != "approve":
            return "a default needs on_deadline='approve'" if self.default is not None else None
        if self.response_schema is not None and (words := misfit(self.response_schema, self.default, "default")):
            return words
        return None

    def encoded(self, task_key: str) -> bytes:
        """Return the question on the wire. Raises ``InvalidInput`` for one that cannot be asked, ``NotSerializable``."""
        self.check(task_key)
        for name in ("value", "default"):
            size = len(codec.encode(getattr(self, name)))
            if size > MAX_ARGUMENTS_BYTES:
                raise InvalidInput(
                    f"the {name} of an interrupt of task {task_key!r} has {size:,} bytes, above the limit of "
                    f"{MAX_ARGUMENTS_BYTES:,}",
                    hint="show where the data is, not the data",
                )
        return codec.encode(self)


class Interrupted(BaseException):
    """Carries a question out of a handler. Whoever catches it asks nobody."""

    def __init__(self, ask: bytes) -> None:
        super().__init__("the handler asks a person")
        self.ask = ask
        """An encoded ``Ask``."""


def interrupt_in(error: BaseException) -> Interrupted | None:
    """Return the interrupt that ``error`` is, or that a group of exceptions holds: a task group wraps what its tasks raise."""
    if isinstance(error, Interrupted):
        return error
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if (found := interrupt_in(inner)) is not None:
            return found
    return None


def reply_in(encoded: bytes) -> object:
    """Return the value of a recorded answer."""
    answer = codec.decode(encoded)
    return answer.get("value") if isinstance(answer, Mapping) else answer
