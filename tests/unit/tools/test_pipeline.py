"""The one path of a call: each step, in order, and whose move it is when one of them says no."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from agenticflow.core.cancelling import CancelReason
from agenticflow.core.clocks import ManualClock
from agenticflow.core.interrupts import Interrupted
from agenticflow.core.tools import Caller, Move, ToolCall, ToolFailure, ToolResult
from agenticflow.errors import (
    CircuitOpen,
    DefinitionError,
    InvalidInput,
    OutcomeUnknown,
    PermanentError,
    ResourceExhausted,
    TemporaryError,
)
from agenticflow.resilience import BreakerPolicy, Rate, RetryPolicy
from agenticflow.testing.virtual_time import VirtualClock, run_virtual
from agenticflow.tools import (
    Cancellation,
    Tool,
    ToolContext,
    ToolPipeline,
    ToolRegistry,
    ToolUse,
    get_tool_pipeline,
    get_tool_registry,
    invoke_tool,
    invoke_tool_parallel,
    tool,
)
from agenticflow.tools.execution.threads import Threads

T = TypeVar("T")
ONE_RETRY = RetryPolicy(max_attempts=3, initial_delay_seconds=2, multiplier=1, jitter=False)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("agenticflow-tool"):
            thread.join(0.01)


@dataclass
class Point:
    x: int
    y: Decimal = Decimal("0.5")


@tool
async def add(a: int, b: int = 2) -> int:
    """Add."""
    return a + b


async def ask(
    made: Any, params: Mapping[str, object] | None = None, *, pipeline: ToolPipeline | None = None, **call: Any
) -> ToolResult:
    """Call one tool through a pipeline of its own."""
    options = {key: call.pop(key) for key in ("cancellation", "may_retry") if key in call}
    caller = call.pop("caller", None)
    registry = ToolRegistry.of([made])
    asked = ToolCall(registry.names()[0], params or {}, **call)
    chosen = pipeline or ToolPipeline(grace_seconds=0.05)
    if caller is None:
        return await chosen.invoke(asked, tools=registry, **options)
    return await chosen.invoke(asked, caller, registry, **options)


def failure(result: ToolResult) -> ToolFailure:
    assert result.error is not None
    assert result.value is None
    return result.error


def virtually(main: Callable[[ToolPipeline], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` on virtual time, with a pipeline on its clock."""

    async def inside() -> T:
        loop: Any = asyncio.get_running_loop()
        clock: VirtualClock = loop.clock
        return await main(ToolPipeline(clock=clock))

    return run_virtual(inside())


# --- well ---------------------------------------------------------------------------------------------------------------


async def test_a_call_returns_a_value_and_knows_which_call_it_was() -> None:
    result = await ask(add, {"a": 1}, call_id="call-7")
    assert result == ToolResult(3, None, "call-7", "add", 1)
    assert (await ask(add, {"a": 1})).call_id.startswith("call-")


async def test_what_flows_on_is_the_plain_form_of_the_value() -> None:
    @tool
    async def where() -> list[Point]:
        """Say where."""
        return [Point(1)]

    assert (await ask(where)).value == [{"x": 1, "y": "0.5"}]


async def test_a_tool_gets_its_own_copy_of_the_params() -> None:
    given: dict[str, object] = {"items": [1]}

    @tool
    async def change(items: list[int]) -> list[int]:
        """Change it."""
        items.append(2)
        return items

    assert (await ask(change, given)).value == [1, 2]
    assert given == {"items": [1]}


async def test_a_plain_function_runs_in_a_thread_with_the_context_of_the_caller() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    @tool
    def where() -> list[str]:
        """Say where."""
        return [threading.current_thread().name, variable.get()]

    variable.set("mine")
    value = (await ask(where)).value
    assert isinstance(value, list)
    assert value[0].startswith("agenticflow-tool")
    assert value[1] == "mine"


