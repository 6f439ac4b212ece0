"""Functions at the top level of a module, where processes find them, and small definitions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from agenticflow import PermanentError, TaskDefinition, WorkflowDefinition, worker

__all__ = ["chain", "parallel", "single"]


def single(task_type: str = "do", params: dict[str, object] | None = None, **options: Any) -> WorkflowDefinition:
    """One task for the agent ``agent``."""
    return WorkflowDefinition([TaskDefinition("work", "agent", task_type, params, **options)])


def parallel(count: int, task_type: str = "do", **options: Any) -> WorkflowDefinition:
    """Tasks that do not depend on each other."""
    return WorkflowDefinition([TaskDefinition(f"t{n}", "agent", task_type, {"n": n}, **options) for n in range(count)])


def chain(count: int, task_type: str = "do", **options: Any) -> WorkflowDefinition:
    """Tasks one after the other."""
    return WorkflowDefinition(
        [
            TaskDefinition(f"t{n}", "agent", task_type, {"n": n}, dependencies=[f"t{n - 1}"] if n else [], **options)
            for n in range(count)
        ]
    )


# --- in processes -----------------------------------------------------------------------------------------------------


def process_id(n: int) -> int:
    return os.getpid()


def double(number: int) -> int:
    return 2 * number


def with_rest(load: int, params: dict[str, object]) -> object:
    return {"load": load, "params": params}


def fail(words: str) -> NoReturn:
    raise LookupError(words)


def refuse() -> NoReturn:
    raise PermanentError("never")


def leave() -> NoReturn:
    sys.exit(3)


def die(marker: str) -> str:
    """Kill the own process the first time; answer the second."""
    path = Path(marker)
    if path.exists():
        return "survived"
    path.write_text("died")
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def die_always() -> NoReturn:
    os._exit(7)


def hang(marker: str) -> NoReturn:
    Path(marker).write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)


def hang_deaf(marker: str) -> NoReturn:
    """Ignore TERM as well."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang(marker)


def start_another(marker: str, *, is_deaf: bool = False) -> int:
    """Start a process that goes on for minutes, and write which it is, after the own, into ``marker``."""
    deaf = ["sh", "-c", "trap '' TERM; exec sleep 300"]
    other = subprocess.Popen(deaf if is_deaf else ["sleep", "300"])
    written = Path(f"{marker}.new")
    written.write_text(f"{os.getpid()} {other.pid}")
    written.rename(marker)
    return other.pid


def start_another_and_hang(marker: str, *, is_deaf: bool = False) -> NoReturn:
    start_another(marker, is_deaf=is_deaf)
    while True:
        time.sleep(0.05)


def start_another_and_die(marker: str) -> NoReturn:
    start_another(marker)
    os._exit(7)


def not_serializable() -> object:
    return {"here": object()}


def large(size: int) -> str:
    return "x" * size


@worker("tripler", run_in="process")
def triple(number: int) -> int:
    return 3 * number
