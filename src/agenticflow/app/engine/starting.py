"""Starting runs: the command that opens the first run of a workflow, and the one that opens the next of its chain.

Nothing is decided and nothing is sent here: what callers give is checked, merged and encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.clocks import ambient
from agenticflow.core.results import ErrorInfo
from agenticflow.core.values import store_form
from agenticflow.errors import DefinitionError, InvalidInput, WorkflowIdConflict
from agenticflow.orchestration import commands as c
from agenticflow.orchestration.chain import Carried
from agenticflow.orchestration.plan import Plan, unknown_roots
from agenticflow.orchestration.replanning.terms import ReplanTerms
from agenticflow.orchestration.state import RunState
from agenticflow.orchestration.undoing.carrying import to_undo
from agenticflow.runtime.clock import new_seed
from agenticflow.storage.rows import RunRow
from agenticflow.storage.store import Store

__all__ = [
    "Parent",
    "check_new_id",
    "check_same",
    "check_workflow_id",
    "checked_id",
    "continued_run",
    "first_run",
    "forked_run",
    "id_after",
    "next_run",
    "undoing_run",
]

MAX_ID_CHARS: Final = 200
Parent = tuple[str, str, int]
"""Stream, task key and token of the attempt whose sub-workflow a run is."""


def first_run(
    plan: Plan,
    given: object,
    workflow_id: str,
    *,
    requested_by: str,
    now: int,
    parent: Parent | None = None,
    depth: int = 0,
    replan: ReplanTerms | None = None,
) -> c.StartRun:
    """Return the command that starts ``workflow_id`` with the input ``given`` over the definition's defaults.

    Raises ``DefinitionError`` when references lead nowhere with this input, ``InvalidInput`` and ``NotSerializable`` for the input itself.
    """
    merged = _merged(plan, given)
    if problems := unknown_roots(plan, merged):
        raise DefinitionError(
            f"workflow {plan.definition.name!r} cannot start with this input: {'; '.join(problems)}",
            problems=problems,
        )
    stored_input, input_blobs = store_form(codec.encode(merged))
    stored_definition, definition_blobs = store_form(plan.encoded)
    return c.StartRun(
        now=now,
        workflow_id=workflow_id,
        run_no=1,
        definition=stored_definition,
        input=stored_input,
        seed=new_seed(),
        # Nobody but its parent starts a sub-workflow, and that one is told by its parent.
        fingerprint="" if parent is not None else _fingerprint(plan, merged),
        requested_by=requested_by,
        parent=parent,
        depth=depth,
        replan=replan,
        blobs=input_blobs + definition_blobs,
    )


def next_run(
    state: RunState,
    carried: Carried,
    *,
    requested_by: str,
    now: int,
    parent: Parent | None = None,
    replan: ReplanTerms | None = None,
) -> c.StartRun:
    """Return the command that starts the run after ``state``, with what it keeps."""
    stored_kept, kept_blobs = store_form(codec.encode(carried.kept))
    stored_signals, signals_blobs = store_form(codec.encode(carried.signals))
    stored_answers, answers_blobs = store_form(codec.encode(carried.answers)) if carried.answers else (None, ())
    stored_definition, definition_blobs = store_form(state.laid_out.encoded)
    return c.StartRun(
        now=now,
        workflow_id=state.workflow_id,
        run_no=state.run_no + 1,
        definition=stored_definition,
        input=state.input,
        seed=new_seed(),
        fingerprint=state.fingerprint,
        requested_by=requested_by,
        kept=stored_kept,
        generations=carried.generations,
        signals=stored_signals,
        answers=stored_answers,
        feedback=tuple(carried.feedback),
        parent=parent,
        depth=state.depth,
        first_generation=state.first_generation,
        replan=replan,
        blobs=kept_blobs + definition_blobs + signals_blobs + answers_blobs,
    )


def undoing_run(state: RunState, why: ErrorInfo, *, requested_by: str, now: int, parent: Parent) -> c.StartRun:
    """Return the command that starts the run which undoes the completed run ``state`` and does nothing else."""
    found = to_undo(state)
    command = next_run(state, found.carried, requested_by=requested_by, now=now, parent=parent)
    course, blobs = store_form(msgspec.msgpack.encode(found.course))
    return msgspec.structs.replace(
        command, undone_for=why, course=course, steps=found.steps, blobs=command.blobs + blobs
    )


def forked_run(
    plan: Plan,
    given: object,
    workflow_id: str,
    carried: Carried,
    *,
    requested_by: str,
    now: int,
    replan: ReplanTerms | None = None,
) -> c.StartRun:
    """Return the command that starts ``workflow_id`` with what is ``carried`` over from another run.

    What is kept of tasks that the definition does not have is left out. Errors as for ``first_run``.
    """
    command = first_run(plan, given, workflow_id, requested_by=requested_by, now=now, replan=replan)
    is_planned = bool(plan.definition.code)  # then its function says which steps there are
    kept = {key: value for key, value in carried.kept.items() if is_planned or key.partition("[")[0] in plan.by_id}
    stored_kept, kept_blobs = store_form(codec.encode(kept))
    stored_signals, signals_blobs = store_form(codec.encode(carried.signals))
    return msgspec.structs.replace(
        command,
        kept=stored_kept,
        signals=stored_signals,
        feedback=tuple(carried.feedback),
        blobs=command.blobs + kept_blobs + signals_blobs,
    )


def _fingerprint(plan: Plan, merged: object) -> str:
    if plan.definition.code:
        # A function may be mended while its runs go on: it is the same workflow, whatever its version and source.
        return codec.content_hash(f"code:{plan.definition.name}".encode() + codec.encode(merged, is_canonical=True))
    return codec.content_hash(plan.content_hash.encode() + codec.encode(merged, is_canonical=True))


def continued_run(state: RunState, given: bytes, *, now: int) -> c.StartRun:
    """Return the command that starts the run which goes on, with the encoded input ``given``, in the place of ``state``.

    It keeps no results; signals nobody took are kept. Everything in it is new work, so its effect keys are others.
    """
    signals = {name: list(values) for name, values in state.signals.items() if values}
    stored_signals, signals_blobs = store_form(codec.encode(signals))
    stored_definition, definition_blobs = store_form(state.laid_out.encoded)
    return c.StartRun(
        now=now,
        workflow_id=state.workflow_id,
        run_no=state.run_no + 1,
        definition=stored_definition,
        input=codec.encode(_merged(state.laid_out, codec.decode(given))),
        seed=new_seed(),
        fingerprint=state.fingerprint,
        requested_by=state.started_by,
        signals=stored_signals,
        parent=state.parent,
        depth=state.depth,
        first_generation=state.first_generation + max(state.generations.values(), default=0) + 1,
        replan=None if state.replanning is None else state.replanning.terms,
        blobs=definition_blobs + signals_blobs,
    )


def _merged(plan: Plan, given: object) -> object:
    defaults = plan.definition.context
    if defaults is None:
        return {} if given is None else given
    if given is not None and not isinstance(given, Mapping):
        raise InvalidInput(
            f"workflow {plan.definition.name!r} has a context of defaults and takes a dict, not a {type(given).__name__}"
        )
    return {**defaults, **(given or {})}


def check_new_id(workflow_id: str) -> None:
    """Raise ``InvalidInput`` for what no new workflow can be called: also for what may be the id of a sub-workflow.

    Those that were started by an earlier release keep their ids.
    """
    check_workflow_id(workflow_id)
    if "~" in workflow_id:
        raise InvalidInput(
            f"{workflow_id!r} could be the id of a sub-workflow: task {workflow_id.partition('~')[2]!r} of"
            f" {workflow_id.partition('~')[0]!r} may have it",
            hint="use an id without '~'",
        )


async def checked_id(store: Store, workflow_id: str) -> str:
    """Return an id that somebody gave for a run that may be there already. Raises ``InvalidInput``."""
    check_workflow_id(workflow_id)
    if "~" in workflow_id and await store.get_run(workflow_id) is None:
        check_new_id(workflow_id)
    return workflow_id


def check_same(row: RunRow, fingerprint: str) -> None:
    """Raise ``WorkflowIdConflict`` when what has an id was not started with the definition and input of this ``fingerprint``."""
    if row.fingerprint != fingerprint:
        raise WorkflowIdConflict(
            f"workflow id {row.execution_id!r} belongs to {row.name!r} with another definition or input",
            hint="use another workflow_id, or start it with exactly what it was started with",
        )


def check_workflow_id(workflow_id: str) -> None:
    """Raise ``InvalidInput`` for what no workflow can be called."""
    if (
        not isinstance(workflow_id, str)
        or not workflow_id
        or len(workflow_id) > MAX_ID_CHARS
        or "/" in workflow_id
        or not workflow_id.isprintable()
    ):
        raise InvalidInput(
            f"{workflow_id!r:.80} is no workflow id", hint=f"use 1 to {MAX_ID_CHARS} printable characters without '/'"
        )


def id_after(name: str) -> str:
    """Return a new id that begins with as much of the workflow's name as an id may hold."""
    readable = "".join(letter if letter.isprintable() and letter != "/" else "-" for letter in name)
    unique = ambient.ids.next_id()
    return f"{readable[: MAX_ID_CHARS - len(unique) - 1]}-{unique}"
