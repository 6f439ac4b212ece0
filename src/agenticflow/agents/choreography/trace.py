"""What caused what, across workflows and reactions: one tree out of the events of a store, for one correlation id. Reads only.

Events point at their cause by id. Where they do not, the tree fills in what the log says otherwise: what an agent emitted hangs below the
reaction that emitted it; a run's steps that no event caused below the start of the run; a sub-workflow below the task that asked for it; a
workflow that a reaction started below that reaction.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from agenticflow.agents.choreography.facts import AGENT_REACTED
from agenticflow.core.events import RecordedEvent
from agenticflow.errors import InvalidInput
from agenticflow.storage.event_store import EventStore, decode_event

__all__ = ["CausalTrace", "TracedEvent", "depth_of_workflow", "trace_causes"]

MAX_TRACED: Final = 100_000
DEFAULT_TRACED: Final = 10_000
PAGE_EVENTS: Final = 1_000
MAX_PASSES: Final = 20
"""Times the log is read: once more whenever a workflow turns up whose first events lie before what led to it."""
_WORKFLOW: Final = "workflow-"
_STARTED_BY_REACTION: Final = re.compile(r"reaction-(\d{1,6})-[0-9a-f]{24}-\d{1,3}(?:~.*)?", re.DOTALL)


class TracedEvent(msgspec.Struct, frozen=True):
    """An event and its place in the tree."""

    event: RecordedEvent
    depth: int
    """0 for what nothing in the trace caused."""
    caused_by: str | None
    """Id of the event above it in the tree."""


class CausalTrace(msgspec.Struct, frozen=True):
    """What belongs to one correlation, as a tree: every event after the one that caused it, in the order of the log below it."""

    correlation_id: str
    events: tuple[TracedEvent, ...]
    is_cut: bool
    """Whether there are more events than were asked for."""


async def trace_causes(store: EventStore, correlation_id: str, *, limit: int = DEFAULT_TRACED) -> CausalTrace:
    """Return what belongs to ``correlation_id``: the id of a workflow, of an event, or one that events were given.

    Reads the whole log, once or a few times, and keeps at most ``limit`` (up to 100,000) events. Raises ``InvalidInput`` for a wrong limit.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_TRACED:
        raise InvalidInput(f"limit is {limit!r}", hint=f"give a whole number from 1 to {MAX_TRACED:,}")
    family = _Family(correlation_id, limit)
    for _ in range(MAX_PASSES):
        known = family.size
        after = 0
        while page := await store.scan_page(after, PAGE_EVENTS):
            for stored in page:
                family.look_at(decode_event(stored, store.schemas))
            after = page[-1].position
        if family.size == known:
            break
    return CausalTrace(correlation_id, tuple(_laid_out(family)), family.is_cut)


def depth_of_workflow(workflow_id: str | None) -> int:
    """Return how deep the reaction was that started the workflow, or the one it is a sub-workflow of; 0 when none did."""
    found = _STARTED_BY_REACTION.fullmatch(workflow_id) if workflow_id is not None else None
    return int(found[1]) if found is not None else 0


class _Family:
    """The events that belong together, as far as they are known."""

    def __init__(self, correlation_id: str, limit: int) -> None:
        self.correlations = {correlation_id}
        self.events: dict[str, RecordedEvent] = {}
        self.started_by: dict[str, str] = {}
        """The event that started a workflow, by the id of the workflow."""
        self.is_cut = False
        self._limit = limit

    @property
    def size(self) -> int:
        """Grows as long as there is news."""
        return len(self.correlations)

    def look_at(self, event: RecordedEvent) -> None:
        """Take the event in if it belongs here."""
        if event.id in self.events:
            return
        parent = _parent_task(event)
        is_child = parent is not None and parent in self.events
        if not (
            is_child
            or event.id in self.correlations
            or event.correlation_id in self.correlations
            or event.causation_id in self.events
        ):
            return
        if len(self.events) >= self._limit:
            self.is_cut = True
            return
        self.events[event.id] = event
        if is_child and parent is not None and event.correlation_id is not None:
            self._also(event.correlation_id, parent)
        if event.event_type == AGENT_REACTED:
            started = event.payload.get("started")
            for workflow_id in started if isinstance(started, tuple) else ():
                self._also(str(workflow_id), event.id)

    def _also(self, workflow_id: str, cause: str) -> None:
        self.correlations.add(workflow_id)
        self.started_by.setdefault(workflow_id, cause)


def _parent_task(event: RecordedEvent) -> str | None:
    """Return the id of the event that asked for the sub-workflow whose first event this is."""
    if event.version != 1 or not event.stream_id.startswith(_WORKFLOW):
        return None
    parent = event.payload.get("parent")
    return f"{parent[0]}@{parent[2]}" if isinstance(parent, tuple) and len(parent) == 3 else None


def _laid_out(family: _Family) -> list[TracedEvent]:
    """Return the tree, each event before what it caused. No recursion: chains are as long as runs are."""
    causes = _causes(family)
    effects: dict[str | None, list[RecordedEvent]] = {}
    for event_id, cause in causes.items():
        effects.setdefault(cause, []).append(family.events[event_id])
    laid_out: list[TracedEvent] = []
    open_events = [(event, 0) for event in reversed(effects.get(None, []))]
    while open_events:
        event, depth = open_events.pop()
        laid_out.append(TracedEvent(event, depth, causes[event.id]))
        open_events.extend((effect, depth + 1) for effect in reversed(effects.get(event.id, [])))
    return laid_out


def _causes(family: _Family) -> dict[str, str | None]:
    """Return which event of the family each one comes of, ``None`` where there is none; in order of position."""
    events = family.events
    starters = set(family.started_by.values())
    emitters: dict[str, tuple[str, int]] = {}
    """By stream: the last reaction, and the version up to which events are what it emitted."""
    causes: dict[str, str | None] = {}
    for event in sorted(events.values(), key=lambda one: one.position):
        reaction, last = emitters.get(event.stream_id, ("", 0))
        if event.event_type == AGENT_REACTED:
            emitted = event.payload.get("emitted", 0)
            emitters[event.stream_id] = event.id, event.version + (emitted if isinstance(emitted, int) else 0)
            cause = event.causation_id
        elif event.version <= last:
            cause = reaction
        elif event.stream_id.startswith(_WORKFLOW) and event.version == 1:
            cause = _parent_task(event) or family.started_by.get(event.correlation_id or "")
        elif event.stream_id.startswith(_WORKFLOW) and event.causation_id not in events:
            cause = f"{event.stream_id}@1"
        else:
            cause = event.causation_id
        above = events.get(cause) if cause is not None else None
        # What came later caused nothing, whatever an event says; only a workflow is there before the reaction that started it.
        is_above = above is not None and (above.position < event.position or cause in starters)
        causes[event.id] = cause if is_above else None
    return causes
