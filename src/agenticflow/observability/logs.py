"""Log lines: readable for people, JSON for machines, without secrets, in files that do not grow for ever.

Everything in this package logs through the standard library (``agenticflow.engine``, ``agenticflow.bus``, ``agenticflow.task``), and so
does every other library: nothing here is needed to write a line. ``configure_logging`` decides where lines go and how they look; only
entry points call it, importing never does. A record's extra fields (a handler's ``context.logger`` adds workflow, run, task and attempt)
become fields of the line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from agenticflow.core.redaction import redact
from agenticflow.errors import ConfigurationError

__all__ = ["LogLines", "LogSettings", "configure_logging", "rotating_file"]

OURS: Final = "agenticflow"
Redact = Callable[[Mapping[str, object]], Mapping[str, object]]
Event = MutableMapping[str, Any]


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged, and where to."""

    level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        Meta(description="the least important of our own lines that is written; other libraries' from warning on"),
    ] = "error"
    format: Annotated[Literal["text", "json"], Meta(description="lines for people, or one JSON object per line")] = (
        "text"
    )
    file: Annotated[str, Meta(description="a file to write to instead of stderr; rotated by size")] = ""
    max_bytes: Annotated[int, Meta(ge=1_000, le=1_000_000_000, description="of that file, before it is rotated")] = (
        10_000_000
    )
    backups: Annotated[int, Meta(ge=1, le=100, description="rotated files that are kept")] = 5


class LogLines(logging.Formatter):
    """Makes a record one line. What renders it is loaded with the first line: most runs of a command write none."""

    def __init__(self, form: str, *, has_colors: bool = False, redact: Redact | None = None) -> None:
        super().__init__()
        self._form = form
        self._has_colors = has_colors
        self._redact = redact or _redacted
        self._lines: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._lines is None:
            self._lines = self._renderer()
        return self._lines.format(record)

    def _renderer(self) -> logging.Formatter:
        from structlog import dev, processors, stdlib  # late: a sixth of a second, for who writes a line

        def clean(_logger: object, _method: str, event: Event) -> Event:
            return dict(self._redact(event))

        render: Any = (
            processors.JSONRenderer()
            if self._form == "json"
            # a traceback with the values of variables would show what nobody redacted
            else dev.ConsoleRenderer(colors=self._has_colors, exception_formatter=dev.plain_traceback, pad_event_to=0)
        )
        return stdlib.ProcessorFormatter(
            foreign_pre_chain=[stdlib.ExtraAdder(), _moment, stdlib.add_log_level, stdlib.add_logger_name],
            processors=[
                stdlib.ProcessorFormatter.remove_processors_meta,
                processors.format_exc_info,
                clean,
                render,
            ],
        )


def _moment(_logger: object, _method: str, event: Event) -> Event:
    """Add the moment the record was made, not the one it is written; drop what another handler's formatter left in the record."""
    event.pop("message", None)
    event.pop("asctime", None)
    record: logging.LogRecord = event["_record"]
    event["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return event


def _redacted(event: Mapping[str, object]) -> Mapping[str, object]:
    return {key: redact(value, key) for key, value in event.items()}


def rotating_file(path: Path | str, settings: LogSettings) -> logging.Handler:
    """Return a handler that writes to ``path`` and rotates it by size. Raises ``ConfigurationError`` when it cannot be written.

    The file is held open from the first line on. Of several processes that write to one file, none knows that another has rotated it: give
    each its own.
    """
    from logging.handlers import RotatingFileHandler  # late: brings sockets and pickle along, which only files need

    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).open("a", encoding="utf-8").close()
    except OSError as error:
        raise ConfigurationError(
            f"the log file {str(path)!r} cannot be written: {error.strerror or error}",
            hint="set log.file to another one",
        ) from error
    return RotatingFileHandler(
        path,
        maxBytes=settings.max_bytes,
        backupCount=settings.backups,
        encoding="utf-8",
        errors="backslashreplace",
        delay=True,
    )


_installed: list[logging.Handler] = []


def configure_logging(
    settings: LogSettings,
    *,
    console: logging.Handler | None = None,
    has_colors: bool = False,
    redact: Redact | None = None,
) -> None:
    """Send every log line of this process where ``settings`` say: to ``console`` (stderr), or to the file they name.

    Our own lines from ``settings.level`` on, other libraries' from warning on, or as low as ours. ``redact`` takes the fields of a line and
    returns what may be written; without one, what looks like a secret is hidden. A second call replaces what the first one set up, and
    leaves handlers of others alone.
    """
    handler = rotating_file(settings.file, settings) if settings.file else console or logging.StreamHandler()
    is_on_console = not settings.file
    handler.setFormatter(LogLines(settings.format, has_colors=has_colors and is_on_console, redact=redact))
    root = logging.getLogger()
    for old in _installed:
        root.removeHandler(old)
        if old is not console:
            old.close()
    _installed[:] = [handler]
    root.addHandler(handler)
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    root.setLevel(min(level, logging.WARNING))
    logging.getLogger(OURS).setLevel(level)
