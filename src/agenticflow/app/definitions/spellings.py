"""What people write who come from elsewhere, and what it is called here. Data, and the words that make hints of it.

Nothing here is accepted in place of our own names: one thing has one name in every file. It only makes the mistake short-lived.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Final

import msgspec

from agenticflow.core.engine import EffectClass
from agenticflow.orchestration.approvals.terms import Approval, Escalation
from agenticflow.orchestration.definition import Choice, Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.resilience.limits import Limit

__all__ = [
    "APPROVAL_KEYS",
    "CHOICE_KEYS",
    "ESCALATION_KEYS",
    "LIMIT_KEYS",
    "LISTS",
    "TASK_KEYS",
    "UNDO_KEYS",
    "WORKFLOW_KEYS",
    "close",
    "key_hint",
    "kind_of_value",
    "meant_key",
    "value_hint",
]

WORKFLOW_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(WorkflowDefinition) if field.name != "code")
TASK_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(TaskDefinition))
CHOICE_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(Choice))
UNDO_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(Compensation))
LIMIT_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(Limit))
APPROVAL_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(Approval))
ESCALATION_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(Escalation))
LISTS: Final = ("dependencies", "capabilities", "locks", "limits", "reassign_to", "cancels", "choices")
"""Keys of a task whose value is a list, also of one."""

_TASK_WORDS: Final = {
    "task_id": ("id", "name", "step", "key"),
    "agent_id": ("agent", "worker", "executor", "assignee", "uses", "performer"),
    "task_type": ("type", "action", "handler", "function", "operation"),
    "params": ("with", "input", "inputs", "args", "arguments", "parameters", "kwargs"),
    "dependencies": ("depends_on", "dependsOn", "needs", "after", "requires", "upstream", "depends", "runAfter"),
    "when": ("if", "condition", "only_if", "run_if"),
    "join": ("trigger_rule", "wait_for", "join_type", "run_after"),
    "retry_policy": ("retry", "retries", "retryPolicy", "retry_on", "max_attempts", "max_retries"),
    "timeout_seconds": ("timeout", "time_limit", "start_to_close_timeout", "execution_timeout"),
    "total_timeout_seconds": ("total_timeout", "deadline", "schedule_to_close_timeout"),
    "stall_seconds": ("heartbeat", "heartbeat_timeout", "heartbeat_seconds", "stall_timeout"),
    "capabilities": ("capability", "skills", "required_capabilities"),
    "locks": ("lock", "mutex", "semaphore", "exclusive"),
    "limits": ("limit", "rate_limit", "throttle", "concurrency_limit"),
    "on_failure": ("on_error", "continue_on_error", "ignore_errors", "recovery", "allow_failure", "failure_policy"),
    "fallback": ("catch", "fallback_task", "on_failure_run", "fallback_to"),
    "compensation": ("compensate", "undo", "rollback", "on_rollback", "compensate_with"),
    "cancels": ("cancel", "cancel_tasks"),
    "ends_run": ("end", "terminal", "final", "end_workflow"),
    "for_each": ("foreach", "forEach", "map", "items", "with_items", "withItems", "loop_over"),
    "max_parallel": ("parallel", "parallelism", "concurrency", "max_concurrency", "maxConcurrency"),
    "enough": ("at_least", "min_success", "quorum"),
    "repeat_until": ("until", "loop", "while", "repeat", "loopCondition", "loop_until"),
    "max_iterations": ("iterations", "max_loops", "times", "loop_limit"),
    "repeat_delay_seconds": ("repeat_delay", "interval", "poll_interval"),
    "workflow": ("subworkflow", "sub_workflow", "subflow", "child_workflow", "workflow_name", "flow"),
    "choices": ("switch", "cases", "case", "branches", "conditions", "route", "routes"),
    "delay_seconds": ("delay", "sleep", "wait", "wait_seconds", "timer", "seconds"),
    "continue_with": ("continue_as_new", "continueAsNew", "restart_with", "next_run"),
    "signal": ("event", "wait_for_signal", "wait_for_event"),
    "approval": ("approve", "confirm", "manual", "human", "question", "gate"),
}
_WORKFLOW_WORDS: Final = {
    "tasks": ("steps", "jobs", "nodes", "states"),
    "name": ("id", "workflow", "workflow_id", "title"),
    "context": ("input", "inputs", "defaults", "params", "variables", "vars"),
    "output": ("outputs", "result", "returns"),
    "timeout_seconds": ("timeout", "timeoutSeconds", "time_limit"),
    "max_parallel": ("parallelism", "concurrency", "max_concurrency", "max_active_tasks"),
    "handlers": ("agents", "workers", "modules", "imports", "module"),
}
_CHOICE_WORDS: Final = {
    "then": ("next", "goto", "target", "task", "to", "task_id", "step"),
    "when": ("if", "case", "condition", "on", "value"),
}
_APPROVAL_WORDS: Final = {
    "question": ("text", "message", "prompt", "title", "description"),
    "assignees": (
        "assignee",
        "approvers",
        "approver",
        "candidates",
        "candidateUsers",
        "candidate_users",
        "who",
        "people",
    ),
    "quorum": ("min_approvals", "required_approvals", "minimum_approvals", "count", "enough"),
    "rejection_ends": ("veto",),
    "deadline_seconds": ("deadline", "timeout", "timeout_seconds", "due", "due_date", "dueDate", "due_seconds"),
    "on_deadline": ("on_timeout", "default_action", "onTimeout", "timeout_action"),
    "default": ("default_value",),
    "escalation": ("escalate", "escalations", "escalation_chain", "escalate_to"),
    "response_schema": ("schema", "form", "answer_schema", "input_schema"),
    "arguments": ("args", "editable", "params", "value", "proposal"),
}
_ESCALATION_WORDS: Final = {
    "after_seconds": ("after", "seconds", "delay", "delay_seconds"),
    "to": ("assignees", "assignee", "people", "who"),
}
_LIMIT_WORDS: Final = {
    "key": ("name", "id"),
    "max_concurrent": ("max", "concurrency", "concurrent", "max_parallel", "limit"),
    "rate": ("max_rate", "requests", "count", "times"),
    "per_seconds": ("per", "period", "window", "seconds", "interval"),
}


def _by_word(words: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {word: ours for ours, theirs in words.items() for word in theirs}


_MEANT: Final = {
    TASK_KEYS: _by_word(_TASK_WORDS),
    WORKFLOW_KEYS: _by_word(_WORKFLOW_WORDS),
    CHOICE_KEYS: _by_word(_CHOICE_WORDS),
    LIMIT_KEYS: _by_word(_LIMIT_WORDS),
    UNDO_KEYS: _by_word(_TASK_WORDS),
    APPROVAL_KEYS: _by_word(_APPROVAL_WORDS),
    ESCALATION_KEYS: _by_word(_ESCALATION_WORDS),
}
_VALUES: Final = {
    "effect": ", ".join(EffectClass),
    "join": "all, any, settled, or how many have to complete",
    "on_failure": "fail, skip, reassign",
    "on_limit": "fail, complete",
    "on_cancel": "cascade, detach",
}
_VALUE_WORDS: Final = {
    "on_failure": _by_word({"skip": ("continue", "ignore", "pass", "warn"), "fail": ("abort", "stop", "raise")}),
    "on_limit": _by_word({"complete": ("stop", "end", "break", "finish"), "fail": ("error", "raise")}),
    "on_cancel": _by_word({"detach": ("abandon", "continue", "ignore"), "cascade": ("cancel", "terminate")}),
    "join": _by_word(
        {
            "any": ("one", "or", "first", "one_success", "xor"),
            "all": ("and", "all_success"),
            "settled": ("all_done", "always", "done", "all_settled"),
        }
    ),
    "effect": _by_word({"at_most_once": ("once", "exactly_once", "unsafe"), "pure": ("none", "read", "read_only")}),
}
_IN_UNITS: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|m|min|h|d)\w*")
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}


def meant_key(key: str, known: tuple[str, ...], *, also: Collection[str] = ()) -> str | None:
    """Return what somebody who wrote ``key`` probably meant. ``also`` are keys allowed at this place only."""
    meant = _MEANT[known].get(key)
    if meant is not None and (meant in known or meant in also):
        return meant
    return next(iter(get_close_matches(key, [*known, *also], n=1)), None)


def key_hint(key: str, known: tuple[str, ...], *, also: Collection[str] = ()) -> str:
    """Return ``meant_key`` in words, else what there is."""
    meant = meant_key(key, known, also=also)
    return f"did you mean {meant!r}?" if meant is not None else f"there are {', '.join((*known, *also))}"


def value_hint(field: str, value: object) -> str:
    """Return what ``field`` takes, when it takes one of a few words or seconds; else nothing."""
    if field in _VALUES:
        meant = _VALUE_WORDS[field].get(value) if isinstance(value, str) else None
        return f"; did you mean {meant!r}?" if meant is not None else f"; use {_VALUES[field]}"
    if field.endswith("_seconds") and isinstance(value, str):
        found = _IN_UNITS.fullmatch(value.strip())
        return f"; write {float(found[1]) * _UNIT_SECONDS[found[2]]:g}" if found is not None else "; give seconds"
    return ""


def close(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'load'?"`` when something known is close to ``name``, else nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def kind_of_value(value: object) -> str:
    """Return what ``value`` is, in the words of somebody who writes YAML."""
    names = {
        dict: "a mapping",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return "nothing" if value is None else names.get(type(value), f"a {type(value).__name__}")
