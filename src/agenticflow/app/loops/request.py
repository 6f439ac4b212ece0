"""What a task asks of an agent that asks a model: words out of params, and whose conversation it goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agenticflow.agents.model.parts import Message, Role, TextPart
from agenticflow.core import codec
from agenticflow.errors import InvalidInput

__all__ = ["PROMPT", "Asked", "asked_in"]

PROMPT: Final = "prompt"
_OURS: Final = (PROMPT, "session_id", "context")


class Asked(msgspec.Struct, frozen=True):
    """What an agent is asked, as recorded."""

    message: Message
    session_id: str = ""
    """The conversation that it goes on with; empty for none."""
    context: Any = None
    """Plain data that tools and instructions see."""

    @property
    def text(self) -> str:
        """Its words, as guardrails see them."""
        return self.message.text


def asked_in(task_type: str, params: Mapping[str, Any]) -> Asked:
    """Return what the params of a task ask for: the ``prompt``, and other params below it as JSON; without a prompt the type of the task.

    A prompt is words, or a ``Message`` of a user as plain data. ``session_id`` names the conversation, ``context`` is for tools.
    Raises ``InvalidInput``.
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
    return Asked(Message(Role.USER, tuple(parts)), session_id, params.get("context"))


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
