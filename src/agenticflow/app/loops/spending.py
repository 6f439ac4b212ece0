"""What the calls of a loop cost: reserved before, settled after. Nothing is limited where no budget was given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agenticflow.agents.model.requests import ModelRequest
from agenticflow.app.loops.speakers import Speaker

__all__ = ["Spending"]


class Spending:
    """Spends without a limit."""

    @asynccontextmanager
    async def model_call(self, speaker: Speaker, request: ModelRequest, turn: int) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def tool_call(self, call_id: str) -> AsyncIterator[None]:
        yield
