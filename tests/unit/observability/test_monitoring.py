"""A monitoring section in YAML: a logger of one's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenticflow.errors import ConfigurationError
from agenticflow.observability import MonitoringConfig

NAME = "tests.monitoring"


@pytest.fixture(autouse=True)
def _the_logger_is_new() -> Iterator[None]:
    yield
    logger = logging.getLogger(NAME)
    for handler in logger.handlers:
        handler.close()
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)


def test_a_logger_that_writes_to_its_file(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "orders.log"
    (tmp_path / "m.yaml").write_text(f"logging:\n  default_logger: {NAME}\n  level: INFO\n  file_path: {path}\n")
    config = MonitoringConfig.from_yaml(tmp_path / "m.yaml")
    logger = config.create_logger()
    assert config.create_logger() is logger
    logger.debug("not asked for")
    logger.info("order %d", 7, extra={"password": "s3cret"})
    (line,) = path.read_text().splitlines()
    assert "order 7" in line
    assert "s3cret" not in line


def test_without_a_file_the_logger_is_the_programs_own() -> None:
    logger = MonitoringConfig.from_dict({"logging": {"default_logger": NAME, "level": "DEBUG"}}).create_logger()
    assert (logger.name, logger.level, logger.handlers) == (NAME, logging.DEBUG, [])


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("")
    assert MonitoringConfig.from_yaml(tmp_path / "m.yaml") == MonitoringConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("logging: {level: LOUD}", "Invalid enum value 'LOUD'"),
        ("logging: {levle: INFO}", "unknown field `levle`"),
        ("event_monitoring: {enabled: true}", "unknown field `event_monitoring`"),
        ("[1, 2]", "Expected `object`"),
        ("logging: [", "cannot be read"),
    ],
)
def test_what_nothing_acts_on_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        MonitoringConfig.from_yaml(tmp_path / "m.yaml")
    assert words in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        MonitoringConfig.from_yaml(tmp_path / "gone.yaml")
