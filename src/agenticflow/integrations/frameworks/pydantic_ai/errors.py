"""What Pydantic AI and the clients below it raise, as errors that say whose move it is."""

from __future__ import annotations

from pydantic_ai import exceptions as theirs

from agenticflow.core.interrupts import interrupt_in
from agenticflow.errors import AgenticFlowError, DefinitionError, PermanentError
from agenticflow.integrations.causes import causes_of
from agenticflow.integrations.refusals import refusal_in

__all__ = ["error_of"]


def error_of(error: BaseException, agent: str) -> BaseException:
    """Return the error that ``error`` of a run of ``agent`` means: one of ours that it was made of, or one of ours for it."""
    interrupt = interrupt_in(error)
    if interrupt is not None:
        return interrupt
    for one in causes_of(error):
        if isinstance(one, AgenticFlowError):
            return one
    found = refusal_in(error)
    if found is not None:
        return found
    match error:
        case theirs.UsageLimitExceeded():
            return PermanentError(f"the agent {agent!r} reached its limit: {error}", hint="give it other usage_limits")
        case theirs.UnexpectedModelBehavior():
            # What the model said is in the journal: another attempt is told the same.
            return PermanentError(f"the model of agent {agent!r} said what its loop cannot use: {error}")
        case theirs.UserError():
            return DefinitionError(f"the agent {agent!r} cannot run like that: {error}")
        case _:
            return error
