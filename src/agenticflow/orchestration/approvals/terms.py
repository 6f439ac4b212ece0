"""What can be asked of people, and under which terms. Data that refuses what does not go together.

``Approval`` is written in a definition, with references in it; ``Terms`` are what it came to when the task was ready, and are recorded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, get_args

import msgspec

from agenticflow.core import codec
from agenticflow.core.forms import form_problems, misfit
from agenticflow.core.interrupts import (
    MAX_ARGUMENTS_BYTES,
    MAX_ESCALATIONS,
    MAX_NAME_CHARS,
    MAX_PEOPLE,
    OnDeadline,
    OnRejection,
)
from agenticflow.errors import DefinitionError

__all__ = ["MAX_TERMS_BYTES", "Approval", "Escalation", "Terms", "checked_arguments", "in_order"]

MAX_TERMS_BYTES: Final = 128 * 1024
"""Of one request: they stand in its event."""
_RIGHT_CALL: Final = 'write Approval("Publish?", assignees=["ada"], deadline_seconds=3600, on_deadline="reject")'


class Escalation(msgspec.Struct, frozen=True, omit_defaults=True):
    """From ``after_seconds`` on, counted from the question, the people in ``to`` may answer as well."""

    after_seconds: float
    to: Collection[str] | str = ()


class Approval(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question to people: ``Approval("Publish ${draft.title}?", assignees=["ada", "bob"], quorum=2)``.

    ``question``, ``assignees``, ``to`` of an escalation and ``arguments`` may refer to results and to the input.
    """

    question: str
    assignees: Collection[str] | str = ()
    """Who may answer, by name, or a reference to such a list. Left out: anybody."""
    quorum: int = 1
    """How many have to approve."""
    rejection_ends: bool = True
    """Whether one rejection decides. Else it is rejected when the quorum cannot be reached any more."""
    deadline_seconds: float | None = None
    """Until when it can be answered, counted from the question."""
    on_deadline: OnDeadline = "fail"
    """What happens then: the task fails (fail), is completed with the default (approve), or is rejected (reject)."""
    default: object = None
    """The value of the answer that the deadline gives; left out, the arguments as they are."""
    escalation: Sequence[Escalation] = ()
    """Who else may answer after a while, one step after the other."""
    response_schema: Mapping[str, object] | None = None
    """What the value of an answer has to look like: a part of JSON Schema."""
    arguments: object = None
    """What the answer may change: shown with the question, and the value of an answer that gives none."""

    def __post_init__(self) -> None:
        if not isinstance(self.question, str) or not self.question:
            raise DefinitionError(f"the question of an approval is {self.question!r:.60}, not a text", hint=_RIGHT_CALL)
        if self.assignees:
            msgspec.structs.force_setattr(self, "assignees", _people(self.assignees, "assignees"))
        else:
            msgspec.structs.force_setattr(self, "assignees", ())
        steps = tuple(self.escalation) if not isinstance(self.escalation, Escalation) else (self.escalation,)
        if not all(isinstance(step, Escalation) for step in steps):
            raise DefinitionError(
                f"escalation is {steps!r:.60}", hint='write escalation=[Escalation(after_seconds=600, to=["carl"])]'
            )
        for step in steps:
            msgspec.structs.force_setattr(step, "to", _people(step.to, "to"))
        msgspec.structs.force_setattr(self, "escalation", steps)
        for problem in self._problems():
            raise DefinitionError(f"the approval {self.question!r:.60}: {problem}")
        # As a file is read, so that equal terms have equal hashes.
        if self.deadline_seconds is not None:
            msgspec.structs.force_setattr(self, "deadline_seconds", float(self.deadline_seconds))
        for step in steps:
            msgspec.structs.force_setattr(step, "after_seconds", float(step.after_seconds))

    def _problems(self) -> Iterator[str]:
        """Yield what makes no sense; only the first is ever asked for."""
        yield from self._wrong_moments()
        if isinstance(self.quorum, bool) or not isinstance(self.quorum, int) or not 1 <= self.quorum <= MAX_PEOPLE:
            yield f"quorum is {self.quorum!r}, not a whole number from 1 to {MAX_PEOPLE}"
        if not isinstance(self.rejection_ends, bool):
            yield f"rejection_ends is {self.rejection_ends!r}, not true or false"
        if self.response_schema is not None:
            yield from (f"response_schema: {problem}" for problem in form_problems(self.response_schema))
        known = self._known_people()
        if known is not None and self.assignees and len(known) < self.quorum:
            yield f"a quorum of {self.quorum} cannot be reached by {len(known)}: {', '.join(sorted(known))}"
        if self.escalation and not self.assignees:
            yield "escalation needs assignees: without them anybody may answer already"
        yield from self._wrong_default()

    def _wrong_moments(self) -> Iterator[str]:
        if self.on_deadline not in get_args(OnDeadline):
            yield f"on_deadline={self.on_deadline!r} is unknown, use 'fail', 'approve' or 'reject'"
        limit = self.deadline_seconds
        if limit is not None and not _is_moment(limit):
            yield f"deadline_seconds is {limit!r}, give seconds above 0"
        if limit is None and (self.on_deadline != "fail" or self.default is not None):
            yield "on_deadline and default need deadline_seconds"
        before = 0.0
        if len(self.escalation) > MAX_ESCALATIONS:
            yield f"escalation has {len(self.escalation)} steps, the limit is {MAX_ESCALATIONS}"
        for step in self.escalation:
            if not _is_moment(step.after_seconds) or step.after_seconds <= before:
                yield f"after_seconds of an escalation is {step.after_seconds!r}, give seconds above {before:g}"
            if limit is not None and step.after_seconds >= limit:
                yield f"an escalation after {step.after_seconds:g} s never comes: the deadline is after {limit:g} s"
            before = step.after_seconds

    def _wrong_default(self) -> Iterator[str]:
        if self.default is not None and self.on_deadline != "approve":
            yield "default needs on_deadline='approve'"
        if (size := len(codec.encode(self.default))) > MAX_ARGUMENTS_BYTES:
            yield f"default has {size:,} bytes, above the limit of {MAX_ARGUMENTS_BYTES:,}"
        if self.response_schema is None or self.on_deadline != "approve" or form_problems(self.response_schema):
            return
        given = "default" if self.default is not None or self.arguments is None else "arguments"
        value = getattr(self, given)
        if "${" not in repr(value) and (words := misfit(self.response_schema, value, given)) is not None:
            yield words

    def _known_people(self) -> set[str] | None:
        """Everybody who could ever answer by the definition; ``None`` when references say who."""
        groups = [self.assignees, *(step.to for step in self.escalation)]
        names = {name for group in groups for name in ([group] if isinstance(group, str) else group)}
        return None if any("${" in name for name in names) else names

    @property
    def template(self) -> dict[str, object]:
        """What references stand in."""
        return {
            "question": self.question,
            "assignees": self.assignees,
            "to": [step.to for step in self.escalation],
            "arguments": self.arguments,
        }


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """The terms of one request. Moments in nanoseconds since the epoch."""

    assignees: tuple[str, ...] = ()
    quorum: int = 1
    rejection_ends: bool = True
    deadline: int | None = None
    limit_seconds: float | None = None
    """How long the deadline was after the question, for words."""
    on_deadline: OnDeadline = "fail"
    default: object = None
    escalation: tuple[tuple[int, tuple[str, ...]], ...] = ()
    response_schema: dict[str, object] | None = None
    arguments: object = None
    is_proposal: bool = False
    """Whether the arguments are the value of an answer that gives none."""
    on_rejection: OnRejection = "fail"


