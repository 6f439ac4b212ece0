"""The demo that kills itself: start the audit, kill -9 its process in the middle, go on in another, compare with an undisturbed run.

Nothing is simulated: three real processes over real files, and the only witness of what happened before the kill is the store, read from
outside. What ran is known from a trace that the analysts leave, not from the engine's own word.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from agenticflow.app.upkeep.verification import verify_store
from agenticflow.app.wiring import open_store
from agenticflow.core.events import EventPredicate
from agenticflow.demos.audit import AuditInputError, Survey, survey
from agenticflow.demos.crew import ran
from agenticflow.errors import AgenticFlowError, PermanentError, TemporaryError
from agenticflow.storage.store import Store

__all__ = ["CRASHED", "CrashStory", "crash_and_resume"]

CRASHED: Final = "audit-crash"
FEWEST_PACKAGES: Final = 3
SMALL_BYTES: Final = 4_000_000
"""Below this an analysis is over before anybody could kill it: then each package is given a pause."""
LONGEST_PAUSE: Final = 0.25
PAUSES_SECONDS: Final = 8.0
LOOK_SECONDS: Final = 0.02
LIMIT_SECONDS: Final = 600.0
Tell = Callable[[str], None]


class CrashStory(msgspec.Struct, kw_only=True):
    """What happened. ``problems`` is empty when every promise was kept."""

    packages: int
    recorded: list[str]
    """Packages whose analysis was recorded before the kill."""
    in_work: list[str]
    """Packages whose analysis had begun and was not recorded: these may run again."""
    run_after: list[str]
    """Packages that the second process analyzed."""
    totals: dict[str, Any]
    report: str
    store: str
    seconds_to_resume: float
    problems: list[str]

    @property
    def run_again(self) -> list[str]:
        """Packages that both processes worked on."""
        return [name for name in self.run_after if name in self.in_work]


async def crash_and_resume(path: str, folder: Path, *, include_tests: bool, tell: Tell) -> CrashStory:
    """Play it all in ``folder``; tell on the way.

    Raises ``AuditInputError`` for a path that cannot be audited, ``TemporaryError`` when the run was over before it could be killed.
    """
    found = survey(path, include_tests=include_tests)
    names = [package["name"] for package in found["packages"]]
    if len(names) < FEWEST_PACKAGES:
        raise AuditInputError(
            f"{path!r} has {len(names)} packages, too few to be interrupted in the middle",
            hint=f"give a tree with at least {FEWEST_PACKAGES} packages, or leave --path out",
        )
    stage = _Stage(path, folder, include_tests, _pace(found))
    wanted = max(1, len(names) // 3)
    tell(f"1. auditing {len(names)} packages; the process is killed when {wanted} of them are recorded")
    recorded = [names[index] for index in await stage.run_and_kill(wanted)]
    before = ran(stage.trace)
    tell(f"   killed with SIGKILL: {len(recorded)} packages were recorded, {len(before) - len(recorded)} were in work")
    tell("2. the same command in a new process")
    started = asyncio.get_running_loop().time()
    resumed = await stage.run("interrupted", workflow_id=CRASHED, is_traced=True)
    seconds = asyncio.get_running_loop().time() - started
    after = ran(stage.trace)[len(before) :]
    tell(f"   done: {len(after)} packages were analyzed, {len(recorded)} were taken from the record")
    tell("3. the same audit undisturbed, to compare")
    undisturbed = await stage.run("undisturbed", workflow_id="audit-undisturbed", is_traced=False)
    return CrashStory(
        packages=len(names),
        recorded=recorded,
        in_work=[name for name in before if name not in recorded],
        run_after=after,
        totals=resumed["result"]["totals"],
        report=resumed["result"]["report"]["html"]["path"],
        store=stage.store_url("interrupted"),
        seconds_to_resume=seconds,
        problems=[
            *_broken_promises(names, recorded, after),
            *_differences(resumed["result"], undisturbed["result"]),
            *await stage.verify(),
        ],
    )


def _pace(found: Survey) -> float:
    return min(LONGEST_PAUSE, PAUSES_SECONDS / len(found["packages"])) if found["bytes"] < SMALL_BYTES else 0.0


def _broken_promises(names: list[str], recorded: list[str], after: list[str]) -> list[str]:
    problems = [f"{name!r} was recorded before the kill and ran again" for name in after if name in recorded]
    problems += [
        f"{name!r} ran {after.count(name)} times after the kill" for name in set(after) if after.count(name) > 1
    ]
    problems += [f"{name!r} was never analyzed" for name in names if name not in recorded and name not in after]
    return problems


def _differences(resumed: dict[str, Any], undisturbed: dict[str, Any]) -> list[str]:
    problems = [
        f"{figure} is {value!r} after the crash and {undisturbed['totals'].get(figure)!r} undisturbed"
        for figure, value in resumed["totals"].items()
        if value != undisturbed["totals"].get(figure)
    ]
    for kind in ("html", "markdown"):
        if resumed["report"][kind]["sha256"] != undisturbed["report"][kind]["sha256"]:
            problems.append(f"the {kind} report differs from that of the undisturbed run")
    return problems


class _Stage:
    """The folder in which it plays: a store and an output per run, and the trace."""

    def __init__(self, path: str, folder: Path, include_tests: bool, pace_seconds: float) -> None:
        self._path = path
        self._folder = folder
        self._include_tests = include_tests
        self._pace_seconds = pace_seconds
        self.trace = folder / "trace.txt"

    def store_url(self, name: str) -> str:
        return f"sqlite:///{self._folder / f'{name}.db'}"

    def _command(self, name: str, *, workflow_id: str, is_traced: bool) -> list[str]:
        command = [sys.executable, "-P", "-m", "agenticflow", "demo", "-o", "json", "--quiet"]
        command += ["--path", self._path, "--output", str(self._folder / name)]
        command += ["--store", self.store_url(name), "--workflow-id", workflow_id]
        if self._include_tests:
            command.append("--include-tests")
        if is_traced:
            command += ["--trace", str(self.trace), "--pace", str(self._pace_seconds)]
        return command

    async def run(self, name: str, *, workflow_id: str, is_traced: bool) -> dict[str, Any]:
        """Run the demo in a process of its own to its end; return what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self._command(name, workflow_id=workflow_id, is_traced=is_traced),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                output, errors = await process.communicate()
        finally:
            _kill(process)
        if process.returncode != 0:
            raise PermanentError(f"the {name} run ended with {process.returncode}: {_tail(errors)}")
        printed: dict[str, Any] = json.loads(output)
        return printed

    async def run_and_kill(self, wanted: int) -> list[int]:
        """Start the demo, kill its process when ``wanted`` packages are recorded; return the indexes of those that were."""
        process = await asyncio.create_subprocess_exec(
            *self._command("interrupted", workflow_id=CRASHED, is_traced=True),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        ended = asyncio.ensure_future(process.wait())
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                while not ended.done() and len(await self._recorded()) < wanted:
                    await asyncio.wait({ended}, timeout=LOOK_SECONDS)
        finally:
            _kill(process)
            await ended
        _, errors = await process.communicate()
        store = await open_store(self.store_url("interrupted"), read_only=True)
        try:
            row = await store.get_run(CRASHED)
        finally:
            await store.close()
        if row is None or not row.is_open:
            raise TemporaryError(
                f"the run was over before it could be killed: {_tail(errors) or 'it was too quick'}",
                hint="try again, or give a larger tree with --path",
            )
        return await self._recorded()

    async def _recorded(self) -> list[int]:
        """Return the indexes of the packages whose analysis is recorded, as anybody beside the owner can see."""
        try:
            store = await open_store(self.store_url("interrupted"), read_only=True)
        except AgenticFlowError:  # not there yet
            return []
        try:
            return [index async for index in _completed_items(store)]
        finally:
            await store.close()

    async def verify(self) -> list[str]:
        """Return what ``store verify`` finds wrong with the store that was interrupted, and every task recorded twice."""
        store = await open_store(self.store_url("interrupted"), read_only=True)
        try:
            problems = (await verify_store(store)).problems
            items = [index async for index in _completed_items(store)]
        finally:
            await store.close()
        return problems + [f"analyze[{index}] is recorded twice" for index in set(items) if items.count(index) > 1]


async def _completed_items(store: Store) -> Any:
    completed = EventPredicate(stream_id=f"workflow-{CRASHED}/1", event_types={"task_completed"})
    async for event in store.query_events(completed):
        key = str(event.payload["task_key"])
        if key.startswith("analyze["):
            yield int(key[len("analyze[") : -1])


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


def _tail(errors: bytes) -> str:
    return " ".join(errors.decode(errors="replace").split())[-300:]
