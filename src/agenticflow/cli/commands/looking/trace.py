"""``agenticflow events trace``: what caused what, across workflows and the reactions of agents, as a tree."""

from __future__ import annotations

from typing import Final

from agenticflow.agents.choreography import CausalTrace, trace_causes
from agenticflow.cli.access import reading
from agenticflow.cli.commands.runs import event_detail, event_json
from agenticflow.cli.exits import Exit, NotThere
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, moment, note, print_json, printable

__all__ = ["trace"]

MAX_INDENT: Final = 20
"""Steps to the right that are drawn; what is deeper says how deep it is."""


def trace(correlation_id: str, *, limit: int, store: str | None, form: Format) -> int:
    """Print every event that belongs to ``correlation_id``, below the event that caused it."""
    found = run_async(_trace(store, correlation_id, limit))
    if form is Format.JSON:
        print_json(
            {
                "correlation_id": found.correlation_id,
                "is_cut": found.is_cut,
                "events": [
                    {
                        "depth": one.depth,
                        "caused_by": one.caused_by,
                        "stream_id": one.event.stream_id,
                        "correlation_id": one.event.correlation_id,
                        "actor_id": one.event.actor_id,
                        **event_json(one.event),
                    }
                    for one in found.events
                ],
            }
        )
        return Exit.OK
    for one in found.events:
        event = one.event
        deeper = f"[{one.depth}] " if one.depth > MAX_INDENT else ""
        branch = "  " * min(one.depth, MAX_INDENT) + deeper
        key = event.payload.get("task_key")
        what = f"{branch}{event.event_type}{'' if key is None else f' {key}'}"
        line = f"{moment(event.timestamp)}  {what:<44}  {event.stream_id:<28}  {event_detail(event.payload)}"
        print(printable(line).rstrip())
    if found.is_cut:
        note(f"there is more: these are the first {limit:,} events; --limit shows more")
    return Exit.OK


async def _trace(url: str | None, correlation_id: str, limit: int) -> CausalTrace:
    async with reading(url) as (_, store):
        found = await trace_causes(store, correlation_id, limit=limit)
    if not found.events:
        raise NotThere(
            f"no event belongs to {correlation_id!r}",
            hint="give the id of a workflow or of an event, or a correlation id; `agenticflow events tail -o json` shows ids",
        )
    return found
