"""``import agenticflow`` is cheap, and so is what it brings along."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.contracts.house import PROJECT, ROOT, RULES, plain_environment

# what only a program that asks for it should load: terminals, drivers, web frameworks, SDKs
NEVER_BY_ITSELF = {
    *("apsw", "click", "pydantic", "pygments", "rich", "shellingham", "sqlite3", "typer", "uvloop", "yaml"),
    *(
        "asyncpg",
        "fastapi",
        "httpx",
        "httpx2",
        "jinja2",
        "nats",
        "opentelemetry",
        "prometheus_client",
        "redis",
        "structlog",
    ),
    *("agents", "anthropic", "dspy", "mcp", "openai", "prefect", "pydantic_ai", "uvicorn", "unittest"),
    *("agenticflow.cli", "agenticflow.demos", "agenticflow.integrations.stores.sqlite", "agenticflow.testing"),
    *("agenticflow.integrations.models.anthropic", "agenticflow.integrations.models.openai"),
}
# bare `import agenticflow` runs no engine code: its names are loaded when they are first used
NOT_AT_THE_DOOR = {*NEVER_BY_ITSELF, "asyncio", "email", "http.client", "msgspec", "multiprocessing", "pickle", "xml"}


def fresh(code: str) -> str:
    """Run ``code`` in an interpreter that has loaded nothing yet."""
    return subprocess.run(
        [sys.executable, "-c", code], env=plain_environment(), capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_the_door_itself_loads_next_to_nothing() -> None:
    loaded = set(fresh("import agenticflow, sys; print(*sys.modules)").split())
    assert not loaded & NOT_AT_THE_DOOR


def test_import_time() -> None:
    """Over the bare interpreter; the best of five, because the machine has other work."""
    code = "import time; t = time.perf_counter(); import agenticflow; print(time.perf_counter() - t)"
    assert min(float(fresh(code)) for _ in range(5)) <= RULES["max_import_seconds"]


def test_every_name_of_the_front_door_comes_without_driver_terminal_and_sdk() -> None:
    """Also a program that uses all of them pays only for what it opens."""
    loaded = set(fresh("from agenticflow import *; import sys; print(*sys.modules)").split())
    assert not loaded & NEVER_BY_ITSELF


@pytest.mark.parametrize("module", ["agenticflow.agents.states", "agenticflow.orchestration.statuses"])
def test_a_module_of_a_large_room_comes_without_its_siblings(module: str) -> None:
    room = module.rpartition(".")[0]
    loaded = fresh(f"import {module}, sys; print(*sys.modules)").split()
    assert [name for name in loaded if name.startswith(f"{room}.")] == [module]


def test_a_command_loads_no_terminal_and_no_model_that_it_does_not_use() -> None:
    code = "from agenticflow.cli import main; main(['runs', 'list', '--store', 'memory:', '-o', 'json'])"
    loaded = set(fresh(f"{code}; import sys; print(*sys.modules)").split())
    assert "agenticflow.app.orchestrator" in loaded
    assert not loaded & {"rich", "apsw", "pygments", "agenticflow.agents.model", "agenticflow.agents.guardrails"}


def core_packages() -> list[str]:
    """Names of everything that an installation without extras brings, on this kind of machine."""
    names: list[str] = []
    for line in (ROOT / "requirements" / "core.txt").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([\w.-]+)==[^\s;]+(?: ; (.*?))?\s*\\?$", line):
            windows_only = "sys_platform == 'win32'" in (match[2] or "")
            if not windows_only:
                names.append(match[1])
    return names


def installed_bytes(distribution: str) -> int:
    """Size of its files, without what the interpreter compiled later."""
    paths = (Path(str(file.locate())) for file in metadata.files(distribution) or () if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file())


def test_the_core_is_small() -> None:
    packages = core_packages()
    assert len(packages) >= len(PROJECT["project"]["dependencies"])
    assert len(packages) <= RULES["max_core_packages"]
    size = sum(installed_bytes(name) for name in packages)
    print({name: installed_bytes(name) for name in packages})
    assert size <= RULES["max_core_megabytes"] * 1_000_000
