"""``agenticflow config`` and ``metrics``, and that every command goes by the settings."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from agenticflow import Agent, Orchestrator
from agenticflow.app.commands import operations
from agenticflow.cli import main
from agenticflow.config import Settings, load_settings
from agenticflow.config.settings import MetricsSettings
from agenticflow.observability import increment_counter
from tests.unit.runtime.tasks import single


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("AGENTICFLOW_STORE")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_show_says_where_each_value_comes_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "agenticflow.toml").write_text('store = "env:DB"\n[engine]\nmax_threads = 4\n')
    monkeypatch.setenv("DB", "sqlite:///s3cret.db")
    monkeypatch.setenv("AGENTICFLOW_ENGINE__MAX_THREADS", "8")
    assert main(["--profile", "production", "--debug", "config", "show", "--sources"]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()}
    assert rows["store"].startswith("env:DB agenticflow.toml line 1")
    assert rows["engine.max_threads"].startswith("8 AGENTICFLOW_ENGINE__MAX_THREADS agenticflow.toml line 3: 4")
    assert rows["log.level"].startswith("debug --debug profile production: info")
    assert rows["profile"].startswith("production AGENTICFLOW_PROFILE")
    assert "s3cret" not in out


def test_show_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "-o", "json", "--store", "memory:"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] is None
    assert told["settings"]["store"] == {"value": "memory:", "from": "--store"}
    assert told["settings"]["metrics.enabled"] == {"value": False, "from": "default"}


def test_validate_tells_every_mistake_and_ends_with_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "agenticflow.toml").write_text('[engine]\nmax_thread = 4\n[log]\nlevel = "loud"\n')
    for arguments in (["config", "validate"], ["config", "validate", "agenticflow.toml"]):
        assert main(arguments) == 2
        assert capsys.readouterr().err.splitlines() == [
            "error: 2 mistakes:",
            "  agenticflow.toml line 2: engine.max_thread is no setting (did you mean engine.max_threads?)",
            "  agenticflow.toml line 4: log.level is 'loud', and debug, info, warning, error or critical is expected",
            "hint: `agenticflow config schema` shows what there is",
        ]
    (folder / "agenticflow.toml").write_text("[engine]\nmax_threads = 4\n")
    for arguments in (["config", "validate"], ["config", "validate", "agenticflow.toml"]):
        assert main(arguments) == 0
        assert capsys.readouterr().out == "sound: agenticflow.toml\n"
    assert main(["config", "validate", "gone.toml"]) == 7
    assert main(["config", "validate", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sound": True, "checked": "agenticflow.toml"}


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert "max_threads" in json.loads(capsys.readouterr().out)["$defs"]["EngineSettings"]["properties"]


@pytest.mark.parametrize("command", [["runs", "list"], ["store", "verify"], ["demo", "--quiet"], ["config", "show"]])
def test_wrong_settings_stop_what_uses_them(
    folder: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "agenticflow.toml").write_text("threads = 4\n")
    assert main(command) == 2
    assert "agenticflow.toml line 1: threads is no setting" in capsys.readouterr().err


def test_wrong_settings_stop_neither_help_nor_doctor(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "agenticflow.toml").write_text("[engine]\nthreads = 4\n")
    assert main(["run", "--help"]) == 0
    assert main(["version"]) == 0
    assert main(["doctor"]) == 3
    assert "wrong: settings: agenticflow.toml line 2: engine.threads is no setting" in capsys.readouterr().err


def test_a_settings_file_elsewhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "here.yaml").write_text("engine: {max_threads: 5}\n")
    assert main(["--config", "here.yaml", "config", "show", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["engine.max_threads"] == {
        "value": 5,
        "from": "here.yaml line 1",
    }


def test_the_store_of_the_settings_is_the_store_of_every_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "agenticflow.toml").write_text('store = "sqlite:///here.db"\ndurability = "normal"\n')
    (folder / "w.yaml").write_text("tasks: [{task_id: a, delay_seconds: 0}]")
    assert main(["run", "w.yaml", "--workflow-id", "w", "--quiet"]) == 0
    assert (folder / "here.db").exists()
    assert main(["runs", "show", "w"]) == 0
    assert "COMPLETED" in capsys.readouterr().out
    assert main(["doctor", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["store"]["value"] == "sqlite:///here.db (agenticflow.toml line 1)"


def test_logs_as_json_go_to_stderr(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "w.yaml").write_text("tasks: [{task_id: a, delay_seconds: 0.1}]")
    assert main(["run", "w.yaml", "--workflow-id", "w", "--detach"]) == 0
    capsys.readouterr()
    assert main(["--profile", "production", "run", "w.yaml", "--workflow-id", "w", "--quiet"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines if "took up" in line["event"]]


def test_logs_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "agenticflow.toml").write_text('[log]\nfile = "logs/our.log"\nlevel = "info"\nformat = "json"\n')
    (folder / "w.yaml").write_text("tasks: [{task_id: a, delay_seconds: 0.1}]")
    assert main(["run", "w.yaml", "--workflow-id", "w", "--detach"]) == 0
    assert main(["run", "w.yaml", "--workflow-id", "w", "--quiet"]) == 0
    assert "took up" not in capsys.readouterr().err
    (line,) = (folder / "logs" / "our.log").read_text().splitlines()
    assert json.loads(line)["event"].endswith("took up 1 unfinished runs")
    monkeypatch.setenv("AGENTICFLOW_LOG__FILE", str(folder))
    assert main(["runs", "list"]) == 2
    assert "cannot be written" in capsys.readouterr().err


# --- an orchestrator -----------------------------------------------------------------------------------------------------


async def test_arguments_win_over_settings_and_settings_over_defaults(folder: Path) -> None:
    (folder / "agenticflow.toml").write_text('store = "sqlite:///settings.db"\n')
    async with Orchestrator():
        assert (folder / "settings.db").exists()
    async with Orchestrator(store="sqlite:///argument.db"):
        assert (folder / "argument.db").exists()
    async with Orchestrator(settings=Settings(store="sqlite:///given.db")):
        assert (folder / "given.db").exists()
    assert load_settings().settings.store == "sqlite:///settings.db"


async def test_threads_as_the_settings_say(folder: Path) -> None:
    (folder / "agenticflow.toml").write_text('store = "memory:"\n[engine]\nmax_threads = 1\n')
    agent, most, running_now = Agent("agent", concurrency=4), list[int](), set[int]()
    lock = threading.Lock()

    @agent.task("do")
    def do(n: int) -> int:
        with lock:
            running_now.add(n)
            most.append(len(running_now))
        with lock:
            running_now.discard(n)
        return n

    async with Orchestrator() as orchestrator:
        orchestrator.register_agent(agent)
        await asyncio.gather(*(orchestrator.execute_workflow(single(params={"n": n})) for n in range(8)))
    assert max(most) == 1


# --- metrics -------------------------------------------------------------------------------------------------------------


def test_metrics_of_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--store", "sqlite:///none.db"]) == 7
    assert "no running process owns the store" in capsys.readouterr().err


async def ask(arguments: list[str]) -> int:
    """Run a command in a thread, as another process would, while the loop of this one answers."""
    return await asyncio.to_thread(main, arguments)


@pytest.mark.parametrize("is_measured", [True, False])
async def test_metrics_of_the_owner(is_measured: bool, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    settings = Settings(store=f"sqlite:///{folder}/state.db", metrics=MetricsSettings(enabled=is_measured))
    agent = Agent("agent")

    @agent.task("measured")
    async def measured() -> int:
        increment_counter("test_in_a_handler")
        return 1

    async with Orchestrator(settings=settings) as orchestrator:
        orchestrator.register_agent(agent)
        await orchestrator.execute_workflow(single("measured"))
        assert await ask(["metrics", "--store", settings.store]) == 0
        told = capsys.readouterr()
        assert "test_in_a_handler_total" in told.out
        if is_measured:
            assert 'task_execution_duration_count{task_type="measured",outcome="succeeded"} 1\n' in told.out
        assert await ask(["metrics", "--store", settings.store, "-o", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["text"]


async def test_too_many_metrics_for_one_answer(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "PAGE_BYTES", 10)
    increment_counter("test_too_many")
    async with Orchestrator(store=f"sqlite:///{folder}/state.db"):
        assert await ask(["metrics", "--store", f"sqlite:///{folder}/state.db"]) == 2
    assert "too many for one answer" in capsys.readouterr().err
