from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agenticflow.cli.exits import DEBUG_VARIABLE
from agenticflow.cli.program import CONFIG_VARIABLE, PROFILE_VARIABLE


@pytest.fixture(autouse=True)
def _the_program_leaves_nothing_behind() -> Iterator[None]:
    """In its own process it sets up logging as it likes; here other tests come after it."""
    loggers = [logging.getLogger(), logging.getLogger("agenticflow")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
    for name in (DEBUG_VARIABLE, CONFIG_VARIABLE, PROFILE_VARIABLE):
        os.environ.pop(name, None)


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Callable[[str, str], str]]:
    """Write a file and return its path. Modules that are imported from there are forgotten afterwards."""
    known, path = set(sys.modules), list(sys.path)

    def write_file(name: str, text: str) -> str:
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return str(place)

    yield write_file
    for name in set(sys.modules) - known:
        del sys.modules[name]
    sys.path[:] = path
