"""What a tool is, as data: its name and words, what it takes and gives, and on what terms it may be called."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Final, Literal, TypedDict

import msgspec

from agenticflow.core.engine import EffectClass
from agenticflow.core.json_schema import JsonSchema, schema_mistakes
from agenticflow.core.types import MAX_BLOB_BYTES
from agenticflow.errors import DefinitionError
from agenticflow.resilience.bounds import parse_bytes, parse_seconds
from agenticflow.resilience.breaker import BreakerPolicy
from agenticflow.resilience.limiter import Rate
from agenticflow.resilience.retry import RetryPolicy

__all__ = ["MAX_ATTEMPTS", "Effect", "ToolDefinition", "ToolOptions", "define"]

Effect = EffectClass | Literal["pure", "idempotent", "at_most_once"]
DEFAULT_TIMEOUT_SECONDS: Final = 60.0
DEFAULT_MAX_RESULT_BYTES: Final = 1024 * 1024
MAX_NAME_CHARS: Final = 64
MAX_DESCRIPTION_CHARS: Final = 10_000
MAX_PERMISSIONS: Final = 100
MAX_ATTEMPTS: Final = 20
"""Of one call, the first included."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PERMISSION: Final = re.compile(r"[\w.-]+(:[\w.*-]+)?")
_FIRST_RETRY_SECONDS: Final = 0.5
_LAST_RETRY_SECONDS: Final = 30.0


class ToolOptions(TypedDict, total=False):
    """On what terms a tool is called: keyword arguments of ``@tool`` and ``@register_tool``."""

    effect: Effect
    """What calling twice would mean; by default ``idempotent``."""
    needs_approval: bool
    """Whether a person allows each call before it is made."""
    timeout: str | float | timedelta
    """Limit of one attempt: ``"30s"``, or seconds; a minute by default."""
    retries: int | RetryPolicy
    """Further attempts after temporary errors; none by default, and never any of what must not happen twice."""
    compensate: object
    """The tool that undoes it, or its name."""
    permissions: Collection[str]
    """What the caller must have been granted: ``file:read``."""
    rate_limit: Rate
    """How often it may be called, by everybody in this process."""
    circuit_breaker: BreakerPolicy
    """When to stop asking what does not work."""
    max_result_bytes: int | str
    """Of a result in its encoded form; 1 MiB by default."""


class ToolDefinition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool without its code. Made by ``@tool``, or from the attributes of a ``Tool``."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    """JSON Schema of the params: an object."""
    category: str = "general"
    output_schema: Mapping[str, Any] | None = None
    returns: str = ""
    """What it gives back, in words."""
    effect: EffectClass = EffectClass.IDEMPOTENT
    needs_approval: bool = False
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    retry: RetryPolicy | None = None
    compensate: str = ""
    permissions: tuple[str, ...] = ()
    rate_limit: Rate | None = None
    circuit_breaker: BreakerPolicy | None = None
    max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES

    @property
    def words(self) -> str:
        """What a model is told that it does, and gives back."""
        return f"{self.description}\n\nReturns: {self.returns}" if self.returns else self.description

    def as_function(self) -> dict[str, object]:
        """Return it as models are told of it: ``name``, ``description`` and ``parameters``."""
        return {"name": self.name, "description": self.words, "parameters": dict(self.input_schema)}


def define(
    name: str,
    description: str,
    schema: JsonSchema,
    options: ToolOptions,
    *,
    category: str = "general",
    output_schema: JsonSchema | None = None,
    returns: str = "",
) -> ToolDefinition:
    """Return the definition. Raises ``DefinitionError`` that names the option and what to write instead."""
    _check_words(name, description, category)
    if mistakes := _schema_mistakes(schema):
        raise DefinitionError(
            f"the schema of tool {name!r} is wrong: {mistakes[0]}",
            problems=[f"tool {name!r}: {one}" for one in mistakes],
        )
    unknown = sorted(set(options) - set(ToolOptions.__annotations__))
    if unknown:
        raise DefinitionError(
            f"tool {name!r} is given {unknown[0]!r}, which is no option",
            hint=f"there are {', '.join(ToolOptions.__annotations__)}",
        )
    effect = _effect(name, options.get("effect", EffectClass.IDEMPOTENT))
    needs_approval = options.get("needs_approval", False)
    if not isinstance(needs_approval, bool):
        raise DefinitionError(f"needs_approval of tool {name!r} is {needs_approval!r:.60}", hint="say True or False")
    max_bytes = parse_bytes(options.get("max_result_bytes", DEFAULT_MAX_RESULT_BYTES), f"max_result_bytes of {name!r}")
    if max_bytes > MAX_BLOB_BYTES:
        raise DefinitionError(
            f"max_result_bytes of tool {name!r} is {max_bytes:,}",
            hint=f"no value is larger than {MAX_BLOB_BYTES:,} bytes: return where the rest is",
        )
    return ToolDefinition(
        name=name,
        description=description.strip(),
        input_schema=dict(schema),
        category=category,
        output_schema=None if output_schema is None else dict(output_schema),
        returns=returns.strip(),
        effect=effect,
        needs_approval=needs_approval,
        timeout_seconds=parse_seconds(options.get("timeout", DEFAULT_TIMEOUT_SECONDS), f"timeout of tool {name!r}"),
        retry=_retry(name, options.get("retries", 0), effect),
        compensate=_compensation(name, options.get("compensate", "")),
        permissions=_permissions(name, options.get("permissions", ())),
        rate_limit=_policy(name, "rate_limit", options.get("rate_limit"), Rate),
        circuit_breaker=_policy(name, "circuit_breaker", options.get("circuit_breaker"), BreakerPolicy),
        max_result_bytes=max_bytes,
    )


def _schema_mistakes(schema: JsonSchema) -> list[str]:
    """Return why ``schema`` cannot be the schema of a tool's params; empty when it can."""
    mistakes = schema_mistakes(schema)
    if isinstance(schema, Mapping) and schema.get("type") != "object":
        mistakes.insert(0, f"its type is {schema.get('type')!r:.60}, not 'object': params have names")
    return mistakes


