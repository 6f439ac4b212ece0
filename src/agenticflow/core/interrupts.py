"""Interrupts: how a handler asks people in its middle. The attempt ends there, and the handler runs again when there is an answer.

Data, and the signal that carries it out of the handler: one question, or several that are open at once. The signal is no error: an
``except Exception`` of the handler lets it through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, Self, TypedDict, Unpack

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
    "AskOptions",
    "EscalationStep",
    "Interrupted",
    "OnDeadline",
    "OnRejection",
    "Replies",
    "Reply",
    "all_in_one",
    "asked_twice",
    "interrupt_in",
    "question_in",
    "reply_in",
]

OnDeadline = Literal["fail", "approve", "reject"]
"""What happens when nobody has answered by then: the task fails, or it is answered with the default, or with a no."""
OnRejection = Literal["fail", "return"]
"""What a no means: the task fails, or its handler is told and goes on."""
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


class AskOptions(TypedDict, total=False):
    """How something is asked: keyword arguments of ``context.interrupt`` and ``Ask.of``."""

    key: str
    """Tells several interrupts of one handler apart."""
    question: str
    response_schema: Mapping[str, object] | None
    """The form of an answer, as JSON Schema."""
    assignees: Collection[str]
    """Who may answer; without any, everybody."""
    deadline_seconds: float | None
    on_deadline: OnDeadline
    """What happens then."""
    default: object
    """The answer that a deadline gives."""
    quorum: int
    """How many have to approve."""
    rejection_ends: bool
    """Whether one no is enough."""
    escalation: Sequence[EscalationStep]


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
    on_rejection: OnRejection = "fail"
    """Whether a no, of a person or by ``on_deadline="reject"``, fails the task, or is a reply like others."""

    @classmethod
    def of(cls, value: object = None, *, on_rejection: OnRejection = "fail", **options: Unpack[AskOptions]) -> Self:
        """Return a question in the words of ``context.interrupt``."""
        form = options.get("response_schema")
        told: dict[str, Any] = {
            "key": "",
            **options,
            "response_schema": None if form is None else dict(form),
            "assignees": _names(options.get("assignees", ())),
            "escalation": tuple((step.after_seconds, _names(step.to)) for step in options.get("escalation", ())),
        }
        return cls(value=value, on_rejection=on_rejection, **told)

    def check(self, task_key: str) -> None:
        """Raise ``InvalidInput`` for what cannot be asked."""
        where = (f"the interrupt {self.key!r}" if self.key else "the interrupt") + _of_task(task_key)
        problem = self._problem()
        if problem is not None:
            raise InvalidInput(f"{where}: {problem}", hint='write context.interrupt(value, key="price", question="…")')

    def _problem(self) -> str | None:
        if not isinstance(self.key, str) or len(self.key) > MAX_NAME_CHARS:
            return f"its key is no text of at most {MAX_NAME_CHARS} characters"
        if not isinstance(self.question, str):
            return f"its question is a {type(self.question).__name__}, not a text"
        if (
            not isinstance(self.assignees, (tuple, list))
            or len(self.assignees) > MAX_PEOPLE
            or not all(isinstance(one, str) and 0 < len(one) <= MAX_NAME_CHARS for one in self.assignees)
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
        if self.on_rejection not in ("fail", "return"):
            return f"on_rejection={self.on_rejection!r} is unknown; use 'fail' or 'return'"
        return self._problem_of_people() or self._problem_of_default()

    def _problem_of_people(self) -> str | None:
        if isinstance(self.quorum, bool) or not isinstance(self.quorum, int) or not 1 <= self.quorum <= MAX_PEOPLE:
            return f"its quorum is {self.quorum!r}, not a whole number from 1 to {MAX_PEOPLE}"
        if self.escalation and not self.assignees:
            return "escalation needs assignees: without them anybody may answer already"
        if not all(isinstance(step, (tuple, list)) and len(step) == 2 for step in self.escalation):
            return f"its escalation is {self.escalation!r:.100}, not pairs of seconds and names; Ask.of takes steps"
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
                    f"the {name} of an interrupt{_of_task(task_key)} has {size:,} bytes, above the limit of "
                    f"{MAX_ARGUMENTS_BYTES:,}",
                    hint="show where the data is, not the data",
                )
        return codec.encode(self)


def _names(given: Collection[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _of_task(task_key: str) -> str:
    return f" of task {task_key!r}" if task_key else ""


class Reply(msgspec.Struct, frozen=True):
    """What became of a question: a yes with its value, or, of one with ``on_rejection="return"``, perhaps a no."""

    value: object
    """Of a no: nothing."""
    is_approved: bool = True
    by: str = ""
    """Who has decided; ``engine`` when a deadline did."""
    comment: str = ""


class Replies(Mapping[str, Reply]):
    """The replies that a handler has so far, by the key of the question. Decoded anew at each look, private to who looks."""

    __slots__ = ("_encoded",)

    def __init__(self, encoded: Mapping[str, bytes] = NO_REPLIES) -> None:
        self._encoded = encoded

    def __getitem__(self, key: str) -> Reply:
        return reply_in(self._encoded[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)

    def __repr__(self) -> str:
        return f"Replies({dict(self)!r})"


class Interrupted(BaseException):
    """Carries questions out of a handler. Whoever catches it asks nobody."""

    def __init__(self, asks: Sequence[tuple[str, bytes]]) -> None:
        super().__init__("the handler asks a person")
        self.asks = asks
        """Keys, and encoded ``Ask``s: everything that the handler wants to have open."""

    @classmethod
    def of(cls, asks: Iterable[Ask], *, task_key: str = "") -> Self:
        """Return what a handler raises to ask all of ``asks`` at once; each has a key of its own, which is in no reply yet.

        Raises ``InvalidInput`` for what cannot be asked; ``task_key`` says in its words whose question it is.
        """
        return cls([(ask.key, ask.encoded(task_key)) for ask in asks])


def interrupt_in(error: BaseException) -> Interrupted | None:
    """Return the interrupt that ``error`` is, or all in one that a group of exceptions holds: a task group wraps what its tasks raise."""
    found = list(_interrupts_in(error))
    return all_in_one(found) if found else None


def all_in_one(interrupts: Sequence[Interrupted]) -> Interrupted:
    """Return an interrupt that asks what all of them ask."""
    if len(interrupts) == 1:
        return interrupts[0]
    return Interrupted(list(dict.fromkeys(ask for one in interrupts for ask in one.asks)))


def _interrupts_in(error: BaseException) -> Iterator[Interrupted]:
    if isinstance(error, Interrupted):
        yield error
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _interrupts_in(inner)


def question_in(interrupt: Interrupted, replies: Mapping[str, object], task_key: str) -> bytes:
    """Return what is reported of a handler that asks: all of its questions, encoded.

    Raises ``InvalidInput`` when it asks nothing, too much, under one key twice, or what it has the reply to.
    """
    asks = list(dict.fromkeys(interrupt.asks))
    counts = Counter(key for key, _ in asks)
    if not 1 <= len(asks) <= MAX_INTERRUPTS:
        raise InvalidInput(
            f"the handler{_of_task(task_key)} asks {len(asks)} questions at once",
            hint=f"ask 1 to {MAX_INTERRUPTS}",
        )
    for key, count in counts.items():
        if count > 1:
            raise asked_twice(key, task_key)
        if key in replies:
            raise InvalidInput(
                f"the handler{_of_task(task_key)} asks again under the key {key!r}, which has its reply",
                hint="take the reply from context.replies, or ask under another key",
            )
    encoded = codec.encode([msgspec.Raw(one) for _, one in asks])
    try:
        msgspec.msgpack.decode(encoded, type=list[Ask])
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the handler{_of_task(task_key)} asks what is no question: {error}") from error
    return encoded


def asked_twice(key: str, task_key: str) -> InvalidInput:
    """Return the error of a handler that asks several things under one key."""
    return InvalidInput(
        f"the handler{_of_task(task_key)} asks twice under the key {key!r}"
        if key
        else f"the handler{_of_task(task_key)} asks several times and cannot tell the answers apart",
        hint='give each its own key: context.interrupt(value, key="price")',
    )


def reply_in(encoded: bytes) -> Reply:
    """Return what a recorded answer says."""
    answer = codec.decode(encoded)
    if not isinstance(answer, Mapping):
        return Reply(answer)
    by, comment = answer.get("by", ""), answer.get("comment", "")
    return Reply(answer.get("value"), answer.get("approved") is not False, str(by), str(comment))
