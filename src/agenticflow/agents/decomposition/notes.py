"""What a look at an answer brings out: what was mended, and what cannot be. Words, in the order in which they were found."""

from __future__ import annotations

__all__ = ["Notes"]


class Notes:
    """Filled by whoever looks. With any problem there is no plan."""

    __slots__ = ("problems", "repairs")

    def __init__(self) -> None:
        self.repairs: list[str] = []
        self.problems: list[str] = []
