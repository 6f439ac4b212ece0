"""Checks of what goes into agents and tools and comes out of them; what cannot be checked does not pass."""

from agenticflow.agents.guardrails.builtin import (
    destructive_sql,
    json_schema,
    length,
    prompt_injection,
    secrets,
)
from agenticflow.agents.guardrails.guardrail import (
    Guardrail,
    GuardrailKind,
    GuardrailReport,
    GuardrailResult,
    guardrail,
)
from agenticflow.agents.guardrails.names import GuardrailNames, get_guardrail_names, register_guardrail
from agenticflow.agents.guardrails.running import Guardrails

__all__ = [
    "Guardrail",
    "GuardrailKind",
    "GuardrailNames",
    "GuardrailReport",
    "GuardrailResult",
    "Guardrails",
    "destructive_sql",
    "get_guardrail_names",
    "guardrail",
    "json_schema",
    "length",
    "prompt_injection",
    "register_guardrail",
    "secrets",
]
