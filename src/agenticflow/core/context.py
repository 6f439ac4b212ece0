"""What a handler may know about the attempt it performs: its ids, inputs, limits, tools, and whether it should stop.

A mapping: ``context["load"]`` is the result of the dependency ``load``, ``context["customer"]`` a key of the workflow input,
``context["input_data"]`` the whole input unless a key has that name. Values are decoded on first use and private to the attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Literal, Protocol, Unpack, overload

import msgspec

from agenticflow.core.cancelling import CancelReason
from agenticflow.core.codec import decode
from agenticflow.core.interrupts import (
    Ask,
    AskOptions,
    Interrupted,
    OnRejection,
    Replies,
    Reply,
    asked_twice,
)
from agenticflow.core.journal import KeepsJournals, TaskJournal
from agenticflow.core.tools import CallGiven, ToolAccess, ToolCall, ToolResult, call_of, tool_effect_key
from agenticflow.errors import DefinitionError, InvalidInput, TaskCancelled

__all__ = ["CancelReason", "Feedback", "HasAccounts", "Progress", "TaskContext", "effect_key"]

_UNREAD: Final = object()
_NO_REPLIES: Final[Mapping[str, Reply]] = Replies()
MAX_MESSAGE_CHARS: Final = 500
PARALLEL_CALLS: Final = 10
"""Of tools at once, unless the handler says otherwise."""


def effect_key(workflow_id: str, task_key: str, generation: int) -> str:
    """Return the key that is equal for all attempts of a task and across the runs of a chain: 32 hexadecimal digits.

    It changes only when somebody explicitly asks to run the task again. Hand it to outside services as their idempotency key.
    """
    return blake2b(f"{workflow_id}\0{task_key}\0{generation}".encode(), digest_size=16).hexdigest()


class HasAccounts(Protocol):
    """Whoever knows what the calls of a task's handler are paid from."""

    def accounts(self) -> Any:
        """Return the ``agents.spending`` ``Accounts`` of the orchestrator."""


class Progress(msgspec.Struct, frozen=True):
    """How far an attempt says it is. Seen while it runs, never an event."""

    fraction: float | None = None
    """From 0 to 1, ``None`` when it cannot say."""
    message: str = ""
    number: int = 0
    """How many reports there were before this one."""


LAST_REPORTS: Final = "last-reports"
"""Namespace of what tasks that have lost a process report last."""


class LastReport(msgspec.Struct, frozen=True):
    """What an attempt reported last, as it is kept of tasks that have lost a process; ``at`` is in nanoseconds since the epoch."""

    fraction: float | None
    message: str
    attempt: int
    at: int


def last_report_key(stream_id: str, task_key: str) -> str:
    """Return the key of the last report of a task."""
    return f"{stream_id}@{task_key}"


class Feedback(msgspec.Struct, frozen=True):
    """What a person said to a run that goes on, for its handlers to take into account."""

    value: object
    """Text or data."""
    given_by: str
    at: int
    """When it was recorded, in nanoseconds since the epoch."""
    task_key: str = ""
    """Whom it is for: a task, or an item of it; empty for all of the run."""
    number: int = 0
    """Of what was said to the run, the later the higher."""


class _TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the attempt's fields to those that a call gives itself."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


