"""A provider that answers DSPy's prompts: what is asked for after ``question`` is answered by rule, in the form that was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import dspy
from aiohttp import web

from agenticflow.testing import allow_model_calls


class Provider:
    """``refusals`` are statuses to answer with first; ``on_request`` is called with each question before it is answered."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusals: list[int] = []
        self.on_request: Callable[[str], Any] = lambda question: None
        self.answers: Callable[[str], str] = lambda question: f"all about {question}"
        self.url = ""

    def lm(self, **options: Any) -> dspy.LM:
        """Return DSPy's own model for it."""
        return dspy.LM("openai/gpt-test", api_base=self.url, api_key="not-a-key", cache=False, num_retries=0, **options)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            with allow_model_calls(self.url):
                yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        text = _text_of(body["messages"][-1]["content"])
        found = re.search(r"\[\[ ## question ## \]\]\n(.*?)(?:\n\n|$)", text, re.DOTALL)
        question = found[1].strip() if found else text
        self.asked.append(question)
        if self.refusals:
            status = self.refusals.pop(0)
            error = {"message": "told to", "type": "test", "code": None, "param": None}
            return web.json_response({"error": error}, status=status, headers={"retry-after": "7"})
        waits = self.on_request(question)
        if waits is not None:
            await waits
        answer = self.answers(question)
        content = json.dumps({"answer": answer}) if "response_format" in body else f"[[ ## answer ## ]]\n{answer}\n"
        if "[[ ## reasoning ## ]]" in text:
            content = f"[[ ## reasoning ## ]]\nbecause\n\n{content}"
        message = {"role": "assistant", "content": f"{content}\n[[ ## completed ## ]]"}
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": "gpt-test-0001",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
            }
        )


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts: list[dict[str, str]] = content if isinstance(content, list) else []
    return "".join(part.get("text", "") for part in parts)
