"""What the SDK and the clients below it raise, as errors that say whose move it is."""

from __future__ import annotations

import openai
from agents import exceptions as theirs

from agenticflow.agents.model.recovery import refusal
from agenticflow.core.interrupts import interrupt_in
from agenticflow.errors import (
    AgenticFlowError,
    DefinitionError,
    GuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelTimeout,
    ModelUnavailable,
    PermanentError,
    ToolExecutionError,
)
from agenticflow.integrations.causes import causes_of

__all__ = ["error_of"]


def error_of(error: Exception, agent: str) -> BaseException:
    """Return the error that ``error`` of a run of ``agent`` means: one of ours that it was made of, or one of ours for it."""
    for one in causes_of(error):
        interrupt = interrupt_in(one)
        if interrupt is not None:
            return interrupt
        if isinstance(one, AgenticFlowError):
            return one
    for one in causes_of(error):
        found = _of_client(one)
        if found is not None:
            return found
    match error:
        case theirs.MaxTurnsExceeded():
            return MaxTurnsExceeded(f"the agent {agent!r} came to no end: {error}", hint="give it more max_turns")
        case theirs.InputGuardrailTripwireTriggered() | theirs.OutputGuardrailTripwireTriggered():
            guardrail = error.guardrail_result.guardrail.get_name()
            return GuardrailTripwireTriggered(
                f"the guardrail {guardrail!r} of agent {agent!r} said no", guardrail=guardrail
            )
        case theirs.ToolInputGuardrailTripwireTriggered() | theirs.ToolOutputGuardrailTripwireTriggered():
            guardrail = error.guardrail.get_name()
            return GuardrailTripwireTriggered(
                f"the guardrail {guardrail!r} of a tool of {agent!r} said no", guardrail=guardrail
            )
        case theirs.ModelTimeoutError():
            return ModelTimeout(f"the model of agent {agent!r} did not answer in time: {error}")
        case theirs.ModelBehaviorError() | theirs.ModelRefusalError():
            # What the model said is in the journal: another attempt is told the same.
            return PermanentError(f"the model of agent {agent!r} said what its loop cannot use: {error}")
        case theirs.UserError() if error.__cause__ is not None:
            return ToolExecutionError(f"a tool of agent {agent!r} failed: {error}")
        case theirs.UserError():
            return DefinitionError(f"the agent {agent!r} cannot run like that: {error}")
        case _:
            return error


def _of_client(error: BaseException) -> AgenticFlowError | None:
    if isinstance(error, openai.APIStatusError):
        return refusal("the model", error.status_code, code=str(error.code or ""), words=error.message)
    if isinstance(error, openai.APITimeoutError):
        return ModelTimeout("the model did not answer in time")
    if isinstance(error, openai.APIConnectionError):
        return ModelUnavailable(f"the model is out of reach: {error}", hint="ask again later")
    return None