class TaskContext(Mapping[str, object]):
    """The context of one attempt."""

    __slots__ = (
        "_asked",
        "_encoded_input",
        "_input",
        "_journal",
        "_logger",
        "_open",
        "accounts",
        "agent_id",
        "attempt",
        "cancel_reason",
        "deadline",
        "effect",
        "feedback",
        "generation",
        "heard",
        "is_cancelled",
        "journals",
        "params",
        "progress",
        "replies",
        "results",
        "run_no",
        "task_id",
        "task_key",
        "token",
        "tools",
        "workflow_id",
    )

    def __init__(
        self,
        *,
        workflow_id: str,
        run_no: int,
        task_id: str,
        task_key: str,
        agent_id: str,
        attempt: int,
        generation: int,
        deadline: int | None,
        params: Mapping[str, object],
        results: Mapping[str, object],
        encoded_input: bytes,
        feedback: tuple[Feedback, ...] = (),
        effect: str = "idempotent",
    ) -> None:
        self.workflow_id = workflow_id
        self.run_no = run_no
        self.task_id = task_id
        self.task_key = task_key
        """The task id, with ``[index]`` for an item of a map."""
        self.agent_id = agent_id
        self.attempt = attempt
        """From 1."""
        self.generation = generation
        self.deadline = deadline
        """Moment in nanoseconds since the epoch at which this attempt times out, or ``None``."""
        self.effect = effect
        """What performing the task twice would mean: ``pure``, ``idempotent`` or ``at_most_once``."""
        self.params = params
        self.results = results
        """Results of the dependencies by task id."""
        self._encoded_input = encoded_input
        self._input: object = _UNREAD
        self.is_cancelled = False
        """Whether the attempt was told to stop. Handlers in threads look at it now and then; async ones are interrupted."""
        self.cancel_reason: CancelReason | None = None
        """Why, from before it is told on; ``None`` while nobody has."""
        self.feedback = feedback
        """What people have said to this task, or to all of the run, oldest first. More may come while the handler runs: look again."""
        self.progress: Progress | None = None
        """What was reported last."""
        self.heard: Callable[[], None] | None = None
        """Who is told that something was reported."""
        self._logger: logging.LoggerAdapter[logging.Logger] | None = None
        self.replies: Mapping[str, Reply] = _NO_REPLIES
        """What has been replied to what the handler has asked, by key; of what is not in it nobody has decided yet."""
        self._asked: set[str] | None = None
        self._open: list[tuple[str, bytes]] | None = None
        """What this attempt has asked and nobody has answered: what one task raises carries what its siblings have asked too."""
        self.tools: ToolAccess | None = None
        """The tools of the agent that performs the task; ``None`` when it has none."""
        self.journals: KeepsJournals | None = None
        """Where journals are; ``None`` outside of the engine."""
        self.accounts: HasAccounts | None = None
        """Who knows its budgets, and what models cost; ``None`` outside of the engine."""
        self.token = 0
        """Tells this attempt from others of its run."""
        self._journal: TaskJournal | None = None

    @property
    def input(self) -> object:
        """The workflow input: the definition's context with the caller's keys over it."""
        if self._input is _UNREAD:
            self._input = decode(self._encoded_input)
        return self._input

    @property
    def effect_key(self) -> str:
        """Equal for all attempts of this task; see ``effect_key`` in this module."""
        return effect_key(self.workflow_id, self.task_key, self.generation)

    @property
    def journal(self) -> TaskJournal:
        """What the handler has done so far: for loops that are not ours, whose steps shall not happen again. From any thread.

        Raises ``DefinitionError`` where no engine performs the task, and in a process of its own.
        """
        if self._journal is None:
            if self.journals is None:
                raise DefinitionError(
                    f"task {self.task_key!r} has no journal here: its handler is not performed by an orchestrator, or runs in "
                    "a process of its own",
                    hint="write it as async def, or as a function that runs in a thread",
                )
            desk = self.journals.desk(
                workflow_id=self.workflow_id,
                run_no=self.run_no,
                task_key=self.task_key,
                generation=self.generation,
                token=self.token,
                attempt=self.attempt,
            )
            self._journal = TaskJournal(desk, self.task_key)
        return self._journal

    @property
    def is_superseded(self) -> bool:
        """Whether another attempt was found to write the journal of the task."""
        return self._journal is not None and self._journal.is_superseded

    def close_journal(self) -> None:
        """The attempt is over: nothing more is written in its name."""
        if self._journal is not None:
            self._journal.close()

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that adds workflow, task and attempt to every record."""
        if self._logger is None:
            self._logger = _TaskLogger(
                logging.getLogger("agenticflow.task"),
                {
                    "workflow_id": self.workflow_id,
                    "run_no": self.run_no,
                    "task_key": self.task_key,
                    "attempt": self.attempt,
                },
            )
        return self._logger

    def report_progress(self, fraction: float | None = None, message: str = "") -> None:
        """Say how far the work is, from 0 to 1, and that it goes on: a ``stall_seconds`` limit begins anew. From any thread.

        Raises ``InvalidInput`` for a fraction outside 0 to 1.
        """
        if fraction is not None and not 0 <= fraction <= 1:
            raise InvalidInput(f"the progress of {self.task_key!r} is {fraction!r}", hint="report a part from 0 to 1")
        before = self.progress
        self.progress = Progress(fraction, str(message)[:MAX_MESSAGE_CHARS], 0 if before is None else before.number + 1)
        if (heard := self.heard) is not None:
            heard()

    @overload
    def interrupt(
        self, value: object = None, *, on_rejection: Literal["fail"] = "fail", **options: Unpack[AskOptions]
    ) -> object: ...

    @overload
    def interrupt(
        self, value: object = None, *, on_rejection: Literal["return"], **options: Unpack[AskOptions]
    ) -> Reply: ...

    def interrupt(
        self, value: object = None, *, on_rejection: OnRejection = "fail", **options: Unpack[AskOptions]
    ) -> object:
        """Ask a person, or with a ``quorum`` several, and return the value of the (last) answer.

        The attempt ends here and holds nothing; when there is an answer the handler runs again from its beginning, as the same attempt with
        the same effect key, and this call returns at once. What stands before it runs again: do effects after it. ``value`` is shown with
        the ``question``, and is the answer of whoever approves without one, unless a ``response_schema`` says what an answer looks like.
        Several interrupts of one handler have a ``key`` each, whatever their order; those of tasks that run beside each other are asked at
        once. A rejection fails the task; with ``on_rejection="return"`` the call returns a ``Reply`` that says yes or no, and who.
        ``quorum``, ``rejection_ends`` and ``escalation`` are those of an ``Approval``.

        An ``except Exception`` of the handler lets the interrupt through; whoever catches ``BaseException`` asks nobody. Raises
        ``InvalidInput`` for a key that was used before in this attempt, and for what cannot be asked.
        """
        (reply,) = self.interrupt_all((Ask.of(value, on_rejection=on_rejection, **options),))
        return reply if on_rejection == "return" else reply.value

    def interrupt_all(self, asks: Sequence[Ask]) -> list[Reply]:
        """Ask several things at once, ``Ask.of(value, key=…)`` each, and return the replies in the order of ``asks``.

        Each is a request of its own, answered in any order. The handler runs again with every answer, and with those that it has so far in
        ``context.replies``; this call returns when it has all of them. Otherwise as ``interrupt``.
        """
        asked = self._asked = self._asked or set()
        for ask in asks:
            if not isinstance(ask, Ask):
                raise InvalidInput(
                    f"the handler of {self.task_key!r} asks {ask!r:.60}, which is no Ask",
                    hint='write context.interrupt_all([Ask.of(value, key="price", question="…")])',
                )
            if ask.key in asked:
                raise asked_twice(ask.key, self.task_key)
            asked.add(ask.key)
        replies = self.replies
        missing = [ask for ask in asks if ask.key not in replies]
        if not missing:
            return [replies[ask.key] for ask in asks]
        still_open = self._open = self._open if self._open is not None else []
        still_open += Interrupted.of(missing, task_key=self.task_key).asks
        raise Interrupted(still_open)

    async def invoke_tool(self, name: str, params: Mapping[str, object] | None = None, *, key: str = "") -> ToolResult:
        """Call a tool of the agent and return what came of it: a value, or a failure that says whose move it is.

        Its effect key follows from that of the task, the tool and the params, so that another attempt of the task does nothing twice; equal
        calls that are meant to happen several times have a ``key`` each. It is stopped when this attempt is. A tool that must not happen
        twice takes a task that must not. Raises ``DefinitionError`` when the agent has no tools.
        """
        return await self._tools().invoke(self._call(ToolCall(name, params if params is not None else {}), key))

    async def invoke_tool_parallel(
        self, calls: Sequence[CallGiven], *, max_concurrent: int = PARALLEL_CALLS
    ) -> list[ToolResult]:
        """Call several tools at once: results in the order of the calls, failures in their places; see ``invoke_tool``."""
        made = [self._call(call_of(given), "") for given in calls]
        return await self._tools().invoke_parallel(made, max_concurrent=max_concurrent)

    def _tools(self) -> ToolAccess:
        if self.tools is None:
            raise DefinitionError(
                f"agent {self.agent_id!r} has no tools", hint=f"make it with Agent({self.agent_id!r}, tools=[…])"
            )
        return self.tools

    def _call(self, call: ToolCall, key: str) -> ToolCall:
        effect = call.effect_key or tool_effect_key(self.effect_key, call.name, call.params, key)
        return msgspec.structs.replace(call, effect_key=effect)

    def raise_if_cancelled(self) -> None:
        """Raise ``TaskCancelled`` when the attempt was told to stop; for loops in threads."""
        if self.is_cancelled:
            why = "" if self.cancel_reason is None else f": {self.cancel_reason}"
            raise TaskCancelled(f"task {self.task_key!r} of workflow {self.workflow_id!r} was told to stop{why}")

    def find(self, key: str, default: object) -> object:
        """Return what ``key`` names here, or ``default``."""
        if key in self.results:
            return self.results[key]
        given = self.input
        if isinstance(given, dict) and key in given:
            return given[key]
        return given if key == "input_data" else default

    def __getitem__(self, key: str) -> object:
        value = self.find(key, _UNREAD)
        if value is not _UNREAD:
            return value
        known = ", ".join(repr(name) for name in self) or "nothing"
        raise KeyError(
            f"{key!r} is neither a dependency of {self.task_key!r} nor a key of the workflow input; there is {known}"
        )

    def __iter__(self) -> Iterator[str]:
        yield from self.results
        if isinstance(self.input, Mapping):
            yield from (key for key in self.input if key not in self.results)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"TaskContext({self.workflow_id!r}, {self.task_key!r}, attempt={self.attempt})"
