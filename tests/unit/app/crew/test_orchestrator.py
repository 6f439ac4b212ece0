"""Agents that work on one query together, with the whole engine around them, in virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from agenticflow.agents import Agent
from agenticflow.agents.context import AgentContext
from agenticflow.agents.declared import AgentDefinition
from agenticflow.agents.guardrails import Guardrail
from agenticflow.agents.states import AgentState
from agenticflow.app.crew import (
    AgentOrchestrator,
    CrewSession,
    DraftSession,
    PlanningService,
    QueryContext,
    Route,
    RoutingHelper,
    SafetyGuard,
)
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.core.context import TaskContext
from agenticflow.errors import (
    AgentNotFoundError,
    BoundExceeded,
    CommandRefused,
    DefinitionError,
    GuardrailTripwireTriggered,
    InvalidInput,
    NotSerializable,
    StepFailed,
    StoreUnavailable,
    WorkflowExecutionError,
    WorkflowIdConflict,
)
from agenticflow.resilience import Rate, RetryPolicy
from tests.unit.runtime.engine import in_virtual_time, running, until

NEVER = RetryPolicy(max_attempts=1)


def answering(name: str, answer: Any, *capabilities: str) -> Agent:
    """An agent that always answers the same."""
    agent = Agent(name, capabilities)

    @agent.task("run")
    async def run() -> Any:
        return answer

    return agent


def in_a_process(query: str) -> str:
    """Importable by name."""
    return query


def echo(name: str = "echo") -> Agent:
    """An agent that answers with what it was asked."""
    agent = Agent(name)

    @agent.task("run")
    async def run(query: str) -> str:
        return f"{name}: {query}"

    return agent


# --- asking agents ------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_one_agent_answers_without_a_plan_and_without_a_subclass() -> None:
    async with running() as orchestrator:
        assert await AgentOrchestrator([echo()], orchestrator=orchestrator).run("hello") == "echo: hello"


@in_virtual_time
async def test_without_routes_agents_answer_in_the_order_of_the_plan() -> None:
    agents = [answering("writer", "text", "writing"), answering("researcher", "facts", "research")]
    async with running() as orchestrator:
        crew = AgentOrchestrator(agents, orchestrator=orchestrator)
        handle = await crew.start("some research, then the writing", workflow_id="w")
        assert await handle.result() == "text"
        keys = list((await handle.execution()).tasks)
    assert [key for key in keys if not key.endswith("said")] == ["plan-1", "researcher-1", "writer-1"]


@in_virtual_time
async def test_routes_lead_from_agent_to_agent_until_there_is_no_next() -> None:
    routing = RoutingHelper([Route("billing", when="${output.topic} == 'invoice'", after="triage")], first="triage")
    agents = [answering("triage", {"topic": "invoice"}), answering("billing", "paid")]
    async with running() as orchestrator:
        assert await AgentOrchestrator(agents, routing=routing, orchestrator=orchestrator).run("?") == "paid"


@in_virtual_time
async def test_routes_without_a_beginning_begin_with_the_plan() -> None:
    routing = RoutingHelper([Route("billing", after="triage")])
    agents = [answering("triage", "x", "sorting"), answering("billing", "paid")]
    planning = PlanningService(lambda query, agents: ["triage", "billing"])
    async with running() as orchestrator:
        crew = AgentOrchestrator(agents, routing=routing, planning=planning, orchestrator=orchestrator)
        assert await crew.run("?") == "paid"


@in_virtual_time
async def test_an_agent_gets_what_it_has_parameters_for() -> None:
    agent = Agent("all")

    @agent.task("run")
    async def run(
        query: str, session: DraftSession, session_id: str, attempt: TaskContext, mood: str, tone: str = "kind"
    ) -> Any:
        return [query, session.session_id == session_id, attempt.task_key, mood, tone]

    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            return await self.run_agent("all", query="other", params={"mood": "good"}, key="my-step")

    async with running() as orchestrator:
        assert await Desk([agent], orchestrator=orchestrator).run("?") == ["other", True, "my-step", "good", "kind"]


@in_virtual_time
async def test_hints_that_are_unknown_at_run_time_and_a_rest_do_no_harm() -> None:
    agent = Agent("loose")

    async def run(query: str, **rest: Any) -> Any:
        return [query, rest]

    run.__annotations__["query"] = "OnlyForTheChecker"
    agent.task("run")(run)
    async with running() as orchestrator:
        assert await AgentOrchestrator([agent], orchestrator=orchestrator).run("?") == ["?", {}]


@in_virtual_time
async def test_a_parameter_that_nothing_fills_fails_the_step_at_once() -> None:
    agent = Agent("wants")

    @agent.task("run")
    async def run(mood: str) -> str:
        return mood

    async with running() as orchestrator:
        with pytest.raises(
            WorkflowExecutionError, match=r"nothing fills the parameter 'mood' of the handler wants\.run"
        ):
            await AgentOrchestrator([agent], orchestrator=orchestrator).run("?")


@in_virtual_time
async def test_a_plain_function_answers_in_a_thread() -> None:
    agent = Agent("plain")

    @agent.task("run")
    def run(query: str, context: QueryContext) -> str:
        context.add_discovered_item("word", query)
        return query.upper()

    async with running() as orchestrator:
        crew = AgentOrchestrator([agent], orchestrator=orchestrator)
        assert await crew.run("hello") == "HELLO"


async def test_a_thread_that_is_told_to_stop_keeps_its_place_until_it_has_ended() -> None:
    agent, ended = Agent("plain"), []

    @agent.task("run")
    def run() -> None:
        time.sleep(0.3)  # a thread, in real time: that is what is shown
        ended.append(1)

    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            try:
                return await self.run_agent("plain", timeout_seconds=0.1, retry_policy=NEVER)
            except StepFailed as failed:
                return failed.reason

    async with Desk([agent], store="memory:") as crew:
        assert await crew.run("?") == "timeout"
        while agent.in_work:
            await asyncio.sleep(0.01)
        assert ended == [1]


@in_virtual_time
async def test_an_agent_that_fails_for_good_may_be_caught() -> None:
    agent = Agent("broken")

    @agent.task("run")
    async def run() -> None:
        raise LookupError("not there")

    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            try:
                return await self.run_agent("broken", retry_policy=NEVER)
            except StepFailed as failed:
                return await self.run_agent("echo", query=failed.kind)

    async with running() as orchestrator:
        assert await Desk([agent, echo()], orchestrator=orchestrator).run("?") == "echo: LookupError"


@in_virtual_time
async def test_an_agent_may_ask_a_person_in_its_middle() -> None:
    agent = Agent("careful")

    @agent.task("run")
    async def run(query: str, task: TaskContext) -> str:
        return f"{query}: {task.interrupt(question='May I?')}"

    async with running() as orchestrator:
        crew = AgentOrchestrator([agent], orchestrator=orchestrator)
        crew.register_guardrail("beside", Guardrail(no_spoons), agent="careful")
        handle = await crew.start("pay")
        await until(orchestrator.approvals.list)
        [request] = await orchestrator.approvals.list()
        await orchestrator.approvals.answer(request.approval_id, "yes", by="ada")
        assert await handle.result() == "pay: yes"


@in_virtual_time
async def test_an_error_of_execute_is_told_with_its_line() -> None:
    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            if query == "twice":
                return [await self.run_agent("echo", key="same") for _ in range(2)]
            raise ValueError("odd")

    async with running() as orchestrator:
        crew = Desk([echo()], orchestrator=orchestrator)
        with pytest.raises(WorkflowExecutionError, match=r"odd, at test_orchestrator\.py:\d+ in execute"):
            await crew.run("?")
        with pytest.raises(
            WorkflowExecutionError, match=r"'same' was asked for twice, again at test_orchestrator\.py:\d+"
        ):
            await crew.run("twice")


@in_virtual_time
async def test_agents_side_by_side_have_keys_of_their_own_and_share_what_they_find() -> None:
    finder = Agent("finder", concurrency=3)

    @finder.task("run")
    async def run(query: str, context: QueryContext) -> str:
        context.add_discovered_item("word", "same")
        context.add_discovered_item("word", query)
        await asyncio.sleep(len(query))
        return query

    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            parts = await self.steps.gather(
                *(self.run_agent("finder", query=word, key=f"find-{word}") for word in query.split())
            )
            await self.steps.sleep("pause", 60)
            return [parts, context.discovered_items]

    async with running() as orchestrator:
        answer = await Desk([finder], orchestrator=orchestrator).run("ccc a bb")
    assert answer == [["ccc", "a", "bb"], {"word": ["same", "a", "bb", "ccc"]}], "in the order in which they ended"


# --- what they share ----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class ShopContext(QueryContext):
    """A context with a connection in it."""

    budget: int = 0


class Shop(AgentOrchestrator):
    """Makes contexts of its own."""

    def make_context(self, data: Mapping[str, Any]) -> ShopContext:
        return ShopContext(data=data, budget=data.get("budget", 0), database_connector=len)


@in_virtual_time
async def test_a_context_of_ones_own_goes_from_agent_to_agent() -> None:
    first, second = Agent("first"), Agent("second")

    @first.task("run")
    async def spend(context: ShopContext) -> Any:
        context.budget -= 3
        return context.database_connector("four")

    @second.task("run")
    async def look(context: ShopContext) -> Any:
        return [context.budget, context.last_agent, context.last_output, context.data]

    class Desk(Shop):
        async def execute(self, query: str, session: CrewSession, context: ShopContext) -> Any:
            await self.run_agent("first", session, context)
            return await self.run_agent("second", session, context)

    async with running() as orchestrator:
        crew = Desk([first, second], orchestrator=orchestrator)
        assert await crew.run("?", {"budget": 10}) == [7, "first", 4, {"budget": 10}]


@in_virtual_time
async def test_another_context_is_made_by_setup_context_and_knows_its_own_data() -> None:
    agent = Agent("look")

    @agent.task("run")
    async def look(context: ShopContext) -> int:
        return context.budget

    class Desk(Shop):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            return [await self.run_agent("look", context=self.setup_context(budget=n)) for n in (1, 2)]

    class Wrong(Shop):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            return await self.run_agent("look", context=ShopContext())

    async with running() as orchestrator:
        assert await Desk([agent], orchestrator=orchestrator).run("?", {"budget": 5}) == [1, 2]
        with pytest.raises(WorkflowExecutionError, match="that setup_context has not made"):
            await Wrong([agent], orchestrator=orchestrator).run("?")


@in_virtual_time
async def test_a_context_that_cannot_be_written_is_told_at_the_step_and_data_before_it() -> None:
    class Desk(Shop):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            context.filters = {"a": object()}
            return await self.run_agent("echo", session, context)

    class NoContext(Shop):
        def make_context(self, data: Mapping[str, Any]) -> Any:
            return dict(data)

    class Many(Shop):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            return [self.setup_context() for _ in range(1_000)]

    async with running() as orchestrator:
        crew = Desk([echo()], orchestrator=orchestrator)
        with pytest.raises(NotSerializable, match="context"):
            await crew.run("?", {"what": object()})
        with pytest.raises(WorkflowExecutionError, match="the field 'filters' of the context holds a dict"):
            await crew.run("?")
        with pytest.raises(WorkflowExecutionError, match="make_context gave a dict"):
            await NoContext([echo("e2")], orchestrator=orchestrator).run("?")
        with pytest.raises(WorkflowExecutionError, match="1,000 contexts in one run"):
            await Many(orchestrator=orchestrator).run("?")


async def say_nothing(service: str, key: str, params: Mapping[str, object]) -> None:
    """Does nothing in no step."""


# --- conversations ------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_question_and_answers_stand_in_the_conversation_and_the_next_run_sees_them() -> None:
    counting = Agent("counting")

    @counting.task("run")
    async def count(session: DraftSession) -> Any:
        return {"before": len(await session.get_items())}

    routing = RoutingHelper([Route("counting", after="echo")], first="echo")
    async with running() as orchestrator:
        crew = AgentOrchestrator([echo(), counting], routing=routing, orchestrator=orchestrator)
        assert await crew.run("hi", session_id="s") == {"before": 2}
        assert await crew.session("s").get_items() == [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "echo: hi"},
            {"role": "assistant", "content": '{"before":2}'},
        ]
        assert await crew.run("again", session_id="s") == {"before": 5}
        assert await crew.run("hi") == {"before": 2}, "without an id each run has a conversation of its own"


@in_virtual_time
async def test_what_an_agent_says_itself_is_kept_once_it_has_answered_and_nothing_of_failed_attempts() -> None:
    agent, tries = Agent("talker"), []

    @agent.task("run")
    async def talk(session: DraftSession) -> str:
        await session.add_items([{"role": "user", "content": "mine"}, {"role": "assistant", "content": "taken back"}])
        tries.append(await session.get_items(limit=1))
        assert await session.pop_item() == {"role": "assistant", "content": "taken back"}
        if len(tries) == 1:
            raise TimeoutError("once")
        return "done"

    async with running() as orchestrator:
        crew = AgentOrchestrator([agent], orchestrator=orchestrator)
        assert await crew.run("?", session_id="s") == "done"
        assert await crew.session("s").get_items() == [{"role": "user", "content": "mine"}]
    assert tries == [[{"role": "assistant", "content": "taken back"}]] * 2


@in_virtual_time
async def test_a_question_stands_once_before_its_answers_whoever_adds_it() -> None:
    talker = Agent("talker")

    @talker.task("run")
    async def talk(query: str, session: DraftSession) -> str:
        await session.add_items([{"role": "user", "content": query}, {"role": "assistant", "content": "mine"}])
        return "not said"

    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            for name, asked in (("talker", "a"), ("silent", "a"), ("echo", "a"), ("echo", "b"), ("silent", "b")):
                await self.run_agent(name, query=asked)
            return [item["content"] for item in await session.get_items()]

    async with running() as orchestrator:
        crew = Desk([talker, echo(), answering("silent", None)], orchestrator=orchestrator)
        assert await crew.run("?", {"self": 1}) == ["a", "mine", "echo: a", "b", "echo: b"]


@in_virtual_time
async def test_execute_looks_at_a_conversation_and_adds_to_it_in_steps() -> None:
    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            other = self.setup_session("other")
            await other.add_items([{"role": "system", "content": "note"}])
            await other.add_items([])
            await self.run_agent("echo", other)
            return [await session.get_items(), await other.get_items(2), await other.get_items(key="all")]

    async with running() as orchestrator:
        own, two, everything = await Desk([echo()], orchestrator=orchestrator).run("hi")
    assert own == []
    assert repr(CrewSession("s", say_nothing)) == "CrewSession('s')"
    assert two == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "echo: hi"}]
    assert everything == [{"role": "system", "content": "note"}, *two]


@in_virtual_time
async def test_an_agent_at_work_adds_and_does_not_change_what_others_said() -> None:
    async with running() as orchestrator:
        crew = AgentOrchestrator(orchestrator=orchestrator)
        draft = DraftSession(crew.session("s"))
        assert await draft.pop_item() is None
        await crew.session("s").add_items([{"role": "user", "content": "theirs"}])
        with pytest.raises(InvalidInput, match="takes back what others have said"):
            await draft.pop_item()
        with pytest.raises(InvalidInput, match="does not clear"):
            await draft.clear_session()
        with pytest.raises(BoundExceeded, match="more than 1,000 items"):
            await draft.add_items([{"role": "user", "content": "x"}] * 1_001)
        with pytest.raises(InvalidInput, match="is no item"):
            await draft.add_items(["text"])
        assert draft.added == []
        assert repr(draft) == "DraftSession('s', 0 added)"


# --- guardrails ---------------------------------------------------------------------------------------------------------


def no_spoons(context: Any, value: Any) -> tuple[bool, str]:
    return "spoon" not in str(value), "there is no spoon"


async def needs_customer(context: QueryContext, value: Any) -> bool:
    await asyncio.sleep(5)
    return "customer" in context.data


@in_virtual_time
async def test_a_refused_query_ends_the_run_before_anything_begins() -> None:
    agent, asked = Agent("echo"), []

    @agent.task("run")
    async def run(query: str) -> str:
        asked.append(query)
        return query

    async with running() as orchestrator:
        crew = AgentOrchestrator([agent], orchestrator=orchestrator)
        crew.register_guardrail("spoons", no_spoons)
        crew.register_guardrail("customer", needs_customer)
        with pytest.raises(GuardrailTripwireTriggered, match="'spoons' refused the input: there is no spoon") as caught:
            await crew.run("a spoon", {"customer": "c"})
        assert (caught.value.guardrail, caught.value.kind, caught.value.reason) == (
            "spoons",
            "input",
            "there is no spoon",
        )
        assert isinstance(caught.value.__cause__, WorkflowExecutionError)
        with pytest.raises(GuardrailTripwireTriggered, match="'customer' refused the input"):
            await crew.run("a fork")
        assert await crew.run("a fork", {"customer": "c"}) == "a fork"
    assert asked == ["a fork"]


@in_virtual_time
async def test_a_refused_answer_of_an_agent_may_be_caught_and_leaves_nothing_behind() -> None:
    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            try:
                return await self.run_agent("echo", session, context)
            except GuardrailTripwireTriggered as refused:
                return [refused.guardrail, refused.kind, await self.run_agent("other", session, context)]

    async with running() as orchestrator:
        crew = Desk([echo(), answering("other", "a fork")], orchestrator=orchestrator)
        crew.register_guardrail("spoons", no_spoons, agent="echo", kinds=["output"])
        assert await crew.run("a spoon", session_id="s") == ["spoons", "output", "a fork"]
        items = await crew.session("s").get_items()
        assert [item["content"] for item in items] == ["a spoon", "a fork"]
        assert crew.agents["echo"].get_state() is AgentState.IDLE


@in_virtual_time
async def test_the_final_answer_is_guarded_and_what_an_agent_refuses_itself_is_a_refusal() -> None:
    strict = Agent("strict")

    @strict.task("run")
    async def run(query: str) -> str:
        raise GuardrailTripwireTriggered("the tool may not do that", guardrail="tool", kind="tool_input", reason="no")

    async with running() as orchestrator:
        crew = AgentOrchestrator([answering("a", "a spoon")], name="first", orchestrator=orchestrator)
        crew.register_guardrail("spoons", no_spoons, kinds=["output"])
        with pytest.raises(GuardrailTripwireTriggered, match="'spoons' refused the output"):
            await crew.run("?")
        second = AgentOrchestrator([strict], name="second", orchestrator=orchestrator)
        with pytest.raises(GuardrailTripwireTriggered, match="the tool may not do that") as caught:
            await second.run("?")
        assert caught.value.guardrail == "tool"


async def test_what_cannot_guard_is_told() -> None:
    crew = AgentOrchestrator([echo()], store="memory:")
    with pytest.raises(DefinitionError, match="guards tool_input, which belongs to a tool"):
        crew.register_guardrail("tools", no_spoons, kinds=["tool_input"])
    with pytest.raises(AgentNotFoundError, match=r"has no agent 'ecco' \(did you mean 'echo'"):
        crew.register_guardrail("spoons", no_spoons, agent="ecco")
    crew.register_guardrail("spoons", no_spoons)
    with pytest.raises(DefinitionError, match="two guardrails of the input are named 'spoons'"):
        crew.register_guardrail("spoons", no_spoons)


# --- safety -------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_loop_of_agents_is_ended() -> None:
    routing = RoutingHelper([Route("b", after="a"), Route("a", after="b")], first="a")
    agents = [answering("a", 1), answering("b", 2)]
    async with running() as orchestrator:
        crew = AgentOrchestrator(agents, routing=routing, safety=SafetyGuard(max_visits=3), orchestrator=orchestrator)
        with pytest.raises(WorkflowExecutionError, match="agent 'a' was asked 3 times in this run"):
            await crew.run("?")


@in_virtual_time
async def test_agents_are_asked_as_fast_as_allowed_and_waiting_holds_nothing() -> None:
    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            moments = []
            for _ in range(5):
                moments.append(self.steps.now().timestamp())
                await self.run_agent("echo")
            return [self.steps.now().timestamp() - moments[0], self.steps.steps_ended]

    async with running() as orchestrator:
        safety = SafetyGuard(rate=Rate(2, per_seconds=60))
        crew = Desk([echo()], safety=safety, orchestrator=orchestrator)
        seconds, steps = await crew.run("?")
        assert 120 <= seconds < 121
        assert steps == 12, "five answers, five times said, two waits"


# --- wrong use ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_unknown_agent_is_told_with_the_one_that_was_meant() -> None:
    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            try:
                return await self.run_agent(query)
            except AgentNotFoundError as error:
                return str(error)

    async with running() as orchestrator:
        crew = Desk([echo()], orchestrator=orchestrator)
        assert await crew.run("ecco") == "'Desk' has no agent 'ecco' (did you mean 'echo'?)"
        assert await crew.run("xyz") == "'Desk' has no agent 'xyz' (there are echo)"
        routing = RoutingHelper([Route("bling")], first="echo")
        other = AgentOrchestrator([echo("e2")], routing=routing, orchestrator=orchestrator)
        with pytest.raises(AgentNotFoundError, match="has no agent 'echo'"):
            await other.run("?")
        safety = SafetyGuard(agent_rates={"e4": Rate(1)})
        with pytest.raises(AgentNotFoundError, match="has no agent 'e4'"):
            await AgentOrchestrator([echo("e3")], name="x", safety=safety, orchestrator=orchestrator).run("?")


async def test_what_is_no_crew_is_told_when_it_is_made() -> None:
    class NotAsync(AgentOrchestrator):
        def execute(self, query: str, session: Any, context: Any) -> Any:
            return query

    with pytest.raises(DefinitionError, match=r"NotAsync\.execute is no async function"):
        NotAsync(store="memory:")
    with pytest.raises(InvalidInput, match="an orchestrator and a store were given"):
        AgentOrchestrator(orchestrator=Orchestrator(store="memory:"), store="memory:")
    silent = Agent("silent")

    @silent.task("walk")
    async def walk() -> None:
        return None

    with pytest.raises(
        DefinitionError, match="agent 'silent' has no handler for 'run', and asks no model; its handlers are 'walk'"
    ):
        AgentOrchestrator([silent], store="memory:")
    heavy = Agent("heavy")
    heavy.task("run", run_in="process")(in_a_process)
    with pytest.raises(
        DefinitionError, match=r"'heavy\.run' runs in a process of its own, where there is neither session"
    ):
        AgentOrchestrator([heavy], store="memory:")
    wrong: Any = "echo"
    with pytest.raises(DefinitionError, match="got a str as an agent"):
        AgentOrchestrator([wrong], store="memory:")
    busy = echo("busy")
    busy.task("mine@1.run")(walk)
    with pytest.raises(DefinitionError, match=r"has a handler for 'mine@1\.run'"):
        AgentOrchestrator([busy], name="mine", store="memory:")


@in_virtual_time
async def test_what_is_no_query_is_told_before_anything_starts() -> None:
    wrong: Any
    async with running() as orchestrator:
        crew = AgentOrchestrator([echo()], orchestrator=orchestrator)
        for wrong in ("", "  ", None, 5):
            with pytest.raises(InvalidInput, match="is no query"):
                await crew.run(wrong)
        for wrong in ([1], {1: 2}):
            with pytest.raises(InvalidInput, match="the context data are"):
                await crew.run("?", wrong)
        with pytest.raises(InvalidInput, match="is no session id"):
            await crew.run("?", session_id="")
        with pytest.raises(CommandRefused, match="outside of a run"):
            await crew.run_agent("echo")
        with pytest.raises(WorkflowExecutionError, match="'hello' is no query"):
            await orchestrator.execute_workflow("AgentOrchestrator", "hello")


@in_virtual_time
async def test_a_session_that_setup_session_has_not_made_is_told() -> None:
    class Desk(AgentOrchestrator):
        async def execute(self, query: str, session: CrewSession, context: AgentContext) -> Any:
            wrong: Any = "s"
            return await self.run_agent("echo", wrong, context)

    async with running() as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="a str was given to an agent as its session"):
            await Desk([echo()], orchestrator=orchestrator).run("?")


# --- who belongs to whom ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_the_same_id_twice_is_one_run() -> None:
    async with running() as orchestrator:
        crew = AgentOrchestrator([echo()], orchestrator=orchestrator)
        handles = [await crew.start("hi", {"a": 1}, workflow_id="w") for _ in range(2)]
        assert [await handle.result() for handle in handles] == ["echo: hi"] * 2
        assert len(await orchestrator.list_workflows()) == 1
        with pytest.raises(WorkflowIdConflict):
            await crew.start("ho", {"a": 1}, workflow_id="w")


async def test_agents_work_for_one_open_crew_of_a_name_and_then_for_the_next() -> None:
    agent = echo()
    early = AgentOrchestrator([agent], store="memory:")
    async with AgentOrchestrator([agent], store="memory:") as crew:
        assert crew.is_open
        assert await crew.run("hi", session_id="s") == "echo: hi"
        with pytest.raises(DefinitionError, match="works for another 'AgentOrchestrator' in this process"):
            AgentOrchestrator([agent], store="memory:")
        with pytest.raises(DefinitionError, match="works for another"):
            await early.run("hi")
        AgentOrchestrator([agent], name="another", store="memory:")
    assert not crew.is_open
    with pytest.raises(StoreUnavailable):
        crew.session("s")
    async with early:
        assert await early.run("ho") == "echo: ho"


async def test_an_orchestrator_that_was_given_is_left_open() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        async with AgentOrchestrator([echo()], orchestrator=orchestrator) as crew:
            assert await crew.run("hi") == "echo: hi"
        assert await crew.run("ho") == "echo: ho"


@in_virtual_time
async def test_described_agents_answer_through_the_runner_with_their_guardrails() -> None:
    polite = AgentDefinition(
        "polite",
        "says please",
        "Say please.",
        guardrails=[no_spoons, Guardrail(no_spoons, name="tools", kinds=["tool_input"])],
    )

    async def runner(definition: AgentDefinition, query: str, session: DraftSession, context: AgentContext) -> Any:
        return f"{definition.render_instructions(context)} {query}"

    with pytest.raises(DefinitionError, match="the agent 'polite' is only described"):
        AgentOrchestrator([polite], store="memory:")
    async with running() as orchestrator:
        crew = AgentOrchestrator([polite], runner=runner, orchestrator=orchestrator)
        assert await crew.run("tea") == "Say please. tea"
        with pytest.raises(GuardrailTripwireTriggered, match="'no_spoons' refused"):
            await crew.run("a spoon")
