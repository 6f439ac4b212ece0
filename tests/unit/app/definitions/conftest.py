from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Callable[[str, str], str]]:
    """Write a file and return its path. Modules that are imported from there are forgotten afterwards."""
    known, path = set(sys.modules), list(sys.path)

    def write_file(name: str, text: str) -> str:
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return str(place)

    yield write_file
    for name in set(sys.modules) - known:
        del sys.modules[name]
    sys.path[:] = path