def in_order(approval: Approval) -> Approval:
    """Return ``approval`` with its mappings in an order that is the same everywhere; itself when they are in it."""
    changed = {
        name: ordered
        for name in ("default", "response_schema", "arguments")
        if (given := getattr(approval, name)) is not None and (ordered := codec.in_order(given)) is not given
    }
    return msgspec.structs.replace(approval, **changed) if changed else approval


def checked_arguments(value: object, where: str) -> object:
    """Return ``value`` as it will be read back. Raises ``DefinitionError`` when it is too large to be shown."""
    encoded = codec.encode(value)
    if len(encoded) > MAX_ARGUMENTS_BYTES:
        raise DefinitionError(
            f"the arguments of {where} have {len(encoded):,} bytes, above the limit of {MAX_ARGUMENTS_BYTES:,}",
            hint="show where the data is, not the data",
        )
    return codec.decode(encoded)


def _is_moment(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and 0 < value < 1_000_000_000


def _people(given: object, what: str) -> tuple[str, ...] | str:
    if isinstance(given, str):
        if "${" in given:
            return given
        raise DefinitionError(
            f"{what} of an approval are {given!r:.60}, not a list of names", hint=f"write [{given!r}]"
        )
    if (
        isinstance(given, Mapping)
        or not isinstance(given, Collection)
        or not given
        or len(given) > MAX_PEOPLE
        or not all(isinstance(one, str) and 0 < len(one) <= MAX_NAME_CHARS for one in given)
    ):
        raise DefinitionError(
            f"{what} of an approval are {given!r:.60}, not 1 to {MAX_PEOPLE} names of 1 to {MAX_NAME_CHARS} characters",
            hint=_RIGHT_CALL,
        )
    return tuple(dict.fromkeys(sorted(given) if isinstance(given, (set, frozenset)) else given))
