"""Stepping into a run through the façade: every type of intervention, what each needs, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest

from agenticflow import (
    Agent,
    CommandRefused,
    DefinitionError,
    InvalidInput,
    Orchestrator,
    PermanentError,
    RetryPolicy,
    StoreUnavailable,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowNotFoundError,
    WorkflowStatus,
)
from agenticflow.app.commands.door import carry_out
from agenticflow.errors import UnsupportedInterventionError
from agenticflow.orchestration import UserIntervention
from agenticflow.storage.commits import Commit, Committed
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, kinds, running, until

HOURLY = RetryPolicy(max_attempts=3, initial_delay_seconds=3_600, max_delay_seconds=3_600, multiplier=1, jitter=False)


class Desk(Agent):
    """Does what it is told, once it is told that it may."""

    def __init__(self) -> None:
        super().__init__("desk", concurrency=5)
        self.is_broken = True
        self.asked: list[str] = []
        self.gate = asyncio.Event()

        @self.task("do")
        async def do(context: object, name: str = "") -> str:
            self.asked.append(name)
            if name == "flaky" and self.is_broken:
                raise ConnectionError("closed")
            if name == "held":
                await self.gate.wait()
            return name


def do(name: str, *after: str, **options: Any) -> TaskDefinition:
    return TaskDefinition(name, "desk", "do", {"name": name}, after, **options)


FLOW = WorkflowDefinition(
    [
        do("flaky", retry_policy=HOURLY),
        do("held"),
        do("extra", "held"),
        TaskDefinition.ask("q", "May I?"),
        TaskDefinition.ask("r", "May I too?", on_failure="skip"),
        do("end", "flaky", "extra", "q", "r", join="settled"),
    ],
    output=["${end}", "${q.value}"],
)


@in_virtual_time
async def test_every_type_of_intervention_does_what_its_call_does_and_says_who_did_it() -> None:
    desk, store = Desk(), MemoryStore()
    async with running(desk, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(FLOW, workflow_id="w")
        await until(lambda: len(desk.asked) == 2)

        async def say(type: str, task_key: str | None = None, value: object = None, reason: str = "so") -> None:
            said = UserIntervention(type, "ada", reason=reason, task_key=task_key, value=value)
            assert list(await orchestrator.intervene("w", said)) == []

        await say("pause")
        assert await handle.status() is WorkflowStatus.PAUSED
        await say("resume")
        await say("skip", "extra")
        desk.is_broken = False
        await say("retry", "flaky")
        await say("approve", "q", 5)
        await say("reject", "r", reason="")
        await until(lambda: desk.asked == ["flaky", "held", "flaky"])
        await say("cancel_task", "held")
        assert await handle.result() == ["end", 5]
    events = [event async for event in store.read_stream("workflow-w/1")]
    by = {event.event_type: event.payload for event in events if "ada" in event.payload.values()}
    assert set(by) == {
        "workflow_paused",
        "workflow_resumed",
        "task_skipped",
        "task_retry_requested",
        "approval_granted",
        "approval_rejected",
        "tasks_cancelled",
    }
    assert by["workflow_paused"]["reason"] == by["tasks_cancelled"]["reason"] == "so"


@in_virtual_time
async def test_a_question_is_answered_a_result_given_and_a_run_ended() -> None:
    async with running(Desk()) as orchestrator:
        flow = WorkflowDefinition([do("held"), TaskDefinition.ask("q", "How many?"), do("next", "held")])
        handle = await orchestrator.start_workflow(flow, workflow_id="w")
        await orchestrator.intervene("w", UserIntervention("answer", "ada", task_key="q", value=7))
        large = "x" * 200_000
        await orchestrator.intervene("w", UserIntervention("set_result", "ada", task_key="next", value=large))
        execution = await handle.execution()
        answer = execution.task_results["q"].unwrap()
        assert isinstance(answer, dict)
        assert answer["value"] == 7
        assert execution.task_results["next"].unwrap() == large
        await orchestrator.intervene("w", UserIntervention("abort", "ada", reason="done with it"))
        with pytest.raises(WorkflowExecutionError, match="done with it"):
            await handle.result()
        with pytest.raises(CommandRefused, match="is CANCELLED and takes no skipped task"):
            await orchestrator.skip_task("w", "held")


@pytest.mark.parametrize(
    ("intervention", "error", "words"),
    [
        (UserIntervention("dance", "ada"), UnsupportedInterventionError, "'dance' is no type .*pause, resume, abort"),
        (UserIntervention("skip", "ada"), InvalidInput, "'skip' needs task_key"),
        (UserIntervention("pause", "ada", task_key="a"), InvalidInput, "'pause' takes no task_key"),
        (UserIntervention("skip", "ada", task_key="a", value=1), InvalidInput, "'skip' takes no value"),
        (UserIntervention("pause", ""), InvalidInput, "'' is nobody .*say who does it"),
        (UserIntervention("inject_feedback", "ada"), InvalidInput, "'inject_feedback' needs feedback"),
        (UserIntervention("skip", "ada", task_key="a", dry_run=True), InvalidInput, "'skip' takes no dry_run"),
        (UserIntervention("pause", "ada", reason=cast("str", 5)), InvalidInput, "the reason is a int"),
        ({"type": "pause"}, InvalidInput, "intervene got a dict"),
    ],
)
async def test_what_is_no_intervention_is_refused_before_anything_is_asked(
    intervention: UserIntervention, error: type[Exception], words: str
) -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        with pytest.raises(error, match=words):
            await orchestrator.intervene("w", intervention)


async def test_each_call_wants_to_know_who_and_why() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        for call in (
            orchestrator.skip_task("w", "a", skipped_by=""),
            orchestrator.retry_task("w", "a", retried_by=""),
            orchestrator.set_result("w", "a", given_by=""),
            orchestrator.give_feedback("w", "a", given_by=""),
            orchestrator.modify_workflow("w", [{"remove": "a"}], modified_by=""),
        ):
            with pytest.raises(InvalidInput, match="'' is nobody"):
                await call
        with pytest.raises(InvalidInput, match="the reason is a NoneType"):
            await orchestrator.skip_task("w", "a", reason=cast("str", None))
        bad = TaskDefinition("x", "desk", "do", cast("dict[str, object]", {1: 2}))
        with pytest.raises(DefinitionError, match="could not be read back"):
            await orchestrator.modify_workflow("w", [{"add": bad}])


async def test_an_unknown_workflow_is_not_found() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        with pytest.raises(WorkflowNotFoundError):
            await orchestrator.intervene("nobody", UserIntervention("pause", "ada"))


@in_virtual_time
async def test_what_is_no_task_no_version_and_no_time_is_refused_in_words() -> None:
    wrong: Any = 5
    async with running(Desk()) as orchestrator:
        handle = await orchestrator.start_workflow(FLOW, workflow_id="w")
        for call in (orchestrator.skip_task, orchestrator.retry_task, orchestrator.set_result):
            with pytest.raises(InvalidInput, match="5 is no id of a task"):
                await call("w", wrong)
        with pytest.raises(InvalidInput, match="5 is no id of a task"):
            await orchestrator.give_feedback("w", "x", task_key=wrong)
        wrong = "x"
        with pytest.raises(InvalidInput, match="'x' is no version"):
            await orchestrator.get_workflow_state("w", at_version=wrong)
        with pytest.raises(InvalidInput, match="'x' is no version"):
            await orchestrator.fork_workflow("w", at_version=wrong)
        with pytest.raises(InvalidInput, match="grace_seconds is 'x'"):
            await handle.abort(grace_seconds=wrong)
        await handle.abort()


@in_virtual_time
async def test_another_process_intervenes_by_the_same_data() -> None:
    async with running(Desk()) as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition([do("held"), do("b", "held")]), workflow_id="w")
        said = UserIntervention("skip", "ada", task_key="b")
        answer = await carry_out(
            orchestrator, "intervene", {"workflow_id": "w", "intervention": msgspec.to_builtins(said)}
        )
        assert answer == {"workflow_id": "w", "run_no": 1, "status": "RUNNING", "differences": []}
        with pytest.raises(CommandRefused, match="is skipped"):
            await carry_out(orchestrator, "intervene", {"workflow_id": "w", "intervention": msgspec.to_builtins(said)})
        with pytest.raises(InvalidInput, match="does not take these arguments"):
            await carry_out(orchestrator, "intervene", {"workflow_id": "w", "intervention": {"type": 5}})


@in_virtual_time
async def test_feedback_reaches_handlers_that_run_and_those_that_follow() -> None:
    """On the loop and in a thread while it runs, in another process from its start."""
    desk = Agent("desk", concurrency=5)
    heard: dict[str, list[object]] = {}

    @desk.task("listen")
    async def listen(context: TaskContext) -> None:
        while not context.feedback:
            await asyncio.sleep(1)
        heard[context.task_key] = [feedback.value for feedback in context.feedback]

    flow = WorkflowDefinition(
        [TaskDefinition("a", "desk", "listen"), TaskDefinition("b", "desk", "listen", dependencies={"a"})]
    )
    async with running(desk) as orchestrator:
        handle = await orchestrator.start_workflow(flow, workflow_id="w")
        await asyncio.sleep(5)
        await orchestrator.intervene("w", UserIntervention("inject_feedback", "ada", feedback="hurry", task_key="a"))
        await until(lambda: "a" in heard)
        await asyncio.sleep(5)
        await orchestrator.intervene("w", UserIntervention("inject_feedback", "ada", feedback=0))
        await handle.result()
        assert heard == {"a": ["hurry"], "b": [0]}


class Stuck(MemoryStore):
    """Does not take feedback, and needs a while to say so."""

    async def commit(self, commit: Commit) -> Committed:
        if any(event.event_type == "feedback_given" for event in commit.events):
            await asyncio.sleep(60)
            raise StoreUnavailable("the disk is full")
        return await super().commit(commit)


@in_virtual_time
async def test_nobody_hears_what_does_not_come_true() -> None:
    desk = Agent("desk", concurrency=1)
    heard: dict[str, list[object]] = {}

    @desk.task("listen")
    async def listen(context: TaskContext) -> None:
        heard[context.task_key] = [feedback.value for feedback in context.feedback]
        await asyncio.sleep(30)

    flow = WorkflowDefinition([TaskDefinition("a", "desk", "listen"), TaskDefinition("b", "desk", "listen")])
    async with running(desk, store=Stuck()) as orchestrator:
        handle = await orchestrator.start_workflow(flow, workflow_id="w")
        await asyncio.sleep(10)
        with pytest.raises(StoreUnavailable):
            await orchestrator.give_feedback("w", "too early")
        await handle.result()
        assert heard == {"a": [], "b": []}


@in_virtual_time
async def test_what_is_said_before_a_restart_is_heard_after_it_in_threads_too() -> None:
    store, desk = MemoryStore(), Agent("desk")

    @desk.task("listen")
    def listen(context: TaskContext) -> list[object]:
        if context.run_no == 1:
            raise PermanentError("in the first run")
        return [feedback.value for feedback in context.feedback]

    flow = WorkflowDefinition(
        [TaskDefinition.wait_for("go", "go"), TaskDefinition("a", "desk", "listen", dependencies={"go"})]
    )
    async with running(store=store) as orchestrator:
        await orchestrator.start_workflow(flow, workflow_id="w")
        await orchestrator.give_feedback("w", "from before")
    async with running(desk, store=store) as orchestrator:
        await orchestrator.signal("w", "go")
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.wait("w")
        again = await orchestrator.resume_workflow("w")
        assert await again.result() == {"a": ["from before"]}, "the next run hears it too"
        fork = await orchestrator.fork_workflow("w", run_no=2, from_task="go", new_workflow_id="f")
        with pytest.raises(WorkflowExecutionError):
            await fork.result()
        assert await (await orchestrator.resume_workflow("f")).result() == {"a": ["from before"]}


# --- modify -------------------------------------------------------------------------------------------------------------

MIDDLE = WorkflowDefinition([do("held"), do("b", "held"), do("end", "b")], name="middle")


@in_virtual_time
async def test_a_run_goes_on_with_other_tasks_and_so_does_the_next_one_and_a_fork() -> None:
    desk, store = Desk(), MemoryStore()
    async with running(desk, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(MIDDLE, workflow_id="w")
        changes: list[object] = [{"add": do("check", "held")}, {"replace": do("b", "check")}, {"remove": "end"}]
        said = UserIntervention("modify", "ada", reason="one more look", modifications=changes)
        looked = await orchestrator.intervene("w", msgspec.structs.replace(said, dry_run=True))
        assert "workflow_modified" not in await kinds(store, "workflow-w/1")
        told = [str(one) for one in await orchestrator.intervene("w", said)]
        assert told == [str(one) for one in looked]
        assert told[1] == "task 'b': dependencies: ['held'] → ['check']"
        version = (await orchestrator.get_workflow_state("w")).version
        with pytest.raises(CommandRefused, match="not at the expected 1"):
            await orchestrator.modify_workflow("w", [{"remove": "b"}], expected_version=1, dry_run=True)
        desk.gate.set()
        assert await handle.result() == {"b": "b"}
        assert [task.task_id for task in (await handle.execution()).definition.tasks] == ["held", "b", "check"]
        first = await orchestrator.get_execution("w", at_version=1)
        assert [task.task_id for task in first.definition.tasks] == ["held", "b", "end"]
        assert (await orchestrator.start_workflow(MIDDLE, workflow_id="w")).run_no == 1, (
            "the same start is the same run"
        )
        again = await orchestrator.resume_workflow("w", from_task="held")
        assert await again.result() == {"b": "b"}
        fork = await orchestrator.fork_workflow("w", run_no=1, at_version=version, new_workflow_id="f")
        assert await fork.result() == {"b": "b"}
        with pytest.raises(CommandRefused, match="takes no modification"):
            await orchestrator.modify_workflow("w", [{"remove": "b"}])


@in_virtual_time
async def test_every_mistake_is_told_before_anything_is_recorded_agents_included() -> None:
    store = MemoryStore()
    async with running(Desk(), store=store) as orchestrator:
        await orchestrator.start_workflow(MIDDLE, workflow_id="w")
        with pytest.raises(DefinitionError) as refusal:
            await orchestrator.modify_workflow(
                "w",
                [
                    {"remove": "held"},
                    {"add": TaskDefinition("x", "nobody", "do")},
                    {"add": TaskDefinition("y", "desk", "sing")},
                    {"add": TaskDefinition("z", workflow="unheard_of")},
                    {"add": {"task_id": "fine", "agent_id": "desk", "task_type": "do"}},
                    {"add": TaskDefinition.timer("t", 5)},
                ],
            )
        assert refusal.value.problems == (
            "task 'held' has started, it is SCHEDULED, and stays as it is",
            "task 'x' is for 'nobody', which is not registered here",
            "task 'y': 'desk' has no handler for 'sing'",
            "task 'z' is a workflow 'unheard_of', which is not registered here",
        )
        assert "workflow_modified" not in await kinds(store, "workflow-w/1")


async def test_who_only_records_does_not_know_who_performs() -> None:
    store = MemoryStore()
    async with running(Desk(), store=store) as orchestrator:
        await orchestrator.start_workflow(MIDDLE, workflow_id="w")
    async with Orchestrator(store=store, performs=False) as recorder:
        [change] = await recorder.modify_workflow("w", [{"add": TaskDefinition("x", "other", "do")}])
        assert change.task_key == "x"
        assert "x" in {task.task_id for task in (await recorder.get_execution("w")).definition.tasks}


@in_virtual_time
async def test_two_who_modify_at_once_do_not_overwrite_each_other() -> None:
    async with running(Desk()) as orchestrator:
        await orchestrator.start_workflow(MIDDLE, workflow_id="w")
        answers = await asyncio.gather(
            *(orchestrator.modify_workflow("w", [{"replace": do("end", "b", priority=n)}]) for n in (1, 2)),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["CommandRefused", "list"]


@in_virtual_time
async def test_a_large_modification_with_large_values_around_it_outlives_a_restart() -> None:
    desk, store = Desk(), MemoryStore()
    large = {"add": msgspec.structs.replace(do("big", "held"), params={"name": "x" * 100_000})}
    async with running(desk, store=store) as orchestrator:
        await orchestrator.start_workflow(MIDDLE, {"text": "y" * 100_000}, workflow_id="w")
        await orchestrator.modify_workflow("w", [large])
    desk = Desk()
    async with running(desk, store=store) as orchestrator:
        desk.gate.set()
        assert await orchestrator.wait("w") == {"end": "end", "big": "x" * 100_000}
