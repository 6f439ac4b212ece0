"""What a person asks of a run that goes on, as data: it is said in a program, on the command line, or sent by another process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from agenticflow.core.ids import check_id
from agenticflow.errors import InvalidInput, UnsupportedInterventionError

__all__ = ["ALL_TASKS", "UserIntervention", "check_words"]

_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "pause": (),
    "resume": (),
    "abort": (),
    "skip": ("task_key",),
    "retry": ("task_key",),
    "set_result": ("task_key",),
    "cancel_task": ("task_key",),
    "approve": ("task_key",),
    "reject": ("task_key",),
    "answer": ("task_key",),
    "inject_feedback": ("feedback",),
    "modify": ("modifications",),
}
"""What each type has to be given."""
_TAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "set_result": ("value",),
    "approve": ("value",),
    "answer": ("value",),
    "inject_feedback": ("task_key",),
    "modify": ("expected_version", "dry_run"),
}
"""What each type may be given beside that; all take a reason."""
_PARTS: Final = ("task_key", "value", "modifications", "feedback", "expected_version", "dry_run")


ALL_TASKS: Final = object()
"""Stands for no task in particular."""


def check_words(who: object, reason: object, task_key: object = ALL_TASKS) -> None:
    """Raise ``InvalidInput`` when nobody says who steps in, the reason is no text, or what should be a task's key can be none."""
    if task_key is not ALL_TASKS:
        check_id(task_key, "a task")
    if not isinstance(who, str) or not who.strip():
        raise InvalidInput(f"{who!r:.80} is nobody", hint="say who does it: it is recorded")
    if not isinstance(reason, str):
        raise InvalidInput(f"the reason is a {type(reason).__name__}", hint="give a text")


class UserIntervention(msgspec.Struct, frozen=True):
    """Something a person does to a run. ``reason`` is recorded with it, and so is who does it.

    ``type`` is one of ``pause``, ``resume``, ``abort``; ``skip``, ``retry``, ``set_result`` (with ``value``), ``cancel_task``; ``approve``,
    ``reject``, ``answer`` (with ``value``), all of which name a task with ``task_key``; ``inject_feedback`` (with ``feedback``), for one
    task or for all; ``modify`` (with ``modifications``).
    """

    type: str
    user_id: str
    timestamp: datetime | None = None
    """When the person said so, for whoever hands interventions on. The history has the moment at which the run took it."""
    reason: str | None = None
    modifications: object = None
    """``[{"add": task}, {"replace": task}, {"remove": "task_id"}]``, of tasks that have not started."""
    feedback: object = None
    """Text or data for the handlers, at most 16 KiB."""
    task_key: str | None = None
    """The task id, with ``[index]`` for an item of a map or an iteration of a loop."""
    value: object = None
    expected_version: int | None = None
    """Of ``modify``: the version of the run's stream that whoever asks has seen; when it has gone on, nothing is modified."""
    dry_run: bool = False
    """Of ``modify``: only tell what it would change."""

    def checked(self) -> UserIntervention:
        """Return it when all that its type needs is there, and nothing else.

        Raises ``UnsupportedInterventionError`` for an unknown type, ``InvalidInput`` for the rest.
        """
        if self.type not in _NEEDS:
            raise UnsupportedInterventionError(
                f"{self.type!r:.80} is no type of intervention", hint=f"there are {', '.join(_NEEDS)}"
            )
        check_words(self.user_id, "" if self.reason is None else self.reason)
        needs = _NEEDS[self.type]
        for part in _PARTS:
            is_given = self.dry_run if part == "dry_run" else getattr(self, part) is not None
            if part in needs and not is_given:
                raise InvalidInput(f"the intervention {self.type!r} needs {part}", hint=f"give it {part}=…")
            if is_given and part not in needs and part not in _TAKES.get(self.type, ()):
                raise InvalidInput(f"the intervention {self.type!r} takes no {part}", hint="leave it out")
        return self
