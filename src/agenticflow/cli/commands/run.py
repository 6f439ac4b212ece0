"""``agenticflow run``: a definition from a file, performed in this process, to its end."""

from __future__ import annotations

import json
import shlex
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from agenticflow.app.commands.operations import Start
from agenticflow.app.definitions import Loaded, Performers, load_workflow, unused_input
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.app.wiring import store_url
from agenticflow.cli.access import deliver, store_file
from agenticflow.cli.exits import Exit, tell
from agenticflow.cli.running import Attended, attend, leave_when_stuck, orchestrating, run_async
from agenticflow.cli.terminal import Format, duration, note, print_json, print_result
from agenticflow.errors import InvalidInput, WorkflowNotFoundError
from agenticflow.orchestration.state import TaskStatus

__all__ = ["finish", "json_document", "parsed_value", "run", "store_option", "workflow_input"]

_BEGINS_JSON: Final = ("{", "[", '"')


def run(
    target: str,
    *,
    inputs: Iterable[str],
    input_json: str | None,
    workflow_id: str | None,
    store: str | None,
    detaches: bool,
    waits: bool,
    is_quiet: bool,
    form: Format,
) -> int:
    """Run the workflow in ``target``; return the exit code that says how it ended."""
    given = workflow_input(inputs, input_json)
    loaded = load_workflow(target, Performers.IGNORED if detaches else Performers.DEMANDED, given=given)
    if detaches:
        return run_async(_detach(loaded, given, workflow_id, store, form))
    others = frozenset(threading.enumerate())
    attended = run_async(_run(loaded, given, workflow_id, store, waits=waits, is_quiet=is_quiet))
    code = finish(attended, form, store)
    leave_when_stuck(attended.code, others)
    return code


async def _run(
    loaded: Loaded, given: object, workflow_id: str | None, store: str | None, *, waits: bool, is_quiet: bool
) -> Attended:
    async with orchestrating(store, loaded.performers, loaded.workflows) as (orchestrator, interrupts):
        is_known = workflow_id is not None and await _is_known(orchestrator, workflow_id)
        handle = await orchestrator.start_workflow(loaded.definition, given, workflow_id=workflow_id)
        if not is_quiet:
            note(f"{handle.workflow_id} run {handle.run_no}: {'taken up where it stands' if is_known else 'started'}")
            for problem in unused_input(loaded.definition, loaded.performers, given):
                note(f"warning: {problem}")
        return await attend(orchestrator, handle, interrupts, waits=waits, is_quiet=is_quiet)


async def _is_known(orchestrator: Orchestrator, workflow_id: str) -> bool:
    try:
        await orchestrator.get_workflow_state(workflow_id)
    except WorkflowNotFoundError:
        return False
    return True


async def _detach(loaded: Loaded, given: object, workflow_id: str | None, store: str | None, form: Format) -> int:
    delivered = await deliver(
        store, Start(definition=loaded.definition, input=given, workflow_id=workflow_id), makes_store=True
    )
    if delivered.by_owner:
        note("handed to the process that owns the store; it runs what it has the handlers for")
    else:
        note("recorded; nobody runs this store now, the next owner that has the handlers runs it")
    if form is Format.JSON:
        print_json(delivered.answer)
    else:
        print(delivered.answer["workflow_id"])
    return Exit.OK


def finish(attended: Attended, form: Format, store: str | None) -> int:
    """Print the result on stdout and how it ended on stderr; return the exit code."""
    with_store = store_option(store)
    execution = attended.execution
    quoted = shlex.quote(execution.workflow_id)
    took = ""
    if execution.started_at is not None and execution.completed_at is not None:
        took = f" in {duration((execution.completed_at - execution.started_at).total_seconds())}"
    if form is Format.JSON:
        print_json(_as_json(attended))
    elif attended.code is Exit.OK:
        print_result(attended.result)
    if attended.error is not None:
        resume = f"agenticflow runs resume {quoted}{with_store}"
        attended.error.hint = f"mend the cause; `{resume}` and the same command again go on after the last success"
        tell(attended.error)
    match attended.code:
        case Exit.STILL_RUNNING:
            note(
                f"{execution.workflow_id} is not done; what ended is recorded."
                " The same command with this --workflow-id goes on: " + quoted
            )
        case Exit.WAITS_FOR_A_PERSON:
            for wait in execution.waits_for or ["the run waits for a person"]:
                note(f"waiting: {wait}")
            for key, view in execution.tasks.items():
                if view.status is TaskStatus.UNKNOWN:
                    decide = f"agenticflow runs resolve {quoted} {shlex.quote(key)} completed|failed|run-again"
                    note(f"say what became of it with: {decide}{with_store}")
        case _:
            note(f"{execution.workflow_id} {execution.status.lower()}{took}")
    if store_file(store_url(store)) is not None:
        note(f"look at it with: agenticflow runs show {quoted}{with_store}")
    return attended.code


