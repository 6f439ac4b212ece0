"""Guardrails that come with the package: length, destructive SQL, secrets and personal data, attempts at prompt injection, JSON schemas.

All of them are quick, pure and bounded; what is too long to be looked through does not pass.
"""

from agenticflow.agents.guardrails.builtin.injection import prompt_injection
from agenticflow.agents.guardrails.builtin.length import length
from agenticflow.agents.guardrails.builtin.schema import json_schema
from agenticflow.agents.guardrails.builtin.secrets import secrets
from agenticflow.agents.guardrails.builtin.sql import destructive_sql

__all__ = ["destructive_sql", "json_schema", "length", "prompt_injection", "secrets"]
