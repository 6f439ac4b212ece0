"""Log lines: what they contain, where they go, and what never gets into them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agenticflow.core.context import TaskContext
from agenticflow.errors import ConfigurationError
from agenticflow.observability.logs import LogLines, LogSettings, configure_logging, rotating_file
from tests.contracts.house import plain_environment


class Lines:
    """A console that keeps what is written to it."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def lines() -> Lines:
    return Lines()


def context(**more: Any) -> TaskContext:
    known: dict[str, Any] = {
        "workflow_id": "sales-2026",
        "run_no": 2,
        "task_id": "load",
        "task_key": "load[3]",
        "agent_id": "analyst",
        "attempt": 1,
        "generation": 0,
        "deadline": None,
        "params": {},
        "results": {},
        "encoded_input": b"\xc0",
    }
    return TaskContext(**known | more)


def test_a_handlers_line_says_which_attempt_wrote_it(lines: Lines) -> None:
    configure_logging(LogSettings(level="info", format="json"), console=lines.handler)
    context().logger.info("loaded %d rows", 7)
    (line,) = lines.objects
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert moment.tzinfo == UTC
    assert line == {
        "event": "loaded 7 rows",
        "level": "info",
        "logger": "agenticflow.task",
        "workflow_id": "sales-2026",
        "run_no": 2,
        "task_key": "load[3]",
        "attempt": 1,
    }


def test_other_libraries_write_through_the_standard_library(lines: Lines) -> None:
    configure_logging(LogSettings(format="json"), console=lines.handler)
    other = logging.getLogger("some.library")
    other.info("not asked for")
    other.warning("disk %s is %d %% full", "a", 91, extra={"disk": "a", "thing": object})
    (line,) = lines.objects
    assert (line["event"], line["logger"], line["disk"]) == ("disk a is 91 % full", "some.library", "a")
    assert line["thing"] == repr(object)


@pytest.mark.parametrize(
    ("level", "written"), [("error", ["error"]), ("info", ["info", "error"]), ("debug", ["debug", "info", "error"])]
)
def test_our_own_lines_from_the_level_on(lines: Lines, level: Any, written: list[str]) -> None:
    configure_logging(LogSettings(level=level, format="json"), console=lines.handler)
    engine = logging.getLogger("agenticflow.engine")
    for name in ("debug", "info", "error"):
        getattr(engine, name)("x")
    assert [line["level"] for line in lines.objects] == written


def test_a_traceback_is_part_of_the_line_and_shows_no_values(lines: Lines) -> None:
    configure_logging(LogSettings(format="json"), console=lines.handler)
    password = "hunter2hunter2"  # a local variable, which must not be shown
    try:
        raise ValueError("postgres://ada:s3cret@db is down")
    except ValueError:
        logging.getLogger("agenticflow.engine").exception("failed")
    (line,) = lines.objects
    assert "ValueError: postgres://ada:[hidden]@db is down" in line["exception"]
    assert "s3cret" not in lines.text
    assert password not in lines.text


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_hidden(lines: Lines, form: Any) -> None:
    configure_logging(LogSettings(format=form), console=lines.handler)
    logging.getLogger("agenticflow.engine").error(
        "asked http://a:s3cret@host with Bearer s3cret.s3cret",
        extra={"api_key": "s3cret", "nested": {"password": "s3cret"}},
    )
    assert lines.text.count("[hidden]") == 4
    assert "s3cret" not in lines.text


def test_a_redaction_of_ones_own(lines: Lines) -> None:
    configure_logging(
        LogSettings(format="json"),
        console=lines.handler,
        redact=lambda fields: {key: value for key, value in fields.items() if key != "customer"},
    )
    logging.getLogger("agenticflow.task").error("x", extra={"customer": "Ada", "order": 7})
    (line,) = lines.objects
    assert line["order"] == 7
    assert "customer" not in line


def test_lines_for_people(lines: Lines) -> None:
    configure_logging(LogSettings(level="info"), console=lines.handler)
    context().logger.info("loaded")
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("agenticflow.engine").exception("failed")
    first, *rest = lines.text.splitlines()
    assert "[info" in first
    assert "loaded" in first
    assert "task_key=load[3]" in first
    assert "\x1b" not in lines.text
    assert rest[-1] == "ValueError: no"


def test_colours_where_they_are_wanted(lines: Lines) -> None:
    configure_logging(LogSettings(), console=lines.handler, has_colors=True)
    logging.getLogger("agenticflow.engine").error("x")
    assert "\x1b[" in lines.text


def test_a_second_call_replaces_the_first_and_leaves_others_alone(lines: Lines) -> None:
    others = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(others)
    second = Lines()
    configure_logging(LogSettings(), console=lines.handler)
    configure_logging(LogSettings(), console=second.handler)
    logging.getLogger("agenticflow.engine").error("x")
    assert lines.text == ""
    assert second.text.count("\n") == 1
    assert others in logging.getLogger().handlers


def test_a_file_is_rotated_by_size_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "our.log"
    configure_logging(LogSettings(file=str(path), format="json", max_bytes=1_000, backups=2))
    engine = logging.getLogger("agenticflow.engine")
    for number in range(100):
        engine.error("line %d of many", number)
    assert sorted(file.name for file in path.parent.iterdir()) == ["our.log", "our.log.1", "our.log.2"]
    assert all(file.stat().st_size <= 1_000 for file in path.parent.iterdir())
    assert json.loads(path.read_text().splitlines()[-1])["event"].startswith("line 99")


def test_what_no_encoding_has_is_written_escaped(tmp_path: Path) -> None:
    """A file name that is no UTF-8 comes in as a lone surrogate. Not through a logger: the runner of the tests would choke on it."""
    handler = rotating_file(tmp_path / "our.log", LogSettings())
    handler.setFormatter(LogLines("text"))
    handler.handle(logging.LogRecord("a", logging.ERROR, "f.py", 1, "cannot read %s", ("x\udc80",), None))
    handler.close()
    assert "cannot read x\\udc80" in (tmp_path / "our.log").read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        configure_logging(LogSettings(file=str(tmp_path)))


def test_nothing_is_loaded_before_the_first_line() -> None:
    code = (
        "import logging, sys; from agenticflow.observability import LogSettings, configure_logging;"
        "configure_logging(LogSettings()); print('structlog' in sys.modules);"
        "logging.getLogger('agenticflow').error('x'); print('structlog' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env=plain_environment(), capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.split() == ["False", "True"]
    assert "[error" in found.stderr


def test_a_formatter_alone() -> None:
    record = logging.LogRecord("a.b", logging.WARNING, "f.py", 1, "hello %s", ("you",), None)
    assert json.loads(LogLines("json").format(record))["event"] == "hello you"
