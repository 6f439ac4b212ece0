"""Starting a workflow is idempotent by its id: in one process, after a restart, and against a race."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agenticflow import (
    Agent,
    DefinitionError,
    EventBus,
    InvalidInput,
    Orchestrator,
    RetryPolicy,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowIdConflict,
    WorkflowNotFoundError,
    worker,
)
from agenticflow.errors import NotSerializable
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.engine import in_virtual_time, kinds, passes, running
from tests.unit.runtime.tasks import single


class Counter:
    """An agent that counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0
        self.agent = Agent("agent")

        @self.agent.task("do")
        async def do(n: int = 0) -> int:
            self.calls += 1
            await asyncio.sleep(1)
            return n


def failing(times: int) -> Agent:
    agent, calls = Agent("agent"), list[int]()

    @agent.task("do")
    async def do() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise OSError("not yet")
        return "done"

    return agent


ONCE = RetryPolicy(max_attempts=1)


@pytest.mark.parametrize("delay", [None, 0.01])
@in_virtual_time
async def test_ten_concurrent_starts_with_one_id_are_one_run(delay: float | None) -> None:
    store, counter = FlakyStore(delay_seconds=delay), Counter()
    async with running(counter.agent, store=store) as orchestrator:
        definition = single(params={"n": 7})
        handles = await asyncio.gather(*(orchestrator.start_workflow(definition, workflow_id="w") for _ in range(10)))
        results = await asyncio.gather(*(handle.result() for handle in handles))
    assert results == [{"work": 7}] * 10
    assert {(handle.workflow_id, handle.run_no) for handle in handles} == {("w", 1)}
    assert counter.calls == 1
    assert (await kinds(store, "workflow-w/1")).count("workflow_started") == 1


@in_virtual_time
async def test_an_equal_definition_is_the_same_definition() -> None:
    counter = Counter()
    async with running(counter.agent) as orchestrator:
        await orchestrator.execute_workflow(single(params={"n": 7}), {"a": 1}, workflow_id="w")
        await orchestrator.execute_workflow(single(params={"n": 7}), {"a": 1}, workflow_id="w")
    assert counter.calls == 1


@in_virtual_time
async def test_another_definition_or_input_under_the_same_id_is_a_conflict() -> None:
    async with running(Counter().agent) as orchestrator:
        await orchestrator.execute_workflow(single(params={"n": 7}), {"a": 1}, workflow_id="w")
        for definition, given in [(single(params={"n": 8}), {"a": 1}), (single(params={"n": 7}), {"a": 2})]:
            with pytest.raises(WorkflowIdConflict, match="'w' belongs to 'workflow' with another definition or input"):
                await orchestrator.start_workflow(definition, given, workflow_id="w")


