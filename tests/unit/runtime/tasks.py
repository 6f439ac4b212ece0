"""Functions at the top level of a module, where processes find them, and small definitions."""

from __future__ import annotations

import os
import signal
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


def not_serializable() -> object:
    return {"here": object()}


def large(size: int) -> str:
    return "x" * size


@worker("tripler", run_in="process")
def triple(number: int) -> int:
    return 3 * number
