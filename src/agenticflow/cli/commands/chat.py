"""``agenticflow chat``: a conversation in the terminal. Answers on stdout, everything else on stderr.

Each line is a run of its own in the conversation's session, so whatever happens to one (Ctrl-C, a failure, a kill), the next goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from agenticflow.agents.agent import Agent
from agenticflow.agents.loop.results import AgentUpdate, HandedOff, Spoken, ToolCalled, ToolReturned
from agenticflow.agents.model.deltas import ResponseFinished, ResponseRestarted, TextDelta
from agenticflow.app.declared.loading import load_agent
from agenticflow.app.loops.loops import AgentRun
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.cli.exits import Exit, code_of, tell
from agenticflow.cli.running import Interrupts, orchestrating, run_async
from agenticflow.cli.terminal import note, printable
from agenticflow.core.clocks import ambient
from agenticflow.errors import AgenticFlowError, CommandRefused, PermanentError
from agenticflow.orchestration.inbox.listing import ApprovalRequest

__all__ = ["chat"]

MAX_SHOWN: Final = 300
"""Characters of a call, and of its result, that are shown."""
LOOK_SECONDS: Final = 0.2
GRACE_SECONDS: Final = 3.0
TOLD_SECONDS: Final = 0.5
"""Waiting that is longer than this is told."""
_YES: Final = ("y", "yes")
_HELP: Final = "/new begins another conversation, /exit (or Ctrl-D) ends; Ctrl-C stops an answer"


def chat(
    target: str, *, prompt: str | None, session: str | None, imports: Iterable[str], store: str | None, is_quiet: bool
) -> int:
    """Talk with the agent in ``target``; return the exit code."""
    agent = load_agent(target, imports=imports)
    return run_async(_chat(agent, prompt, session or f"chat-{ambient.ids.next_id()}", store, is_quiet))


async def _chat(agent: Agent, prompt: str | None, session: str, store: str | None, is_quiet: bool) -> int:
    async with orchestrating(store, [agent]) as (orchestrator, interrupts):
        talk = _Talk(orchestrator, agent, session, interrupts, is_quiet)
        if prompt is not None:
            return await talk.say(prompt)
        if not is_quiet:
            note(f"{agent.agent_id}, session {session}. {_HELP}")
        return await talk.go_on()


class _Talk:
    """One conversation."""

    def __init__(
        self, orchestrator: Orchestrator, agent: Agent, session: str, interrupts: Interrupts, is_quiet: bool
    ) -> None:
        self._orchestrator = orchestrator
        self._agent = agent
        self._session = session
        self._interrupts = interrupts
        self._is_quiet = is_quiet
        self._is_in_line = False
        """Whether the line on stdout has not ended."""
        self._told: datetime | None = None
        """The moment of the next attempt, of which was told."""

    async def go_on(self) -> int:
        """Ask whatever is typed, until nothing more is."""
        code = Exit.OK
        while (line := await self._read("> ")) is not None:
            words = line.strip()
            match words:
                case "":
                    continue
                case "/exit" | "/quit":
                    return code
                case "/new":
                    self._session = f"chat-{ambient.ids.next_id()}"
                    note(f"session {self._session}")
                case "/help":
                    note(_HELP)
                case _:
                    code = await self.say(words)
                    if self._interrupts.name == "SIGTERM":
                        return code
                    self._interrupts.first.clear()
                    self._interrupts.second.clear()
        return code

    async def say(self, words: str) -> Exit:
        """Ask, show what comes, return how it ended."""
        try:
            run = cast("AgentRun", await self._agent.run_stream(words, session=self._session))
            return await self._shown(run)
        except AgenticFlowError as error:
            self._end_line()
            tell(error)
            return code_of(error)

    async def _shown(self, run: AgentRun) -> Exit:
        showing = asyncio.ensure_future(self._show(run))
        stopped = asyncio.ensure_future(self._interrupts.first.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {showing, stopped}
            while not showing.done():
                await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if stopped.done():
                    return await self._stop(run)
                await self._tell_of_retry(run)
                if not showing.done() and not await self._ask_about(run) and not stopped.done():
                    self._end_line()
                    note("nobody is here to say so: it waits; see `agenticflow approvals list`")
                    return Exit.WAITS_FOR_A_PERSON
            await _result(run)
            return Exit.OK
        finally:
            self._end_line()
            for task in (showing, stopped):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await showing

    async def _stop(self, run: AgentRun) -> Exit:
        self._end_line()
        with contextlib.suppress(CommandRefused):  # it has just ended
            await self._orchestrator.abort(run.workflow_id, "stopped in the chat", grace_seconds=GRACE_SECONDS)
        with contextlib.suppress(AgenticFlowError):
            await run.result()
        note("stopped")
        return Exit.CANCELLED

    async def _tell_of_retry(self, run: AgentRun) -> None:
        """Say once that the answer failed and comes later, when that is not at once: somebody sits here and waits."""
        for task in (await self._orchestrator.get_workflow_state(run.workflow_id)).tasks.values():
            due = task.waits_until
            if due is None or due == self._told or (due - _now()).total_seconds() < TOLD_SECONDS:
                continue
            self._told = due
            words = printable(" ".join(str(task.errors[-1]).split()))[:MAX_SHOWN]
            self._say(f"({words}; tried again at {due.astimezone():%H:%M:%S}, Ctrl-C gives up)")

    async def _ask_about(self, run: AgentRun) -> bool:
        """Ask whoever talks about calls that need somebody's yes; return whether somebody has said something to each."""
        for request in await self._orchestrator.approvals.list(workflow_id=run.workflow_id):
            self._end_line()
            answer = await self._read(f"{printable(_asked(request))} [y/N] ")
            if answer is None:  # that is no no
                return False
            with contextlib.suppress(CommandRefused):  # somebody else has answered meanwhile
                if answer.strip().lower() in _YES:
                    await self._orchestrator.approvals.approve(request.approval_id)
                else:
                    await self._orchestrator.approvals.reject(request.approval_id)
        return True

    # --- what is seen -----------------------------------------------------------------------------------------------

    async def _show(self, run: AgentRun) -> None:
        async for update in run:
            self._print(update)

    def _print(self, update: AgentUpdate) -> None:
        match update:
            case Spoken(delta=TextDelta(text=text)):
                sys.stdout.write("".join(c if c in "\n\t" or c.isprintable() else repr(c)[1:-1] for c in text))
                sys.stdout.flush()
                self._is_in_line = bool(text) and not text.endswith("\n")
            case Spoken(delta=ResponseRestarted()):
                self._say("(the answer broke off, and is asked for again)")
            case Spoken(delta=ResponseFinished()):
                self._end_line()
            case ToolCalled(name=name, arguments=arguments):
                given = ", ".join(f"{key}={msgspec.json.encode(value).decode()}" for key, value in arguments.items())
                self._say(f"· {name}({given})"[:MAX_SHOWN])
            case ToolReturned(content=content, is_error=is_error):
                self._say(f"  {'!' if is_error else '→'} {' '.join(content.split())}"[:MAX_SHOWN])
            case HandedOff(to=to):
                self._say(f"· {to} goes on")
            case _:
                return

    def _say(self, text: str) -> None:
        self._end_line()
        if not self._is_quiet:
            note(text)

    def _end_line(self) -> None:
        if self._is_in_line:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._is_in_line = False

    async def _read(self, question: str) -> str | None:
        """Return a line that is typed, ``None`` at the end of the input and when Ctrl-C comes instead."""
        if sys.stdin.isatty():
            print(question, end="", file=sys.stderr, flush=True)
        loop = asyncio.get_running_loop()
        line: asyncio.Future[str] = loop.create_future()

        def take() -> None:
            if not line.done():
                line.set_result(sys.stdin.readline())

        try:
            loop.add_reader(sys.stdin.fileno(), take)
        except (OSError, ValueError, NotImplementedError):  # a file, or no file at all: it never blocks for long
            return await asyncio.to_thread(sys.stdin.readline) or None
        stopped = asyncio.ensure_future(self._interrupts.first.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {line, stopped}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            loop.remove_reader(sys.stdin.fileno())
        if not line.done():
            line.cancel()
            return None
        return line.result() or None


def _now() -> datetime:
    return datetime.fromtimestamp(ambient.clock.now_ns() / 1_000_000_000, UTC)


async def _result(run: AgentRun) -> None:
    try:
        await run.result()
    except AgenticFlowError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())
        raise PermanentError(
            f"the agent failed: {type(error).__name__}: {words[:500]}",
            hint="what it asks or is made of raised this: its model, instructions or guardrails. Mend it there",
        ) from error


def _asked(request: ApprovalRequest) -> str:
    arguments = request.arguments if isinstance(request.arguments, dict) else {}
    params = msgspec.json.encode(arguments.get("params")).decode()
    return f"{request.question} {params}"[:MAX_SHOWN]