async def test_the_context_tells_what_the_tool_may_know(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock(1_000_000_000)
    seen: list[ToolContext] = []

    @tool(timeout=5)
    async def look(a: int, context: ToolContext) -> str:
        """Look."""
        seen.append(context)
        with caplog.at_level(logging.INFO):
            context.logger.info("looking", extra={"more": 1})
        context.raise_if_cancelled()
        return repr(context)

    caller = Caller(principal="ada", agent_id="bob", session="s", context={"db": 1})
    result = await ask(
        look, {"a": 1}, pipeline=ToolPipeline(clock=clock), call_id="c", effect_key="e", attempt=2, caller=caller
    )
    assert result.value == "ToolContext('look', 'c', attempt=2)"
    assert result.attempts == 2
    context = seen[0]
    assert (context.tool_name, context.call_id, context.effect_key, context.params) == ("look", "c", "e", {"a": 1})
    assert (context.principal, context.agent_id, context.session, context.context) == ("ada", "bob", "s", {"db": 1})
    assert context.deadline == 6_000_000_000
    assert context.remaining_seconds == 0.0, "by the clock of the process its time is long past"
    record: Any = caplog.records[-1]
    assert (record.tool, record.call_id, record.agent_id, record.attempt, record.more) == ("look", "c", "bob", 2, 1)


def test_without_an_effect_key_the_call_id_is_one() -> None:
    context = ToolContext(add.definition, ToolCall("add", {}, "c"), Caller(principal="ada"))
    assert (context.effect_key, context.remaining_seconds) == ("c", None)


# --- refused ------------------------------------------------------------------------------------------------------------


async def test_an_unknown_tool_is_the_callers_mistake() -> None:
    result = await ToolPipeline(ToolRegistry.of([add])).invoke(ToolCall("ad"))
    assert (failure(result).code, failure(result).move) == ("tool_not_found", Move.CALLER)
    assert failure(result).hint == "did you mean 'add'?"


async def test_a_call_without_the_permission_is_refused_before_anything_else() -> None:
    @tool(permissions=["file:read", "file:write"])
    async def touch(path: str) -> str:
        """Touch."""
        return path

    reader = Caller(principal="ada", permissions=frozenset({"file:read"}))
    refused = failure(await ask(touch, {"nonsense": 1}, caller=reader))
    assert (refused.code, refused.move) == ("security", Move.OPERATOR)
    assert refused.message == "the call of 'touch' was refused: 'ada' lacks file:write"
    assert (
        await ask(touch, {"path": "x"}, caller=Caller(principal="ada", permissions=frozenset({"file:*"})))
    ).is_success()
    assert (await ask(touch, {"path": "x"})).is_success(), "the local owner may do everything"


async def test_who_cannot_be_asked_has_not_agreed(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def refusal(self, *_: object) -> str | None:
            raise RuntimeError("the policy cannot be read")

    refused = failure(await ask(add, {"a": 1}, pipeline=ToolPipeline(authorizer=Broken())))
    assert refused.code == "security"
    assert "RuntimeError" in refused.message
    assert "could not be found out" in caplog.text


async def test_params_that_do_not_fit_are_told_so_that_a_model_can_mend_them() -> None:
    refused = failure(await ask(add, {"a": "one", "c": 1}))
    assert (refused.code, refused.move, refused.hint) == (
        "invalid_input",
        Move.CALLER,
        "mend the params and call it again",
    )
    assert refused.problems == ("'a' is 'one', not integer", "'c' is not asked for; there are a, b")


async def test_params_that_are_too_large_or_no_data_are_refused() -> None:
    @tool
    async def say(text: str) -> int:
        """Say."""
        return len(text)

    refused = failure(await ask(say, {"text": "x" * 1024 * 1024}))
    assert (refused.code, refused.move) == ("bound_exceeded", Move.CALLER)
    assert failure(await ask(say, {"text": object()})).code == "not_serializable"
    params: Any = ["text"]
    assert failure(await ask(say, params)).code == "invalid_input"


async def test_a_tool_that_needs_approval_waits_for_a_person() -> None:
    @tool(needs_approval=True)
    async def pay(cents: int) -> int:
        """Pay."""
        return cents

    assert failure(await ask(pay, {"cents": "x"}, approved_by="ada")).code == "invalid_input"
    refused = failure(await ask(pay, {"cents": 3}))
    assert (refused.code, refused.move) == ("approval_required", Move.OPERATOR)
    assert (await ask(pay, {"cents": 3}, approved_by="ada")).value == 3


async def test_a_set_of_tools_is_a_registry() -> None:
    wrong: Any = [add]
    with pytest.raises(InvalidInput, match="tools are a list"):
        await ToolPipeline().invoke(ToolCall("add"), tools=wrong)


# --- failed -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "move"),
    [
        (ValueError("no such city"), "tool_failed", Move.WORLD),
        (TemporaryError("busy"), "temporary", Move.WORLD),
        (PermanentError("gone"), "permanent", Move.CALLER),
        (OutcomeUnknown("who knows"), "outcome_unknown", Move.OPERATOR),
        (asyncio.CancelledError(), "tool_failed", Move.AUTHOR),
    ],
)
@pytest.mark.parametrize("is_async", [True, False])
async def test_what_a_tool_raises_is_its_result(error: BaseException, code: str, move: Move, is_async: bool) -> None:
    if is_async:

        @tool(name="fail", description="Fail.")
        async def fail() -> None:
            raise error
    else:
        if isinstance(error, asyncio.CancelledError):
            return  # a thread cannot cancel itself

        @tool(name="fail", description="Fail.")
        def fail() -> None:
            raise error

    failed = failure(await ask(fail))
    assert (failed.code, failed.move) == (code, move)


async def test_what_a_handler_asks_a_person_by_goes_through() -> None:
    @tool
    async def asking() -> None:
        """Ask."""
        raise Interrupted([("", b"")])

    with pytest.raises(Interrupted):
        await ask(asking)


async def test_tools_that_ask_beside_each_other_are_asked_at_once_and_the_others_are_done() -> None:
    done: list[str] = []

    @tool
    async def asking(key: str) -> None:
        """Ask.

        Args:
            key: Of the question.
        """
        raise Interrupted([(key, b"?")])

    @tool
    async def working() -> None:
        """Work."""
        await asyncio.sleep(0.01)
        done.append("work")

    tools = ToolRegistry.of([asking, working])
    calls = [ToolCall("asking", {"key": "a"}), ToolCall("working", {}), ToolCall("asking", {"key": "b"})]
    with pytest.raises(Interrupted) as left:
        await ToolPipeline(registry=tools).invoke_parallel(calls)
    assert left.value.asks == [("a", b"?"), ("b", b"?")]
    assert done == ["work"]


@pytest.mark.parametrize(
    ("error", "move"),
    [(ConnectionError("reset"), Move.OPERATOR), (TemporaryError("nothing was sent"), Move.WORLD)],
)
async def test_what_must_not_happen_twice_and_failed_halfway_is_for_a_person(error: Exception, move: Move) -> None:
    @tool(effect="at_most_once")
    async def pay() -> None:
        """Pay."""
        raise error

    assert failure(await ask(pay)).move is move


async def test_a_call_may_be_looked_at_before_it_is_made() -> None:
    calls: list[int] = []
    heard: list[ToolUse] = []

    @tool(needs_approval=True, permissions=["money:send"])
    async def pay(cents: int) -> None:
        """Pay."""
        calls.append(cents)

    pipeline, tools = ToolPipeline(), ToolRegistry.of([pay])
    pipeline.listen(heard.append)
    stranger = Caller(principal="eve")
    codes = []
    for call, caller in (
        (ToolCall("pya"), stranger),
        (ToolCall("pay"), stranger),
        (ToolCall("pay", approved_by="ada"), Caller(principal="ada", is_owner=True)),
        (ToolCall("pay", {"cents": 3}), Caller(principal="ada", is_owner=True)),
    ):
        refused = await pipeline.refusal(call, caller, tools)
        assert refused is not None
        codes.append(refused.code)
    assert codes == ["tool_not_found", "security", "invalid_input", "approval_required"]
    assert await pipeline.refusal(ToolCall("pay", {"cents": 3}, approved_by="ada"), tools=tools) is None
    assert (calls, heard) == ([], [])


class Answering(Tool):
    name = "answering"
    description = "Answers."

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def execute(self, params: Mapping[str, Any], context: ToolContext) -> Any:
        return self.answer


async def test_a_class_answers_with_results() -> None:
    assert (await ask(Answering(ToolResult.success({"a": (1, 2)})))).value == {"a": [1, 2]}
    own = ToolFailure("mine", "no", Move.OPERATOR, "ask Ada")
    assert failure(await ask(Answering(ToolResult.failure(own)))) == own


async def test_a_result_that_is_not_what_was_promised_is_the_authors_move() -> None:
    @tool
    async def count() -> int:
        """Count."""
        wrong: Any = "three"
        return int(wrong) if wrong == "3" else wrong

    failed = failure(await ask(count))
    assert (failed.code, failed.move) == ("invalid_tool_output", Move.AUTHOR)
    assert "'the result': expected int, got str, it is 'three'" in failed.message


async def test_a_result_without_a_form_on_the_wire_is_the_authors_move() -> None:
    failed = failure(await ask(Answering(ToolResult.success({"socket": object()}))))
    assert (failed.code, failed.move) == ("not_serializable", Move.AUTHOR)
    assert "value['socket'] (a object)" in failed.message


async def test_a_result_that_is_too_large_is_the_callers_move() -> None:
    @tool(max_result_bytes=100)
    async def much(n: int) -> str:
        """Much."""
        return "x" * n

    assert (await ask(much, {"n": 90})).is_success()
    failed = failure(await ask(much, {"n": 100}))
    assert (failed.code, failed.move) == ("result_too_large", Move.CALLER)


async def test_a_plain_function_that_returns_an_awaitable_is_said_to() -> None:
    @tool
    def hidden() -> Any:
        """Hide."""
        return add(1)

    failed = failure(await ask(hidden))
    assert (failed.code, failed.move, failed.hint) == ("invalid_tool_output", Move.AUTHOR, "make it async def")


# --- time ---------------------------------------------------------------------------------------------------------------


def test_a_tool_that_takes_too_long_is_interrupted() -> None:
    ended: list[str] = []

    @tool(timeout=5)
    async def slow() -> None:
        """Take long."""
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ended.append("interrupted")
            raise

    async def main(pipeline: ToolPipeline) -> ToolResult:
        result = await ask(slow, pipeline=pipeline)
        assert asyncio.get_running_loop().time() == pytest.approx(5)
        return result

    failed = failure(virtually(main))
    assert (failed.code, failed.move) == ("tool_timeout", Move.WORLD)
    assert "was not done within 5 s" in failed.message
    assert ended == ["interrupted"]


def test_the_deadline_of_the_caller_ends_it_too() -> None:
    @tool(timeout=60)
    async def slow() -> None:
        """Take long."""
        await asyncio.sleep(100)

    async def main(pipeline: ToolPipeline) -> tuple[ToolResult, ToolResult]:
        now = pipeline._now()
        late = await ask(slow, pipeline=pipeline, deadline=now + 2_000_000_000)
        assert asyncio.get_running_loop().time() == pytest.approx(2)
        return late, await ask(slow, pipeline=pipeline, deadline=now)

    late, over = virtually(main)
    assert "was not done within 2 s" in failure(late).message
    assert failure(over).message == "the deadline of the call of 'slow' has passed"


def test_work_that_is_finished_late_is_not_thrown_away() -> None:
    @tool(timeout=5)
    async def stubborn() -> str:
        """Finish."""
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return "done all the same"
        return "never"

    assert virtually(lambda pipeline: ask(stubborn, pipeline=pipeline)).value == "done all the same"


def test_nobody_can_say_whether_what_must_not_happen_twice_has_happened() -> None:
    @tool(effect="at_most_once", timeout=5)
    async def pay() -> None:
        """Pay."""
        await asyncio.sleep(100)

    uses: list[ToolUse] = []

    async def main(pipeline: ToolPipeline) -> ToolResult:
        pipeline.listen(uses.append)
        waiting = asyncio.ensure_future(ask(pay, pipeline=pipeline))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        return await ask(pay, pipeline=pipeline)

    failed = failure(virtually(main))
    assert (failed.code, failed.move) == ("outcome_unknown", Move.OPERATOR)
    assert [use.outcome for use in uses] == ["outcome_unknown", "outcome_unknown"]


async def test_a_thread_that_does_not_end_is_given_up_and_keeps_its_place() -> None:
    go, began = threading.Event(), threading.Event()
    pipeline = ToolPipeline(max_threads=1, grace_seconds=0.05)
    uses: list[ToolUse] = []
    pipeline.listen(uses.append)

    @tool(timeout=0.05)
    def stuck(ctx: ToolContext) -> bool:
        """Hang."""
        began.set()
        go.wait(20)
        return ctx.is_cancelled

    failed = failure(await ask(stuck, pipeline=pipeline))
    assert failed.code == "tool_timeout"
    assert failed.message.endswith("; it still runs, out of reach")
    assert began.is_set()
    assert pipeline.abandoned == 1
    assert uses[0].is_abandoned
    with pytest.raises(ResourceExhausted, match=r"none of 1 threads for tools became free within 0\.05 s; 1 run tools"):
        await pipeline._means.threads.start(lambda: None, 0.05)
    go.set()
    assert (await ask(tool(lambda_of(7)), pipeline=pipeline)).value == 7
    assert pipeline.abandoned == 0, "it has ended by itself"


def lambda_of(value: int) -> Callable[[], int]:
    def give() -> int:
        """Give it."""
        return value

    return give


async def test_a_thread_that_looks_whether_it_is_wanted_ends_in_time() -> None:
    pipeline = ToolPipeline(grace_seconds=5)

    @tool(timeout=0.05)
    def careful(ctx: ToolContext) -> None:
        """Look."""
        pause = threading.Event()
        while not pause.wait(0.005):
            ctx.raise_if_cancelled()

    assert failure(await ask(careful, pipeline=pipeline)).code == "tool_timeout"
    assert pipeline.abandoned == 0


def test_an_async_tool_that_will_not_be_interrupted_is_given_up_and_counted() -> None:
    @tool(timeout=1)
    async def deaf() -> None:
        """Listen to nobody."""
        for _ in range(10):
            try:
                await asyncio.sleep(3)
            except asyncio.CancelledError:
                continue

    async def main(pipeline: ToolPipeline) -> None:
        assert failure(await ask(deaf, pipeline=pipeline)).code == "tool_timeout"
        assert asyncio.get_running_loop().time() == pytest.approx(2), "its limit, and a moment of grace"
        assert pipeline.abandoned == 1
        await asyncio.sleep(40)
        assert pipeline.abandoned == 0

    virtually(main)


async def test_only_so_many_wait_for_a_thread() -> None:
    threads = Threads(1)
    threads._waiting = 1_000
    with pytest.raises(ResourceExhausted, match="1,000 tools wait for a thread already"):
        await threads.start(lambda: None)


async def test_a_call_that_is_cancelled_before_a_thread_was_free_never_begins() -> None:
    threads, go, calls = Threads(1), threading.Event(), list[str]()
    await threads.start(lambda: go.wait(20))
    waiting = asyncio.ensure_future(threads.start(lambda: calls.append("began")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    go.set()
    last = await threads.start(lambda: calls.append("last"))
    await last.future
    assert calls == ["last"]


# --- cancelled ----------------------------------------------------------------------------------------------------------


def test_whoever_calls_may_say_that_it_is_not_wanted_any_more() -> None:
    @tool(retries=ONE_RETRY)
    async def slow() -> None:
        """Take long."""
        await asyncio.sleep(50)

    async def main(pipeline: ToolPipeline) -> ToolResult:
        cancellation = Cancellation()
        asyncio.get_running_loop().call_later(3, cancellation.cancel, "the user left")
        result = await ask(slow, pipeline=pipeline, cancellation=cancellation)
        assert asyncio.get_running_loop().time() == pytest.approx(3)
        return result

    failed = failure(virtually(main))
    assert (failed.code, failed.message) == ("cancelled", "the call of 'slow' was cancelled: the user left")


async def test_what_was_cancelled_before_does_not_begin() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    cancellation.cancel("again")
    assert failure(await ask(add, {"a": 1}, cancellation=cancellation)).message == "the call of 'add' was cancelled"
    heard: list[int] = []
    cancellation.listen(lambda: heard.append(1))()
    assert heard == [1]


async def test_a_call_that_ends_is_deaf_to_its_cancellation() -> None:
    cancellation = Cancellation()
    assert (await ask(add, {"a": 1}, cancellation=cancellation)).value == 3
    cancellation.cancel()


def test_a_cancelled_task_has_its_tool_stopped_and_is_told() -> None:
    stopped: list[str] = []
    uses: list[ToolUse] = []

    @tool
    async def slow() -> None:
        """Take long."""
        try:
            await asyncio.sleep(50)
        finally:
            stopped.append("yes")

    async def main(pipeline: ToolPipeline) -> None:
        pipeline.listen(uses.append)
        waiting = asyncio.ensure_future(ask(slow, pipeline=pipeline))
        await asyncio.sleep(1)
        assert pipeline.in_flight == 1
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert pipeline.in_flight == 0

    virtually(main)
    assert stopped == ["yes"]
    assert [use.outcome for use in uses] == ["cancelled"]


@pytest.mark.parametrize("cause", [CancelReason.ABORTED, CancelReason.DRAIN])
async def test_a_tool_in_a_thread_is_told_why_by_whoever_calls(cause: CancelReason) -> None:
    cancellation = Cancellation()
    seen: list[str] = []

    @tool
    def look(ctx: ToolContext) -> None:
        """Look until told."""
        assert ctx.cancel_reason is None
        cancellation.cancel("we close", cause=cause)
        cancellation.cancel("again", cause=CancelReason.TIMEOUT)
        while not ctx.is_cancelled:
            time.sleep(0.001)
        seen.append(str(ctx.cancel_reason))
        ctx.raise_if_cancelled()

    failed = failure(await ask(look, cancellation=cancellation))
    assert failed.message == "the call of 'look' was cancelled: we close"
    assert seen == [cause]
    with pytest.raises(ValueError, match="no idea"):
        cancellation.cancel(cause="no idea")  # type: ignore[arg-type]  # that is the point


def test_a_tool_whose_time_is_up_and_one_that_nobody_waits_for_are_told_why() -> None:
    seen: list[object] = []

    @tool(timeout=2)
    async def slow(ctx: ToolContext) -> None:
        """Take long."""
        try:
            await asyncio.sleep(50)
        finally:
            seen.append(ctx.cancel_reason)

    async def main(pipeline: ToolPipeline) -> None:
        await ask(slow, pipeline=pipeline)
        for told in (None, lambda: None, lambda: CancelReason.DRAIN):
            call = pipeline.invoke(ToolCall("slow"), tools=ToolRegistry.of([slow]), told=told)
            waiting = asyncio.ensure_future(call)
            await asyncio.sleep(1)
            waiting.cancel()
            await asyncio.wait([waiting])

    virtually(main)
    assert seen == ["timeout", "cancelled", "cancelled", "drain"]


# --- again --------------------------------------------------------------------------------------------------------------


def flaky(fails: int, error: Exception, **options: Any) -> tuple[Any, list[int]]:
    tries: list[int] = []

    @tool(**options)
    async def try_it(items: list[int], ctx: ToolContext) -> int:
        """Try."""
        tries.append(ctx.attempt)
        items.append(1)
        assert items == [1], "each attempt has its own arguments"
        if len(tries) <= fails:
            raise error
        return len(tries)

    return try_it, tries


def test_what_may_go_away_is_tried_again_after_a_while() -> None:
    made, tries = flaky(2, TemporaryError("busy"), retries=ONE_RETRY)

    async def main(pipeline: ToolPipeline) -> ToolResult:
        result = await ask(made, {"items": []}, pipeline=pipeline)
        assert asyncio.get_running_loop().time() == pytest.approx(4)
        return result

    result = virtually(main)
    assert (result.value, result.attempts, tries) == (3, 3, [1, 2, 3])


@pytest.mark.parametrize(
    ("error", "call", "tried"),
    [
        (PermanentError("gone"), {}, 1),
        (TemporaryError("busy"), {"may_retry": False}, 1),
        (TemporaryError("busy"), {}, 3),
        (TemporaryError("busy"), {"attempt": 2}, 2),
        (ResourceExhausted("full", retry_after_seconds=50), {}, 3),
    ],
)
def test_attempts_end(error: Exception, call: dict[str, Any], tried: int) -> None:
    made, tries = flaky(9, error, retries=ONE_RETRY)
    result = virtually(lambda pipeline: ask(made, {"items": []}, pipeline=pipeline, **call))
    assert failure(result).message == str(error.args[0])
    assert len(tries) == tried


def test_nobody_waits_past_the_deadline_to_try_again() -> None:
    made, tries = flaky(9, ResourceExhausted("full", retry_after_seconds=50), retries=ONE_RETRY)

    async def main(pipeline: ToolPipeline) -> None:
        result = await ask(made, {"items": []}, pipeline=pipeline, deadline=pipeline._now() + 20_000_000_000)
        assert failure(result).retry_after_seconds == 50
        assert asyncio.get_running_loop().time() < 1

    virtually(main)
    assert tries == [1]


# --- guards -------------------------------------------------------------------------------------------------------------


class Notes:
    """Guards that note what they are asked, and say no when told to."""

    def __init__(self, *, turn: Exception | None = None, entry: Exception | None = None) -> None:
        self.turn_error, self.entry_error = turn, entry
        self.seen: list[Any] = []

    async def turn(self, name: str, rate: int, per_seconds: float, *, timeout_seconds: float) -> None:
        self.seen.append((name, rate, per_seconds, round(timeout_seconds, 3)))
        if self.turn_error is not None:
            raise self.turn_error

    def enter(self, name: str, *numbers: float) -> Callable[[BaseException | None], None]:
        self.seen.append((name, *numbers))
        if self.entry_error is not None:
            raise self.entry_error
        return lambda error: self.seen.append(None if error is None else type(error).__name__)


def guarded(outcome: BaseException | None = None) -> Any:
    @tool(
        name="guarded",
        description="Do it.",
        timeout=9,
        rate_limit=Rate(5, 60),
        circuit_breaker=BreakerPolicy(3, 20, 10),
    )
    async def do() -> str:
        if outcome is not None:
            raise outcome
        return "done"

    return do


async def test_a_call_waits_for_its_turn_and_stands_behind_its_breaker() -> None:
    notes = Notes()
    assert (await ask(guarded(), pipeline=ToolPipeline(guarded_by=notes))).value == "done"
    assert notes.seen == [("tool:guarded", 5, 60, 9), ("tool:guarded", 3, 20, 10, 1), None]


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (ValueError("x"), "TemporaryError"),
        (PermanentError("x"), "PermanentError"),
        (asyncio.CancelledError(), "PermanentError"),
    ],
)
async def test_the_breaker_is_told_how_it_ended(outcome: BaseException, told: str) -> None:
    notes = Notes()
    await ask(guarded(outcome), pipeline=ToolPipeline(guarded_by=notes))
    assert notes.seen[-1] == told


@pytest.mark.parametrize(
    ("notes", "code", "move"),
    [
        (Notes(turn=ResourceExhausted("later", retry_after_seconds=4)), "resource_exhausted", Move.WORLD),
        (Notes(entry=CircuitOpen("open", retry_after_seconds=4)), "circuit_open", Move.WORLD),
        (Notes(turn=DefinitionError("other numbers")), "definition", Move.AUTHOR),
    ],
)
async def test_guards_that_say_no_are_failures(notes: Notes, code: str, move: Move) -> None:
    now = ToolPipeline()._now()
    failed = failure(await ask(guarded(), pipeline=ToolPipeline(guarded_by=notes), deadline=now + 3_000_000_000))
    assert (failed.code, failed.move) == (code, move)
    assert failed.retry_after_seconds == (4 if move is Move.WORLD else None)
    assert notes.seen[0][3] <= 3, "no longer than the caller waits"


async def test_the_guards_of_the_process_are_its_limiters_and_breakers() -> None:
    from agenticflow.runtime.resources import list_breakers, list_limiters

    @tool(name="test_guarded_fails", rate_limit=Rate(100, 1), circuit_breaker=BreakerPolicy(failure_threshold=2))
    async def fails() -> None:
        """Fail."""
        raise TemporaryError("down")

    for _ in range(2):
        assert failure(await ask(fails)).code == "temporary"
    assert failure(await ask(fails)).code == "circuit_open"
    assert [one.taken for one in list_limiters() if one.name == "tool:test_guarded_fails"] == [3]
    assert [one.failed for one in list_breakers() if one.name == "tool:test_guarded_fails"] == [2]


# --- several ------------------------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_calls_and_failures_in_their_places() -> None:
    running = most = 0

    @tool
    async def wait(seconds: float) -> float:
        """Wait."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(seconds)
        running -= 1
        return seconds

    async def main(pipeline: ToolPipeline) -> list[ToolResult]:
        calls: list[Any] = [("wait", {"seconds": 9 - n}) for n in range(9)]
        calls[3] = ("wait", {"second": 1})
        calls[5] = "nonsense"
        calls[7] = {"name": "wiat", "params": {}}
        found = await pipeline.invoke_parallel(calls, tools=ToolRegistry.of([wait]), max_concurrent=3)
        assert asyncio.get_running_loop().time() == pytest.approx(12)
        return found

    results = virtually(main)
    assert [one.value for one in results] == [9.0, 8.0, 7.0, None, 5.0, None, 3.0, None, 1.0]
    assert [one.error.code for one in results if one.error is not None] == [
        "invalid_input",
        "invalid_input",
        "tool_not_found",
    ]
    assert most == 3


async def test_no_calls_have_no_results_and_a_bound_is_at_least_one() -> None:
    pipeline = ToolPipeline(ToolRegistry.of([add]))
    assert await pipeline.invoke_parallel([]) == []
    assert [one.value for one in await pipeline.invoke_parallel([("add", {"a": 1})])] == [3]
    for wrong in (0, True, "3"):
        bound: Any = wrong
        with pytest.raises(InvalidInput, match="max_concurrent is"):
            await pipeline.invoke_parallel([], max_concurrent=bound)


# --- who listens --------------------------------------------------------------------------------------------------------


async def test_whoever_listens_hears_of_every_call_refused_ones_included(caplog: pytest.LogCaptureFixture) -> None:
    uses: list[ToolUse] = []

    def broken(use: ToolUse) -> None:
        raise RuntimeError("the audit is full")

    pipeline = ToolPipeline(ToolRegistry.of([add]))
    end_broken, end = pipeline.listen(broken), pipeline.listen(uses.append)
    ada = Caller(principal="ada")
    assert (await pipeline.invoke(ToolCall("add", {"a": 1}), ada)).value == 3
    await pipeline.invoke(ToolCall("add", {}), ada)
    await pipeline.invoke(ToolCall("ad", {}), ada)
    assert [(use.outcome, use.caller, use.definition) for use in uses] == [
        ("succeeded", ada, add.definition),
        ("invalid_input", ada, add.definition),
        ("tool_not_found", ada, None),
    ]
    assert all(use.began_at <= use.ended_at and use.result.call_id == use.call.call_id for use in uses)
    assert "the audit is full" in caplog.text
    end_broken()
    end()
    await pipeline.invoke(ToolCall("add", {"a": 1}))
    assert len(uses) == 3


async def test_the_process_has_one_pipeline_over_its_registry() -> None:
    assert get_tool_pipeline() is get_tool_pipeline()
    assert get_tool_pipeline().registry is get_tool_registry()
    mine = ToolRegistry.of([add])
    assert (await invoke_tool("add", {"a": 1}, tools=mine)).value == 3
    assert [one.value for one in await invoke_tool_parallel([("add", {"a": n}) for n in range(3)], tools=mine)] == [
        2,
        3,
        4,
    ]
    assert failure(await invoke_tool("no_such_tool")).code == "tool_not_found"