def store_option(store: str | None) -> str:
    """Return what a command typed next needs to find the same store: nothing when the environment or the default names it."""
    return "" if store is None or store == store_url() else f" --store {shlex.quote(store)}"


def _as_json(attended: Attended) -> dict[str, Any]:
    execution = attended.execution
    told: dict[str, Any] = {
        "workflow_id": execution.workflow_id,
        "run_no": execution.run_no,
        "status": execution.status.value,
        "started_at": execution.started_at,
        "completed_at": execution.completed_at,
        "result": attended.result,
        "waits_for": execution.waits_for,
    }
    if attended.error is not None:
        error = attended.error
        told["error"] = {"message": error.message, "failed": error.failed, "remaining": list(error.remaining)}
    return told


# --- input --------------------------------------------------------------------------------------------------------------


def workflow_input(pairs: Iterable[str], input_json: str | None) -> object:
    """Return the workflow input from ``key=value`` pairs and a JSON document (``@file`` and ``-`` for stdin are read).

    Raises ``InvalidInput``. A pair goes over the same key of the document.
    """
    document = json_document(input_json, "--input-json") if input_json is not None else {}
    given: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InvalidInput(f"--input {pair!r} is no pair", hint="write --input key=value")
        if key.strip() in given:
            raise InvalidInput(f"--input gives {key.strip()!r} twice", hint=f"for a list write --input '{key}=[1, 2]'")
        given[key.strip()] = parsed_value(value, f"--input {key.strip()}")
    if not given:
        return document
    if not isinstance(document, dict):
        raise InvalidInput("--input needs --input-json to be an object", hint="give one or the other")
    return {**document, **given}


def parsed_value(text: str, option: str = "--value") -> object:
    """Return ``text`` as JSON when it is JSON (``5``, ``true``, ``[1]``, ``"5"``), else as the text it is.

    Raises ``InvalidInput`` for what begins like an object, a list or a quoted text and is none: it is a slip, and no text.
    """
    try:
        value: object = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if text.lstrip()[:1] not in _BEGINS_JSON or not text.strip():
            return text
        what = f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else str(error)
        raise InvalidInput(
            f"{option} looks like JSON and is none: {what}",
            hint=f"mend it, or quote it to give it as text: {shlex.quote(json.dumps(text[:40], ensure_ascii=False))}",
        ) from error
    return value


def _no_constant(name: str) -> object:
    """NaN and Infinity are words here, not numbers."""
    raise ValueError(name)


def json_document(text: str, option: str) -> object:
    """Return the JSON document that was given with ``option``: itself, ``@file``, or ``-`` for stdin. Raises ``InvalidInput``."""
    source = option
    try:
        if text == "-":
            source, text = "stdin", sys.stdin.read()
        elif text.startswith("@"):
            source = text[1:]
            text = Path(source).read_text(encoding="utf-8-sig")
        value: object = json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise InvalidInput(
            f"{source} is nested too deeply", hint="put what is that deep into a file, and give its name"
        ) from error
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"{source} line {error.lineno} is no JSON: {error.msg} (column {error.colno})",
            hint=f"""write {option} '{{"key": "value"}}', or @file.json""",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{source!r} cannot be read: {error}", hint="check the path, and that it is UTF-8"
        ) from error
    except ValueError as error:
        raise InvalidInput(f"{source} has {error}, which is no JSON", hint="use a number, null or text") from error
    return value
