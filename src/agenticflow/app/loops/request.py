"""What a task asks of an agent that asks a model: words out of params, and whose conversation it goes on with; and such params."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agenticflow.agents.asked.doors import RunOptions
from agenticflow.agents.loop.policy import MAX_TURNS
from agenticflow.agents.model.parts import Message, Role, TextPart
from agenticflow.agents.spending.rules import budget_in
from agenticflow.core import codec
from agenticflow.errors import InvalidInput
from agenticflow.resilience.budgets import Budget

__all__ = ["PROMPT", "Asked", "asked_in", "params_of"]

PROMPT: Final = "prompt"
MAX_CHOICE_CHARS: Final = 200
_OURS: Final = (PROMPT, "session_id", "context", "budget", "max_turns", "tool_choice")


class Asked(msgspec.Struct, frozen=True):
    """What an agent is asked, as recorded."""

    message: Message
    session_id: str = ""
    """The conversation that it goes on with; empty for none."""
    context: Any = None
    """Plain data that tools and instructions see."""
    budget: Budget | str | None = None
    """What it may spend, inside the budget of the agent; the id of an open budget is shared."""
    max_turns: int | None = None
    """Answers of models, instead of what the agent says."""
    tool_choice: str = ""
    """Whether tools are called, instead of what the agent says; empty leaves it to the agent."""

    @property
    def text(self) -> str:
        """Its words, as guardrails see them."""
        return self.message.text


def asked_in(task_type: str, params: Mapping[str, Any]) -> Asked:
    """Return what the params of a task ask for: the ``prompt``, and other params below it as JSON; without a prompt the type of the task.

    A prompt is words, or a ``Message`` of a user as plain data. ``session_id`` names the conversation, ``context`` is for tools,
    ``budget`` what the task may spend, ``max_turns`` how many answers it may take, ``tool_choice`` whether tools are called.
    Raises ``InvalidInput``, ``DefinitionError``.
    """
    session_id = params.get("session_id") or ""
    if not isinstance(session_id, str):
        raise InvalidInput(f"the session_id is {session_id!r:.60}, not a text")
    more = {name: value for name, value in params.items() if name not in _OURS}
    message = _message(params[PROMPT]) if params.get(PROMPT) is not None else None
    parts = list(message.parts) if message is not None else [TextPart(task_type)]
    if more:
        words = msgspec.json.encode(codec.decode(codec.encode(more))).decode()
        parts.append(TextPart(f"\n\n{words}"))
    return Asked(
        Message(Role.USER, tuple(parts)),
        session_id,
        params.get("context"),
        budget_in(params.get("budget")),
        _max_turns(params.get("max_turns")),
        _tool_choice(params.get("tool_choice")),
    )


def params_of(prompt: object, options: RunOptions) -> dict[str, Any]:
    """Return the params of a task that asks ``prompt`` on these terms, for ``asked_in``: of objects what is recorded of them.

    Raises ``InvalidInput`` for what is no prompt, and for what is no conversation.
    """
    session, context, budget = options.get("session"), options.get("context"), options.get("budget")
    _check(prompt, session)
    params: dict[str, Any] = {PROMPT: msgspec.to_builtins(prompt) if isinstance(prompt, Message) else prompt}
    if session is not None:
        params["session_id"] = session if isinstance(session, str) else session.session_id
    if isinstance(context, Mapping):
        params["context"] = dict(context)
    if budget is not None:
        params["budget"] = budget.to_dict() if isinstance(budget, Budget) else budget
    for name in ("max_turns", "tool_choice"):
        if options.get(name) is not None:
            params[name] = options.get(name)
    return params


def _check(prompt: object, session: object) -> None:
    if not isinstance(prompt, str | Message):
        raise InvalidInput(
            f"the prompt is a {type(prompt).__name__}",
            hint='give words, or a message: user("what is this?", ImagePart(…))',
        )
    if session is None or isinstance(session, str):
        if session == "":
            raise InvalidInput("the session has no id", hint='session="ada", or leave it out')
        return
    lacks = [name for name in ("session_id", "get_items", "add_items") if not hasattr(session, name)]
    if lacks:
        raise InvalidInput(
            f"the session is a {type(session).__name__} without {lacks[0]}", hint="give an AgentSession, or its id"
        )


def _max_turns(given: object) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= MAX_TURNS):
        return given
    raise InvalidInput(f"max_turns is {given!r:.60}", hint=f"give 1 to {MAX_TURNS:,}")


def _tool_choice(given: object) -> str:
    if given is None or (isinstance(given, str) and 1 <= len(given) <= MAX_CHOICE_CHARS):
        return str(given or "")
    raise InvalidInput(
        f"tool_choice is {given!r:.60}",
        hint='give "auto", "none", "required" or the name of a tool; call it otherwise when the model shall read it',
    )


def _message(prompt: object) -> Message:
    if isinstance(prompt, str):
        if not prompt.strip():
            raise InvalidInput("the prompt is empty", hint="say what the agent shall do")
        return Message(Role.USER, (TextPart(prompt),))
    if isinstance(prompt, Message):
        message = prompt
    elif isinstance(prompt, Mapping) and "parts" in prompt:
        try:
            message = msgspec.convert(dict(prompt), Message)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"the prompt is no message: {error}", hint="give words, or user(…)") from error
    else:
        # what another task returned
        return Message(Role.USER, (TextPart(msgspec.json.encode(codec.decode(codec.encode(prompt))).decode()),))
    if message.role is not Role.USER:
        raise InvalidInput(f"the prompt is a message of {message.role.value!r}", hint="give words, or user(…)")
    return message
