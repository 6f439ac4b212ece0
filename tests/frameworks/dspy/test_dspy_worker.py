"""DSPy modules as workers: every answer of a model is paid for once, whoever asks for it again."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import dspy
import pydantic
import pytest
from dspy.utils import DummyLM

from agenticflow import (
    DefinitionError,
    Orchestrator,
    PermanentError,
    RetryPolicy,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
)
from agenticflow.agents.model import Usage
from agenticflow.errors import (
    BudgetExceeded,
    ConfigurationError,
    ContextTooLong,
    InvalidInput,
    ModelAccessDenied,
    ModelAnswerGarbled,
    ModelRateLimited,
    ModelTimeout,
)
from agenticflow.integrations.frameworks.dspy import dspy_worker
from agenticflow.integrations.frameworks.dspy.engines import usage_of
from agenticflow.integrations.frameworks.dspy.failures import mapped
from agenticflow.resilience.budgets import Budget
from tests.frameworks.dspy.provider import Provider

AGAIN = RetryPolicy(max_attempts=3, initial_delay_seconds=0.01)
ONCE = RetryPolicy(max_attempts=1)


async def run(worker: Any, params: dict[str, Any], *, engine: Orchestrator | None = None, **options: Any) -> Any:
    """Perform one task with the worker; return its result."""
    if engine is None:
        async with Orchestrator(store="memory:") as own:
            return await run(worker, params, engine=own, **options)
    engine.register_worker(worker)
    only = TaskDefinition("only", worker.name, params=params, **options)
    handle = await engine.start_workflow(WorkflowDefinition([only], output="${only}"), workflow_id="w")
    return await handle.result()


async def failure_of(worker: Any, params: dict[str, Any], **options: Any) -> str:
    with pytest.raises(WorkflowExecutionError) as failed:
        await run(worker, params, **options)
    return failed.value.failed["only"]


# --- what may be a worker -------------------------------------------------------------------------------------------------


async def test_a_signature_is_enough(server: Provider) -> None:
    answer = dspy_worker("answer", lm=server.lm())("question -> answer")
    assert await run(answer, {"question": "tea"}) == {"answer": "all about tea"}
    assert server.asked == ["tea"]


async def test_a_module_class_is_made_once_and_called_in_a_thread(server: Provider) -> None:
    made: list[str] = []

    @dspy_worker("research", lm=server.lm())
    class Research(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            made.append(threading.current_thread().name)
            self.first = dspy.ChainOfThought("question -> answer")
            self.second = dspy.Predict("question -> answer")

        def forward(self, topic: str, times: int = 1) -> Any:
            assert threading.current_thread() is not threading.main_thread()
            notes = self.first(question=topic).answer
            return [self.second(question=f"{notes} {number}").answer for number in range(times)]

    assert await run(Research, {"topic": "tea", "times": 2}) == [
        "all about all about tea 0",
        "all about all about tea 1",
    ]
    assert len(made) == 1


async def test_a_module_with_an_aforward_runs_on_the_loop(server: Provider) -> None:
    class Research(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = dspy.Predict("question -> answer")

        async def aforward(self, topic: str) -> Any:
            assert threading.current_thread() is threading.main_thread()
            both = await asyncio.gather(*(self.first.acall(question=f"{topic} {n}") for n in range(2)))
            return sorted(each.answer for each in both)

    assert await run(dspy_worker("research", lm=server.lm())(Research()), {"topic": "tea"}) == [
        "all about tea 0",
        "all about tea 1",
    ]


class Fact(pydantic.BaseModel):
    text: str


class Facts(dspy.Signature):
    """Find facts."""

    question: str = dspy.InputField()
    answer: list[Fact] = dspy.OutputField()


async def test_typed_fields_become_plain_data(server: Provider) -> None:
    server.answers = lambda question: '[{"text": "it grows"}]'
    facts = dspy_worker("facts", lm=server.lm())(Facts)
    assert await run(facts, {"question": "tea"}) == {"answer": [{"text": "it grows"}]}


async def test_models_come_from_the_predictor_the_worker_or_the_configuration(server: Provider) -> None:
    predictor = dspy.Predict("question -> answer")
    predictor.lm = DummyLM([{"answer": "its own"}])
    assert await run(dspy_worker("own", lm=server.lm())(predictor), {"question": "?"}) == {"answer": "its own"}
    with dspy.context(lm=DummyLM([{"answer": "configured"}])):
        assert await run(dspy_worker("conf")("question -> answer"), {"question": "?"}) == {"answer": "configured"}
    assert "ConfigurationError: the worker 'none' has no language model" in await failure_of(
        dspy_worker("none")("question -> answer"), {"question": "?"}
    )
    assert server.asked == []


async def test_wrong_inputs_fail_before_a_model_is_asked(server: Provider) -> None:
    answer = dspy_worker("answer", lm=server.lm())("question, count: int -> answer")
    assert "takes no 'quest'" in await failure_of(answer, {"question": "?", "count": 1, "quest": "?"})
    assert "nothing fills the parameter 'question'" in await failure_of(answer, {"count": 1})
    assert "does not take 'many'" in await failure_of(answer, {"question": "?", "count": "many"})
    assert server.asked == []


def test_what_is_no_module_says_why() -> None:
    with pytest.raises(DefinitionError, match="not of a DSPy module"):
        dspy_worker("number")(7)
    with pytest.raises(DefinitionError, match="not of a DSPy module"):
        dspy_worker("function")(lambda: 7)
    with pytest.raises(DefinitionError, match="does not make a module"):
        dspy_worker("function")(lambda needed: needed)
    with pytest.raises(DefinitionError, match="has no signature"):
        dspy_worker("signature")("no arrow")
    with pytest.raises(InvalidInput, match="the budget is 7"):
        dspy_worker("budget", budget=7)  # type: ignore[arg-type]  # what a newcomer writes
    with pytest.raises(DefinitionError, match="got 'Thrice', not a name"):
        dspy_worker(Thrice)  # type: ignore[arg-type]  # what a newcomer writes
    with pytest.raises(DefinitionError, match="run_in='process'"):
        dspy_worker("process", run_in="process")("question -> answer")
    with pytest.raises(DefinitionError, match="has no aforward"):
        dspy_worker("loop", run_in="loop")(Thrice(failures=0))
    with pytest.raises(DefinitionError, match="not a name"):
        dspy_worker("")("question -> answer")


async def test_forward_gets_the_context_when_it_asks_for_it() -> None:
    class Knows(dspy.Module):
        def forward(self, times: int, context: TaskContext) -> str:
            return f"{context.task_key} {times}"

    assert await run(dspy_worker("knows")(Knows), {"times": 2}) == "only 2"


async def test_more_tasks_than_threads_wait_and_none_for_another() -> None:
    """A model without an async face needs a thread too, while the module holds its own."""
    lm = DummyLM([{"answer": "yes"}] * 60)
    worker = dspy_worker("many", lm=lm, run_in="thread", concurrency=40)("question -> answer")
    definition = WorkflowDefinition(
        [TaskDefinition("ask", "many", params={"question": "${item}"}, for_each=[str(n) for n in range(60)])],
        output="${ask}",
    )
    async with Orchestrator(store="memory:") as engine:
        engine.register_worker(worker)
        handle = await engine.start_workflow(definition)
        assert await handle.result() == [{"answer": "yes"}] * 60


# --- the journal ----------------------------------------------------------------------------------------------------------


class Thrice(dspy.Module):
    """Asks three things, two of them at once and equal, and fails until it is told not to."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.ask = dspy.Predict("question -> answer")
        self.failures = failures

    def forward(self, topic: str) -> str:
        first = self.ask(question=topic).answer
        pair = [(self.ask, dspy.Example(question="twice").with_inputs("question")) for _ in range(2)]
        both = dspy.Parallel(num_threads=2, disable_progress_bar=True)(pair)
        if self.failures:
            self.failures -= 1
            raise ValueError("after all of them")
        return ", ".join([first, *(each.answer for each in both)])


