"""``agenticflow schedules …`` without an owner and beside a running one."""

from __future__ import annotations

from functools import partial

from tests.e2e.command_line import CommandLine, until


def test_a_schedule_from_its_creation_to_its_end_without_an_owner(cli: CommandLine) -> None:
    answer = cli.json(
        *("schedules", "create", "nightly", "flow.py:plain", "--cron", "0 3 * * *", "--timezone", "Europe/Zurich"),
        *("-i", "size=5", "--start-at", "2030-01-01T00:00:00Z", "--end-at", "2031-01-01T00:00:00+01:00"),
    )
    assert answer == {
        "schedule_id": "nightly",
        "status": "ACTIVE",
        "next_moment": "2030-01-01T02:00:00+00:00",
        "runs": 0,
        "waits_for": "",
    }
    shown = cli.json("schedules", "show", "nightly")
    assert (shown["rule"], shown["timezone"], shown["input"]) == ("cron 0 3 * * *", "Europe/Zurich", {"size": 5})
    assert cli.json("schedules", "pause", "nightly", "--reason", "lunch")["status"] == "PAUSED"
    assert cli.json("schedules", "resume", "nightly")["status"] == "ACTIVE"
    assert [one["schedule_id"] for one in cli.json("schedules", "list", "--open")] == ["nightly"]
    output, notes = cli.run("schedules", "delete", "nightly")
    assert output == "nightly: DELETED\n"
    assert "nobody runs this store" not in notes
    assert cli.json("schedules", "list", "--open") == []


def test_a_running_owner_starts_what_others_ask_for(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    cli.json("schedules", "create", "s", "flow.py:plain", "--every", "0.2", "--max-runs", "2", "--overlap", "queue_all")
    until(lambda: cli.json("schedules", "show", "s")["status"] == "COMPLETED")
    runs = cli.json("schedules", "show", "s")["last_runs"]
    assert [run["outcome"] for run in runs] == ["succeeded", "succeeded"]
    _, told = cli.run("schedules", "create", "typo", "plian", "--every", "3600")
    assert "warning: typo waits for a process that runs this store and has registered the workflow 'plian'" in told
    cli.json("schedules", "create", "t", "flow.py:plain", "--every", "3600")
    assert cli.json("schedules", "trigger", "t")["runs"] == 1
    until(lambda: cli.json("schedules", "show", "t")["last_runs"])
    assert cli.ran().count("only") == 3
    cli.let_go()
    cli.end(owner, 0)


def _has_started(cli: CommandLine, runs: int) -> bool:
    return bool(cli.json("schedules", "show", "s")["runs"] >= runs)


def test_a_killed_owner_leaves_no_moment_out_and_starts_none_twice(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    options = ("--every", "0.3", "--max-runs", "6", "--overlap", "queue_all", "--catch-up", "all")
    cli.json("schedules", "create", "s", "flow.py:plain", *options)
    for runs in (1, 3):
        until(partial(_has_started, cli, runs))
        owner.kill()
        owner.communicate()
        owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: cli.json("schedules", "show", "s")["status"] == "COMPLETED")
    shown = cli.json("schedules", "show", "s")
    assert [run["outcome"] for run in shown["last_runs"]] == ["succeeded"] * 6
    listed = [run for run in cli.json("runs", "list") if run["name"] == "plain"]
    assert [run["run_no"] for run in listed] == [1] * 6
    assert len({run["workflow_id"] for run in listed}) == 6
    assert all(run["started_at"] >= run["due"] for run in shown["last_runs"])
    cli.let_go()
    cli.end(owner, 0)
