"""The doors are exact: every public name is intended, exists, and is frozen beside this file.

``make names`` freezes them again; the diff of ``names/*.txt`` is then part of the change and of its review.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import pytest

from tests.contracts.house import rooms

NAMES = Path(__file__).parent / "names"


def public_names(room: str) -> list[str]:
    names: list[str] = list(getattr(importlib.import_module(room), "__all__", ()))
    return names


def frozen_names(room: str) -> list[str]:
    path = NAMES / f"{room}.txt"
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def freeze() -> None:
    """Write the names of every room as they are now, and forget rooms that are gone."""
    NAMES.mkdir(exist_ok=True)
    for path in NAMES.glob("*.txt"):
        path.unlink()
    for room in rooms():
        (NAMES / f"{room}.txt").write_text("".join(f"{name}\n" for name in public_names(room)), encoding="utf-8")


@pytest.mark.parametrize("room", rooms())
def test_every_name_exists_once_and_in_order(room: str) -> None:
    names = public_names(room)
    module = importlib.import_module(room)
    assert [name for name in names if not hasattr(module, name)] == []
    assert len(names) == len(set(names))
    # the order of ruff's RUF022: constants, then classes, then the rest
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[:1].isupper(), name))


@pytest.mark.parametrize("room", rooms())
def test_nothing_is_public_by_accident(room: str) -> None:
    """A package's own namespace holds what it re-exports, its submodules, and private names."""
    module = importlib.import_module(room)
    if not hasattr(module, "__path__"):
        return
    unintended = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name not in public_names(room)
        and not isinstance(value, types.ModuleType)
        and getattr(value, "__module__", "") != "__future__"
    ]
    assert unintended == []


@pytest.mark.parametrize("room", rooms())
def test_names_are_frozen(room: str) -> None:
    assert public_names(room) == frozen_names(room), "meant? then run `make names` and commit the diff"


@pytest.mark.parametrize("room", ["agenticflow.agents", "agenticflow.orchestration"])
def test_a_room_that_loads_its_names_late_still_lists_them(room: str) -> None:
    assert dir(importlib.import_module(room)) == sorted(public_names(room))


def test_no_name_of_a_room_that_is_gone() -> None:
    assert {path.stem for path in NAMES.glob("*.txt")} <= set(rooms())


def test_the_front_door_is_small() -> None:
    assert len(public_names("agenticflow")) <= 60


if __name__ == "__main__":
    freeze()
    sys.exit(0)
