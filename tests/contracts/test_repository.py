"""What the repository as a whole promises: reproducible, free of addresses, startable with one command."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.house import PROJECT, ROOT

# put together here, so that this file does not hold what it forbids
FORBIDDEN = [
    *("py" + "pi.org", "python" + "hosted.org", "registry.npm" + "js", "npm" + "js.com", "yarn" + "pkg.com"),
    *("conda.ana" + "conda", "proxy.go" + "lang", "crates" + ".io", "/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/"),
    "pip install " + "agenticflow",
]
SKIPPED_FOLDERS = {"__pycache__", "build", "dist", "node_modules"}


def repository_files() -> Iterator[Path]:
    """Every text file that would be committed."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED_FOLDERS
            and (not name.startswith(".") or name in {".ci", ".github"})
            and not name.endswith(".egg-info")
            and Path(folder, name) != ROOT / "benchmarks" / "results"
        ]
        yield from (Path(folder, name) for name in files if not name.startswith((".coverage", "audit-report.")))


def texts() -> Iterator[tuple[str, str]]:
    for path in repository_files():
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_address_of_a_registry_and_no_path_of_a_machine() -> None:
    found = [f"{name}: {word}" for name, text in texts() for word in FORBIDDEN if word in text]
    assert not found


def test_no_lock_file_with_addresses() -> None:
    assert not (ROOT / "uv.lock").exists(), "it writes download addresses into every line: pins are in requirements/"


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_every_pin_is_exact_and_has_hashes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    requirements = re.split(r"\n(?=[\w-])", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    for requirement in requirements:
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==[^\s;]+", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement
    assert "://" not in text
    assert not re.search(r"^ *-(i|f|e) |--(extra-)?index|--find-links| @ ", text, flags=re.MULTILINE)


def test_every_direct_dependency_is_pinned() -> None:
    pinned = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    direct = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    names = [re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in direct]
    assert not [name for name in names if not re.search(rf"^{re.escape(name)}(\[\w+\])?==", pinned, flags=re.MULTILINE)]


def test_core_and_development_agree() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        return set(re.findall(r"^[\w.-]+==[^\s;]+", text, flags=re.MULTILINE))

    assert pins("core.txt") <= pins("dev.txt")


@pytest.mark.parametrize("target", ["install", "demo", "test", "check", "crash", "bench"])
def test_each_target_is_the_only_command_a_fresh_machine_needs(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}: \$\(INSTALLED\)", makefile, flags=re.MULTILINE)


def test_continuous_integration_runs_the_one_command() -> None:
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert "make check" in run.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"])
def test_the_pages_a_newcomer_looks_for(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0


def test_the_version_is_in_the_changelog() -> None:
    assert f"## [{PROJECT['project']['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
