"""A process that is killed in the middle of a module: what was answered is not asked, and not paid for, again."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.contracts.house import ROOT, SRC, plain_environment
from tests.frameworks.dspy.provider import Provider


async def begin(folder: Path, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.frameworks.dspy.killed_program", str(folder), url),
        cwd=ROOT,
        env=plain_environment(PYTHONPATH=str(SRC)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: asyncio.subprocess.Process) -> tuple[int | None, list[str], str]:
    async with asyncio.timeout(90):
        out, errors = await process.communicate()
    return process.returncode, out.decode().splitlines(), errors.decode()


ANSWERS = "['all about tea', 'all about rice', 'all about salt']"


@pytest.mark.timeout(200)
async def test_a_killed_module_pays_for_no_answer_twice(tmp_path: Path, server: Provider) -> None:
    (tmp_path / "die.txt").touch()
    code, _, errors = await end(await begin(tmp_path, server.url))
    assert code == -signal.SIGKILL, errors
    assert server.asked == ["tea", "rice"]
    code, shown, errors = await end(await begin(tmp_path, server.url))
    assert code == 0, errors
    assert server.asked == ["tea", "rice", "salt"]
    assert shown == [ANSWERS, "3 0 0"]


@pytest.mark.timeout(200)
async def test_a_call_that_a_kill_cut_off_counts_as_made_and_is_made_again(tmp_path: Path, server: Provider) -> None:
    process = await begin(tmp_path, server.url)

    def kill(question: str) -> None:
        if question == "rice" and process.returncode is None:
            process.kill()

    server.on_request = kill
    code, _, errors = await end(process)
    assert code == -signal.SIGKILL, errors
    assert server.asked == ["tea", "rice"]
    code, shown, errors = await end(await begin(tmp_path, server.url))
    assert code == 0, errors
    assert server.asked == ["tea", "rice", "rice", "salt"]
    assert shown == [ANSWERS, "4 1 0"]
