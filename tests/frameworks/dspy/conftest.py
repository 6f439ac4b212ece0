"""DSPy without a network: its cache goes into a temporary folder, LiteLLM reads the tables that it brings along."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import AsyncIterator

import pytest

# read when dspy is imported: before any test module is
_HOME = tempfile.mkdtemp(prefix="dspy-home-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.update(DSPY_CACHEDIR=_HOME, LITELLM_LOCAL_MODEL_COST_MAP="True")


@pytest.fixture
async def server() -> AsyncIterator[object]:
    """A provider on this machine, that speaks the chat-completions format."""
    from tests.frameworks.dspy.provider import Provider

    provider = Provider()
    async with provider.running():
        yield provider


def pytest_configure(config: pytest.Config) -> None:
    # not ours to mend
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning")
    config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")
