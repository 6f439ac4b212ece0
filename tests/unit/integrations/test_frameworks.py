"""What adapters of frameworks share, and what is said where a framework is not installed."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from agenticflow.agents.model.responses import Usage
from agenticflow.agents.spending.journalled import AskedModel
from agenticflow.integrations.loops import ForeignLoop
from agenticflow.testing import MemoryJournals
from tests.contracts.house import plain_environment
from tests.unit.core.test_context import context

BLOCKED = """
import sys


class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Nothing())
from agenticflow.errors import ConfigurationError

try:
    {code}
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "code", "words"),
    [
        ("agents", "import agenticflow.integrations.frameworks.openai_agents", "agenticflow[openai-agents]"),
        ("pydantic_ai", "import agenticflow.integrations.frameworks.pydantic_ai", "agenticflow[pydantic-ai]"),
        (
            "pydantic_ai",
            "from agenticflow.app.models import model_from; model_from('pydantic-ai:test')",
            "needs the extra 'pydantic-ai'",
        ),
    ],
)
def test_one_error_names_the_extra(module: str, code: str, words: str) -> None:
    program = BLOCKED.format(module=module, code=code)
    said = subprocess.run(
        [sys.executable, "-c", program], env=plain_environment(), capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert words in said


async def answer(value: object) -> object:
    await asyncio.sleep(0)
    return value


def priced() -> AskedModel:
    return AskedModel(model="scripted:m", chars=30, max_output_tokens=10, used=lambda value: Usage(5, 5))


def attempt(journals: MemoryJournals) -> ForeignLoop:
    task = context()
    task.journals = journals
    return ForeignLoop(task)


async def test_calls_have_the_same_names_in_each_attempt_whatever_failed_meanwhile() -> None:
    journals = MemoryJournals()
    first = attempt(journals)
    with pytest.raises(ZeroDivisionError):
        await first.ask(_fail, "hello", priced)
    assert await first.ask(lambda: answer("one"), "hello", priced) == "one"
    await first.call("tool", lambda: answer(1))
    await first.call("tool", lambda: answer(2))
    inner, again = first.inside("agent"), first.inside("agent")
    assert (inner.path, again.path) == ("1.agent/", "1.agent#2/")
    await inner.ask(lambda: answer("inside"), "x", priced)
    assert await first.ask(lambda: answer("two"), "world", priced) == "two"
    (entries,) = journals.entries.values()
    names = ["model-1", "1.tool", "1.tool#2", "1.agent/model-1", "model-2"]
    assert list(entries) == names
    second = attempt(journals)
    assert await second.ask(_fail, "hello", priced) == "one"
    assert [await second.call("tool", _fail), await second.call("tool", _fail)] == [1, 2]
    assert await second.ask(_fail, "world", priced) == "two"
    assert list(entries) == names


async def test_long_names_are_cut_and_stay_apart() -> None:
    loop = attempt(MemoryJournals())
    keys = {loop.key_of(f"{'x' * 300}{number}") for number in range(5)}
    assert len(keys) == 5
    assert all(len(key) <= 200 for key in keys)


async def test_a_call_that_was_cut_off_is_told_to_the_model() -> None:
    journals = MemoryJournals()
    with pytest.raises(asyncio.CancelledError):
        await attempt(journals).call("send", _cut, effect="at_most_once")
    told = await attempt(journals).call("send", _fail, effect="at_most_once")
    assert "nobody knows whether it took effect" in told


async def _fail() -> object:
    raise ZeroDivisionError


async def _cut() -> object:
    raise asyncio.CancelledError


def test_loops_of_one_handler_are_told_apart_by_their_order_or_their_key() -> None:
    task = context()
    task.journals = MemoryJournals()
    begun = [ForeignLoop.begin(task, key).path for key in ("", "", "a", "a", "")]
    assert begun == ["", "run-2/", "a/", "a-2/", "run-3/"]