@in_virtual_time
async def test_a_finished_run_hands_back_its_result_in_a_new_orchestrator() -> None:
    store, counter = MemoryStore(), Counter()
    async with running(counter.agent, store=store) as orchestrator:
        await orchestrator.execute_workflow(single(params={"n": 7}), workflow_id="w")
    async with running(counter.agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(single(params={"n": 7}), workflow_id="w")
        assert await handle.result() == {"work": 7}
        assert await orchestrator.execute_workflow(single(params={"n": 7}), workflow_id="w") == "w"
    assert counter.calls == 1


@in_virtual_time
async def test_a_failed_run_hands_back_its_failure() -> None:
    async with running(failing(1)) as orchestrator:
        for _ in range(2):
            with pytest.raises(WorkflowExecutionError, match="not yet"):
                await orchestrator.execute_workflow(single(retry_policy=ONCE), workflow_id="w")


@in_virtual_time
async def test_a_second_orchestrator_over_the_same_store_goes_on() -> None:
    store, counter = MemoryStore(), Counter()
    definition = WorkflowDefinition(
        [
            TaskDefinition("a", "agent", "do", {"n": 1}),
            TaskDefinition("b", "agent", "do", {"n": 2}, dependencies=["a"]),
            TaskDefinition("c", "agent", "do", {"n": 3}, dependencies=["b"]),
        ]
    )
    async with running(counter.agent, store=store) as orchestrator:
        await orchestrator.start_workflow(definition, workflow_id="w")
        await passes(1.5)
        await orchestrator.stop(drain_seconds=5)  # b may end, c does not start
    assert counter.calls == 2
    async with running(counter.agent, store=store) as orchestrator:
        assert await (await orchestrator.start_workflow(definition, workflow_id="w")).result() == {"c": 3}
    assert counter.calls == 3


@in_virtual_time
async def test_without_an_id_every_start_is_a_run_of_its_own() -> None:
    counter = Counter()
    async with running(counter.agent) as orchestrator:
        ids = {await orchestrator.execute_workflow(single()) for _ in range(3)}
        assert len(ids) == 3
        for workflow_id in ids:
            assert (await orchestrator.start_workflow(single(), workflow_id=workflow_id)).run_no == 1
    assert counter.calls == 3


@pytest.mark.parametrize("name", ["a/b", "tab\there", "n" * 200])
@in_virtual_time
async def test_the_id_made_from_a_name_is_one_that_may_be_asked_for(name: str) -> None:
    definition = WorkflowDefinition([TaskDefinition("work", "agent", "do")], name=name)
    async with running(Counter().agent) as orchestrator:
        workflow_id = await orchestrator.execute_workflow(definition)
        again = await orchestrator.start_workflow(definition, workflow_id=workflow_id)
        assert await again.result() == {"work": 0}


@pytest.mark.parametrize("workflow_id", ["", "a/b", "x" * 201, "tab\there", 7])
@in_virtual_time
async def test_what_is_no_id_is_refused(workflow_id: Any) -> None:
    async with running() as orchestrator:
        with pytest.raises(InvalidInput, match="is no workflow id"):
            await orchestrator.start_workflow(single(), workflow_id=workflow_id)


@in_virtual_time
async def test_who_asks_for_what_is_no_text_is_told() -> None:
    number: Any = 7
    async with running() as orchestrator:
        for asked in (
            orchestrator.get_execution,
            orchestrator.get_workflow_state,
            orchestrator.wait,
            orchestrator.pause,
        ):
            with pytest.raises(InvalidInput, match="7 is no id of a workflow"):
                await asked(number)


@in_virtual_time
async def test_inputs_are_checked_before_anything_starts() -> None:
    store = MemoryStore()
    definition = WorkflowDefinition([TaskDefinition("work", "agent", "do", {"n": "${customer.age}"})], context={"x": 1})
    async with running(Counter().agent, store=store) as orchestrator:
        with pytest.raises(DefinitionError, match="'customer' is neither a task nor a key of the input"):
            await orchestrator.start_workflow(definition, {"custmer": {"age": 3}})
        with pytest.raises(InvalidInput, match="takes a dict, not a list"):
            await orchestrator.start_workflow(definition, [1])
        with pytest.raises(NotSerializable, match=r"value\['customer'\]"):
            await orchestrator.start_workflow(definition, {"customer": object()})
        with pytest.raises(DefinitionError, match="'work' is a task id and a key of the input"):
            await orchestrator.start_workflow(single(), {"work": 1})
        assert await orchestrator.list_workflows() == []
        handle = await orchestrator.start_workflow(definition, {"customer": {"age": 3}})
        assert await handle.result() == {"work": 3}
        assert (await handle.execution()).context == {"x": 1, "customer": {"age": 3}}


@in_virtual_time
async def test_registered_workflows_are_started_by_name() -> None:
    definition = WorkflowDefinition([TaskDefinition("work", "agent", "do", {"n": 5})], name="orders")
    other = WorkflowDefinition([TaskDefinition("work", "agent", "do", {"n": 6})], name="orders")
    async with running(Counter().agent, workflows=[definition]) as orchestrator:
        orchestrator.register_workflow(definition)
        with pytest.raises(DefinitionError, match="another workflow 'orders'"):
            orchestrator.register_workflow(other)
        handle = await orchestrator.start_workflow("orders")
        assert await handle.result() == {"work": 5}
        with pytest.raises(WorkflowNotFoundError, match="no workflow 'order' is registered"):
            await orchestrator.start_workflow("order")
        nonsense: Any = 7
        with pytest.raises(DefinitionError, match="not a int"):
            await orchestrator.start_workflow(nonsense)
        with pytest.raises(DefinitionError, match="register_workflow got a str"):
            orchestrator.register_workflow("orders")  # type: ignore[arg-type]  # what programs without types do


def test_what_is_registered_is_what_it_should_be() -> None:
    orchestrator = Orchestrator()
    agent, twin = Agent("twin"), Agent("twin")
    nonsense: Any = "twin"
    assert orchestrator.register_agent(agent) is agent
    assert orchestrator.register_agent(agent) is agent
    assert orchestrator.get_agent("twin") is agent
    with pytest.raises(DefinitionError, match="'twin' already"):
        orchestrator.register_agent(twin)
    with pytest.raises(DefinitionError, match="register_agent got a str"):
        orchestrator.register_agent(nonsense)
    with pytest.raises(DefinitionError, match="register_worker got a str"):
        orchestrator.register_worker(nonsense)
    with pytest.raises(InvalidInput, match="the first argument is a str, not an EventBus"):
        Orchestrator(nonsense)
    with pytest.raises(InvalidInput, match="max_concurrency is 0"):
        Orchestrator(max_concurrency=0)
    with pytest.raises(InvalidInput, match="max_threads is -1"):
        Orchestrator(max_threads=-1)
    with pytest.raises(InvalidInput, match="settings is a str, not Settings"):
        Orchestrator(settings=nonsense)

    @worker("twin")
    async def work() -> None: ...

    with pytest.raises(DefinitionError, match="'twin' already"):
        orchestrator.register_worker(work)


# --- chains -------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_resuming_opens_the_next_run_which_keeps_what_succeeded() -> None:
    counter, flaky = Counter(), failing(1)
    flaky.agent_id = "flaky"
    definition = WorkflowDefinition(
        [
            TaskDefinition("a", "agent", "do", {"n": 1}),
            TaskDefinition("b", "flaky", "do", dependencies=["a"], retry_policy=ONCE),
            TaskDefinition("c", "agent", "do", {"n": 3}, dependencies=["b"]),
        ]
    )
    async with running(counter.agent, flaky) as orchestrator:
        with pytest.raises(WorkflowExecutionError) as failure:
            await orchestrator.execute_workflow(definition, workflow_id="w")
        assert (set(failure.value.failed), failure.value.remaining) == ({"b"}, ("c",))
        assert (await orchestrator.get_workflow_state("w")).last_success == "a"
        handle = await orchestrator.resume_workflow("w")
        assert handle.run_no == 2
        assert await handle.result() == {"c": 3}
        assert counter.calls == 2
        assert (await orchestrator.resume_workflow("w")).run_no == 2, "a completed run is handed back"
        assert (await orchestrator.get_execution("w", 1)).status == "FAILED"
        assert (await orchestrator.start_workflow(definition, workflow_id="w")).run_no == 2
        again = await orchestrator.resume_workflow("w", from_task="b")
        assert again.run_no == 3
        assert await again.result() == {"c": 3}
    assert counter.calls == 3, "what depends on b ran again, nothing else did"


@in_virtual_time
async def test_concurrent_resumes_open_one_run() -> None:
    async with running(failing(1), store=FlakyStore(delay_seconds=0.01)) as orchestrator:
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(single(retry_policy=ONCE), workflow_id="w")
        handles = await asyncio.gather(*(orchestrator.resume_workflow("w") for _ in range(10)))
        assert {handle.run_no for handle in handles} == {2}
        assert await handles[0].result() == {"work": "done"}


@in_virtual_time
async def test_resuming_an_open_run_is_joining_it() -> None:
    async with running(Counter().agent) as orchestrator:
        first = await orchestrator.start_workflow(single(), workflow_id="w")
        assert (await orchestrator.resume_workflow("w")).run_no == 1
        await first.result()
        with pytest.raises(WorkflowNotFoundError):
            await orchestrator.resume_workflow("nothing")
        with pytest.raises(InvalidInput, match="has no task 'x'"):
            await orchestrator.resume_workflow("w", from_task="x")


@in_virtual_time
async def test_the_bus_lends_its_store() -> None:
    store, counter = MemoryStore(), Counter()
    orchestrator = Orchestrator(EventBus(store=store), clock=asyncio.get_running_loop().clock)  # type: ignore[attr-defined]  # a VirtualLoop
    orchestrator.register_agent(counter.agent)
    async with orchestrator:
        await orchestrator.execute_workflow(single(), workflow_id="w")
    assert await store.get_run("w") is not None


async def test_a_policy_that_contradicts_itself_is_refused_before_anything_starts() -> None:
    hourly = RetryPolicy(initial_delay_seconds=3_600)
    definition = WorkflowDefinition([TaskDefinition("a", "agent", "work", retry_policy=hourly)])
    async with Orchestrator(store="memory:") as orchestrator:
        with pytest.raises(DefinitionError, match="task 'a': its retry policy: initial_delay_seconds 3600 is above"):
            await orchestrator.start_workflow(definition)
