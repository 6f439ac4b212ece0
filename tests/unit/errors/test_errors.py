"""One tree of errors: complete, documented, coded, and drawn as it stands."""

from __future__ import annotations

import inspect
import re

import pytest

from agenticflow import errors
from agenticflow.errors import (
    AgenticFlowError,
    ConcurrencyConflict,
    DefinitionError,
    InvariantError,
    StoreOwned,
    UsageError,
    WorkflowExecutionError,
    WorldError,
)

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, AgenticFlowError)]

CODES = {
    "AgentLooped": "agent_looped",
    "AgentNotFoundError": "agent_not_found",
    "AgenticFlowError": "error",
    "BoundExceeded": "bound_exceeded",
    "BudgetExceeded": "budget_exceeded",
    "CircuitOpen": "circuit_open",
    "CommandRefused": "command_refused",
    "ConcurrencyConflict": "concurrency_conflict",
    "ConfigurationError": "configuration",
    "ContentRefused": "content_refused",
    "ContextTooLong": "context_too_long",
    "CorruptStore": "corrupt_store",
    "DefinitionError": "definition",
    "IllegalTransition": "illegal_transition",
    "InvalidInput": "invalid_input",
    "InvariantError": "invariant",
    "MaxTurnsExceeded": "max_turns",
    "ModelAccessDenied": "model_access_denied",
    "ModelAnswerGarbled": "model_answer_garbled",
    "ModelCallsForbidden": "model_calls_forbidden",
    "ModelOutputInvalid": "model_output_invalid",
    "ModelRateLimited": "model_rate_limited",
    "ModelRequestRefused": "model_request_refused",
    "ModelStreamCut": "model_stream_cut",
    "ModelTimeout": "model_timeout",
    "ModelUnavailable": "model_unavailable",
    "NoHealthyAgentError": "no_healthy_agent",
    "NonDeterminismError": "non_determinism",
    "NotSerializable": "not_serializable",
    "OutcomeUnknown": "outcome_unknown",
    "PermanentError": "permanent",
    "ResourceExhausted": "resource_exhausted",
    "ResourceLimitExceeded": "resource_limit_exceeded",
    "GuardrailTripwireTriggered": "guardrail",
    "SecurityError": "security",
    "StepFailed": "step_failed",
    "StoreOwned": "store_owned",
    "StoreUnavailable": "store_unavailable",
    "TaskCancelled": "cancelled",
    "TaskTimeout": "timeout",
    "TemporaryError": "temporary",
    "ToolExecutionError": "tool_failed",
    "ToolExecutionTimeoutError": "tool_timeout",
    "ToolNotFoundError": "tool_not_found",
    "UnsupportedInterventionError": "unsupported_intervention",
    "UsageError": "usage",
    "WorkflowExecutionError": "workflow_failed",
    "WorkflowIdConflict": "workflow_id_conflict",
    "WorkflowNotFoundError": "workflow_not_found",
    "WorldError": "world",
}
"""Frozen: programs and stored histories compare them."""


def tree_in_the_docstring() -> dict[str, str | None]:
    """Return each class drawn there with the one it hangs on."""
    assert errors.__doc__ is not None
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^    ((?:[│ ]   )*(?:[├└]── )?)(\w+(?: / \w+)*)\b", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        for name in match[2].split(" / "):
            parents[name] = path[depth - 1] if depth else None
        path[depth:] = [match[2]]
    return parents


def test_the_tree_in_the_docstring_is_the_real_tree() -> None:
    real = {kind.__name__: kind.__base__.__name__ if kind.__base__ is not None else None for kind in CLASSES}
    real["AgenticFlowError"] = None
    assert tree_in_the_docstring() == real


def test_every_class_is_public() -> None:
    assert sorted(errors.__all__) == sorted(kind.__name__ for kind in CLASSES)


def test_codes_are_unique_and_stable() -> None:
    assert {kind.__name__: kind.code for kind in CLASSES} == CODES
    assert len(set(CODES.values())) == len(CODES)
    assert all("code" in vars(kind) for kind in CLASSES), "each has its own"


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_says_when_it_is_raised(kind: type[AgenticFlowError]) -> None:
    assert kind.__doc__
    assert inspect.cleandoc(kind.__doc__).endswith(".")
    assert len(kind.__bases__) == 1


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_says_whose_move_it_is(kind: type[AgenticFlowError]) -> None:
    if kind is not AgenticFlowError:
        assert issubclass(kind, (UsageError, WorldError, InvariantError))


def test_an_error_is_its_message_and_what_to_do() -> None:
    error = UsageError("the door is closed", hint="open it")
    assert (error.message, error.hint, str(error)) == ("the door is closed", "open it", "the door is closed (open it)")
    assert str(UsageError("the door is closed")) == "the door is closed"
    assert error.args == ("the door is closed",)


def test_errors_carry_what_programs_need() -> None:
    conflict = ConcurrencyConflict("order-7", 3, 5)
    assert (conflict.stream_id, conflict.expected, conflict.actual) == ("order-7", 3, 5)
    assert "'order-7' is at version 5, not at the expected version 3" in str(conflict)
    assert DefinitionError("two mistakes", problems=["a", "b"]).problems == ("a", "b")
    assert DefinitionError("one mistake").problems == ("one mistake",)
    assert StoreOwned("taken", owner_pid=7).owner_pid == 7
    assert StoreOwned("taken").owner_pid is None
    failure = WorkflowExecutionError("failed", workflow_id="w", failed={"a": "oops"}, remaining=["b"], hint="mend it")
    assert (failure.workflow_id, failure.failed, failure.remaining, failure.status) == (
        "w",
        {"a": "oops"},
        ("b",),
        "FAILED",
    )
    assert WorkflowExecutionError("x", workflow_id="w").failed == {}
