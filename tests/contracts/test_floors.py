"""The floor plan holds, and would notice when it did not."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.contracts.house import BIN, PACKAGE, ROOT, RULES, module_exists, plain_environment

FLOORS = "Imports point down only"
CYCLES = "No cycles"
BACKENDS = "Backends are independent"
WIRING = "Only the composition root"
PURE = "What decides imports no clock"


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "lint-imports", "--no-logo", "--no-cache"],
        cwd=root,
        env=plain_environment(PYTHONPATH=str(root / "src"), COLUMNS="200", NO_COLOR="1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "src" / "agenticflow", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def plant(root: Path, module: str, text: str) -> None:
    """Write ``text`` at the end of ``module``, making whatever packages are missing on the way."""
    path = root / "src"
    *packages, name = module.split(".")
    for package in packages:
        path /= package
        path.mkdir(exist_ok=True)
        (path / "__init__.py").touch()
    with (path / f"{name}.py").open("a") as file:
        file.write(f"\n{text}\n")


def test_the_floor_plan_holds() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("contract", "planted"),
    [
        pytest.param(FLOORS, {"agenticflow.core.planted": "import agenticflow.storage"}, id="upwards"),
        pytest.param(
            FLOORS,
            {
                "agenticflow.core.planted": "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from agenticflow.storage import Store"
            },
            id="upwards for a type only",
        ),
        pytest.param(
            FLOORS,
            {"agenticflow.core.planted": "def f():\n    import agenticflow.storage"},
            id="upwards inside a function",
        ),
        pytest.param(
            FLOORS,
            {
                "agenticflow.security.policy": "",
                "agenticflow.observability.planted": "import agenticflow.security.policy",
            },
            id="sideways on one floor",
        ),
        pytest.param(FLOORS, {"agenticflow.attic.planted": ""}, id="a room without a floor"),
        pytest.param(
            CYCLES,
            {
                "agenticflow.storage.planted_one": "import agenticflow.storage.planted_two",
                "agenticflow.storage.planted_two": "def f():\n    import agenticflow.storage.planted_one",
            },
            id="a cycle inside a room",
        ),
        pytest.param(
            BACKENDS,
            {
                "agenticflow.integrations.stores.planted_one": "import agenticflow.integrations.stores.planted_two",
                "agenticflow.integrations.stores.planted_two": "",
            },
            id="one backend uses another",
        ),
        pytest.param(
            WIRING,
            {
                "agenticflow.integrations.stores.planted": "",
                "agenticflow.cli.planted": "import agenticflow.integrations.stores.planted",
            },
            id="an integration named outside the composition root",
        ),
        pytest.param(PURE, {"agenticflow.core.planted": "import time"}, id="a clock in a pure room"),
        pytest.param(PURE, {"agenticflow.resilience.planted": "from asyncio import sleep"}, id="a loop in a pure room"),
        pytest.param(PURE, {"agenticflow.agents.states": "import random"}, id="randomness in a pure module"),
        pytest.param(
            PURE,
            {
                "agenticflow.orchestration.planted": "import agenticflow.storage.planted",
                "agenticflow.storage.planted": "import os",
            },
            id="a way out of a pure room",
        ),
    ],
)
def test_a_breach_is_noticed(copy: Path, contract: str, planted: dict[str, str]) -> None:
    for module, text in planted.items():
        plant(copy, module, text)
    result = lint_imports(copy)
    broken = [line for line in result.stdout.splitlines() if line.endswith("BROKEN")]
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(line.startswith(contract) for line in broken), result.stdout


def contract(name: str) -> dict[str, str]:
    floors = configparser.ConfigParser()
    floors.read(ROOT / ".importlinter", encoding="utf-8")
    return dict(floors[f"importlinter:contract:{name}"])


def test_every_pure_module_is_under_the_pure_contract() -> None:
    """``[tool.house] pure`` is the list; what exists of it must be named in ``.importlinter``."""
    patterns = contract("pure")["source_modules"].split()
    existing = [f"agenticflow.{name}" for name in RULES["pure"] if module_exists(name)]
    missing = [name for name in existing if not any(fnmatch(name, pattern) for pattern in patterns)]
    assert not missing, "add these lines to [importlinter:contract:pure] source_modules"


def test_no_contract_lists_exceptions() -> None:
    assert "ignore_imports" not in (ROOT / ".importlinter").read_text(encoding="utf-8")


def test_there_is_one_composition_root() -> None:
    """The contract allows ``agenticflow.*.wiring``, for as long as there is only one."""
    assert {path.parent.name for path in PACKAGE.rglob("wiring.py")} <= {"app"}
