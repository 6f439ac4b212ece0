"""Small trees of source files, and the analyst's answer about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agenticflow.demos.audit import Package, PackageReport, analyze_package

Files = Mapping[str, str | bytes]


@pytest.fixture
def write_tree(tmp_path: Path) -> Callable[[Files], Path]:
    """Write files, whose names are relative, into an empty directory, and return that."""
    root = tmp_path / "tree"
    root.mkdir()

    def _write(files: Files) -> Path:
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return _write


@pytest.fixture
def analyze(write_tree: Callable[[Files], Path]) -> Callable[[Files], PackageReport]:
    """Write the given files and analyze them as one package."""

    def _analyze(files: Files) -> PackageReport:
        root = write_tree(files)
        package = Package(name="pkg", kind="package", base="", prefix="", files=sorted(files), bytes=0)
        return analyze_package(str(root), package)

    return _analyze
