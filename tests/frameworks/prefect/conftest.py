"""A Prefect server on this machine, for all tests here: its home in a temporary folder, nothing sent to anybody."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

# read when prefect is imported: before any test module is
_HOME = tempfile.mkdtemp(prefix="prefect-home-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.update(
    PREFECT_HOME=_HOME,
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    DO_NOT_TRACK="1",
    PREFECT_LOGGING_LEVEL="CRITICAL",
    PREFECT_SERVER_LOGGING_LEVEL="CRITICAL",
    PREFECT_CLI_PROMPT="false",
)
STARTUP_SECONDS = 240


@pytest.fixture(scope="session", autouse=True)
def prefect_server() -> Iterator[str]:
    """Start it once: that takes some ten seconds. Yields its address, which programs take as ``PREFECT_API_URL``."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=STARTUP_SECONDS):
        yield str(PREFECT_API_URL.value())


def pytest_configure(config: pytest.Config) -> None:
    # not ours to mend
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning")
    config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")
