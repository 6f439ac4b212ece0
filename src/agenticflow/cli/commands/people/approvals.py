"""``agenticflow approvals …``: look at what waits for people, and answer, beside whoever owns the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from agenticflow.app.commands.operation import Operation
from agenticflow.app.commands.operations import AnswerRequest, DelegateRequest, RejectRequest
from agenticflow.cli.access import deliver, reading
from agenticflow.cli.commands.run import json_document
from agenticflow.cli.commands.runs import demand_run
from agenticflow.cli.exits import Exit
from agenticflow.cli.options import person
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, note, print_json, print_table, printable
from agenticflow.orchestration.inbox.listing import ApprovalRequest

__all__ = ["approve", "delegate", "listing", "reject", "show"]


def listing(
    *,
    assignee: str | None,
    workflow_id: str | None,
    after: str | None,
    limit: int,
    store: str | None,
    form: Format,
) -> int:
    """List open requests."""
    views = run_async(_views(store, assignee, workflow_id, after, limit))
    if form is Format.JSON:
        print_json([_plain(view) for view in views])
    elif not views:
        note("nothing waits for an answer" + (f" of {assignee}" if assignee else ""))
    else:
        print_table(
            ("ID", "QUESTION", "FOR", "ASKED", "UNTIL", "SAID"),
            [
                (
                    view.approval_id,
                    view.question,
                    _people(view),
                    _moment(view.asked_at),
                    _moment(view.deadline),
                    _said(view),
                )
                for view in views
            ],
        )
    return Exit.OK


async def _views(
    store: str | None, assignee: str | None, workflow_id: str | None, after: str | None, limit: int
) -> Sequence[ApprovalRequest]:
    async with reading(store) as (orchestrator, _):
        if workflow_id is not None:
            await demand_run(orchestrator, workflow_id)
        return await orchestrator.approvals.list(assignee, workflow_id=workflow_id, after=after, limit=limit)


def show(approval_id: str, *, store: str | None, form: Format) -> int:
    """Show one request."""
    view = run_async(_view(store, approval_id))
    if form is Format.JSON:
        print_json(_plain(view))
        return Exit.OK
    print(printable(f"{view.approval_id}: {view.question}"))
    print(printable(f"{view.workflow}, {'open' if view.is_open else 'closed'}; for {_people(view)}; {_said(view)}"))
    if view.arguments is not None:
        print(printable(f"arguments: {json.dumps(view.arguments, ensure_ascii=False, default=str)}"))
    if view.response_schema is not None:
        print(printable(f"an answer looks like: {json.dumps(view.response_schema, ensure_ascii=False)}"))
    if view.deadline is not None:
        print(f"until {_moment(view.deadline)}Z, then: {view.on_deadline}")
    if view.level:
        print(f"escalated {view.level} times")
    for one in view.delegations:
        print(printable(f"{_moment(one.at)}  {one.by} handed it to {one.to}  {one.comment}".rstrip()))
    for said in view.answers:
        verb = "approved" if said.approved else "rejected"
        print(printable(f"{_moment(said.at)}  {said.by} {verb}  {said.comment}".rstrip()))
    return Exit.OK


async def _view(store: str | None, approval_id: str) -> ApprovalRequest:
    async with reading(store) as (orchestrator, _):
        return await orchestrator.approvals.get(approval_id)


def _people(view: ApprovalRequest) -> str:
    return ", ".join(view.assignees) or "anybody"


def _said(view: ApprovalRequest) -> str:
    return f"{sum(answer.approved for answer in view.answers)} of {view.quorum} approved"


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _plain(view: ApprovalRequest) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(view)
    return plain


# --- answering ----------------------------------------------------------------------------------------------------------


def approve(
    approval_id: str, *, value: str | None, comment: str, by: str | None, store: str | None, form: Format
) -> int:
    """Say yes. ``value`` is JSON, so that a number is a number; the run checks whether it fits."""
    given = None if value is None else json_document(value, "--value")
    operation = AnswerRequest(approval_id=approval_id, value=given, comment=comment, by=person(by))
    return _say(operation, store, form)


def reject(approval_id: str, *, comment: str, by: str | None, store: str | None, form: Format) -> int:
    """Say no."""
    return _say(RejectRequest(approval_id=approval_id, comment=comment, by=person(by)), store, form)


def delegate(approval_id: str, to: str, *, comment: str, by: str | None, store: str | None, form: Format) -> int:
    """Hand a request on."""
    return _say(DelegateRequest(approval_id=approval_id, to=to, comment=comment, by=person(by)), store, form)


def _say(operation: Operation, store: str | None, form: Format) -> int:
    delivered = run_async(deliver(store, operation))
    if not delivered.by_owner:
        note("recorded; nobody runs this store now, the next owner acts on it: `agenticflow run` or a program of yours")
    if form is Format.JSON:
        print_json(delivered.answer)
    else:
        view = msgspec.convert(delivered.answer, ApprovalRequest)
        print(printable(f"{view.approval_id}: {'open' if view.is_open else 'closed'}, {_said(view)}"))
    return Exit.OK
