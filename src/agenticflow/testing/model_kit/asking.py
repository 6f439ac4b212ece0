"""What is asked of a model arrives as it was asked, and only when it is asked."""

from __future__ import annotations

import asyncio
from typing import Final

from agenticflow.agents.model.parts import (
    ImagePart,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    assistant,
    system,
    tool_results,
    user,
)
from agenticflow.agents.model.permission import permission
from agenticflow.agents.model.requests import ModelRequest, OutputSpec, ToolChoice, ToolSpec
from agenticflow.errors import InvalidInput, ModelCallsForbidden
from agenticflow.testing.event_store_kit.place import refused
from agenticflow.testing.model_kit.place import ASKED, ModelPlace, Says, said

__all__ = ["AskingCases"]

PIXEL: Final = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000a49444154")
CONVERSATION: Final = (
    system("You are a weather service."),
    user("What is the weather here?", ImagePart(PIXEL, "image/png"), "And there?"),
    assistant(
        "Let me see.",
        ToolCallPart("call_a", "weather", {"place": "here"}),
        ToolCallPart("call_b", "weather", {"place": "Ürümqi", "days": 2}),
    ),
    tool_results(ToolResultPart("call_a", "sunny"), ToolResultPart("call_b", "no such place", is_error=True)),
    user("Go on."),
)
SCHEMA: Final[dict[str, object]] = {
    "type": "object",
    "properties": {"degrees": {"type": "number"}},
    "required": ["degrees"],
    "additionalProperties": False,
}


class AskingCases(ModelPlace):
    """Messages, tools, forms and limits; and what is refused before anything is sent."""

    async def test_a_conversation_arrives_whole_and_in_order_with_the_ids_of_its_calls(self) -> None:
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("ok"))) as served:
            await served.model.respond(ModelRequest(messages=CONVERSATION))
            assert served.seen[0].messages == CONVERSATION

    async def test_tools_limits_and_the_form_of_the_answer_arrive(self) -> None:
        request = ModelRequest(
            messages=ASKED.messages,
            tools=(ToolSpec("weather", "Tells the weather", SCHEMA), ToolSpec("search")),
            tool_choice=ToolChoice.REQUIRED,
            output=OutputSpec("weather", SCHEMA),
            temperature=0.25,
            max_output_tokens=77,
            stop=("END",) if self.takes_stop_words else (),
        )
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("ok"))) as served:
            await served.model.respond(request)
            seen = served.seen[0]
            assert seen.tools == ("weather", "search")
            assert seen.schema == SCHEMA
            assert seen.temperature == (0.25 if served.model.abilities.has_temperature else None)
            assert (seen.max_output_tokens, seen.stop) == (77, request.stop)

    async def test_its_own_reasoning_goes_back_to_it_as_it_was(self) -> None:
        self.need(self.has_signatures, "it does not take its reasoning back")
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("ok"))) as served:
            own, foreign = (
                ReasoningPart("Hm.", "c2lnbmVk", provider=provider) for provider in (served.model.provider, "other")
            )
            await served.model.respond(ModelRequest(messages=(user("a"), assistant(own, foreign, "b"), user("c"))))
            assert served.seen[0].messages[1].parts == (own, TextPart("b"))

    async def test_what_a_model_wrote_in_place_of_json_never_ends_a_conversation(self) -> None:
        call = ToolCallPart("call_a", "weather", malformed='{"place": "he')
        conversation = (user("a"), assistant(call), tool_results(ToolResultPart("call_a", "that was no JSON", True)))
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("ok"))) as served:
            await served.model.respond(ModelRequest(messages=conversation))
            seen = served.seen[0].messages[1].tool_calls[0]
            assert seen.call_id == "call_a"
            assert call.malformed in (seen.malformed, *map(str, seen.arguments.values()))

    async def test_what_is_no_request_is_refused_and_nothing_is_sent(self) -> None:
        lonely = ToolResultPart("call_x", "sunny")
        wrong = (
            ModelRequest(messages=()),
            ModelRequest(messages=(user("a"), tool_results(lonely))),
            ModelRequest(messages=(user("a"), assistant(ToolCallPart("call_x", "weather")), user("b"))),
            ModelRequest(messages=ASKED.messages, temperature=9),
        )
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("ok"))) as served:
            for request in wrong:
                with refused(InvalidInput):
                    await served.model.respond(request)
            assert not served.seen

    async def test_nothing_is_sent_before_somebody_listens(self) -> None:
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("ok"))) as served:
            deltas = served.model.stream(ASKED)
            await asyncio.sleep(0)
            assert not served.seen
            await deltas.aclose()

    async def test_a_forbidden_call_is_refused_and_nothing_is_sent(self) -> None:
        self.need(self.is_real, "it is not real")
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("ok"))) as served:
            before = permission.is_forbidden
            permission.is_forbidden = True
            try:
                with permission.only_at("http://elsewhere.invalid"), refused(ModelCallsForbidden):
                    await served.model.respond(ASKED)
                assert not served.seen
            finally:
                permission.is_forbidden = before

    async def test_a_model_is_closed_as_often_as_anybody_likes(self) -> None:
        async with asyncio.timeout(self.patience_seconds), self.serving(Says(said("ok"))) as served:
            await served.model.respond(ASKED)
            await served.model.close()
            await served.model.close()
