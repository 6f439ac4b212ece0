"""What integrates a framework, with the real package: built from ``requirements/<framework>.txt``, its tests run there.

Prefect and DSPy each decide versions that the other, and our own extras, do not want. On a machine that cannot install them these tests
are skipped; in continuous integration (``CI``) that is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.environments import EnvironmentNotBuilt, interpreter
from tests.contracts.house import PROJECT, ROOT, SRC, plain_environment

FRAMEWORKS = ("dspy", "prefect")
SECONDS = 600
"""Some fifty on a machine with nothing else to do; a busy one is no reason to fail."""

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is not None for name in FRAMEWORKS), reason="this is such an environment"
)


def python_of(framework: str) -> Path:
    try:
        return interpreter(framework)[0]
    except EnvironmentNotBuilt as problem:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{framework} cannot be installed here: {problem}")


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_it_works_with_the_real_package(framework: str) -> None:
    done = subprocess.run(
        [
            python_of(framework),
            "-m",
            "pytest",
            "-q",
            "-n0",
            "-p",
            "no:unraisableexception",
            f"tests/frameworks/{framework}",
        ],
        cwd=ROOT,
        env=plain_environment(PYTHONPATH=str(SRC), NO_COLOR="1"),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_without_the_package_one_error_names_the_extra(framework: str) -> None:
    """Importing the door is what asks for it; the package itself does not."""
    done = subprocess.run(
        [sys.executable, "-c", f"import agenticflow.integrations.frameworks.{framework}"],
        cwd=ROOT,
        env=plain_environment(PYTHONPATH=str(SRC)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("agenticflow.errors.ConfigurationError: ")
    assert f"needs the extra '{framework}', which is not installed" in last
    assert f"install agenticflow[{framework}] from where you have it" in last


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_extra_has_an_upper_bound(framework: str) -> None:
    (requirement,) = PROJECT["project"]["optional-dependencies"][framework]
    assert requirement.startswith(f"{framework}>=")
    assert ",<" in requirement
    assert requirement in (ROOT / "requirements" / f"{framework}.in").read_text(encoding="utf-8").splitlines()
