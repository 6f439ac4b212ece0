"""The way in: a cassette goes in, a report of what went another way comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from agenticflow.app.cassettes import MAX_CASSETTE_BYTES, Cassette, parse_cassette
from agenticflow.core.engine import Performer
from agenticflow.core.values import BlobMissing
from agenticflow.errors import CorruptStore, InvalidInput
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.plan import compile_plan, decode_plan
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.planning.planner import Planners
from agenticflow.testing.cassettes.calling import Calls, call_handlers
from agenticflow.testing.cassettes.redeciding import compare_definitions, initial_state, redecide
from agenticflow.testing.cassettes.report import DriftReport

__all__ = ["replay_cassette"]


def replay_cassette(
    cassette: str | Path | bytes,
    workflow: WorkflowDefinition | WorkflowFunction | None = None,
    *,
    handlers: Iterable[Performer] | None = None,
    with_at_most_once: bool = False,
) -> DriftReport:
    """Decide a recorded run anew and report what went another way. ``cassette`` is the path of a file, or what is in it.

    What was asked of the run, and what its handlers gave, is taken from the cassette in its order; what follows from that is decided by
    today's engine, by the recorded definition or by ``workflow``, with the recorded input. A workflow as code is asked what it asks for
    now, so its function has to be given. The first decision that is another ends the comparison. With ``handlers`` (agents and workers)
    each task's handler is called once more with its recorded inputs, really, and its result compared with the recorded one; at-most-once
    work only ``with_at_most_once``.

    Event loops are made here: call it from a plain function, or from another thread. Raises ``InvalidInput`` for a file that is not there
    or is no sound cassette, ``DefinitionError`` for a ``workflow`` with mistakes.
    """
    found = _read(cassette)
    performers = None if handlers is None else list(handlers)
    first = found.events[0].fact
    if not isinstance(first, f.WorkflowStarted):  # ``parse_cassette`` has looked
        raise InvalidInput("the cassette does not begin with a start")
    plan = compile_plan(workflow) if isinstance(workflow, WorkflowDefinition) else None
    try:
        definition = decode_plan(initial_state(found).values.resolve(bytes(first.definition))).definition
        same, drift = redecide(found, plan, _planners(definition, workflow))
        calls = Calls() if performers is None else _called(found, performers, with_at_most_once)
    except BlobMissing as missing:
        raise InvalidInput(
            f"the cassette is damaged: the value {missing.reference.hash} is not in it", hint="export the run again"
        ) from missing
    except CorruptStore as error:
        raise InvalidInput(f"the cassette is damaged: {error.message}", hint="export the run again") from error
    return DriftReport(
        workflow_id=found.workflow_id,
        run_no=found.run_no,
        release=found.release,
        events=same,
        recorded_events=len(found.events),
        calls=calls.count,
        differences=([] if drift is None else [drift]) + calls.differences,
        definition=[] if plan is None else compare_definitions(definition, plan.definition),
        skipped=list(calls.skipped),
        redacted=found.redacted_count,
        left_out=list(found.left_out),
    )


def _planners(recorded: WorkflowDefinition, workflow: WorkflowDefinition | WorkflowFunction | None) -> Planners | None:
    """Return who plans the run: for a workflow as code the function that is given, as if it were the recorded one."""
    if isinstance(workflow, WorkflowFunction) is not bool(recorded.code):
        kind = "as code" if recorded.code else "as data"
        raise InvalidInput(
            f"the cassette holds a run of {recorded.name!r}, a workflow {kind}",
            hint="give its function: replay_cassette(file, order)"
            if recorded.code
            else "give a WorkflowDefinition, or none",
        )
    if not isinstance(workflow, WorkflowFunction):
        return None
    planners = Planners()
    planners.add(WorkflowFunction(workflow.function, recorded))
    return planners


def _called(cassette: Cassette, performers: list[Performer], with_at_most_once: bool) -> Calls:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(call_handlers(cassette, performers, with_at_most_once=with_at_most_once))
    raise InvalidInput(
        "replay_cassette with handlers makes an event loop of its own, and one runs here",
        hint="write await asyncio.to_thread(replay_cassette, …), or call it from a plain function",
    )


def _read(cassette: str | Path | bytes) -> Cassette:
    if isinstance(cassette, bytes):
        return parse_cassette(cassette)
    path = Path(cassette)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CASSETTE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"cannot read the cassette {str(cassette)!r:.200}: {error}", hint="`agenticflow runs export RUN --out FILE`"
        ) from error
    return parse_cassette(data, str(path))
