from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from agenticflow.cli.exits import DEBUG_VARIABLE


@pytest.fixture(autouse=True)
def _the_program_leaves_nothing_behind() -> Iterator[None]:
    """In its own process it sets up logging as it likes; here other tests come after it."""
    logger = logging.getLogger("agenticflow")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers
    os.environ.pop(DEBUG_VARIABLE, None)
