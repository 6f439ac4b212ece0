"""``agenticflow doctor``, ``store verify`` and ``version``: what there is, and whether it is sound. Reads only."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Final

import apsw
import msgspec

from agenticflow import __version__
from agenticflow.app.commands.operations import Metrics, Ping
from agenticflow.app.upkeep.verification import Verification, verify_store
from agenticflow.cli.access import ask_owner, reading, store_file
from agenticflow.cli.exits import Exit, NotThere
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, note, print_json, print_table, progress_console
from agenticflow.config import load_settings
from agenticflow.errors import AgenticFlowError, ConfigurationError

__all__ = ["doctor", "metrics", "verify", "version"]

_OLDEST_SOUND_SQLITE: Final = (3, 51, 3)
"""Earlier ones can corrupt a WAL database when several connections write and checkpoint."""
COUNTED_RUNS: Final = 1_000


class Check(msgspec.Struct, frozen=True):
    """One line of ``doctor``."""

    name: str
    value: str
    is_ok: bool = True
    hint: str = ""


def version(form: Format) -> int:
    """Print the version."""
    if form is Format.JSON:
        print_json({"agenticflow": __version__, "python": platform.python_version()})
    else:
        print(f"agenticflow {__version__}")
    return Exit.OK


def doctor(*, store: str | None, form: Format) -> int:
    """Print what this installation consists of and whether its store can be used; exit code 3 when something is wrong."""
    checks = [*_installation(), *run_async(_store(store)), *_terminal()]
    if form is Format.JSON:
        print_json({check.name: {"value": check.value, "ok": check.is_ok, "hint": check.hint} for check in checks})
    else:
        print_table(
            ("WHAT", "", "FOUND"), [(check.name, "ok" if check.is_ok else "WRONG", check.value) for check in checks]
        )
    for check in checks:
        if not check.is_ok:
            note(f"wrong: {check.name}: {check.value}")
            note(f"hint: {check.hint}")
    return Exit.OK if all(check.is_ok for check in checks) else Exit.FAILED


def _installation() -> Iterator[Check]:
    yield Check("agenticflow", __version__)
    is_new = sys.version_info >= (3, 11)
    yield Check("python", f"{platform.python_implementation()} {platform.python_version()}", is_new, "3.11 is needed")
    yield Check("platform", f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors")
    sqlite = apsw.sqlite_lib_version()
    is_sound = tuple(int(part) for part in sqlite.split(".")[:3]) >= _OLDEST_SOUND_SQLITE
    yield Check("sqlite", sqlite, is_sound, "install the apsw that the pins name")
    for name in ("apsw", "msgspec", "pyyaml", "rich", "structlog", "typer"):
        yield Check(name, metadata.version(name))
    for extra, names in _extras().items():
        missing = [name for name in names if not _is_installed(name)]
        what = f"not installed (needs {', '.join(missing)})" if missing else "installed"
        yield Check(f"extra {extra}", what)


def _extras() -> dict[str, list[str]]:
    """Return what each extra of ours brings, by the name of the extra."""
    try:
        ours = metadata.metadata("agenticflow")
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return {}
    found: dict[str, list[str]] = {extra: [] for extra in ours.get_all("Provides-Extra") or ()}
    for requirement in metadata.requires("agenticflow") or ():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        name = re.match(r"[\w.-]+", requirement)
        if extra is not None and name is not None:
            found.setdefault(extra[1], []).append(name[0])
    return found


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return importlib.util.find_spec(distribution.replace("-", "_")) is not None
    return True


async def _store(given: str | None) -> list[Check]:
    try:
        loaded = load_settings({"store": (given, "--store")})
    except ConfigurationError as error:
        return [Check("settings", "; ".join(error.problems), False, error.hint)]
    url = loaded.settings.store_url
    stands = next(setting for setting in loaded.table if setting.key == "store")
    checks = [
        Check("settings", f"profile {loaded.settings.profile}, {loaded.file.name if loaded.file else 'no file'}"),
        Check("store", f"{stands.value} ({stands.place})"),
    ]
    try:
        file = store_file(url)
        if file is None:
            async with reading(url):
                return [*checks, Check("store contents", "in memory: gone when the process ends")]
        if not file.exists():
            return [*checks, Check("store contents", "none yet; the first run makes the file")]
        async with reading(url) as (orchestrator, _):
            rows = await orchestrator.list_workflows(is_open=True, limit=COUNTED_RUNS)
        more = "at least " if len(rows) == COUNTED_RUNS else ""
        checks.append(Check("store contents", f"readable, {more}{len(rows)} open runs, {file.stat().st_size:,} bytes"))
        owner = await ask_owner(url, Ping())
        checks.append(Check("store owner", "none" if owner is None else f"pid {owner['pid']}"))
    except AgenticFlowError as error:
        checks.append(Check("store contents", error.message, False, error.hint or "give another one with --store"))
    return checks


def metrics(*, store: str | None, form: Format) -> int:
    """Print the metrics of the process that owns the store. Raises ``NotThere`` when there is none."""
    told = run_async(ask_owner(store, Metrics()))
    if told is None:
        raise NotThere(
            "no running process owns the store, and metrics are those of a process", hint="ask while it runs"
        )
    if form is Format.JSON:
        print_json(told)
    else:
        print(told["text"], end="")
    if not told["is_measured"]:
        note("the engine there is not measured: set metrics.enabled, or AGENTICFLOW_METRICS__ENABLED=true")
    return Exit.OK


def _terminal() -> Iterator[Check]:
    console = progress_console()
    if console.is_terminal:
        yield Check("terminal", f"{console.width} columns, {console.color_system or 'no'} colours, {console.encoding}")
    else:
        yield Check("terminal", f"none: plain lines, {console.encoding}")


def verify(*, store: str | None, form: Format) -> int:
    """Verify the store; print what is wrong. Exit code 3 when anything is."""
    found = run_async(_verify(store))
    if form is Format.JSON:
        print_json({"sound": found.is_sound, "runs": found.runs, "events": found.events, "problems": found.problems})
    else:
        for problem in found.problems:
            print(problem)
        print(_summary(found))
    return Exit.OK if found.is_sound else Exit.FAILED


async def _verify(store: str | None) -> Verification:
    console = progress_console()
    async with reading(store) as (_, opened):
        if not console.is_terminal:
            return await verify_store(opened)
        with console.status("verifying") as status:
            return await verify_store(opened, lambda runs: status.update(f"verifying, {runs:,} runs so far"))


def _summary(found: Verification) -> str:
    what = f"{found.runs:,} runs, {found.events:,} events, {found.blobs:,} large values"
    return f"sound: {what}" if found.is_sound else f"{len(found.problems)} problems in {what}"
