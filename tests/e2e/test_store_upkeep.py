"""Backup, restore and compaction as an operator has them: real processes, a running owner, ``kill -9`` in the middle."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition, open_store
from agenticflow.app.upkeep.verification import verify_store
from agenticflow.runtime.failpoints import UPKEEP_POINTS
from agenticflow.storage.retention import RetentionPolicy
from tests.e2e.command_line import CommandLine, until
from tests.e2e.store_copier import LIMIT_SECONDS

PROGRAM = Path(__file__).with_name("store_copier.py")


async def fill(file: Path, count: int, prefix: str = "w") -> None:
    """Run ``count`` workflows, each with a large value, to their end."""
    agent = Agent("agent", {"work"}, concurrency=16)

    @agent.task("fill")
    async def make(text: str) -> str:
        return text * 70_000

    definition = WorkflowDefinition([TaskDefinition("make", "agent", "fill", {"text": "${input.text}"})], name="fill")
    async with Orchestrator(store=f"sqlite:///{file}?durability=normal") as orchestrator:
        orchestrator.register_agent(agent)
        await asyncio.gather(
            *(
                orchestrator.execute_workflow(
                    definition, {"text": chr(97 + number % 26)}, workflow_id=f"{prefix}{number}"
                )
                for number in range(count)
            )
        )


async def runs_in(file: Path) -> int:
    """Return the number of runs in a store, which must be sound."""
    store = await open_store(f"sqlite:///{file}", read_only=True)
    try:
        found = await verify_store(store)
        assert found.problems == []
        return found.runs
    finally:
        await store.close()


@contextmanager
def staying_at(point: str, what: str, store: Path, file: Path) -> Iterator[subprocess.Popen[str]]:
    """Have the work done by another process that waits at ``point``; kill it at the end."""
    process = subprocess.Popen(
        [sys.executable, PROGRAM, what, f"sqlite:///{store}", str(file), point], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LIMIT_SECONDS)


@pytest.mark.parametrize("point", ["step 1", "step 2", *(point for point in UPKEEP_POINTS if "backup" in point)])
async def test_a_backup_killed_in_the_middle_has_not_its_name(tmp_path: Path, point: str) -> None:
    store, copy = tmp_path / "state.db", tmp_path / "b.db"
    await fill(store, 100)
    with staying_at(point, "backup", store, copy):
        await fill(store, 3, "meanwhile")  # the owner does not wait for it
    assert copy.exists() == (point == "backup.named")
    if copy.exists():
        assert await runs_in(copy) == 100
    subprocess.run(
        [sys.executable, PROGRAM, "backup", f"sqlite:///{store}", str(copy), "never"], check=True, timeout=LIMIT_SECONDS
    )
    assert await runs_in(copy) == 103
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("point", ["step 1", *(point for point in UPKEEP_POINTS if "restore" in point)])
async def test_a_restore_killed_in_the_middle_leaves_the_old_store_or_the_whole_new_one(
    tmp_path: Path, point: str
) -> None:
    store, copy = tmp_path / "state.db", tmp_path / "b.db"
    await fill(copy, 30)
    await fill(store, 5)
    with staying_at(point, "restore", store, copy):
        pass
    assert await runs_in(store) == (30 if point == "restore.named" else 5)
    assert await runs_in(copy) == 30
    await fill(store, 2, "later")
    subprocess.run(
        [sys.executable, PROGRAM, "restore", f"sqlite:///{store}", str(copy), "never"],
        check=True,
        timeout=LIMIT_SECONDS,
    )
    assert await runs_in(store) == 30
    replaced = max(tmp_path.glob("state.db.replaced-*"), key=lambda path: path.stat().st_size)
    assert await runs_in(replaced) >= 5
    assert not list(tmp_path.glob("*.restoring*"))


async def test_a_compaction_killed_anywhere_leaves_a_sound_store(tmp_path: Path) -> None:
    """Twelve lives, each killed a little later; nothing of a run is lost that was not to be deleted."""
    store = tmp_path / "state.db"
    await fill(store, 120)
    program = (
        "import asyncio, sys, time\n"
        "from agenticflow import open_store\n"
        "from agenticflow.storage.retention import RetentionPolicy\n"
        "async def main():\n"
        "    store = await open_store(sys.argv[1])\n"
        "    print('here', flush=True)\n"
        "    policy = RetentionPolicy(archive_after_days=0, delete_after_days=0, keep_last=60)\n"
        "    await store.compact(policy, now=time.time_ns())\n"
        "    print('done', flush=True)\n"
        "asyncio.run(main())\n"
    )
    for number in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", program, f"sqlite:///{store}"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        await asyncio.sleep(0.004 * number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert 60 <= await runs_in(store) <= 120
    opened = await open_store(f"sqlite:///{store}")
    await opened.compact(RetentionPolicy(archive_after_days=0, delete_after_days=0, keep_last=60), now=2**62)
    await opened.close()
    assert await runs_in(store) == 60


def test_a_backup_taken_beside_the_owner_resumes_its_open_runs(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g")
    until(lambda: "second" in cli.ran(), "the run waits at its gate")
    answer = cli.json("store", "backup", "b.db")
    assert answer["bytes"] == (cli.folder / "b.db").stat().st_size
    assert answer["backup"] == str(cli.folder / "b.db")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    for path in cli.folder.glob("state.db*"):
        path.unlink()
    output, _ = cli.run("store", "restore", "b.db")
    assert output.startswith("restored, sound: 1 runs")
    cli.let_go()
    cli.run("run", "flow.py:gated", "--workflow-id", "g")
    assert cli.status("g") == "COMPLETED"
    assert cli.ran().count("first") == 1, "what was recorded does not run again"


def test_a_running_owner_compacts_and_goes_on(cli: CommandLine) -> None:
    for number in range(3):
        cli.run("run", "flow.py:plain", "--workflow-id", f"w{number}")
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g")
    until(lambda: "second" in cli.ran(), "the run waits at its gate")
    before = cli.run("runs", "events", "w0")[0]
    done = cli.json("store", "compact", "--archive-after", "0")
    assert (done["by_owner"], done["archived_runs"]) == (True, 3)
    assert cli.run("runs", "events", "w0")[0] == before
    assert cli.json("runs", "show", "w0")["status"] == "COMPLETED"
    done = cli.json("store", "compact", "--delete-after", "0", "--keep-last", "1")
    assert done["deleted_runs"] == 2
    assert {row["workflow_id"] for row in cli.json("runs", "list")} == {"w2", "g"}
    cli.let_go()
    cli.end(owner, 0)
    assert "nothing was due" in cli.run("store", "compact")[0]
    assert cli.run("store", "verify")[0].startswith("sound: 2 runs")
    cli.run("run", "flow.py:plain", "--workflow-id", "w0")
    assert cli.status("w0") == "COMPLETED", "the id of a deleted run is free again"


def test_mistakes_are_told_in_words_with_a_code(cli: CommandLine) -> None:
    for arguments, code, words in (
        (("store", "backup", "b.db"), 7, "there is nothing"),
        (("store", "restore", "nothing.db"), 7, "there is nothing"),
        (("store", "restore", "flow.py"), 3, "not a SQLite database"),
        (("store", "compact"), 7, "there is no store"),
        (("store", "compact", "--archive-after", "-1"), 2, "makes no sense"),
        (("store", "backup"), 2, "FILE"),
    ):
        output, errors = cli.run(*arguments, code=code)
        assert words in errors
        assert output == ""
    cli.run("run", "flow.py:plain", "--workflow-id", "w")
    cli.run("store", "backup", "b.db")
    assert "there is something" in cli.run("store", "backup", "b.db", code=2)[1]
    cli.run("store", "backup", "b.db", "--force")
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g")
    until(lambda: "first" in cli.ran(), "the owner is there")
    assert "owned by another process" in cli.run("store", "restore", "b.db", code=8)[1]
    cli.let_go()
    cli.end(owner, 0)


def test_large_values_in_files_through_the_command_line(cli: CommandLine) -> None:
    """The option is given once; readers, backups and compactions find the folder, wherever it moved to."""
    values, large = cli.folder / "values", f"size={'x' * 70_000}"

    def files() -> int:
        return sum(1 for path in values.rglob("*") if len(path.name) == 40)

    cli.run("run", "flow.py:plain", "-i", large, "--workflow-id", "a", "--store", "sqlite:///state.db?blobs=./values")
    assert files() == 1
    cli.run("run", "flow.py:plain", "-i", f"{large}y", "--workflow-id", "b")
    assert files() == 2
    assert cli.json("runs", "show", "b")["result"]["size"] == "x" * 70_000 + "y"
    assert cli.run("store", "verify")[0].startswith("sound: 2 runs")
    assert cli.json("store", "backup", "copies/b.db")["bytes"] > 2 * 70_000
    assert cli.run("store", "verify", "--store", "sqlite:///copies/b.db")[0].startswith("sound: 2 runs")
    values.rename(cli.folder / "moved")
    for command in (("store", "verify"), ("store", "compact"), ("runs", "show", "a"), ("store", "backup", "c.db")):
        assert "blobs=" in cli.run(*command, code=2)[1]
    assert not (cli.folder / "c.db").exists()
    (cli.folder / "moved").rename(values)
    assert cli.run("store", "restore", "copies/b.db")[0].startswith("restored, sound: 2 runs")
    assert files() == 4, "the store that was there keeps its own"
    done = cli.json("store", "compact", "--delete-after", "0", "--keep-last", "1")
    assert (done["blobs"], files()) == (1, 3)
    assert done["freed_bytes"] > 70_000
    assert cli.run("store", "verify", "--store", "sqlite:///state.db.replaced-1")[0].startswith("sound: 2 runs")


def test_a_folder_for_large_values_that_cannot_be_is_told_in_words(cli: CommandLine) -> None:
    before = sorted(cli.folder.iterdir())
    for blobs, words in (
        ("", "names no folder"),
        ("flow.py", "it is not a folder"),
        ("flow.py/values", "Not a directory"),
        ("/proc/values", "No such file"),
        ("%00", "null"),
    ):
        url = f"sqlite:///state.db?blobs={blobs}"
        output, errors = cli.run("run", "flow.py:plain", "--store", url, code=2)
        assert words in errors
        assert "hint: " in errors
        assert output == ""
        assert sorted(path for path in cli.folder.iterdir() if path.name != "__pycache__") == before
