"""``orchestrator.approvals``: the durable inbox. What waits for whom, by id, and what people say to it.

Open requests are found by entries that the runs' commits have written, without folding a run; an answer goes to the run that asked, which
decides. Works in every process: reading needs no owner of the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import msgspec

from agenticflow.app.engine.assembly import Engine
from agenticflow.core import codec
from agenticflow.core.clocks import Clock
from agenticflow.core.decider import Command
from agenticflow.core.ids import check_id
from agenticflow.core.interrupts import MAX_NAME_CHARS
from agenticflow.core.values import store_form
from agenticflow.errors import CommandRefused, InvalidInput, WorkflowNotFoundError
from agenticflow.orchestration import commands as c
from agenticflow.orchestration.approvals.requests import Request, split_approval_id
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.inbox.listing import (
    ANYBODY,
    BY_PERSON,
    BY_WORKFLOW,
    EVERY,
    ApprovalRequest,
    id_in,
    ordered_key,
    prefix_of,
    view_of_request,
)
from agenticflow.orchestration.state import RunState

__all__ = ["Approvals"]

LOCAL_OWNER: Final = "local-owner"
MAX_LISTED: Final = 1_000
PAGE: Final = 1_000
_view: Final = msgspec.msgpack.Decoder(ApprovalRequest)


class Approvals:
    """The requests of one store. ``engine`` gives the running engine."""

    def __init__(self, engine: Callable[[], Awaitable[Engine]], clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # --- looking ----------------------------------------------------------------------------------------------------

    async def list(
        self,
        assignee: str | None = None,
        *,
        workflow_id: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[ApprovalRequest]:
        """Return up to ``limit`` open requests, what was asked first first; ``after`` is the id of the last one of the page before.

        With an ``assignee`` only what waits for that person: where they may answer now, by name or because anybody may, and have not.
        Raises ``InvalidInput`` for a limit outside 1 to 1,000, an empty name, and for ``after`` that is no id, ``WorkflowNotFoundError``
        for one of a run that is not there any more.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LISTED:
            raise InvalidInput(f"a page of {limit!r:.80} requests", hint=f"give 1 to {MAX_LISTED:,}")
        if assignee is not None:
            _check_person(assignee, "assignee")
        if workflow_id is not None:
            check_id(workflow_id, "a workflow")
        engine = await self._engine()
        start = None if after is None else ordered_key((await self._find(engine, after))[1].asked_at, after)
        if assignee is None and workflow_id is None:
            return await self._page(engine, start, limit)
        found: list[ApprovalRequest] = []
        async for key in self._keys(engine, assignee, workflow_id, start):
            value = await engine.store.get_value(EVERY, key, now=self._clock.now_ns())
            if value is None:
                continue  # it was answered in this moment
            view = _view.decode(value.value)
            if assignee is None or all(answer.by != assignee for answer in view.answers):
                found.append(view)
                if len(found) == limit:
                    break
        return found

    async def _page(self, engine: Engine, after: str | None, limit: int) -> Sequence[ApprovalRequest]:
        found: list[ApprovalRequest] = []
        while len(found) < limit:
            page = await engine.store.list_values(
                EVERY, now=self._clock.now_ns(), after=after, limit=limit - len(found)
            )
            if not page:
                break
            found += [_view.decode(value.value) for value in page]
            after = page[-1].key
        return found

    async def _keys(
        self, engine: Engine, assignee: str | None, workflow_id: str | None, start: str | None
    ) -> AsyncIterator[str]:
        """Yield the keys of what waits for the person (in the workflow), in order."""
        if assignee is None:
            async for one in self._group(engine, BY_WORKFLOW, workflow_id or "", start):
                yield one
            return
        places = [self._group(engine, BY_PERSON, group, start) for group in (assignee, ANYBODY)]
        heads = [(await anext(place, None), place) for place in places]
        while any(key is not None for key, _ in heads):
            key, place = min((head for head in heads if head[0] is not None), key=lambda head: head[0] or "")
            heads = [(await anext(place, None), place) if head[1] is place else head for head in heads]
            if key is not None and (workflow_id is None or id_in(EVERY, key).startswith(f"{workflow_id}/")):
                yield key

    async def _group(self, engine: Engine, namespace: str, group: str, start: str | None) -> AsyncIterator[str]:
        prefix = prefix_of(group)
        after = None if start is None else prefix + start
        while page := await engine.store.list_values(
            namespace, now=self._clock.now_ns(), prefix=prefix, after=after, limit=PAGE
        ):
            for value in page:
                yield value.key.removeprefix(prefix)
            after = page[-1].key

    async def get(self, approval_id: str) -> ApprovalRequest:
        """Return one request as it stands, also when it is closed.

        Raises ``InvalidInput`` for what is no id, ``WorkflowNotFoundError`` when there is no such request.
        """
        return view_of_request(*await self._find(await self._engine(), approval_id))

    async def _find(self, engine: Engine, approval_id: str) -> tuple[RunState, Request]:
        workflow_id, run_no, key, token = split_approval_id(approval_id)
        if await engine.store.get_run(workflow_id, run_no) is None:
            raise _nothing_there(approval_id)
        state: RunState = await engine.host.read(stream_of(workflow_id, run_no))
        for request in [*state.requests.get(key, {}).values(), *state.answered.get(key, {}).values()]:
            if request.token == token:
                return state, request
        raise _nothing_there(approval_id)

    # --- answering --------------------------------------------------------------------------------------------------

    async def approve(self, approval_id: str, *, comment: str = "", by: str = LOCAL_OWNER) -> ApprovalRequest:
        """Say yes, to the arguments as they are. Return the request as it stands then.

        An approval task is completed with ``{"approved": True, "by": …, "comment": …, "value": …}`` when it was the last yes that was
        needed, a handler that asked goes on with the value. The same answer again changes nothing.

        Raises ``CommandRefused`` when the request is closed, ``by`` may not answer it, has said something else, or is too late;
        ``InvalidInput`` when it needs a value; ``WorkflowNotFoundError``.
        """
        return await self.answer(approval_id, None, comment=comment, by=by)

    async def answer(
        self, approval_id: str, value: object, *, comment: str = "", by: str = LOCAL_OWNER
    ) -> ApprovalRequest:
        """Say yes with ``value``: edited arguments, or what the response schema asks for. Otherwise like ``approve``.

        Raises ``InvalidInput`` naming the field of ``value`` that does not fit; nothing is recorded then.
        """
        _check_person(by, "by")
        given = {"approved": True, "by": by, "comment": comment, "value": value}
        stored, blobs = store_form(codec.encode(given))
        _, _, key, token = split_approval_id(approval_id)
        command = c.Approve(
            now=self._clock.now_ns(),
            task_key=key,
            token=token,
            requested_by=by,
            comment=comment,
            result=stored,
            blobs=blobs,
        )
        return await self._say(approval_id, command)

    async def reject(self, approval_id: str, *, comment: str = "", by: str = LOCAL_OWNER) -> ApprovalRequest:
        """Say no: the task fails, unless its approval lets others outvote that. Raises like ``approve``."""
        _check_person(by, "by")
        _, _, key, token = split_approval_id(approval_id)
        command = c.Reject(now=self._clock.now_ns(), task_key=key, token=token, requested_by=by, comment=comment)
        return await self._say(approval_id, command)

    async def delegate(self, approval_id: str, to: str, *, comment: str = "", by: str = LOCAL_OWNER) -> ApprovalRequest:
        """Hand the request from ``by``, who may answer it, to ``to``, who may then in their place. Raises like ``approve``."""
        _check_person(by, "by")
        _check_person(to, "to")
        _, _, key, token = split_approval_id(approval_id)
        command = c.Delegate(
            now=self._clock.now_ns(), task_key=key, token=token, requested_by=by, to=to, comment=comment
        )
        return await self._say(approval_id, command)

    async def _say(self, approval_id: str, command: Command) -> ApprovalRequest:
        engine = await self._engine()
        workflow_id, run_no, _, _ = split_approval_id(approval_id)
        if await engine.store.get_run(workflow_id, run_no) is None:
            raise _nothing_there(approval_id)
        try:
            await engine.host.submit(stream_of(workflow_id, run_no), command)
        except CommandRefused:
            await self._find(engine, approval_id)  # what was never asked is not there, rather than refused
            raise
        return await self.get(approval_id)


def _nothing_there(approval_id: str) -> WorkflowNotFoundError:
    return WorkflowNotFoundError(
        f"there is no request {approval_id!r} in this store",
        hint="`agenticflow approvals list` shows what waits for an answer",
    )


def _check_person(name: object, what: str) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
        raise InvalidInput(
            f"{what} is {name!r:.60}, no name of a person", hint=f"give a text of 1 to {MAX_NAME_CHARS} characters"
        )
    check_id(name, "a person")
