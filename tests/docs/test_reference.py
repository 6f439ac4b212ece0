"""The reference pages say what the code says: each table is read from the page and compared with the thing itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from enum import StrEnum
from types import ModuleType
from typing import Any

import msgspec
import pytest

import agenticflow
from agenticflow import errors
from agenticflow.agents.loop.facts import AskedCall
from agenticflow.agents.model.responses import Usage
from agenticflow.agents.session.facts import SessionItem
from agenticflow.agents.states import DEFAULT_TRANSITIONS, AgentState
from agenticflow.app.catalogue import catalogue_as_markdown, event_catalogue
from agenticflow.core.engine import Permit
from agenticflow.core.results import ErrorInfo
from agenticflow.orchestration.approvals.terms import Terms
from agenticflow.orchestration.facts import PlannedStep
from agenticflow.orchestration.schedules.facts import Firing, Moment, ScheduleQueued, ScheduleSpec
from agenticflow.orchestration.schedules.state import ScheduleStatus
from agenticflow.orchestration.state import TaskStatus, WorkflowStatus
from agenticflow.resilience import Amounts, Budget, Claim
from agenticflow.resilience.budgets.facts import Carried
from tests.docs.event_catalogue import catalogue_on
from tests.docs.pages import ROOT, blocks

OTHER_ROOMS = ("cli", "demos", "testing")
"""Their bounds are no limits of the engine."""

NO_LIMITS = {
    "agents.asked.agent_tool.MAX_NAME_CHARS": "a longer id is cut to a name that models take",
    "app.loops.speakers.MAX_KNOWN": "an agent that is not kept ready is made ready again",
    "app.loops.place.MAX_DOUBTS": "what is remembered of a store that is away",
    "agents.model.parts.MAX_INTEGER": "what 64 bits hold",
    "agents.context.outputs.MAX_ATTEMPTS": "how hard JSON is looked for in a text full of brackets",
    "communication.delivery.router.MAX_KNOWN_TYPES": "more types are matched again now and then",
    "core.json_schema.patterns.MAX_MOVES": "what is remembered of a pattern is found again",
    "core.decider.MAX_ROUNDS": "only a broken decider reaches it",
    "integrations.stores.sqlite.store.MAX_INTEGER": "what a SQLite integer holds",
    "integrations.stores.sqlite.store.MAX_TYPES": "how a query is asked, not what it answers",
    "integrations.causes.MAX_CAUSES": "how deep a reason is looked for; frameworks wrap twice",
    "integrations.transport.MAX_CAUSES": "how deep a reason is looked for; clients wrap twice",
    "runtime.coordination.budgets.MAX_TURNS": "only a budget that ends and goes on all the time reaches it",
    "runtime.activities.dispatcher.MAX_THREADS": "the orchestrator's default is listed",
    "runtime.activities.dispatcher.MAX_WORKERS": "the orchestrator's default is listed",
    "storage.commits.MAX_MOMENT": "what 64 bits hold",
    "integrations.tools.http.client.MAX_RESPONSE_BYTES": "the default is listed",
    "tools.builtin.files.MAX_FILE_BYTES": "the default is listed",
    "tools.builtin.sql.MAX_ROWS": "the default is listed",
    "tools.execution.pipeline.MAX_CONCURRENT_CALLS": "the default is listed",
    "tools.execution.pipeline.MAX_THREADS": "the default is listed",
    "storage.key_values.MAX_MOMENT": "what 64 bits hold",
}
"""Constants named like a bound that no user meets, and why."""

Row = tuple[str, ...]


def page(name: str) -> str:
    return (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")


def tables(text: str) -> list[tuple[Row, list[Row]]]:
    """Return every table of a page as its heads and its rows."""
    found: list[tuple[Row, list[Row]]] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\|[-:| ]+\|", line):
            rows: list[Row] = []
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
            found.append((cells(lines[number - 1]), rows))
    return found


def cells(line: str) -> Row:
    return tuple(cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])


def rows_under(text: str, *heads: str) -> list[Row]:
    """Return the rows of all tables with these heads."""
    return [row for found, rows in tables(text) if found == heads for row in rows]


def code(cell: str) -> str:
    """Return the one piece of code in a cell."""
    found = re.findall(r"`([^`]+)`", cell)
    assert len(found) == 1, cell
    return str(found[0])


# --- events -------------------------------------------------------------------------------------------------------------


def test_the_catalogue_on_the_page_is_what_the_code_says() -> None:
    assert catalogue_on(page("events.md")) == catalogue_as_markdown(), "run `make names`"


def test_every_field_of_a_payload_is_explained_once() -> None:
    told = [code(row[0]) for row in rows_under(page("events.md"), "field", "meaning")]
    fields = {field.name for kind in event_catalogue() for field in kind.fields}
    assert sorted(told) == sorted(fields)


def test_every_stream_of_the_catalogue_is_described() -> None:
    told = {code(row[0]) for row in rows_under(page("events.md"), "stream", "events", "written") if "`" in row[0]}
    assert {kind.stream for kind in event_catalogue()} <= told


PARTS: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "ErrorInfo": ("of an error (`ErrorInfo`)", ErrorInfo),
    "SessionItem": ("of an item (`SessionItem`, a list in this order)", SessionItem),
    "PlannedStep": ("of a step (`PlannedStep`, a list in this order)", PlannedStep),
    "Permit": ("of a permit (`Permit`, a list in this order)", Permit),
    "AskedCall": ("of a call (`AskedCall`)", AskedCall),
    "Usage": ("of tokens (`Usage`)", Usage),
    "Budget": ("of limits (`Budget`)", Budget),
    "Amounts": ("of amounts (`Amounts`)", Amounts),
    "Claim": ("of a call (`Claim`, a list in this order)", Claim),
    "Carried": ("of what is carried (`Carried`)", Carried),
    "Terms": ("of a request (`Terms`)", Terms),
    "Moment": ("of a moment (`Moment`, a list in this order)", Moment),
    "Firing": ("of a start (`Firing`, a list in this order)", Firing),
    "ScheduleSpec": ("of a schedule (`ScheduleSpec`)", ScheduleSpec),
}
"""Structs inside payloads, by their name in the catalogue: the head of their table."""


def test_every_struct_inside_a_payload_is_explained() -> None:
    for head, struct in PARTS.values():
        told = [code(row[0]) for row in rows_under(page("events.md"), head, "meaning")]
        assert told == list(struct.__struct_fields__), head
    words = {word for kind in event_catalogue() for field in kind.fields for word in re.findall(r"\w+", field.type)}
    # what waits is kept as the event that said so, which has a row of its own
    assert {word for word in words if word[:1].isupper()} == {*PARTS, ScheduleQueued.__name__}


# --- errors -------------------------------------------------------------------------------------------------------------


def kinds_of_errors() -> dict[str, type[errors.AgenticFlowError]]:
    return {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.AgenticFlowError)
    }


def test_the_tree_on_the_page_is_the_tree_in_the_code() -> None:
    drawn = next(block.code for block in blocks(page("errors.md")) if block.language == "text")
    tree = "".join(f"{line.removeprefix('    ')}\n" for line in (errors.__doc__ or "").splitlines() if "    " in line)
    assert drawn == tree


def test_every_error_has_its_code_its_parent_and_advice() -> None:
    heads = ("error", "code", "is a", "raised when", "what to do")
    told = {code(row[0]): row[1:] for row in rows_under(page("errors.md"), *heads)}
    assert list(told) == list(kinds_of_errors())
    for name, kind in kinds_of_errors().items():
        parent = kind.__bases__[0].__name__
        assert told[name][:2] == (f"`{kind.code}`", f"`{parent}`"), name
        assert all(told[name]), f"{name}: a cell is empty"


# --- limits -------------------------------------------------------------------------------------------------------------

UNITS = {"KiB": 1024, "MiB": 1024**2, "ms": 0.001, "s": 1, "min": 60}


def value_of(place: str) -> object:
    """Return what ``place`` holds: a constant, a field's default, or a parameter's."""
    parts = place.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(["agenticflow", *parts[:count]]))
        except ModuleNotFoundError:
            continue
        for name in parts[count:]:
            thing = getattr(thing, name) if hasattr(thing, name) and not is_default(thing) else default_of(thing, name)
        return thing
    raise AssertionError(f"there is no {place}")


def is_default(thing: object) -> bool:
    return (isinstance(thing, type) and issubclass(thing, msgspec.Struct)) or inspect.isfunction(thing)


def default_of(thing: Any, name: str) -> object:
    if isinstance(thing, type) and issubclass(thing, msgspec.Struct):
        return next(field.default for field in msgspec.structs.fields(thing) if field.name == name)
    return inspect.signature(thing).parameters[name].default


def number(cell: str) -> object:
    """Return the value a cell states: ``8,192``, ``64 KiB``, ``10 s``, ``no limit``, ``yes``, or code."""
    if (words := {"no limit": None, "yes": True, "no": False}.get(cell, cell)) is not cell:
        return words
    if cell.startswith("`"):
        return code(cell)
    match = re.fullmatch(r"([\d,.]+)(?: (\w+))?", cell)
    assert match is not None, cell
    count = float(match[1].replace(",", ""))
    return count * UNITS.get(match[2] or "", 1)


LIMIT_HEADS = ("limit", "value", "beyond it", "in the code")
DEFAULT_HEADS = ("setting", "default", "meaning", "in the code")


@pytest.mark.parametrize("heads", [LIMIT_HEADS, DEFAULT_HEADS], ids=["limits", "defaults"])
def test_every_number_is_the_number_in_the_code(heads: Row) -> None:
    rows = rows_under(page("limits.md"), *heads)
    assert rows
    for what, stated, _, place in rows:
        assert number(stated) == value_of(code(place)), what


FRAMEWORKS = ("dspy", "prefect")
"""Installed elsewhere (``tests/frameworks``): what bounds their rooms is told on their pages."""


def engine_modules() -> Iterator[ModuleType]:
    elsewhere = tuple(f"agenticflow.integrations.frameworks.{name}" for name in FRAMEWORKS)
    missing: list[str] = []
    for module in pkgutil.walk_packages(agenticflow.__path__, "agenticflow.", onerror=missing.append):
        room = module.name.split(".")[1]
        if room not in OTHER_ROOMS and not room.startswith("__") and not module.name.startswith(elsewhere):
            yield importlib.import_module(module.name)
    assert set(missing) <= set(elsewhere)


def test_no_bound_in_the_code_is_missing_on_the_page() -> None:
    told = [code(row[3]) for row in rows_under(page("limits.md"), *LIMIT_HEADS)]
    bounds = [
        f"{module.__name__.removeprefix('agenticflow.')}.{name}"
        for module in engine_modules()
        for name in vars(module)
        if name.startswith("MAX_") and re.search(rf"^{name}(: [^=]+)? =", inspect.getsource(module), flags=re.MULTILINE)
    ]
    missing = sorted(set(bounds) - set(told) - set(NO_LIMITS))
    assert missing == [], "add them to docs/reference/limits.md, or say in NO_LIMITS why nobody meets them"


# --- statuses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        ("of a workflow", WorkflowStatus),
        ("of a task", TaskStatus),
        ("of a schedule", ScheduleStatus),
        ("of an agent", AgentState),
    ],
    ids=["workflow", "task", "schedule", "agent"],
)
def test_every_status_is_explained_in_order(head: str, statuses: type[StrEnum]) -> None:
    rows = next(rows for heads, rows in tables(page("statuses.md")) if heads[0] == head)
    assert [code(row[0]) for row in rows] == [status.value for status in statuses]


def test_the_transitions_of_an_agent_are_those_it_starts_with() -> None:
    told = [tuple(row) for row in rows_under(page("statuses.md"), "from", "event", "to")]
    known = [
        (
            "any" if move.from_state is None else f"`{move.from_state}`",
            f"`{move.event_type}`",
            "the state before" if move.to_state is None else f"`{move.to_state}`",
        )
        for move in DEFAULT_TRANSITIONS
    ]
    assert told == known
