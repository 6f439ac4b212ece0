"""The journal as handlers see it, over a desk that keeps what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from agenticflow.core.interrupts import Interrupted
from agenticflow.core.journal import (
    CallEffect,
    Entry,
    Fingerprint,
    TaskJournal,
    fingerprint_of,
    first_difference,
)
from agenticflow.core.results import ErrorInfo
from agenticflow.errors import (
    DefinitionError,
    InvalidInput,
    NonDeterminismError,
    NotSerializable,
    OutcomeUnknown,
    PermanentError,
)
from tests.unit.core.test_context import context

T = TypeVar("T")


class Paper:
    """A desk without an engine: everything is written down at once."""

    def __init__(self, entries: dict[str, Entry] | None = None) -> None:
        self.entries: dict[str, Entry] = {} if entries is None else entries
        self.written: list[str] = []
        self.is_closed = self.is_superseded = False

    async def find(self, key: str) -> Entry | None:
        return self.entries.get(key)

    async def start(self, key: str, fingerprint: Fingerprint) -> None:
        self.written.append(f"start {key}")
        self.entries[key] = Entry(fingerprint, "at_most_once", 1)

    async def end(
        self,
        key: str,
        fingerprint: Fingerprint,
        effect: CallEffect,
        *,
        value: bytes | None = None,
        error: ErrorInfo | None = None,
        is_given: bool = False,
    ) -> None:
        self.written.append(f"{'given' if is_given else 'end'} {key}")
        self.entries[key] = Entry(fingerprint, effect, 1, value, error)

    async def withdraw(self, key: str) -> None:
        self.written.append(f"withdraw {key}")
        del self.entries[key]

    async def forget(self, key: str) -> None:
        keys = list(self.entries)
        for one in keys[keys.index(key) :]:
            del self.entries[one]
        self.written.append(f"forget {key}")

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def close(self) -> None:
        self.is_closed = True


class Work:
    """Counts how often it is done."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.count = 0

    async def __call__(self) -> object:
        return self.now()

    def now(self) -> object:
        self.count += 1
        answer = self.answers[min(self.count, len(self.answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def journal(paper: Paper) -> TaskJournal:
    return TaskJournal(paper, "research")


async def test_a_call_is_made_once_and_its_result_is_plain_data() -> None:
    paper, work = Paper(), Work((1, 2))
    assert await journal(paper).call("a", work, request={"q": 1}) == [1, 2]
    assert await journal(paper).call("a", work, request={"q": 1}) == [1, 2]
    assert (work.count, paper.written) == (1, ["end a"])


async def test_what_raised_is_made_again_and_may_be_in_the_same_attempt() -> None:
    paper, work = Paper(), Work(ValueError("busy"), "done")
    ours = journal(paper)
    with pytest.raises(ValueError, match="busy"):
        await ours.call("a", work)
    assert await ours.call("a", work) == "done"
    assert paper.written == ["end a"]


async def test_what_must_not_happen_twice_is_recorded_before_and_its_error_after() -> None:
    paper, work = Paper(), Work(ValueError("declined"))
    with pytest.raises(ValueError, match="declined"):
        await journal(paper).call("pay", work, effect="at_most_once")
    with pytest.raises(
        PermanentError, match="'pay' of 'research' failed, and must not happen twice: ValueError: declined"
    ):
        await journal(paper).call("pay", work, effect="at_most_once")
    assert (work.count, paper.written) == (1, ["start pay", "end pay"])


async def test_nobody_knows_what_came_of_it() -> None:
    paper, work = Paper({"pay": Entry(fingerprint_of(None), "at_most_once", 1)}), Work("paid")
    with pytest.raises(OutcomeUnknown, match="nobody knows what came of the call 'pay'"):
        await journal(paper).call("pay", work, effect="at_most_once")
    ours = journal(paper)
    assert await ours.call("pay", work, effect="at_most_once", interrupted="unknown") == "unknown"
    assert await journal(paper).call("pay", work, effect="at_most_once") == "unknown"
    assert (work.count, paper.written) == (0, ["given pay"])


@pytest.mark.parametrize(
    ("raised", "written"),
    [
        (Interrupted(()), ["start pay", "withdraw pay"]),
        (asyncio.CancelledError(), ["start pay"]),
        (OutcomeUnknown("gone"), ["start pay"]),
    ],
)
async def test_what_neither_happened_nor_failed(raised: BaseException, written: list[str]) -> None:
    paper = Paper()
    with pytest.raises(type(raised)):
        await journal(paper).call("pay", Work(raised), effect="at_most_once")
    assert paper.written == written


async def test_a_value_without_a_form_is_the_end_of_what_must_not_happen_twice() -> None:
    paper = Paper()
    with pytest.raises(NotSerializable):
        await journal(paper).call("pay", Work(object()), effect="at_most_once")
    assert paper.written == ["start pay", "end pay"]


async def test_another_request_under_the_key_is_said_with_where_it_differs() -> None:
    paper, work = Paper(), Work("a", "b", "c")
    await journal(paper).call("first", work, request={"input": ["hi"], "model": "m"})
    await journal(paper).call("second", work, request=1)
    with pytest.raises(
        NonDeterminismError, match=r"'research' does not repeat .* under 'first': input\[0\] was 'hi' and is 'ho'"
    ):
        await journal(paper).call("first", work, request={"input": ["ho"], "model": "m"})
    with pytest.raises(NonDeterminismError, match="its effect was 'idempotent' and is 'at_most_once'"):
        await journal(paper).call("second", work, request=1, effect="at_most_once")
    changed = await journal(paper).call("first", work, request={"input": ["ho"]}, on_difference="forget")
    assert (changed, list(paper.entries)) == ("c", ["first"])


async def test_keys_are_used_once_in_an_attempt() -> None:
    ours = journal(Paper())
    assert [ours.numbered("model"), ours.numbered("model"), ours.numbered("tool")] == ["model-1", "model-2", "tool-1"]
    await ours.call("a", Work(1))
    with pytest.raises(InvalidInput, match="makes two calls under the key 'a'"):
        await ours.call("a", Work(1))

    async def again() -> object:
        return await ours.call("b", Work(1))

    with pytest.raises(InvalidInput, match="'b'"):
        await ours.call("b", again)


@pytest.mark.parametrize("key", ["", "x" * 201, 7])
async def test_a_key_is_a_short_text(key: Any) -> None:
    with pytest.raises(InvalidInput, match="is no key of a call"):
        await journal(Paper()).call(key, Work(1))


async def test_an_effect_is_one_of_two() -> None:
    with pytest.raises(InvalidInput, match="effect='pure'"):
        await journal(Paper()).call("a", Work(1), effect="pure")  # type: ignore[arg-type]  # what a user may write


def test_from_a_thread() -> None:
    paper, work = Paper(), Work("x")
    assert journal(paper).call_from_thread("a", work.now) == "x"
    assert journal(paper).call_from_thread("a", work.now) == "x"
    with pytest.raises(ValueError, match="no"):
        journal(paper).call_from_thread("pay", Work(ValueError("no")).now, effect="at_most_once")
    assert (work.count, paper.written) == (1, ["end a", "start pay", "end pay"])


def test_fingerprints_are_short_and_name_their_parts() -> None:
    items = [{"text": "x" * 100, "n": n} for n in range(300)]
    found = fingerprint_of({"input": items, "model": "m", "t": 0.5})
    assert found[0] == ("len(input)", "300")
    assert found[1][0] == "input[:280]"
    assert found[-2:] == (("model", "'m'"), ("t", "0.5"))
    assert len(found) == 24
    wide = fingerprint_of({f"k{n:03}": n for n in range(500)})
    assert (len(wide), wide[-1][0]) == (100, "the rest")
    assert fingerprint_of([1]) == (("request", fingerprint_of([1])[0][1]),)
    with pytest.raises(NotSerializable):
        fingerprint_of({"a": object()})


def test_the_first_difference() -> None:
    one = fingerprint_of({"a": 1, "b": [1, 2]})
    assert first_difference(one, one) is None
    assert first_difference(one, fingerprint_of({"a": 2, "b": [1, 2]})) == "a was 1 and is 2"
    assert first_difference(one, fingerprint_of({"a": 1, "b": [1]})) == "len(b) was 2 and is 1"
    assert first_difference(one, fingerprint_of({"a": 1})) == "len(b) was 2 and is not there"
    assert first_difference((("a", "1"), ("b", "1")), (("b", "1"), ("a", "1"))) == "its parts are in another order"


def test_the_context_has_a_journal_where_an_engine_performs_the_task() -> None:
    class Shelf:
        def __init__(self) -> None:
            self.asked: list[dict[str, object]] = []
            self.paper = Paper()

        def desk(self, **asked: Any) -> Paper:
            self.asked.append(asked)
            return self.paper

    found, shelf = context(), Shelf()
    with pytest.raises(DefinitionError, match=r"task 'charge\[2\]' has no journal here"):
        _ = found.journal
    found.close_journal()
    found.journals, found.token = shelf, 7
    assert found.journal is found.journal
    told = {"workflow_id": "w1", "run_no": 1, "task_key": "charge[2]", "generation": 0, "token": 7, "attempt": 1}
    assert shelf.asked == [told]
    assert not found.is_superseded
    shelf.paper.is_superseded = True
    assert found.is_superseded
    found.close_journal()
    assert shelf.paper.is_closed
