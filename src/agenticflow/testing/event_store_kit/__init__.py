"""The conformance kit of the event store port: every promise in its docstrings is a case here, in nearly the same words.

A backend proves itself with a factory and nothing else; abilities it does not have it declares::

    class TestMyStore(EventStoreKit):
        async def open_store(self, schemas=None):
            return await MyStore.open("…", schemas=schemas)

The cases are async methods named ``test_…`` and need no test framework: pytest with ``asyncio_mode = "auto"`` finds them, and any
other runner can call them one by one on an instance each.
"""

from agenticflow.testing.event_store_kit.appending import AppendingCases
from agenticflow.testing.event_store_kit.bounds import BoundsCases
from agenticflow.testing.event_store_kit.commands import CommandCases
from agenticflow.testing.event_store_kit.following import FollowingCases
from agenticflow.testing.event_store_kit.lifetime import LifetimeCases
from agenticflow.testing.event_store_kit.ordered import OrderedCases
from agenticflow.testing.event_store_kit.place import Place
from agenticflow.testing.event_store_kit.reading import ReadingCases
from agenticflow.testing.event_store_kit.rows import RowCases

__all__ = ["EventStoreKit", "Place"]


class EventStoreKit(
    AppendingCases, OrderedCases, ReadingCases, FollowingCases, CommandCases, RowCases, BoundsCases, LifetimeCases
):
    """All cases. Subclass it, give ``open_store``, and declare what the backend cannot do (see ``Place``)."""
