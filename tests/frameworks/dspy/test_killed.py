"""A process that is killed in the middle of a module: what was answered is not asked, and not paid for, again."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.contracts.house import ROOT, SRC, plain_environment
from tests.frameworks.dspy.provider import Provider


async def live(folder: Path, url: str) -> tuple[int | None, list[str], str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.frameworks.dspy.killed_program", str(folder), url),
        cwd=ROOT,
        env=plain_environment(PYTHONPATH=str(SRC)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(90):
        out, errors = await process.communicate()
    return process.returncode, out.decode().splitlines(), errors.decode()


@pytest.mark.timeout(200)
async def test_a_killed_module_pays_for_no_answer_twice(tmp_path: Path, server: Provider) -> None:
    code, _, errors = await live(tmp_path, server.url)
    assert code == -signal.SIGKILL, errors
    assert server.asked == ["tea", "rice"]
    code, shown, errors = await live(tmp_path, server.url)
    assert code == 0, errors
    assert server.asked == ["tea", "rice", "salt"]
    assert shown == ["['all about tea', 'all about rice', 'all about salt']", "3 75 0"]