def _check_words(name: object, description: object, category: object) -> None:
    if not isinstance(name, str) or len(name) > MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{name!r:.80} is no name of a tool",
            hint=f"models take letters, digits, _ and -, at most {MAX_NAME_CHARS} of them: weather_lookup",
        )
    if not isinstance(description, str) or not description.strip() or len(description) > MAX_DESCRIPTION_CHARS:
        raise DefinitionError(
            f"tool {name!r} has no description"
            if not description
            else f"the description of tool {name!r} is no short text",
            hint="say what it does in its docstring, or description=: the model chooses tools by it",
        )
    if not isinstance(category, str) or not category.strip():
        raise DefinitionError(f"the category of tool {name!r} is {category!r:.60}", hint='write category="files"')


def _effect(name: str, given: object) -> EffectClass:
    try:
        return EffectClass(str(given))
    except ValueError:
        raise DefinitionError(
            f"effect={given!r:.60} of tool {name!r} is unknown",
            hint=f"use one of {', '.join(map(repr, map(str, EffectClass)))}",
        ) from None


def _retry(name: str, given: object, effect: EffectClass) -> RetryPolicy | None:
    if isinstance(given, RetryPolicy):
        policy = given
    elif isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        if not given:
            return None
        policy = RetryPolicy(
            max_attempts=min(given, MAX_ATTEMPTS) + 1,
            initial_delay_seconds=_FIRST_RETRY_SECONDS,
            max_delay_seconds=_LAST_RETRY_SECONDS,
        )
    else:
        raise DefinitionError(f"retries of tool {name!r} is {given!r:.60}", hint="give a number, or a RetryPolicy")
    if policy.max_attempts > MAX_ATTEMPTS:
        raise DefinitionError(
            f"tool {name!r} would be tried {policy.max_attempts} times",
            hint=f"at most {MAX_ATTEMPTS} in one call; for more, make the call a task with a retry policy",
        )
    if policy.max_attempts > 1 and effect is EffectClass.AT_MOST_ONCE:
        raise DefinitionError(
            f"tool {name!r} must not happen twice, and has retries",
            hint="leave retries away, or make it idempotent with ctx.effect_key",
        )
    return policy if policy.max_attempts > 1 else None


def _compensation(name: str, given: object) -> str:
    found = given if isinstance(given, str) else getattr(given, "name", None)
    if not isinstance(found, str):
        raise DefinitionError(
            f"compensate of tool {name!r} is {given!r:.60}", hint='name the tool that undoes it: compensate="refund"'
        )
    return found


def _permissions(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Collection) or len(given) > MAX_PERMISSIONS:
        raise DefinitionError(
            f"permissions of tool {name!r} are {given!r:.60}", hint='give a list of them: permissions=["file:read"]'
        )
    for one in given:
        if not isinstance(one, str) or not _PERMISSION.fullmatch(one):
            raise DefinitionError(
                f"tool {name!r} needs the permission {one!r:.60}",
                hint='write it like "file:read": a kind and what is done',
            )
    return tuple(sorted(set(given)))


def _policy(name: str, option: str, given: object, kind: type[Any]) -> Any:
    if given is not None and not isinstance(given, kind):
        raise DefinitionError(f"{option} of tool {name!r} is {given!r:.60}", hint=f"give a {kind.__name__}(…)")
    return given
