"""A guarded model is asked again when that helps, in time, and never sooner or more often than its provider allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import count, pairwise
from typing import Any

import pytest

from agenticflow.agents.model import (
    Delta,
    Model,
    ModelRequest,
    ModelResponse,
    ResponseRestarted,
    TextDelta,
    ToolCallDelta,
    fold,
    user,
)
from agenticflow.agents.model.responses import FinishReason, Usage
from agenticflow.app.models import GuardedModel, ModelGuards
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    CircuitOpen,
    DefinitionError,
    InvalidInput,
    ModelAnswerGarbled,
    ModelRateLimited,
    ModelRequestRefused,
    ModelStreamCut,
    ModelTimeout,
    ModelUnavailable,
    ResourceExhausted,
)
from agenticflow.resilience import RetryPolicy
from agenticflow.resilience.breaker import BreakerPolicy, BreakerState
from agenticflow.resilience.limiter import Rate
from agenticflow.testing import BrokenOff, ScriptedModel
from agenticflow.testing.scripted_model import Answer, Script
from agenticflow.testing.virtual_time import VirtualLoop, run_virtual
from tests.unit.runtime.engine import in_virtual_time

ASKED = ModelRequest(messages=(user("hello"),))
AT_ONCE = RetryPolicy(max_attempts=4, initial_delay_seconds=0)
PLACES = count()
"""Breakers are shared by name: each test has one of its own."""


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def guarded(script: Script, *, piece_chars: int = 0, first: float = 0, each: float = 0, **guards: Any) -> GuardedModel:
    guards.setdefault("retry", AT_ONCE)
    model = ScriptedModel(script, piece_chars=piece_chars, first_seconds=first, piece_seconds=each)
    return GuardedModel(model, ModelGuards(**guards), place=f"test {next(PLACES)}", clock=loop().clock)


def asked(model: GuardedModel) -> int:
    inner = model.model
    assert isinstance(inner, ScriptedModel)
    return inner.asked


@in_virtual_time
async def test_an_answer_comes_through_as_it_is() -> None:
    model = guarded(["hello"], piece_chars=2)
    assert (model.identity, model.abilities) == ("scripted:scripted", model.model.abilities)
    response = await model.respond(ASKED)
    assert (response.text, response.attempts) == ("hello", 1)


@in_virtual_time
async def test_what_may_go_away_by_itself_is_asked_again() -> None:
    trouble: list[Answer] = [ModelUnavailable("down"), ModelAnswerGarbled("?"), ModelTimeout("late"), "well"]
    response = await guarded(trouble).respond(ASKED)
    assert (response.text, response.attempts) == ("well", 4)


@in_virtual_time
async def test_attempts_are_bounded_and_the_last_error_is_raised() -> None:
    model = guarded(lambda _: ModelUnavailable(f"down {asked(model)}"))
    with pytest.raises(ModelUnavailable, match="down 4"):
        await model.respond(ASKED)
    assert asked(model) == 4


@pytest.mark.parametrize("error", [ModelRequestRefused("no"), InvalidInput("no"), RuntimeError("ours")])
def test_what_asking_again_does_not_mend_is_raised_at_once(error: Exception) -> None:
    async def main() -> None:
        def answer(_: ModelRequest) -> Answer:
            raise error

        model = guarded(answer)
        with pytest.raises(type(error)):
            await model.respond(ASKED)
        assert asked(model) == 1

    run_virtual(main())


@in_virtual_time
async def test_a_request_that_is_none_is_refused_before_anything() -> None:
    model = guarded(["never"])
    with pytest.raises(InvalidInput):
        await model.respond(ModelRequest(messages=()))
    assert asked(model) == 0


@in_virtual_time
async def test_delays_grow_and_hold_what_the_provider_wants() -> None:
    moments: list[float] = []

    def answer(_: ModelRequest) -> Answer:
        moments.append(loop().time())
        return ModelRateLimited("slow down", retry_after_seconds=[None, 20.0, 0.25, None][len(moments) - 1])

    model = guarded(answer, retry=RetryPolicy(max_attempts=4, initial_delay_seconds=1, jitter=False))
    with pytest.raises(ModelRateLimited):
        await model.respond(ASKED)
    waits = [later - earlier for earlier, later in pairwise(moments)]
    assert waits == pytest.approx([1, 20, 4])


@in_virtual_time
async def test_who_wants_to_be_left_alone_for_long_is_not_waited_for() -> None:
    model = guarded([ModelRateLimited("quota", retry_after_seconds=61), "never"], max_retry_after_seconds=60)
    with pytest.raises(ModelRateLimited) as caught:
        await model.respond(ASKED)
    assert caught.value.retry_after_seconds == 61
    assert loop().time() == 0


@in_virtual_time
async def test_who_is_told_to_wait_has_all_others_wait_too() -> None:
    moments: list[float] = []

    def answer(_: ModelRequest) -> Answer:
        moments.append(loop().time())
        return ModelRateLimited("slow down", retry_after_seconds=20) if len(moments) == 1 else "well"

    model = guarded(answer)
    first = asyncio.ensure_future(model.respond(ASKED))
    await asyncio.sleep(1)
    others = [model.respond(ASKED) for _ in range(5)]
    answers = await asyncio.gather(first, *others)
    assert [response.text for response in answers] == ["well"] * 6
    assert moments == pytest.approx([0, *[20] * 6], abs=0.01)


@in_virtual_time
async def test_who_cannot_wait_so_long_is_told_and_does_not_ask() -> None:
    model = guarded([ModelRateLimited("quota", retry_after_seconds=61), "never", "well"], total_seconds=100)
    with pytest.raises(ModelRateLimited, match="quota"):
        await model.respond(ASKED)
    await asyncio.sleep(0.5)
    with pytest.raises(ModelRateLimited, match=r"left alone for 60\.5 s more; it was not asked") as caught:
        await model.respond(ASKED)
    assert caught.value.retry_after_seconds == pytest.approx(60.5)
    await asyncio.sleep(20)
    place = model.breaker.name.removeprefix("model ")
    hasty = GuardedModel(model.model, ModelGuards(total_seconds=30), place=place, clock=loop().clock)
    with pytest.raises(ModelRateLimited, match="it was not asked"):
        await hasty.respond(ASKED)
    assert asked(model) == 1
    assert (await model.respond(ASKED)).text == "never"
    assert loop().time() == pytest.approx(61)


@in_virtual_time
async def test_how_long_a_provider_is_left_alone_is_told_in_plain_figures() -> None:
    model = guarded([ModelRateLimited("quota", retry_after_seconds=9_000), "never"])
    for words in ("quota", r"left alone for 3,600 s more"):
        with pytest.raises(ModelRateLimited, match=words):
            await model.respond(ASKED)


@in_virtual_time
async def test_a_wish_beyond_all_reason_does_not_end_the_use_of_a_provider() -> None:
    model = guarded([ModelRateLimited("next year", retry_after_seconds=3e7), "well"])
    with pytest.raises(ModelRateLimited, match="next year"):
        await model.respond(ASKED)
    await asyncio.sleep(3_500)
    with pytest.raises(ModelRateLimited, match="it was not asked"):
        await model.respond(ASKED)
    await asyncio.sleep(100)
    assert (await model.respond(ASKED)).text == "well"


@in_virtual_time
async def test_an_answer_that_breaks_off_is_asked_for_from_its_beginning() -> None:
    model = guarded([BrokenOff("Once upon a time", after=4), "Once more"], piece_chars=5)
    deltas = [delta async for delta in model.stream(ASKED)]
    restart = deltas.index(ResponseRestarted("model_stream_cut"))
    assert "".join(delta.text for delta in deltas[:restart] if isinstance(delta, TextDelta)) == "Once upon a tim"
    assert (fold(deltas).text, fold(deltas).attempts) == ("Once more", 2)


@in_virtual_time
async def test_what_makes_no_whole_answer_is_asked_for_again() -> None:
    class Nameless(Model):
        """Calls a tool without saying which, the first time."""

        provider, name = "odd", "odd"

        def __init__(self) -> None:
            self.asked = 0

        async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
            self.asked += 1
            if self.asked == 1:
                yield ToolCallDelta(0, "c1")
            else:
                yield TextDelta(0, "well")
            async with aclosing(ScriptedModel([[]]).stream(request)) as rest:
                async for delta in rest:
                    yield delta

    model = GuardedModel(Nameless(), ModelGuards(retry=AT_ONCE), place=f"test {next(PLACES)}")
    response = await model.respond(ASKED)
    assert (response.text, response.attempts) == ("well", 2)


@in_virtual_time
async def test_the_first_word_has_a_time_limit() -> None:
    model = guarded(lambda _: "late", first=31, first_token_seconds=30, retry=RetryPolicy(max_attempts=1))
    with pytest.raises(ModelTimeout, match="said nothing within 30 s"):
        await model.respond(ASKED)
    assert loop().time() == pytest.approx(30)


@in_virtual_time
async def test_a_sign_of_life_is_no_word() -> None:
    once = RetryPolicy(max_attempts=1)
    model = guarded([BrokenOff("late", after=1, is_silent=True)], first_token_seconds=30, retry=once)
    with pytest.raises(ModelTimeout, match="said nothing within 30 s"):
        await model.respond(ASKED)


@in_virtual_time
async def test_a_first_word_that_is_late_is_asked_for_again() -> None:
    model = guarded([BrokenOff("x", after=0, is_silent=True), "well"], first_token_seconds=30)
    assert (await model.respond(ASKED)).text == "well"
    assert loop().time() == pytest.approx(30)


@in_virtual_time
async def test_the_whole_has_a_time_limit_over_all_attempts() -> None:
    silent = BrokenOff("Once upon", after=2, is_silent=True)
    model = guarded(lambda _: silent, total_seconds=100, first_token_seconds=30)
    with pytest.raises(ModelTimeout, match="did not end its answer within 100 s"):
        await model.respond(ASKED)
    assert loop().time() == pytest.approx(100)
    assert asked(model) == 1
    model = guarded(lambda _: BrokenOff("x", after=0, is_silent=True), total_seconds=100, first_token_seconds=40)
    with pytest.raises(ModelTimeout, match="said nothing within 100 s"):
        await model.respond(ASKED)
    assert loop().time() == pytest.approx(200)
    assert asked(model) == 3


@in_virtual_time
async def test_a_wait_that_would_end_too_late_is_not_begun() -> None:
    model = guarded([ModelUnavailable("down", retry_after_seconds=50), "never"], total_seconds=40)
    with pytest.raises(ModelUnavailable, match="down"):
        await model.respond(ASKED)
    assert loop().time() == 0


@in_virtual_time
async def test_a_slow_but_steady_answer_is_not_late() -> None:
    model = guarded(["x" * 50], piece_chars=1, first=20, each=5, first_token_seconds=30, total_seconds=400)
    assert (await model.respond(ASKED)).text == "x" * 50
    assert loop().time() > 200


@in_virtual_time
async def test_an_answer_is_bounded_and_not_asked_for_again() -> None:
    model = guarded(lambda _: "x" * 11, piece_chars=3, max_response_chars=10)
    with pytest.raises(BoundExceeded, match="more than 10 characters"):
        await model.respond(ASKED)
    assert asked(model) == 1


@in_virtual_time
async def test_a_provider_that_does_not_work_is_left_alone() -> None:
    policy = BreakerPolicy(failure_threshold=2, recovery_seconds=30)
    answers: list[Answer] = [ModelUnavailable("down"), ModelStreamCut("cut"), "well"]
    model = guarded(answers, breaker=policy, retry=RetryPolicy(max_attempts=1))
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await model.respond(ASKED)
    with pytest.raises(CircuitOpen, match="is open"):
        await model.respond(ASKED)
    assert asked(model) == 2
    await asyncio.sleep(31)
    assert (await model.respond(ASKED)).text == "well"
    assert model.breaker.state is BreakerState.CLOSED


@in_virtual_time
async def test_a_breaker_is_shared_by_all_models_of_a_place() -> None:
    policy = ModelGuards(breaker=BreakerPolicy(failure_threshold=1), retry=RetryPolicy(max_attempts=1))
    place = f"test {next(PLACES)}"
    broken, other = (
        GuardedModel(ScriptedModel([answer]), policy, place=place) for answer in (ModelUnavailable("down"), "x")
    )
    with pytest.raises(ModelUnavailable):
        await broken.respond(ASKED)
    with pytest.raises(CircuitOpen):
        await other.respond(ASKED)


@pytest.mark.parametrize("error", [ModelRateLimited("slow down"), ModelRequestRefused("no"), InvalidInput("no")])
def test_what_says_nothing_about_the_service_opens_no_breaker(error: AgenticFlowError) -> None:
    async def main() -> None:
        breaker = BreakerPolicy(failure_threshold=1, ignored_errors=("ModelRateLimited",))
        model = guarded(lambda _: error, breaker=breaker, retry=RetryPolicy(max_attempts=1))
        for _ in range(3):
            with pytest.raises(type(error)):
                await model.respond(ASKED)
        assert model.breaker.state is BreakerState.CLOSED

    run_virtual(main())


@in_virtual_time
async def test_who_stops_listening_says_nothing_about_the_service() -> None:
    model = guarded(lambda _: "Once upon a time", piece_chars=1, breaker=BreakerPolicy(failure_threshold=1))
    async with aclosing(model.stream(ASKED)) as deltas:
        async for _ in deltas:
            break
    status = model.breaker.status()
    assert (status.state, status.ignored, status.failed) == (BreakerState.CLOSED, 1, 0)


@in_virtual_time
async def test_who_stops_listening_closes_the_stream_of_the_model_at_once() -> None:
    class Watched(ScriptedModel):
        def __init__(self) -> None:
            super().__init__(["Once upon a time"], piece_chars=1)
            self.streams: list[AsyncGenerator[Delta, None]] = []

        def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
            self.streams.append(super().stream(request))
            return self.streams[-1]

    watched = Watched()
    async with aclosing(GuardedModel(watched, place=f"test {next(PLACES)}").stream(ASKED)) as deltas:
        async for _ in deltas:
            break
    assert await anext(watched.streams[0], None) is None


@in_virtual_time
async def test_who_is_cancelled_stops_the_model() -> None:
    stopped: list[str] = []

    async def answer(_: ModelRequest) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("stopped")
        raise AssertionError("nobody sets that event")

    asking = asyncio.ensure_future(guarded(answer).respond(ASKED))
    await asyncio.sleep(5)
    asking.cancel()
    await asyncio.wait([asking])
    assert (asking.cancelled(), stopped) == (True, ["stopped"])


@in_virtual_time
async def test_a_rate_is_kept_by_all_who_ask() -> None:
    moments: list[float] = []

    def answer(_: ModelRequest) -> Answer:
        moments.append(loop().time())
        return "x"

    model = guarded(answer, rate=Rate(2, per_seconds=10), total_seconds=25)
    results = await asyncio.gather(*(model.respond(ASKED) for _ in range(7)), return_exceptions=True)
    assert moments == pytest.approx([0, 0, 10, 10, 20, 20], abs=0.01)
    assert [type(result) for result in results].count(ResourceExhausted) == 1


@in_virtual_time
async def test_what_lost_attempts_used_is_not_forgotten() -> None:
    half = ModelResponse(parts=(), finish_reason=FinishReason.STOP, usage=Usage(10, 1))
    response = await guarded([BrokenOff(half, after=2), "well"]).respond(ASKED)
    assert (response.attempts, response.lost_usage) == (2, Usage(10, 1))


@in_virtual_time
async def test_closing_closes_the_model_behind_it() -> None:
    closed: list[str] = []

    class Closing(ScriptedModel):
        async def close(self) -> None:
            closed.append(self.name)

    await GuardedModel(Closing([]), place=f"test {next(PLACES)}").close()
    assert closed == ["scripted"]


LIMITS = ("max_retry_after_seconds", "first_token_seconds", "total_seconds", "max_response_chars")


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("number", [0, 10**9])
def test_guards_that_make_no_sense_are_told(name: str, number: int) -> None:
    wrong: dict[str, Any] = {name: number}
    with pytest.raises(DefinitionError, match=name):
        ModelGuards(**wrong)
