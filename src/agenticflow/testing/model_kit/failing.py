"""Whatever a provider does, its model ends with an answer or with an error that says what helps."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final

from agenticflow.agents.model.parts import ToolCallPart
from agenticflow.agents.model.recovery import Recovery, recovery_of
from agenticflow.errors import (
    AgenticFlowError,
    ContentRefused,
    ContextTooLong,
    ModelAccessDenied,
    ModelAnswerGarbled,
    ModelRateLimited,
    ModelRequestRefused,
    ModelStreamCut,
    ModelUnavailable,
)
from agenticflow.testing.event_store_kit.place import refused
from agenticflow.testing.model_kit.place import ASKED, BreaksOff, Garbles, HoldsBack, ModelPlace, Refuses, Says, said

__all__ = ["FailingCases"]

REFUSALS: Final[tuple[tuple[Refuses, type[AgenticFlowError], Recovery], ...]] = (
    (Refuses(400, "no such parameter"), ModelRequestRefused, Recovery.GIVE_UP),
    (Refuses(400, "prompt is too long: 210000 tokens > 200000 maximum"), ContextTooLong, Recovery.SHORTEN),
    (Refuses(400, "This model's maximum context length is 8192 tokens"), ContextTooLong, Recovery.SHORTEN),
    (Refuses(400, "rejected by the content policy: content_filter"), ContentRefused, Recovery.GIVE_UP),
    (Refuses(401, "invalid key sk-123"), ModelAccessDenied, Recovery.GIVE_UP),
    (Refuses(403, "not yours"), ModelAccessDenied, Recovery.GIVE_UP),
    (Refuses(404, "no such model"), ModelRequestRefused, Recovery.GIVE_UP),
    (Refuses(408, "too slow"), ModelUnavailable, Recovery.RETRY),
    (Refuses(413, "too large"), ContextTooLong, Recovery.SHORTEN),
    (Refuses(429, "slow down"), ModelRateLimited, Recovery.RETRY),
    (Refuses(500, "oops"), ModelUnavailable, Recovery.RETRY),
    (Refuses(503, "loading the model"), ModelUnavailable, Recovery.RETRY),
    (Refuses(529, "overloaded"), ModelUnavailable, Recovery.RETRY),
)
LONG: Final = said("Let me see what the weather is.", ToolCallPart("call_1", "weather", {"place": "here"}))


class FailingCases(ModelPlace):
    """Refusals, broken connections, nonsense, silence."""

    async def test_each_refusal_has_its_error_and_says_what_helps(self) -> None:
        answers = [refusal for refusal, _, _ in REFUSALS]
        async with asyncio.timeout(self.patience_seconds), self.serving(*answers) as served:
            for number, (refusal, kind, recovery) in enumerate(REFUSALS, 1):
                with refused(kind) as caught:
                    await served.model.respond(ASKED)
                assert type(caught.error) is kind, (refusal, caught.error)
                assert recovery_of(caught.error) is recovery
                assert served.model.name in caught.error.message
                assert "sk-123" not in str(caught.error)
                assert len(served.seen) == number, "an adapter does not ask again by itself"

    async def test_when_to_ask_again_is_told(self) -> None:
        told = ((429, "7", 7.0), (503, "2.5", 2.5), (429, "soon", None), (429, "", None))
        answers = [Refuses(status, "later", retry_after=written) for status, written, _ in told]
        async with asyncio.timeout(self.patience_seconds), self.serving(*answers) as served:
            for _, _, seconds in told:
                with refused(ModelUnavailable) as caught:
                    await served.model.respond(ASKED)
                assert caught.error.retry_after_seconds == seconds

    async def test_an_answer_that_breaks_off_anywhere_is_an_error_and_never_half_an_answer(self) -> None:
        cuts = [BreaksOff(LONG, after, is_polite) for is_polite in (False, True) for after in range(9)]
        async with asyncio.timeout(self.patience_seconds), self.serving(*cuts) as served:
            for cut in cuts:
                with refused(ModelUnavailable) as caught:
                    await served.model.respond(ASKED)
                assert recovery_of(caught.error) is Recovery.RETRY
                if self.is_streaming and cut.after > 2:
                    assert type(caught.error) is ModelStreamCut

    async def test_what_is_not_in_the_protocol_is_an_error_and_never_an_answer(self) -> None:
        answers = list(map(Garbles, self.garbled))
        async with asyncio.timeout(self.patience_seconds), self.serving(*answers) as served:
            for answer in answers:
                with refused(ModelUnavailable) as caught:
                    await served.model.respond(ASKED)
                assert isinstance(caught.error, ModelAnswerGarbled | ModelStreamCut), (answer.data[:20], caught.error)

    async def test_after_a_failure_the_next_call_is_well(self) -> None:
        trouble = (Refuses(500), BreaksOff(LONG, 3), Garbles(b"{"), Refuses(429))
        async with asyncio.timeout(self.patience_seconds), self.serving(*trouble, Says(said("well"))) as served:
            for _ in trouble:
                with refused(ModelUnavailable):
                    await served.model.respond(ASKED)
            assert (await served.model.respond(ASKED)).text == "well"

    async def test_who_listens_no_more_closes_the_connection(self) -> None:
        self.need(self.is_streaming, "nothing comes before the end")
        async with asyncio.timeout(self.patience_seconds), self.serving(HoldsBack(LONG, 4)) as served:
            async with aclosing(served.model.stream(ASKED)) as deltas:
                async for _ in deltas:
                    break
            await served.let_go()

    async def test_who_is_cancelled_closes_the_connection(self) -> None:
        async with asyncio.timeout(self.patience_seconds), self.serving(HoldsBack(LONG, 4)) as served:
            asking = asyncio.ensure_future(served.model.respond(ASKED))
            await served.asked()
            asking.cancel()
            await asyncio.wait([asking])
            assert asking.cancelled()
            await served.let_go()
