"""The conformance kit of the event bus: what subscribers and publishers may rely on, whatever carries the events.

A broker, or a store behind the bus, proves itself with a factory and nothing else; abilities it does not have it declares::

    class TestMyBus(EventBusKit):
        def make_bus(self, store=None, **options):
            return EventBus("my://broker", store=store, **options)

The cases are async methods named ``test_…`` and need no test framework: pytest with ``asyncio_mode = "auto"`` finds them, and any other
runner can call them one by one on an instance each.
"""

from agenticflow.testing.event_bus_kit.delivering import DeliveringCases
from agenticflow.testing.event_bus_kit.failing import FailingCases
from agenticflow.testing.event_bus_kit.place import BusPlace, Listener
from agenticflow.testing.event_bus_kit.pressing import PressingCases
from agenticflow.testing.event_bus_kit.remembering import RememberingCases

__all__ = ["BusPlace", "EventBusKit", "Listener"]


class EventBusKit(DeliveringCases, FailingCases, PressingCases, RememberingCases):
    """All cases. Subclass it, give ``make_bus``, and declare what the broker cannot do (see ``BusPlace``)."""
