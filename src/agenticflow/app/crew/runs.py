"""One run of a crew, as its function knows it: thrown away at any time, and built again from the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from agenticflow.agents.context import AgentContext
from agenticflow.agents.session.facts import stream_of_session
from agenticflow.app.crew.rules.context import Baseline
from agenticflow.app.crew.rules.safety import Allowance
from agenticflow.app.crew.sessions import CrewSession
from agenticflow.errors import BoundExceeded, InvalidInput
from agenticflow.orchestration.planning.context import WorkflowContext

__all__ = ["Given", "QueryRun", "checked_input", "turn_of"]

EPOCH: Final = datetime.fromtimestamp(0, UTC)
MAX_CONTEXTS: Final = 1_000
NANOSECONDS: Final = 1_000_000_000


class Given:
    """A context, and what it was made of."""

    __slots__ = ("baseline", "context", "data")

    def __init__(self, context: AgentContext, data: Mapping[str, Any]) -> None:
        self.context = context
        self.data = data
        self.baseline = Baseline(context)


class QueryRun:
    """What one run knows; thrown away and built again like the function itself."""

    def __init__(self, ctx: WorkflowContext, allowance: Allowance, given: Mapping[str, Any]) -> None:
        self.ctx = ctx
        self.allowance = allowance
        self.query: str = given["query"]
        self.data: Mapping[str, Any] = given.get("context") or {}
        self.session_id: str = given.get("session_id") or ctx.workflow_id
        self.session: CrewSession | None = None
        self.context: AgentContext | None = None
        self.contexts: list[Given] = []
        self.asked_last: dict[str, str] = {}
        """The last question that stands in a conversation, by its id."""
        self._numbers: Counter[str] = Counter()

    def key_of(self, key: str | None, prefix: str) -> str:
        """Return ``key``, or the next one with this prefix."""
        if key:
            return key
        self._numbers[prefix] += 1
        return f"{prefix}-{self._numbers[prefix]}"

    def session_id_of(self, session: CrewSession | None) -> str:
        """Return which conversation is meant. Raises ``InvalidInput`` for what is none."""
        wanted = self.session if session is None else session
        if not isinstance(wanted, CrewSession):
            raise InvalidInput(
                f"a {type(wanted).__name__} was given to an agent as its session",
                hint="get one by self.setup_session(id)",
            )
        return wanted.session_id

    def given(self, context: AgentContext | None) -> Given:
        """Return what the context was made of. Raises ``InvalidInput`` for one that was not made here."""
        wanted = self.context if context is None else context
        for given in self.contexts:
            if given.context is wanted:
                return given
        raise InvalidInput(
            f"a {type(wanted).__name__} was given to an agent that setup_context has not made",
            hint="override make_context(data) for a context of your own, and get it by self.setup_context(…)",
        )

    def keep(self, context: AgentContext, data: Mapping[str, Any]) -> None:
        """Remember what the context was made of. Raises ``BoundExceeded`` beyond a thousand."""
        if len(self.contexts) >= MAX_CONTEXTS:
            raise BoundExceeded(f"{MAX_CONTEXTS:,} contexts in one run, and no more", hint="set up one, and share it")
        self.contexts.append(Given(context, data))

    def carried(self, given: Given) -> dict[str, Any]:
        """Return what makes the context in the process of a step: the data when they are not the run's, and what has changed since."""
        carried: dict[str, Any] = {}
        if given.data != self.data:
            carried["data"] = dict(given.data)
        if changes := given.baseline.changes(given.context):
            carried["changes"] = changes
        return carried

    def to_say(self, session_id: str, asked: str, result: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what to add to the conversation: what the agent said itself, else its answer, after the question unless that was the
        last one."""
        said: list[dict[str, Any]] | None = result.get("said")
        if said is None:
            said = [] if self.asked_last.get(session_id) == asked else [{"role": "user", "content": asked}]
            self.asked_last[session_id] = asked
            answer = result["output"]
            if answer is not None:
                content = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
                said.append({"role": "assistant", "content": content})
        elif any(item.get("role") == "user" and item.get("content") == asked for item in said):
            self.asked_last[session_id] = asked
        return said

    async def wait_for_turn(self, name: str, key: str) -> None:
        """Wait, over restarts, until agent ``name`` may be asked. Raises ``BoundExceeded`` when it may not be any more."""
        now = (self.ctx.now() - EPOCH) // timedelta(microseconds=1) * 1_000
        wait = self.allowance.admit(name, now) - now
        if wait > 0:
            await self.ctx.sleep(turn_of(key), wait / NANOSECONDS)


def turn_of(key: str) -> str:
    """Return the key of the wait before the step ``key``."""
    return f"{key}-turn"


def checked_input(given: object) -> Mapping[str, Any]:
    """Return the input of a run. Raises ``InvalidInput``."""
    if not isinstance(given, Mapping) or not isinstance(given.get("query"), str) or not given["query"].strip():
        query = given.get("query") if isinstance(given, Mapping) else given
        raise InvalidInput(f"{query!r:.60} is no query", hint='ask in words: await crew.run("Where is my order?")')
    data = given.get("context") or {}
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        raise InvalidInput(f"the context data are {data!r:.60}, not values by name", hint='give {"customer": "c-17"}')
    session_id = given.get("session_id")
    if session_id is not None:
        stream_of_session(session_id)
    return given
