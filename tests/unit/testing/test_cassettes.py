"""Cassettes: what is told of a run that would go another way today, and what does not get out with one."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenticflow.agents.agent import Agent
from agenticflow.agents.workers import worker
from agenticflow.app.cassettes import form as form_module
from agenticflow.app.cassettes import parse_cassette, record_cassette
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.core import codec
from agenticflow.core.context import TaskContext
from agenticflow.core.engine import EffectClass, Performer
from agenticflow.core.interrupts import Ask, OnRejection
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    InvalidInput,
    WorkflowExecutionError,
    WorkflowNotFoundError,
)
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.planning.declaring import workflow
from agenticflow.resilience.retry import RetryPolicy
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.cassettes import replay_cassette
from agenticflow.testing.virtual_time import run_virtual

SECRET = "hunter2-and-more"
KEY = "sk-abcdefghijklmnopqrstuv"


@worker("double")
async def double(value: int) -> int:
    return value * 2


@worker("label")
def label(value: object, context: TaskContext) -> str:
    return f"{context['start']}:{value}"


@worker("flaky")
async def flaky(context: TaskContext) -> str:
    if context.attempt == 1:
        raise ConnectionError("nobody there")
    return "there"


@worker("reject")
async def reject() -> None:
    raise ValueError("no")


@worker("charge")
async def charge() -> str:
    return "paid"


HANDLERS: list[Performer] = [double, label, flaky, charge]
TASKS = (
    TaskDefinition("first", "double", params={"value": "${start}"}),
    TaskDefinition("flaky", "flaky", retry_policy=RetryPolicy(max_attempts=3, initial_delay_seconds=2)),
    TaskDefinition("each", "double", params={"value": "${item}"}, for_each=[1, 2], dependencies={"first"}),
    TaskDefinition("charge", "charge", dependencies={"flaky"}, effect=EffectClass.AT_MOST_ONCE),
    TaskDefinition("last", "label", params={"value": "${each}"}, dependencies={"each", "charge"}),
)


def flow(*tasks: TaskDefinition, **options: Any) -> WorkflowDefinition:
    return WorkflowDefinition(tasks or TASKS, **{"name": "flow", **options})


def recorded(definition: WorkflowDefinition, given: dict[str, object] | None = None, *performers: Any) -> bytes:
    """Return the cassette of a run of ``definition``, which may fail."""

    async def play() -> bytes:
        store = MemoryStore()
        async with Orchestrator(store=store) as orchestrator:
            for one in performers or (double, label, flaky, charge):
                orchestrator.register_worker(one)
            try:
                await orchestrator.execute_workflow(definition, given, workflow_id="w")
            except WorkflowExecutionError:
                assert (await orchestrator.get_execution("w")).error is not None
            return (await record_cassette(store, "w", release="1.2.3")).to_json().encode()

    return run_virtual(play())


@pytest.fixture(scope="module")
def cassette() -> bytes:
    return recorded(flow(), {"start": 4})


def changed(cassette: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    said = json.loads(cassette)
    change(said)
    return json.dumps(said).encode()


def first_end(said: dict[str, Any]) -> dict[str, Any]:
    return next(event for event in said["events"] if "@" in event["cause"])


def replacing(task_id: str, other: TaskDefinition) -> WorkflowDefinition:
    return flow(*(other if task.task_id == task_id else task for task in TASKS))


# --- decided anew -------------------------------------------------------------------------------------------------------


def test_a_run_goes_the_way_it_went(cassette: bytes, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(cassette)
    report = replay_cassette(file, flow())
    report.assert_no_drift()
    assert report.is_same
    assert not report.definition
    assert not report.differences
    assert not report.skipped
    assert str(report).startswith("w run 1 (release 1.2.3): no drift; ")
    assert f"{report.events} of {report.events} events decided the same, 0 handlers called" in str(report)


def test_another_policy_is_found_where_it_first_decides(cassette: bytes) -> None:
    once = TaskDefinition("flaky", "flaky", retry_policy=RetryPolicy(max_attempts=1))
    report = replay_cassette(cassette, replacing("flaky", once))
    (drift,) = report.differences
    types = [event["type"] for event in json.loads(cassette)["events"]]
    assert (drift.event, drift.task_key, drift.what) == (types.index("task_retry_scheduled") + 1, "flaky", "decision")
    assert report.events == drift.event - 1
    assert drift.recorded.startswith('{"task_retry_scheduled"')
    assert drift.now.startswith('{"task_failed"')
    assert [one.what for one in report.definition] == ["retry_policy"]
    with pytest.raises(AssertionError, match=f"event {drift.event}, task 'flaky': decision"):
        report.assert_no_drift()


def test_another_delay_shows_only_what_differs(cassette: bytes) -> None:
    later = TaskDefinition(
        "flaky", "flaky", retry_policy=RetryPolicy(max_attempts=3, initial_delay_seconds=500, max_delay_seconds=500)
    )
    (drift,) = replay_cassette(cassette, replacing("flaky", later)).differences
    before, now = (json.loads(words)["task_retry_scheduled"] for words in (drift.recorded, drift.now))
    assert set(before) == set(now) == {"task_key", "retry_at"}
    assert now["retry_at"] > before["retry_at"]


def test_a_task_more_is_found_and_what_follows_is_told(cassette: bytes) -> None:
    report = replay_cassette(cassette, flow(TaskDefinition("new", "double", params={"value": 1}), *TASKS))
    (drift,) = report.differences
    assert (drift.event, drift.task_key) == (2, "first")
    assert '"new"' in drift.now
    assert "then now: task_scheduled first" in drift.follows
    assert "then recorded: task_scheduled flaky" in drift.follows
    assert str(report.definition[0]).startswith("task 'new': task: - →")


def test_a_run_that_would_go_on_is_told(cassette: bytes) -> None:
    more = TaskDefinition("more", "double", params={"value": 1}, dependencies={"last"})
    report = replay_cassette(cassette, flow(*TASKS, more))
    (drift,) = report.differences
    assert drift.recorded.startswith('{"workflow_completed"')
    assert drift.event == report.recorded_events


def test_what_follows_after_the_last_event_is_told(cassette: bytes) -> None:
    report = replay_cassette(changed(cassette, lambda said: said["events"].pop()))
    (drift,) = report.differences
    assert (drift.recorded, drift.now) == ("nothing more", '{"workflow_completed": {}}')


def test_a_definition_that_decides_the_same_is_no_drift_but_told(cassette: bytes) -> None:
    report = replay_cassette(cassette, flow(name="renamed", timeout_seconds=5_000, priority=3))
    assert report.is_same
    assert {one.what for one in report.definition} == {"name", "timeout_seconds", "priority"}
    assert "definition: name: 'flow' → 'renamed'" in str(report)


def test_a_fact_that_nothing_makes_true_is_told(cassette: bytes) -> None:
    def complete_twice(said: dict[str, Any]) -> None:
        events = said["events"]
        at = next(place for place, event in enumerate(events) if event["type"] == "task_completed")
        events.insert(at + 1, dict(events[at]))
        for number, event in enumerate(events, 1):
            event["version"] = number

    (drift,) = replay_cassette(changed(cassette, complete_twice)).differences
    assert drift.what == "decision"


def test_large_values_are_part_of_it() -> None:
    definition = flow(
        TaskDefinition("first", "double", params={"value": "${text}"}),
        TaskDefinition("end", "double", params={"value": 1}, dependencies={"first"}, when="${first} != ''"),
    )
    cassette = recorded(definition, {"text": "y" * 80_000}, worker("double")(_twice))
    assert len(json.loads(cassette)["blobs"]) == 2
    replay_cassette(cassette, handlers=[worker("double")(_twice)]).assert_no_drift()
    with pytest.raises(InvalidInput, match=r"damaged: the value \w{40} is not in it"):
        replay_cassette(changed(cassette, lambda said: said["blobs"].clear()))


async def _twice(value: Any) -> Any:
    return value * 2


def test_large_values_inside_large_values_are_part_of_it() -> None:
    @worker("text")
    async def text(size: int) -> str:
        return "x" * size

    @worker("judge")
    async def judge(value: str, context: TaskContext) -> int:
        if context.run_no == 1:
            raise ValueError("not yet")
        return len(value)

    sizes = {"a": 30_000, "b": 30_001, "c": 30_002, "large": 70_000}
    tasks = [TaskDefinition(name, "text", params={"size": size}) for name, size in sizes.items()]
    once = RetryPolicy(max_attempts=1)
    last = TaskDefinition("last", "judge", params={"value": "${large}"}, dependencies=set(sizes), retry_policy=once)

    async def play() -> str:
        store = MemoryStore()
        async with Orchestrator(store=store) as orchestrator:
            orchestrator.register_worker(text)
            orchestrator.register_worker(judge)
            with pytest.raises(WorkflowExecutionError):
                await orchestrator.execute_workflow(flow(*tasks, last), workflow_id="w")
            assert await (await orchestrator.resume_workflow("w")).result() == {"last": 70_000}
            return (await record_cassette(store, "w", 2, release="1")).to_json()

    cassette = run_virtual(play())
    assert len(json.loads(cassette)["blobs"]) == 2, "what is kept, and the large value that it refers to"
    replay_cassette(cassette.encode(), handlers=[judge]).assert_no_drift()


# --- handlers -----------------------------------------------------------------------------------------------------------


def test_handlers_that_give_the_same_are_called_once_per_task(cassette: bytes) -> None:
    report = replay_cassette(cassette, handlers=HANDLERS)
    report.assert_no_drift()
    assert report.calls == 5, "first, flaky in its second attempt, two items, last"
    assert report.skipped == ["task 'charge': at-most-once work"]
    assert "not called: task 'charge': at-most-once work" in str(report)
    assert replay_cassette(cassette, handlers=HANDLERS, with_at_most_once=True).calls == 6


def test_another_result_is_told_for_each_task(cassette: bytes) -> None:
    @worker("double")
    async def triple(value: int) -> int:
        return value * 3

    report = replay_cassette(cassette, handlers=[triple, label])
    found = {drift.task_key: (drift.what, drift.recorded, drift.now) for drift in report.differences}
    assert found["first"] == ("result", '{"result": 8}', '{"result": 12}')
    assert set(found) == {"first", "each[0]", "each[1]"}, "each is called with recorded inputs, so `last` is the same"
    types = {event["version"]: event["type"] for event in json.loads(cassette)["events"]}
    assert {types[drift.event] for drift in report.differences} == {"task_completed"}
    assert "task 'flaky': none of the handlers given is its own" in report.skipped


def test_a_handler_that_fails_today_or_failed_then_is_told(cassette: bytes) -> None:
    @worker("double")
    def broken(value: int) -> int:
        raise ValueError("broken")

    report = replay_cassette(cassette, handlers=[broken])
    assert report.differences[0].now == '{"error": "ValueError: broken"}'
    once = RetryPolicy(max_attempts=1)
    failed = recorded(flow(TaskDefinition("a", "reject", retry_policy=once)), None, reject)
    replay_cassette(failed, handlers=[reject]).assert_no_drift()

    @worker("reject")
    async def mended() -> int:
        return 1

    (drift,) = replay_cassette(failed, handlers=[mended]).differences
    assert (drift.what, drift.recorded, drift.now) == ("error", '{"error": "ValueError: no"}', '{"result": 1}')


def test_agents_are_handlers_too_and_process_work_is_called_here() -> None:
    agent = Agent("hand", {"sums"})

    @agent.task("add")
    def add(left: int, right: int = 2) -> int:
        return left + right

    async def play() -> bytes:
        store = MemoryStore()
        async with Orchestrator(store=store) as orchestrator:
            orchestrator.register_agent(agent)
            await orchestrator.execute_workflow(
                flow(TaskDefinition("sum", "hand", "add", {"left": 1})), workflow_id="w"
            )
            return (await record_cassette(store, "w", 1, release="1")).to_json().encode()

    assert replay_cassette(run_virtual(play()), handlers=[agent]).calls == 1


@pytest.mark.parametrize("is_thread", [True, False])
def test_a_handler_that_hangs_is_given_up(is_thread: bool) -> None:
    let_go = threading.Event()

    @worker("double")
    def hangs(value: int) -> None:
        let_go.wait(20)

    @worker("double")
    async def sleeps(value: int) -> None:
        await asyncio.sleep(20)

    task = TaskDefinition("first", "double", params={"value": "${start}"}, timeout_seconds=0.05)
    cassette = recorded(flow(task), {"start": 1})
    began = time.monotonic()
    try:
        (drift,) = replay_cassette(cassette, handlers=[hangs if is_thread else sleeps]).differences
    finally:
        let_go.set()
    assert time.monotonic() - began < 10
    assert drift.now == '{"error": "it was not done within 0.05 s"}'


async def test_inside_a_running_loop_it_says_what_to_do(cassette: bytes) -> None:
    with pytest.raises(InvalidInput, match="makes an event loop of its own"):
        replay_cassette(cassette, handlers=HANDLERS)
    report = await asyncio.to_thread(replay_cassette, cassette, handlers=HANDLERS)
    assert report.is_same


def test_a_handler_that_asks_a_person_today_is_told(cassette: bytes) -> None:
    @worker("double")
    async def ask(value: int, context: TaskContext) -> object:
        return context.interrupt(value, question="Double?")

    drift = replay_cassette(cassette, handlers=[ask]).differences[0]
    assert json.loads(drift.now)["asks"][0]["question"] == "Double?"


def test_what_people_did_is_asked_again() -> None:
    @worker("sleep")
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)

    tasks = [
        TaskDefinition("other", "sleep", params={"seconds": 900}),
        TaskDefinition("each", "sleep", params={"seconds": "${item}"}, for_each=[700, 800]),
        TaskDefinition("end", "sleep", params={"seconds": 1}, dependencies={"other", "each"}),
    ]

    async def play() -> bytes:
        store = MemoryStore()
        async with Orchestrator(store=store) as orchestrator:
            orchestrator.register_worker(sleep)
            handle = await orchestrator.start_workflow(flow(*tasks), workflow_id="w")
            await asyncio.sleep(1)
            await orchestrator.cancel_task("w", "each", reason="too slow")
            await asyncio.sleep(20)
            await handle.abort("enough", grace_seconds=4.35)
            with pytest.raises(AgenticFlowError):
                await handle.result()
            return (await record_cassette(store, "w", release="1")).to_json().encode()

    cassette = run_virtual(play())
    causes = {event["cause"] for event in json.loads(cassette)["events"]}
    assert {"StartRun", "CancelTask", "Abort"} <= causes
    replay_cassette(cassette).assert_no_drift()


@pytest.mark.parametrize("workflow_id", ["w", "w~child"])
def test_a_run_that_is_undone_with_its_sub_workflow_is_decided_as_it_was(workflow_id: str) -> None:
    @worker("do")
    async def do(given: object = None) -> str:
        return "done"

    @worker("fail")
    async def fail() -> None:
        raise ValueError("never")

    @workflow(name="inner")
    async def inner(ctx: Any, given: object) -> None:
        for number in range(6):
            await ctx.task(f"s{number}", "do", {"given": number}, compensation="do")

    tasks = [
        TaskDefinition("child", workflow="inner"),
        TaskDefinition("end", "fail", dependencies={"child"}, retry_policy=RetryPolicy(max_attempts=1)),
    ]

    async def play() -> bytes:
        store = MemoryStore()
        async with Orchestrator(store=store) as orchestrator:
            orchestrator.register_worker(do)
            orchestrator.register_worker(fail)
            orchestrator.register_workflow(inner)
            with pytest.raises(AgenticFlowError):
                await orchestrator.execute_workflow(flow(*tasks), workflow_id="w")
            return (await record_cassette(store, workflow_id, release="1")).to_json().encode()

    cassette = run_virtual(play())
    assert json.loads(cassette)["events"][-1]["type"] == "workflow_compensated"
    replay_cassette(cassette, *([inner] if workflow_id != "w" else [])).assert_no_drift()


def test_what_handlers_asked_at_once_is_asked_again() -> None:
    @worker("think")
    async def think(takes: float, on_rejection: OnRejection, context: TaskContext) -> list[object]:
        keys = ["first", "second", "gone"]
        if context.replies:
            await asyncio.sleep(takes)
            keys.remove("gone")
        asks = [Ask.of(key=key, deadline_seconds=900, on_rejection=on_rejection) for key in keys]
        return [reply.value for reply in context.interrupt_all(asks)]

    ends = {"later": (0.0, "return"), "meanwhile": (5.0, "return"), "refused": (5.0, "fail"), "late": (1_000.0, "fail")}
    tasks = [
        TaskDefinition(
            key, "think", params={"takes": takes, "on_rejection": means}, on_failure="skip", retry_policy=RetryPolicy(1)
        )
        for key, (takes, means) in ends.items()
    ]

    async def play() -> bytes:
        store = MemoryStore()
        async with Orchestrator(store=store) as orchestrator:
            orchestrator.register_worker(think)
            handle = await orchestrator.start_workflow(flow(*tasks), workflow_id="w")
            await asyncio.sleep(1)
            approvals = orchestrator.approvals
            ids = {(view.task_key, view.interrupt_key): view.approval_id for view in await approvals.list()}
            for key in ends:
                await approvals.answer(ids[key, "first"], 1)
            await asyncio.sleep(1)
            await approvals.answer(ids["meanwhile", "second"], 2)
            await approvals.reject(ids["refused", "second"], by="eve", comment="no")
            await approvals.reject(ids["later", "second"], by="eve")
            await handle.result()
            return (await record_cassette(store, "w", release="1")).to_json().encode()

    cassette = run_virtual(play())
    types = {event["type"] for event in json.loads(cassette)["events"]}
    assert {"interrupt_withdrawn", "interrupt_refused", "task_interrupted_again"} <= types
    replay_cassette(cassette).assert_no_drift()


# --- secrets ------------------------------------------------------------------------------------------------------------


def test_secrets_do_not_get_out_and_their_places_are_told() -> None:
    @worker("leak")
    async def leak(password: str, note: str, context: TaskContext) -> dict[str, object]:
        return {"api_key": KEY, "text": f"see https://ada:{SECRET}@host/", "raw": f"password={SECRET}".encode(), "n": 7}

    @worker("fail")
    async def fail() -> None:
        raise ValueError(f"password={SECRET} is wrong")

    once = RetryPolicy(max_attempts=1)
    definition = flow(
        TaskDefinition("leak", "leak", params={"password": SECRET, "note": f"bearer {KEY}1"}),
        TaskDefinition("large", "echo", params={"text": "${long}"}),
        TaskDefinition("bad", "fail", dependencies={"leak", "large"}, retry_policy=once),
        name=f"flow password={SECRET}",
    )

    @worker("echo")
    async def echo(text: str) -> dict[str, object]:
        return {"secret": SECRET, "text": text}

    given: dict[str, object] = {"db": {"password": SECRET}, "long": "x" * 70_000}

    async def play() -> list[str]:
        store = MemoryStore()
        async with Orchestrator(store=store) as orchestrator:
            for one in (leak, fail, echo):
                orchestrator.register_worker(one)
            with pytest.raises(WorkflowExecutionError):
                await orchestrator.execute_workflow(definition, given, workflow_id="w")
            # The next run is given the results that are kept, encoded inside its first event or in a large value.
            handle = await orchestrator.resume_workflow("w")
            with pytest.raises(WorkflowExecutionError):
                await handle.result()
            return [(await record_cassette(store, "w", run, release="1")).to_json() for run in (1, 2)]

    texts = run_virtual(play())
    for text in texts:
        assert SECRET not in text
        assert KEY not in text
        said = json.loads(text)
        assert said["redacted_count"] == len(said["redacted"]) > 5
        report = replay_cassette(text.encode(), handlers=[leak, fail, echo])
        assert report.is_same, report
        assert "hidden at the export" in str(report)
    assert any(place.startswith("events[1].kept.leak") for place in json.loads(texts[1])["redacted"])


def test_a_secret_cannot_be_found_by_a_hash_of_it() -> None:
    @worker("double")
    async def give(value: str) -> dict[str, str]:
        return {"password": value, "text": "x" * 70_000}

    async def play() -> tuple[str, set[str]]:
        store = MemoryStore()
        async with Orchestrator(store=store) as orchestrator:
            orchestrator.register_worker(give)
            task = TaskDefinition("first", "double", params={"value": "${password}"})
            await orchestrator.execute_workflow(flow(task), {"password": SECRET}, workflow_id="w")
            row = await store.get_run("w")
            assert row is not None
            value = codec.encode({"password": SECRET, "text": "x" * 70_000})
            hashes = {row.fingerprint, codec.content_hash(value)}
            return (await record_cassette(store, "w", release="1")).to_json(), hashes

    text, hashes = run_virtual(play())
    assert not [one for one in hashes if one in text]
    cassette = parse_cassette(text)
    assert [codec.content_hash(data) for data in cassette.blobs.values()] == list(cassette.blobs)
    replay_cassette(text.encode(), handlers=[give]).assert_no_drift()


def test_a_report_shows_no_secret_of_today(cassette: bytes) -> None:
    @worker("double")
    async def leak(value: int) -> dict[str, str]:
        return {"password": SECRET}

    @worker("label")
    def fail(value: object) -> None:
        raise ValueError(f"password={SECRET}")

    told = TaskDefinition("first", "double", params={"value": "${start}", "password": SECRET})
    report = replay_cassette(cassette, replacing("first", told), handlers=[leak, fail])
    assert len(report.differences) == 4
    assert [one.what for one in report.definition] == ["params"]
    assert SECRET not in str(report)
    assert "[hidden]" in str(report.definition[0])


def test_a_reference_to_a_secret_in_a_definition_is_none() -> None:
    task = TaskDefinition("first", "take", params={"password": "${password}", "token": "${other}"})

    @worker("take")
    async def take(password: str, token: str) -> int:
        return len(token)

    cassette = recorded(flow(task), {"password": SECRET, "other": "${" + SECRET + "}"}, take)
    assert SECRET in cassette.decode(), "nobody says that `other` is one"
    cassette = recorded(flow(task), {"password": "${" + SECRET + "}", "other": "a"}, take)
    assert SECRET not in cassette.decode()
    report = replay_cassette(cassette, flow(task), handlers=[take])
    assert report.is_same
    assert not report.definition


# --- files that are none ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: said.update(format="other"), "is no cassette"),
        (lambda said: said.update(format_version=99), "of format 99, this program reads format 1"),
        (lambda said: said["events"].pop(3), "event 4 is missing"),
        (lambda said: said["events"].clear(), "it has no events"),
        (lambda said: said.pop("events"), "damaged: .*events"),
        (lambda said: said["events"][2].update(type="task_invented"), "event 3: .*'task_invented'"),
        (lambda said: said["events"][2].update(payload={"task_key": 7}), "event 3: "),
        (lambda said: said["events"][0].update(type="workflow_completed", payload={}), "it begins with"),
        (lambda said: said["events"][2]["payload"].update(x={"$what": 1}), "spells nothing"),
        (lambda said: said["events"][2]["payload"].update(x={"$bytes": "?"}), "damaged"),
        (lambda said: said["events"][0]["payload"].update(definition={"tasks": 3}), "definition cannot be read"),
        (lambda said: first_end(said).update(cause="Invented"), "caused by 'Invented'"),
        (lambda said: first_end(said).update(cause="a@b"), "caused by 'a@b'"),
        (lambda said: said["events"][0].update(cause="Pause"), "does not come of 'Pause'"),
    ],
)
def test_a_damaged_file_is_told(cassette: bytes, change: Callable[[dict[str, Any]], object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        replay_cassette(changed(cassette, change), flow(), handlers=HANDLERS)
    assert refused.value.hint


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, cassette_half := b'{"format": "agenticflow-cassette"']
)
def test_what_is_no_json_is_told(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="damaged: it is no JSON"):
        replay_cassette(data)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", str(tmp_path), "a\0b"):
        with pytest.raises(InvalidInput, match="cannot read the cassette"):
            replay_cassette(path)


def test_a_large_one_is_refused(cassette: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form_module, "MAX_CASSETTE_BYTES", 2_000)
    with pytest.raises(InvalidInput, match="a cassette has at most 2,000"):
        parse_cassette(cassette)
    with pytest.raises(BoundExceeded, match="above the limit of 2,000"):
        recorded(flow(), {"start": 4})


def test_values_that_json_has_no_word_for_come_back() -> None:
    odd = {
        "bytes": b"\xc1\xff",
        "encoded": b"\x92\x01\x02",
        "nan": float("inf"),
        "$word": [1.0, None, True],
        "numbers": {1: "one"},
        "empty": {},
    }

    @worker("give")
    async def give() -> dict[str, object]:
        return odd

    cassette = recorded(flow(TaskDefinition("give", "give")), None, give)
    replay_cassette(cassette, handlers=[give]).assert_no_drift()
    odd["numbers"] = {2: "one"}
    assert not replay_cassette(cassette, handlers=[give]).is_same


def test_an_unknown_run_is_told() -> None:
    async def ask() -> None:
        with pytest.raises(WorkflowNotFoundError, match="no workflow 'w'"):
            await record_cassette(MemoryStore(), "w", release="1")
        with pytest.raises(WorkflowNotFoundError, match="no run 3 of 'w'"):
            await record_cassette(MemoryStore(), "w", 3, release="1")

    run_virtual(ask())
