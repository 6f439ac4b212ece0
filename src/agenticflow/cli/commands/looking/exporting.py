"""``agenticflow runs export``: a run as a cassette, to be replayed elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import agenticflow
from agenticflow.app.cassettes import Cassette, record_cassette
from agenticflow.cli.access import reading
from agenticflow.cli.commands.runs import demand_run
from agenticflow.cli.exits import Exit
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import note, printable
from agenticflow.errors import InvalidInput

__all__ = ["export"]

STDOUT: Final = "-"
SHOWN: Final = 10


def export(workflow_id: str, *, run_no: int | None, out: str, store: str | None) -> int:
    """Write the cassette of a run to the file ``out``, which must not be there, or to stdout."""
    path = None if out == STDOUT else Path(out)
    if path is not None and path.exists():
        raise _there_already(out)
    cassette = run_async(_record(store, workflow_id, run_no))
    text = cassette.to_json()
    if path is None:
        sys.stdout.write(text)
    else:
        _write(path, text)
    _tell(cassette, len(text.encode()), out)
    return Exit.OK


async def _record(store: str | None, workflow_id: str, run_no: int | None) -> Cassette:
    async with reading(store) as (orchestrator, opened):
        await demand_run(orchestrator, workflow_id)
        return await record_cassette(opened, workflow_id, run_no, release=agenticflow.__version__)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError as error:
        raise _there_already(str(path)) from error
    except OSError as error:
        raise InvalidInput(f"cannot write {str(path)!r}: {error.strerror}", hint="name another file") from error


def _there_already(out: str) -> InvalidInput:
    return InvalidInput(f"there is something at {out!r} already", hint="name another file, or remove it first")


def _tell(cassette: Cassette, size: int, out: str) -> None:
    where = "" if out == STDOUT else f" to {out}"
    note(
        printable(
            f"{cassette.workflow_id} run {cassette.run_no}: {len(cassette.events):,} events, {size:,} bytes written{where}"
        )
    )
    if cassette.redacted_count:
        count = cassette.redacted_count
        note(f"hidden: {count:,} value{'s that look like secrets' if count > 1 else ' that looks like a secret'}")
        for place in cassette.redacted[:SHOWN]:
            note(printable(f"  {place}"))
    for one in cassette.left_out[:SHOWN]:
        note(printable(f"not in it: {one}"))
