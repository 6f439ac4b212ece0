"""An office for supervised requests: an analyst, a writer, a mailer, and answers of a model that fit them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from agenticflow import Agent, Orchestrator, PermanentError
from agenticflow.agents import LLMClient
from agenticflow.agents.decomposition import TaskDecomposer
from agenticflow.agents.model import ModelRequest
from agenticflow.app.supervisor import SupervisorAgent
from agenticflow.testing import ScriptedModel

__all__ = ["REPORT", "Office", "asked", "planned", "task"]

REPORT = "Load the sales, then report them"


def task(task_id: str, task_type: str, capability: str, *after: str, **parameters: object) -> dict[str, Any]:
    """Return a task as a model writes it."""
    return {
        "id": task_id,
        "type": task_type,
        "capabilities": [capability],
        "parameters": parameters,
        "dependencies": list(after),
    }


def planned(*tasks: object, reason: str = "figures first") -> str:
    """Return an answer of a model."""
    return json.dumps({"reason": reason, "strategy": "sequential", "tasks": list(tasks)})


def asked(request: ModelRequest) -> dict[str, Any]:
    """Return what a model was told."""
    document: dict[str, Any] = json.loads(request.messages[-1].text)
    return document


class Office:
    """Who works, how often, and who supervises them."""

    def __init__(self, *answers: Any, store: str = "memory:", **options: Any) -> None:
        self.calls: Counter[str] = Counter()
        self.broken: set[str] = set()
        """Tables that nobody can load."""
        self.model = ScriptedModel(answers[0] if answers and callable(answers[0]) else list(answers))
        self.orchestrator = Orchestrator(store=store)
        self.analyst, self.writer, self.mailer = (
            Agent("analyst", {"sql"}, concurrency=4),
            Agent("writer", {"writing"}, concurrency=4),
            Agent("mailer", {"mail"}),
        )
        self.agents = [self.analyst, self.writer, self.mailer]

        @self.analyst.task("load")
        async def load(table: str) -> list[int]:
            self.calls[f"load {table}"] += 1
            if table in self.broken:
                raise PermanentError(f"there is no table {table!r}")
            return [1, 2, len(table)]

        @self.writer.task("run")
        async def run(query: str) -> str:
            self.calls["write"] += 1
            return f"<{query}>"

        @self.mailer.task("send")
        async def send(to: str, text: str) -> str:
            self.calls[f"send {to}"] += 1
            return f"sent to {to}"

        for agent in self.agents:
            self.orchestrator.register_agent(agent)
        given: dict[str, Any] = {"decomposer": TaskDecomposer(LLMClient(self.model))} if answers else {}
        self.supervisor = SupervisorAgent("office", self.orchestrator, **(given | options))

    async def __aenter__(self) -> SupervisorAgent:
        await self.orchestrator.start()
        return self.supervisor

    async def __aexit__(self, *_: object) -> None:
        await self.orchestrator.stop()
