"""``TaskDecomposer``: has a model take a request apart, and makes a workflow of what it says. Pure but for the model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from agenticflow.agents.capabilities import CapabilityRegistry
from agenticflow.agents.decomposition.answers import Reading, foreign_to, read_answer
from agenticflow.agents.decomposition.decomposition import Bounds, Decomposition, plain_form
from agenticflow.agents.decomposition.plans import Doer, Planned, lay_out
from agenticflow.agents.decomposition.prompts import INSTRUCTIONS, Failures, mark_of, prompt_for, schema_for
from agenticflow.agents.model.client import LLMClient
from agenticflow.errors import DefinitionError, InvalidInput, ModelOutputInvalid
from agenticflow.orchestration.definition import WorkflowDefinition

__all__ = ["TaskDecomposer"]

TEMPERATURE: Final = 0.1
MAX_ANSWERS: Final = 10
MAX_QUERY_CHARS: Final = 32_768


class TaskDecomposer:
    """``TaskDecomposer(LLMClient(model))``: ``decompose_query`` and ``create_workflow_definition``.

    ``agents`` is who there is; without it, capabilities are not checked, and the engine finds whoever has them when a task is ready. An
    answer that cannot be used goes back with what is wrong with it, ``max_answers`` in all.
    """

    __slots__ = ("agents", "bounds", "client", "max_answers", "vocabulary")

    def __init__(
        self,
        llm_client: LLMClient,
        *,
        agents: Iterable[Doer] | None = None,
        bounds: Bounds | None = None,
        max_answers: int = 3,
        vocabulary: CapabilityRegistry | None = None,
    ) -> None:
        """Raises ``InvalidInput`` for what is no client, and for a number of answers outside 1 to 10."""
        if not isinstance(llm_client, LLMClient):
            raise InvalidInput(
                f"a TaskDecomposer asks through an LLMClient, not a {type(llm_client).__name__}",
                hint='write TaskDecomposer(LLMClient(model_from("openai:gpt-5")))',
            )
        if isinstance(max_answers, bool) or not isinstance(max_answers, int) or not 1 <= max_answers <= MAX_ANSWERS:
            raise InvalidInput(f"max_answers is {max_answers!r:.60}", hint=f"give a number from 1 to {MAX_ANSWERS}")
        self.client = llm_client
        self.agents = None if agents is None else tuple(agents)
        self.bounds = bounds or Bounds()
        self.max_answers = max_answers
        self.vocabulary = vocabulary

    def through(self, client: LLMClient) -> TaskDecomposer:
        """Return a decomposer like this one that asks through ``client``."""
        return TaskDecomposer(
            client,
            agents=self.agents,
            bounds=self.bounds,
            max_answers=self.max_answers,
            vocabulary=self.vocabulary,
        )

    async def decompose_query(self, query: str, context: Mapping[str, object] | None = None) -> Decomposition:
        """Return the request taken apart, as a workflow can be made of it.

        Raises ``ModelOutputInvalid`` with the problems of the last answer when none could be used, ``InvalidInput`` for what is no query,
        and whatever the model raises.
        """
        problems: Sequence[str] = ()
        answer: object = None
        for _ in range(self.max_answers):
            answer = await self.ask(query, context or {}, self.agents, problems=problems, answered=answer)
            if foreign := self.foreign(answer, query, context):
                problems = (foreign,)
                continue
            reading, planned = self.judge(answer, self.agents, context_keys=list(context or ()))
            if reading.decomposition is not None and planned.plan is not None:
                return reading.decomposition
            problems = (*reading.problems, *planned.problems)
        raise ModelOutputInvalid(
            f"{self.client.model.identity!r} has not taken the request apart in {self.max_answers} answers: "
            f"{'; '.join(problems)}",
            hint="say in the request what is to be done, or register agents that can do it",
            problems=problems,
            text=answer if isinstance(answer, str) else "",
        )

    def create_workflow_definition(
        self, decomposition: Decomposition | Mapping[str, object], context: Mapping[str, object] | None = None
    ) -> WorkflowDefinition:
        """Return the workflow of a decomposition. Its input is the ``query`` and what came with it; ``context`` are defaults of it.

        Raises ``DefinitionError`` with every problem.
        """
        given = plain_form(decomposition) if isinstance(decomposition, Decomposition) else decomposition
        reading, planned = self.judge(given, self.agents, context_keys=None if context is None else list(context))
        if planned.plan is None:
            problems = [*reading.problems, *planned.problems]
            raise DefinitionError(f"no workflow can be made of that: {'; '.join(problems)}", problems=problems)
        definition = planned.plan.definition
        if not context:
            return definition
        return msgspec.structs.replace(definition, context=dict(context))

    # --- what both are made of --------------------------------------------------------------------------------------

    async def ask(
        self,
        query: str,
        context: Mapping[str, object],
        doers: Sequence[Doer] | None,
        *,
        problems: Sequence[str] = (),
        answered: object = None,
        done: Mapping[str, object] | None = None,
        failed: Failures | None = None,
    ) -> object:
        """Ask the model once, and return what it says: data of the form asked for, or its words."""
        check_query(query)
        prompt = prompt_for(
            query, context, doers, self.bounds, problems=problems, answered=answered, done=done, failed=failed
        )
        try:
            answer = await self.client.generate(
                prompt, schema_for(query), temperature=TEMPERATURE, instructions=INSTRUCTIONS, max_repairs=0
            )
        except ModelOutputInvalid as error:
            answer = error.text  # it is read with more patience here, and given back with better reasons
        words = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
        limit = self.bounds.max_answer_chars
        return answer if len(words) <= limit else words[: limit + 1]  # too long to be read, and to be kept

    def foreign(self, answer: object, query: str, *told: object) -> str:
        """Return why an answer is not one to this request, in words: a plan that stands in the query, or in what else the model was
        ``told``, and that it only repeats. Empty when it may be."""
        return foreign_to(answer, mark_of(query), [query, *told], self.bounds.max_answer_chars)

    def judge(
        self, answer: object, doers: Sequence[Doer] | None, *, context_keys: Collection[str] | None = None
    ) -> tuple[Reading, Planned]:
        """Return what ``answer`` comes to: what was read, and the plan that was made of it."""
        reading = read_answer(answer, bounds=self.bounds, context_keys=context_keys or ())
        if reading.decomposition is None:
            return reading, Planned()
        return reading, lay_out(
            reading.decomposition, doers, bounds=self.bounds, context_keys=context_keys, vocabulary=self.vocabulary
        )


def check_query(query: object) -> None:
    """Raise ``InvalidInput`` for what nobody can be asked."""
    if not isinstance(query, str) or not query.strip():
        raise InvalidInput(f"{query!r:.60} is no query", hint='ask in words: "Where is my order?"')
    if len(query) > MAX_QUERY_CHARS:
        raise InvalidInput(
            f"a query of {len(query):,} characters is longer than {MAX_QUERY_CHARS:,}",
            hint="put what it is about into the context, or into a file",
        )