async def test_another_attempt_asks_nothing_that_was_answered(server: Provider) -> None:
    """Also what was asked at once and from other threads, and what was asked twice."""
    worker = dspy_worker("thrice", lm=server.lm())(Thrice(failures=2))
    assert await run(worker, {"topic": "tea"}, retry_policy=AGAIN) == "all about tea, all about twice, all about twice"
    assert sorted(server.asked) == ["tea", "twice", "twice"]


async def test_a_call_that_failed_is_made_again(server: Provider) -> None:
    server.refusals = [500]
    worker = dspy_worker("answer", lm=server.lm())("question -> answer")
    assert await run(worker, {"question": "tea"}, retry_policy=AGAIN) == {"answer": "all about tea"}
    assert server.asked == ["tea", "tea"]


async def test_another_task_asks_for_itself(server: Provider) -> None:
    worker = dspy_worker("answer", lm=server.lm())("question -> answer")
    definition = WorkflowDefinition([TaskDefinition(name, "answer", params={"question": "tea"}) for name in "ab"])
    async with Orchestrator(store="memory:") as engine:
        engine.register_worker(worker)
        await engine.execute_workflow(definition)
    assert server.asked == ["tea", "tea"]


async def test_several_candidates_are_several_calls(server: Provider) -> None:
    number = iter(range(10))
    server.answers = lambda question: f"answer {next(number)}"

    class Candidates(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> answer", n=3)
            self.tried = 0

        def forward(self, question: str) -> list[str]:
            found = sorted(self.ask(question=question).completions.answer)
            self.tried += 1
            if self.tried == 1:
                raise ValueError("once more")
            return found

    worker = dspy_worker("candidates", lm=server.lm(temperature=1.0))(Candidates)
    assert await run(worker, {"question": "tea"}, retry_policy=AGAIN) == ["answer 0", "answer 1", "answer 2"]
    assert len(server.asked) == 3


# --- stopping -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["forward", "aforward"])
async def test_a_module_that_waits_for_a_model_is_interrupted(kind: str, server: Provider) -> None:
    begun, released = asyncio.Event(), asyncio.Event()
    after: list[str] = []

    def hold(question: str) -> Any:
        begun.set()
        return released.wait()

    server.on_request = hold

    class Waits(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> answer")

        def forward(self, question: str) -> Any:
            answer = self.ask(question=question)
            after.append("not interrupted")
            return answer

    module: dspy.Module = Waits() if kind == "forward" else dspy.Predict("question -> answer")
    async with Orchestrator(store="memory:") as engine:
        engine.register_worker(dspy_worker("waits", lm=server.lm())(module))
        handle = await engine.start_workflow(
            WorkflowDefinition([TaskDefinition("only", "waits", params={"question": "tea"})])
        )
        await begun.wait()
        await handle.abort("enough")
        with pytest.raises(WorkflowExecutionError, match="enough"):
            await handle.result()
    released.set()
    assert after == []
    assert len(server.asked) == 1, "an adapter that tries another form asks no more"


async def test_asking_as_if_plain_on_the_loop_is_an_error_and_no_standstill(server: Provider) -> None:
    class Mixed(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> answer")

        async def aforward(self, question: str) -> Any:
            return self.ask(question=question)

    worker = dspy_worker("mixed", lm=server.lm())(Mixed)
    assert "write await module.acall(…) in aforward" in await failure_of(worker, {"question": "?"})


# --- failures -------------------------------------------------------------------------------------------------------------


async def test_errors_of_dspy_become_ours(server: Provider) -> None:
    worker = dspy_worker("answer", lm=server.lm())("question -> answer")
    for status, kind in (
        (401, "ModelAccessDenied"),
        (429, "ModelRateLimited"),
        (400, "ModelRequestRefused"),
        (503, "ModelUnavailable"),
    ):
        server.refusals = [status] * 4
        assert (await failure_of(worker, {"question": "?"}, retry_policy=ONCE)).startswith(f"{kind}: ")
    server.refusals = []
    server.answers = lambda question: "many"
    count = dspy_worker("count", lm=server.lm())("question -> answer: int")
    assert (await failure_of(count, {"question": "?"}, retry_policy=ONCE)).startswith("ModelOutputInvalid: ")


def test_every_error_has_one_of_ours() -> None:
    from dspy.utils import exceptions

    def of(kind: str, **more: Any) -> Any:
        return mapped("w", getattr(exceptions, kind)(message="words", model="m", **more))

    assert isinstance(of("ContextWindowExceededError"), ContextTooLong)
    assert isinstance(of("LMBillingError"), ModelAccessDenied)
    assert isinstance(of("LMConfigurationError"), ConfigurationError)
    assert isinstance(of("LMTimeoutError"), ModelTimeout)
    assert isinstance(of("LMUnexpectedError"), ModelAnswerGarbled)
    limited = of("LMRateLimitError", retry_after=7)
    assert isinstance(limited, ModelRateLimited)
    assert limited.retry_after_seconds == 7
    assert mapped("w", ValueError("mine")) is None
    ours = PermanentError("never")
    wrapped = exceptions.LMUnexpectedError(message="wrapped", model="m")
    wrapped.__cause__ = ours
    assert mapped("w", wrapped) is ours


async def test_what_a_module_raises_is_the_outcome(server: Provider) -> None:
    class Refuses(dspy.Module):
        def forward(self, question: str) -> Any:
            raise PermanentError("never")

    tried = await failure_of(dspy_worker("refuses")(Refuses), {"question": "?"}, retry_policy=AGAIN)
    assert tried == "PermanentError: never"


async def test_real_models_are_not_asked_where_that_is_forbidden() -> None:
    real = dspy_worker("real", lm=dspy.LM("openai/gpt-test", api_key="not-a-key"))("question -> answer")
    assert (await failure_of(real, {"question": "?"}, retry_policy=ONCE)).startswith("ModelCallsForbidden: ")


# --- budgets --------------------------------------------------------------------------------------------------------------

PRICES = '{"openai:gpt-test": {"input_per_million": 1000, "output_per_million": 1000}}'


async def test_a_task_keeps_to_its_budget_over_all_attempts(
    server: Provider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "prices.json").write_text(PRICES, encoding="utf-8")
    monkeypatch.setenv("AGENTICFLOW_MODELS__PRICES", str(tmp_path / "prices.json"))
    async with Orchestrator(store="memory:") as engine:
        worker = dspy_worker(
            "thrice",
            lm=server.lm(max_tokens=100),
            budget=Budget(usd=10, tokens=100_000),
        )(Thrice(failures=2))
        await run(worker, {"topic": "tea"}, engine=engine, retry_policy=AGAIN)
        (view,) = await engine.budgets.list()
        assert (view.calls, view.spent.tokens, view.open_count, view.is_complete) == (3, 75, 0, True)
        assert float(view.spent.usd) == pytest.approx(0.075)


def test_tokens_are_counted_as_providers_mean_them() -> None:
    told = {"usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 100, "reasoning_tokens": 3}}
    assert usage_of("openai:m", told) == Usage(10, 5, 100, 0, 3)
    assert usage_of("anthropic:m", told) == Usage(110, 5, 100, 0, 3)
    assert usage_of("gemini:m", told) == Usage(10, 8, 100, 0, 3)
    assert usage_of("openai:m", {"usage": {"input_tokens": 10}}) is None
    assert usage_of("openai:m", {}) is None


async def test_a_call_that_does_not_fit_is_not_made(server: Provider) -> None:
    """Whatever the module makes of the error: an answer that came about without the call does not count."""

    class Shrugs(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> answer")

        def forward(self, question: str) -> str:
            try:
                return str(self.ask(question=question).answer)
            except Exception:  # noqa: BLE001 - what is shown
                return "no idea"

    async with Orchestrator(store="memory:") as engine:
        await engine.budgets.open("all", Budget(tokens=50))
        worker = dspy_worker("shrugs", lm=server.lm(), budget=Budget(tokens=100_000))(Shrugs)
        params = {"question": "tea", "budget": "all"}
        reason = await failure_of(worker, params, engine=engine, retry_policy=AGAIN)
        assert reason.startswith(f"{BudgetExceeded.__name__}: the budget 'all' of 50 tokens")
        assert server.asked == []
        for view in await engine.budgets.list():
            assert (view.calls, view.open_count) == (0, 0)


async def test_what_was_refused_costs_nothing_and_what_broke_counts_as_made(server: Provider) -> None:
    server.refusals = [429, 500]
    async with Orchestrator(store="memory:") as engine:
        worker = dspy_worker("answer", lm=server.lm(max_tokens=100), budget=Budget(tokens=100_000))(
            "question -> answer"
        )
        assert await run(worker, {"question": "tea"}, engine=engine, retry_policy=AGAIN) == {"answer": "all about tea"}
        (view,) = await engine.budgets.list()
        assert (view.calls, view.unmetered_calls, view.open_count) == (2, 1, 0)
