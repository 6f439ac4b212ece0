"""``agenticflow demo``: agents audit a real code base, with or without being killed in the middle."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agenticflow.cli.commands.run import finish
from agenticflow.cli.exits import Exit
from agenticflow.cli.running import Attended, attend, orchestrating, run_async
from agenticflow.cli.terminal import Format, duration, note, print_json, print_table
from agenticflow.demos.audit import survey
from agenticflow.demos.audit.survey import default_root
from agenticflow.demos.crash import CRASHED, CrashStory, crash_and_resume
from agenticflow.demos.crew import AUDIT, audit_agents, audit_input
from agenticflow.errors import InvalidInput
from agenticflow.runtime.clock import new_seed

__all__ = ["DEFAULT_OUTPUT", "crash", "demo"]

DEFAULT_OUTPUT: Final = ".agenticflow/audit"
SHOWN_PACKAGES: Final = 5
SHOWN_NAMES: Final = 6


def demo(
    *,
    path: str | None,
    output: str,
    include_tests: bool,
    store: str | None,
    workflow_id: str | None,
    trace: str | None,
    pace_seconds: float,
    is_quiet: bool,
    form: Format,
) -> int:
    """Audit the code below ``path`` and write the report into ``output``; return the exit code."""
    root = path or default_root()
    found = survey(root, include_tests=include_tests)  # quick, and says at once what is wrong with the path
    target = _checked_output(output)
    if not is_quiet:
        note(f"auditing {found['root']}: {len(found['packages'])} packages, {found['file_count']:,} files")
    given = audit_input(
        root,
        target,
        include_tests=include_tests,
        trace=None if trace is None else Path(trace),
        pace_seconds=pace_seconds,
    )
    attended = run_async(_audit(given, store, workflow_id or f"audit-{new_seed()[:8]}", is_quiet=is_quiet))
    if form is Format.TABLE and attended.code is Exit.OK:
        _print_summary(attended)
        attended.result = f"\nreport: {_report(attended)['html']['path']}"
    return finish(attended, form, store)


async def _audit(given: dict[str, object], store: str | None, workflow_id: str, *, is_quiet: bool) -> Attended:
    async with orchestrating(store, audit_agents()) as (orchestrator, interrupts):
        handle = await orchestrator.start_workflow(AUDIT, given, workflow_id=workflow_id)
        return await attend(orchestrator, handle, interrupts, is_quiet=is_quiet)


def _checked_output(output: str) -> Path:
    """Say now, not after all the work, that the report cannot be written."""
    target = Path(output).expanduser()
    nearest = target.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InvalidInput(f"{str(nearest)!r} is a file, not a directory", hint="give a directory with --output")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InvalidInput(f"{str(nearest)!r} may not be written", hint="give another directory with --output")
    return target


def _report(attended: Attended) -> Mapping[str, Any]:
    result: Any = attended.result
    report: Mapping[str, Any] = result["report"]
    return report


def _print_summary(attended: Attended) -> None:
    execution = attended.execution
    ranking: Any = execution.task_results["rank"].unwrap()
    totals = ranking["totals"]
    documented = ranking["documented"]
    print_table(
        ("", "AUDITED"),
        [
            ("packages", f"{totals['packages']:,}"),
            ("files", f"{totals['files']:,}"),
            ("lines", f"{totals['lines']['total']:,}"),
            ("functions", f"{totals['functions']:,}"),
            ("classes", f"{totals['classes']:,}"),
            ("average complexity", f"{ranking['average_complexity']:.2f}"),
            ("documented", "-" if documented is None else f"{100 * documented:.0f} %"),
            ("import cycles", f"{totals['cycles']:,}"),
            ("findings", f"{totals['findings']:,}"),
        ],
        right={"AUDITED"},
    )
    print()
    print_table(
        ("RISKIEST PACKAGES", "RISK", "FILES", "LINES", "WORST FUNCTION"),
        [
            (score["name"], f"{score['risk']:.1f}", score["files"], f"{score['lines']:,}", score["max_complexity"])
            for score in ranking["packages"][:SHOWN_PACKAGES]
        ],
        right={"RISK", "FILES", "LINES", "WORST FUNCTION"},
    )
    for kind in ("html", "markdown"):
        place = _report(attended)[kind]["path"]
        if not Path(place).exists():
            note(f"{place} was written by this run and is gone now; another --workflow-id writes it again")


def crash(*, path: str | None, output: str | None, include_tests: bool, form: Format) -> int:
    """Kill the demo in the middle, resume it, compare; exit code 0 only when every promise was kept."""
    root = path or default_root()
    folder = Path(tempfile.mkdtemp(prefix="agenticflow-crash-")) if output is None else _empty(output)
    story = run_async(crash_and_resume(root, folder, include_tests=include_tests, tell=note))
    if form is Format.JSON:
        print_json({**_as_dict(story), "ok": not story.problems})
    else:
        _print_story(story)
    note(f"look at the run with: agenticflow runs events {CRASHED} --store {story.store}")
    return Exit.INTERNAL if story.problems else Exit.OK


def _empty(output: str) -> Path:
    folder = _checked_output(output).absolute()
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInput(
            f"{output!r} is not empty", hint="give a new directory: the demo compares what it finds there"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _as_dict(story: CrashStory) -> dict[str, Any]:
    fields = {field: getattr(story, field) for field in story.__struct_fields__}
    return {**fields, "run_again": story.run_again}


def _print_story(story: CrashStory) -> None:
    lost = [name for name in story.run_after if name in story.recorded]
    print_table(
        ("PACKAGES", "COUNT", "WHICH"),
        [
            ("recorded before the kill", len(story.recorded), _some(story.recorded)),
            ("  of these run again", len(lost), _some(lost)),
            ("in work when it was killed", len(story.in_work), _some(story.in_work)),
            ("  of these run again", len(story.run_again), _some(story.run_again)),
            ("run after the kill only", len(story.run_after) - len(story.run_again), ""),
            ("in all", story.packages, ""),
        ],
        right={"COUNT"},
    )
    print()
    if story.problems:
        for problem in story.problems:
            print(f"BROKEN: {problem}")
        return
    lines = story.totals["lines"]["total"]
    print(
        f"No recorded work ran again. Resumed and done {duration(story.seconds_to_resume)} after the new process began."
    )
    print(
        f"The result equals that of the undisturbed run: {story.totals['files']:,} files, {lines:,} lines,"
        f" {story.totals['functions']:,} functions, both report files byte for byte."
    )
    print(f"report: {story.report}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (
        f" … and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    )
