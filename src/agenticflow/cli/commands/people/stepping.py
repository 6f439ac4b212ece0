"""What a person changes in a run that goes on: each command is one intervention, taken by the owner of the store or recorded here."""

from __future__ import annotations

from pathlib import Path

import msgspec

from agenticflow.app.commands.operations import Intervene
from agenticflow.app.definitions import load_modifications
from agenticflow.cli.commands.run import parsed_value
from agenticflow.cli.commands.runs import steer
from agenticflow.cli.options import person
from agenticflow.cli.terminal import Format
from agenticflow.orchestration import UserIntervention

__all__ = ["feedback", "modify", "retry", "set_result", "skip"]


def skip(workflow_id: str, task_key: str, *, reason: str, by: str | None, store: str | None, form: Format) -> int:
    """Go on as if the condition of a task did not hold."""
    intervention = UserIntervention("skip", person(by), reason=reason, task_key=task_key)
    return steer(Intervene(workflow_id=workflow_id, intervention=intervention), store, form)


def retry(workflow_id: str, task_key: str, *, reason: str, by: str | None, store: str | None, form: Format) -> int:
    """Try a task now."""
    intervention = UserIntervention("retry", person(by), reason=reason, task_key=task_key)
    return steer(Intervene(workflow_id=workflow_id, intervention=intervention), store, form)


def set_result(
    workflow_id: str, task_key: str, *, value: str, reason: str, by: str | None, store: str | None, form: Format
) -> int:
    """Give a task its result."""
    intervention = UserIntervention(
        "set_result", person(by), reason=reason, task_key=task_key, value=parsed_value(value)
    )
    return steer(Intervene(workflow_id=workflow_id, intervention=intervention), store, form)


def feedback(
    workflow_id: str, feedback: str, *, task_key: str | None, by: str | None, store: str | None, form: Format
) -> int:
    """Tell the handlers of a run something."""
    said = parsed_value(feedback, "the feedback")
    intervention = UserIntervention("inject_feedback", person(by), feedback=said, task_key=task_key)
    return steer(Intervene(workflow_id=workflow_id, intervention=intervention), store, form)


def modify(
    workflow_id: str,
    file: str,
    *,
    is_dry: bool,
    expected: int | None,
    reason: str,
    by: str | None,
    store: str | None,
    form: Format,
) -> int:
    """Change tasks that have not started, and say what changes."""
    intervention = UserIntervention(
        "modify",
        person(by),
        reason=reason,
        modifications=msgspec.to_builtins(load_modifications(Path(file))),
        expected_version=expected,
        dry_run=is_dry,
    )
    return steer(Intervene(workflow_id=workflow_id, intervention=intervention), store, form, is_recorded=not is_dry)
