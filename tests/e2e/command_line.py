"""Real processes of the command line, in a folder of their own, over one store file there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

LIMIT_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.02

FLOW: Final = '''
"""Workflows for tests: what ran is in ran.log, what waits is let go by a file."""

import asyncio
from pathlib import Path

from agenticflow import Agent, EffectClass, RetryPolicy, TaskDefinition, WorkflowDefinition

hand = Agent("hand", {"work"}, concurrency=8)


@hand.task("step")
async def step(name: str, gate: str = "") -> str:
    with Path("ran.log").open("a") as log:
        log.write(name + "\\n")
    while gate and not Path(gate).exists():
        await asyncio.sleep(0.01)
    return name


@hand.task("break")
def fail(reason: str) -> str:
    raise ValueError(reason)


@hand.task("charge")
async def charge() -> str:
    with Path("ran.log").open("a") as log:
        log.write("charge\\n")
    await asyncio.sleep(3600)
    return "never"


def task(task_id, *after, gate="", **options):
    return TaskDefinition(task_id, "hand", "step", {"name": task_id, "gate": gate}, after, **options)


gated = WorkflowDefinition([task("first"), task("second", "first", gate="go"), task("third", "second")], name="gated")
plain = WorkflowDefinition([task("only")], name="plain", output={"said": "${only}", "size": "${input.size}"}, context={"size": 1})
approval = WorkflowDefinition(
    [task("ask"), TaskDefinition.wait_for("answer", "decision", {"ask"}), task("act", "answer")],
    name="approval",
    output={"answer": "${answer}", "act": "${act}"},
)
broken = WorkflowDefinition(
    [
        task("fine"),
        TaskDefinition("bad", "hand", "break", {"reason": "no luck"}, {"fine"}, retry_policy=RetryPolicy(max_attempts=1)),
        task("never", "bad"),
    ],
    name="broken",
)
payment = WorkflowDefinition(
    [
        TaskDefinition("charge", "hand", "charge", effect=EffectClass.AT_MOST_ONCE, timeout_seconds=0.2),
        task("receipt", "charge"),
    ],
    name="payment",
    output="${charge}",
)
'''


def until(holds: Callable[[], object], what: str = "") -> None:
    """Wait until ``holds()``, but not for ever."""
    ends = time.monotonic() + LIMIT_SECONDS
    while not holds():
        assert time.monotonic() < ends, f"did not come true within {LIMIT_SECONDS:g} s: {what or holds}"
        time.sleep(LOOK_SECONDS)


@dataclass
class CommandLine:
    """Starts ``agenticflow …`` in ``folder``. Whatever still runs at the end is killed by ``close``."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "flow.py").write_text(FLOW, encoding="utf-8")

    @property
    def store(self) -> Path:
        return self.folder / "state.db"

    def start(self, *arguments: object, types: bool = False) -> subprocess.Popen[str]:
        """Start it; with ``types`` its standard input is a pipe."""
        process = subprocess.Popen(
            [sys.executable, "-m", "agenticflow", *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | {"AGENTICFLOW_STORE": f"sqlite:///{self.store}", "NO_COLOR": "1"},
            stdin=subprocess.PIPE if types else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[str], code: int) -> tuple[str, str]:
        """Wait for its end with ``code``; return what it printed on stdout and stderr."""
        output, errors = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == code, f"ended with {process.returncode}, not {code}\n{output}\n{errors}"
        assert "Traceback" not in errors, errors
        return output, errors

    def run(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        return self.end(self.start(*arguments), code)

    def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "-o", "json", code=code)[0])

    def status(self, workflow_id: str) -> str:
        """Return the status as another process sees it, empty when there is nothing yet."""
        process = self.start("runs", "show", workflow_id, "-o", "json")
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
        return str(json.loads(output)["status"]) if process.returncode == 0 else ""

    def ran(self) -> list[str]:
        """Return which steps began, in order."""
        log = self.folder / "ran.log"
        return log.read_text(encoding="utf-8").split() if log.exists() else []

    def let_go(self) -> None:
        """Open the gate that ``gated`` waits at."""
        (self.folder / "go").touch()

    def owner_waits_for_signal(self, process: subprocess.Popen[str]) -> None:
        """Read the owner's progress up to the line in which it asks for a signal."""
        assert process.stderr is not None
        for line in process.stderr:
            if "waits for the signal" in line:
                return
        raise AssertionError(f"the owner ended with {process.wait()} and never waited")

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()
