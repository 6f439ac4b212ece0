"""``MonitoringConfig``: logging for a program that keeps such a section in a YAML file of its own.

::

    logging:
      default_logger: orders
      level: INFO
      file_path: logs/orders.log

What is not here does not exist yet: a section that nothing acts on is refused, not ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from logging import Logger, getLogger
from pathlib import Path
from typing import Literal, Self

import msgspec

from agenticflow.errors import ConfigurationError
from agenticflow.observability.logs import LogLines, LogSettings, rotating_file

__all__ = ["LoggingConfig", "MonitoringConfig"]


class LoggingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which logger ``create_logger`` makes, from what level on, and whether it writes to a file of its own."""

    default_logger: str = "agenticflow"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    file_path: str | None = None


class MonitoringConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``MonitoringConfig.from_yaml("monitoring.yaml").create_logger()``."""

    logging: LoggingConfig = LoggingConfig()

    @classmethod
    def from_yaml(cls, path: Path | str) -> Self:
        """Read the file at ``path``. Raises ``ConfigurationError``."""
        import yaml  # late: only for those who write YAML

        try:
            data = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from error
        return cls.from_dict({} if data is None else data, name=str(path))

    @classmethod
    def from_dict(cls, data: Mapping[str, object], *, name: str = "the configuration") -> Self:
        """Return what ``data`` says. Raises ``ConfigurationError`` for keys that nothing acts on, and wrong values."""
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise ConfigurationError(
                f"{name} is no monitoring configuration: {error}",
                hint="there is logging with default_logger, level and file_path",
            ) from error

    def create_logger(self) -> Logger:
        """Return the logger with its level and file. A second call gives the same one, with nothing written twice."""
        wanted = self.logging
        logger = getLogger(wanted.default_logger)
        logger.setLevel(wanted.level)
        if wanted.file_path is not None:
            path = str(Path(wanted.file_path).absolute())
            if path not in {getattr(handler, "baseFilename", None) for handler in logger.handlers}:
                handler = rotating_file(path, LogSettings())
                handler.setFormatter(LogLines("text"))
                logger.addHandler(handler)
        return logger
