"""Random conversations and answers, as hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from agenticflow.agents.model import (
    FilePart,
    FinishReason,
    ImagePart,
    Message,
    ModelResponse,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
    assistant,
    system,
    tool_results,
    user,
)

PROVIDER = "anthropic"

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
names = st.text("abcdefgh_", min_size=1, max_size=8)
json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(words, json_values, max_size=3)
texts = st.builds(TextPart, words)
images = st.builds(ImagePart, st.binary(min_size=1, max_size=8), st.just("image/png"))
files = st.builds(FilePart, st.binary(min_size=1, max_size=8), st.just("application/pdf"), name=names)
tokens = st.integers(0, 10**9)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    cached, written, thought = draw(tokens), draw(tokens), draw(tokens)
    return Usage(draw(tokens) + cached + written, draw(tokens) + thought, cached, written, thought)


@st.composite
def responses(draw: st.DrawFn) -> ModelResponse:
    """An answer that a provider could give; neighbouring texts stay apart, as they came."""
    call_ids = draw(st.lists(names, max_size=3, unique=True))
    calls = [
        ToolCallPart(call_id, draw(names), draw(arguments))
        if draw(st.booleans())
        else ToolCallPart(call_id, draw(names), malformed="{," + draw(words))
        for call_id in call_ids
    ]
    reasoning = st.builds(ReasoningPart, words, names, st.just(""), st.just(PROVIDER)) | st.builds(
        ReasoningPart, st.just(""), st.just(""), names, st.just(PROVIDER)
    )
    spoken: list[TextPart | ReasoningPart | ToolCallPart] = [
        *draw(st.lists(texts | reasoning, max_size=4)),
        *calls,
    ]
    return ModelResponse(
        parts=tuple(draw(st.permutations(spoken))),
        finish_reason=draw(st.sampled_from(FinishReason)),
        usage=draw(st.none() | usages()),
        provider=PROVIDER,
        model=draw(names),
        response_id=draw(names),
    )


@st.composite
def conversations(draw: st.DrawFn, *, has_attachments: bool = True) -> tuple[Message, ...]:
    """Messages that every provider takes: what the program says first, every tool call with its result."""
    messages = [system(draw(words))] if draw(st.booleans()) else []
    messages.append(user(draw(words)))
    attachments = st.lists(images | files, max_size=2).map(tuple) if has_attachments else st.just(())
    for turn in range(draw(st.integers(0, 4))):
        call_ids = [f"{turn}-{call_id}" for call_id in draw(st.lists(names, max_size=3, unique=True))]
        calls = [ToolCallPart(call_id, draw(names), draw(arguments)) for call_id in call_ids]
        said = draw(st.lists(words, min_size=0 if calls else 1, max_size=1))
        messages.append(assistant(*said, *calls))
        if calls:
            results = [
                ToolResultPart(call_id, draw(words), draw(st.booleans()), draw(attachments)) for call_id in call_ids
            ]
            messages.append(tool_results(*results))
        else:
            messages.append(user(*draw(st.lists(texts | images | files, min_size=1, max_size=3))))
    return tuple(messages)
