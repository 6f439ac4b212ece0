"""The pages and examples of a framework, run as a reader would run them, where the framework is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from run_examples import Example, examples
from tests.docs.pages import ROOT, environment_of, pages

__all__ = ["examples_of", "pages_of", "run_page"]


def pages_of(framework: str) -> list[Path]:
    found = [page for page in pages() if environment_of(page) == framework]
    assert found
    return found


def examples_of(framework: str) -> list[Example]:
    found = [example for example in examples() if example.framework == framework]
    assert found
    return found


def run_page(page: Path, folder: Path, environment: Mapping[str, str]) -> None:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.run_page", page],
        cwd=folder,
        env={**os.environ, **environment, "AGENTICFLOW_STORE": "memory:", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
