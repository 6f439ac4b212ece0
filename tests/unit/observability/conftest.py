from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from agenticflow.observability import logs


@pytest.fixture(autouse=True)
def _logging_is_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(), logging.getLogger("agenticflow")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for handler in logs._installed:
        handler.close()
    logs._installed.clear()
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
