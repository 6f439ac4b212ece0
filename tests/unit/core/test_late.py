"""Doors that are filled from above."""

from __future__ import annotations

import pytest

from agenticflow.core.late import Late, fill, names_of
from agenticflow.errors import InvariantError


def test_who_stands_behind_a_door_is_asked_for_once() -> None:
    asked: list[int] = []

    def load() -> str:
        asked.append(1)
        return "somebody"

    door: Late[str] = Late("test: a door")
    fill("test: a door", load)
    assert not asked
    assert (door.get(), door.get()) == ("somebody", "somebody")
    assert asked == [1]


def test_a_door_that_nobody_fills_says_so() -> None:
    door: Late[str] = Late("test: an empty door")
    with pytest.raises(InvariantError, match="nobody stands behind the door 'test: an empty door'"):
        door.get()


def test_a_name_of_a_room_comes_from_its_home_and_stays() -> None:
    room: dict[str, object] = {"__name__": "a.room"}
    find = names_of(room, {"agenticflow.core.late": ("Late", "fill")})
    assert find("Late") is Late
    assert room == {"__name__": "a.room", "Late": Late}


def test_any_other_name_is_missing_as_from_every_module() -> None:
    with pytest.raises(AttributeError, match=r"module 'a\.room' has no attribute 'Lat'"):
        names_of({"__name__": "a.room"}, {"agenticflow.core.late": ("Late",)})("Lat")
