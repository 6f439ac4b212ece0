"""The engine put together: host, gates, budgets, children, dispatcher and logbook over one open store."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TypeVar

from agenticflow.app.engine.launching import Launches, zone_of
from agenticflow.app.engine.liveness import Watch
from agenticflow.app.engine.lives import Lives
from agenticflow.app.engine.reacting import Choreography
from agenticflow.app.loops.late import LateLoops
from agenticflow.app.registration.workflows import Workflows
from agenticflow.config import Settings
from agenticflow.core.clocks import Clock
from agenticflow.core.values import BlobMissing
from agenticflow.orchestration.commands import Plan
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.quarantine.listing import entries_of
from agenticflow.orchestration.schedules.guest import ScheduleGuest
from agenticflow.orchestration.state import RunState
from agenticflow.resilience.budgets.guest import BudgetGuest
from agenticflow.resilience.gate import GateGuest
from agenticflow.resilience.journal import JournalGuest
from agenticflow.runtime.activities.dispatcher import Dispatcher
from agenticflow.runtime.activities.reports import LastReports
from agenticflow.runtime.coordination.budgets import BudgetKeeper
from agenticflow.runtime.coordination.children import Children
from agenticflow.runtime.coordination.gates import Gatekeeper
from agenticflow.runtime.host import Host
from agenticflow.runtime.loading import Loader
from agenticflow.runtime.logbook import Logbook
from agenticflow.runtime.ownership import CommandServer
from agenticflow.storage.store import Store

__all__ = ["Engine", "assemble"]

T = TypeVar("T")


class Recorder:
    """What agents are given: the logbook, the dispatcher's ear, and who drives their loops."""

    __slots__ = ("look_again", "loops", "record")

    def __init__(self, logbook: Logbook, dispatcher: Dispatcher, loops: LateLoops) -> None:
        self.loops = loops
        # Not methods that pass it on: each attempt of an agent comes by twice.
        self.record = logbook.record
        self.look_again = dispatcher.look_again


class Engine:
    """What exists only while the orchestrator runs."""

    __slots__ = (
        "budgets",
        "children",
        "choreography",
        "dispatcher",
        "door",
        "end_measuring",
        "gates",
        "host",
        "launches",
        "lives",
        "logbook",
        "loops",
        "planners",
        "recorder",
        "settings",
        "store",
        "watch",
        "workflows",
    )

    def __init__(
        self,
        store: Store,
        host: Host,
        dispatcher: Dispatcher,
        gates: Gatekeeper,
        budgets: BudgetKeeper,
        children: Children,
        logbook: Logbook,
        lives: Lives,
        launches: Launches,
        settings: Settings,
        workflows: Workflows,
        loops: LateLoops,
    ) -> None:
        self.store = store
        self.host = host
        self.dispatcher = dispatcher
        self.gates = gates
        self.budgets = budgets
        self.children = children
        self.logbook = logbook
        self.lives = lives
        self.launches = launches
        self.loops = loops
        self.recorder = Recorder(logbook, dispatcher, self.loops)
        self.settings = settings
        self.planners = workflows.planners
        """Know the functions of workflows as code."""
        self.workflows: Container[str] = workflows
        """Knows the names of those that are registered."""
        self.end_measuring: Callable[[], None] = lambda: None
        self.door: CommandServer | None = None
        """Where other processes' commands come in, when the store has one owner."""
        self.watch: Watch | None = None
        """Looks whether every open run is alive, where runs are performed."""
        self.choreography: Choreography | None = None
        """Has agents react to events, where runs are performed."""

    def missing(self, stream_id: str) -> list[str]:
        """Return, in words, what a run waits for that is not registered here."""
        code = self.planners.waits_for(stream_id)
        return [
            *self.dispatcher.missing(stream_id),
            *self.children.missing(stream_id),
            *(() if code is None else (code,)),
        ]

    def ask_functions(self, now: int) -> None:
        """Have runs go on whose functions were not known, or did not fit."""
        for stream_id in self.planners.stuck():
            self.host.tell(stream_id, Plan(now=now))

    async def pure(self, stream_id: str, read: Callable[[RunState], T], state: RunState | None = None) -> T:
        """Read from the state of a run, as it stands now unless one of the past is given; fetch large values as they are asked for."""
        is_past = state is not None
        if state is None:
            state = await self.host.read(stream_id)
        values = state.values
        with values.gathering():
            while True:
                try:
                    return read(state)
                except BlobMissing as missing:
                    await Loader(self.store, values).fetch(missing, stream_id)
                    if not is_past:
                        state = await self.host.read(stream_id)

    @property
    def is_settling(self) -> bool:
        """Whether an agent does not hear its events yet."""
        return self.choreography is not None and self.choreography.is_arranging

    async def settle(self) -> None:
        """Return when every agent hears its events."""
        if self.choreography is not None:
            await self.choreography.settle()

    async def stop(self) -> None:
        """End what asks the host, then the host, then what records beside it."""
        for part in (self.door, self.watch, self.choreography):
            if part is not None:
                await part.stop()
        await self.loops.close()
        await self.children.close()
        await self.budgets.stop()
        await self.host.stop()
        await self.logbook.close()
        self.end_measuring()


def assemble(
    store: Store,
    clock: Clock,
    settings: Settings,
    *,
    workflows: Workflows,
    max_concurrency: int | None = None,
    max_threads: int | None = None,
) -> Engine:
    """Return an engine over ``store`` that has not begun yet. ``workflows`` are those registered."""
    host = Host(store, clock)
    host.add_guest(WorkflowGuest(workflows.planners), entries_of)
    host.add_guest(GateGuest())
    host.add_guest(JournalGuest())
    host.add_guest(BudgetGuest())
    host.add_guest(ScheduleGuest(zone_of))
    gates = Gatekeeper(host, store, clock)
    launches = Launches(host, store, clock, workflows.plan_of)
    children = Children(host, gates, clock, launches)
    budgets = BudgetKeeper(host, store, clock)
    loops = LateLoops(host, store, clock, budgets, settings.models.prices)
    dispatcher = Dispatcher(
        host,
        clock,
        gates,
        children,
        max_workers=max_concurrency or settings.engine.max_concurrency,
        max_threads=max_threads or settings.engine.max_threads,
        accounts=loops,
    )
    dispatcher.keep_reports_with(LastReports(store, clock))
    engine = Engine(
        store,
        host,
        dispatcher,
        gates,
        budgets,
        children,
        Logbook(store),
        Lives(store, clock),
        launches,
        settings,
        workflows,
        loops,
    )
    workflows.planners.on_wanted = lambda: engine.ask_functions(clock.now_ns())
    return engine
