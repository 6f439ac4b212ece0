"""What can be a handler, and where it runs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest

from agenticflow.core.binding import Handler, RunsIn
from agenticflow.core.context import TaskContext
from agenticflow.errors import DefinitionError, InvalidInput
from tests.unit.core.test_binding import context


class Clerk:
    def work(self, amount: int) -> int:
        return amount

    async def wait(self, amount: int) -> int:
        return amount

    @classmethod
    def count(cls, amount: int) -> int:
        return amount

    @staticmethod
    def add(amount: int) -> int:
        return amount


class Charge:
    def __call__(self, amount: int) -> int:
        return amount


class ChargeLater:
    async def __call__(self, amount: int) -> int:
        return amount


@dataclasses.dataclass
class Ledger:
    """Equal by content, so it has no hash."""

    entries: list[int]

    def __call__(self, amount: int) -> int:
        return amount


def charge(amount: int, currency: str = "EUR") -> object:
    return amount, currency


async def charge_later(amount: int, currency: str = "EUR") -> object:
    return amount, currency


def wrapped(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def around(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return around


@pytest.mark.parametrize(
    ("function", "place"),
    [
        (charge, RunsIn.THREAD),
        (charge_later, RunsIn.LOOP),
        (Clerk().work, RunsIn.THREAD),
        (Clerk().wait, RunsIn.LOOP),
        (Clerk.count, RunsIn.THREAD),
        (Clerk.add, RunsIn.THREAD),
        (Charge(), RunsIn.THREAD),
        (ChargeLater(), RunsIn.LOOP),
        (Ledger([]), RunsIn.THREAD),
        (functools.partial(charge, currency="USD"), RunsIn.THREAD),
        (functools.partial(charge_later, currency="USD"), RunsIn.LOOP),
        (wrapped(charge), RunsIn.THREAD),
        (lambda amount: amount, RunsIn.THREAD),
    ],
)
def test_every_callable_knows_its_place_and_its_parameters(function: Callable[..., object], place: RunsIn) -> None:
    handler = Handler(function, name="clerk.work")
    assert handler.runs_in is place
    assert handler.arguments({"amount": 5}, context())["amount"] == 5


@pytest.mark.parametrize(
    "function",
    [
        charge,
        Clerk().work,
        Clerk.count,
        Charge(),
        ChargeLater(),
        functools.partial(charge, currency="USD"),
        wrapped(charge),
    ],
)
def test_hints_are_found_wherever_they_stand(function: Callable[..., object]) -> None:
    with pytest.raises(InvalidInput, match="'amount'"):
        Handler(function, name="clerk.work").arguments({"amount": "five"}, context())


def test_parameters_without_a_name_are_refused() -> None:
    def star(*amounts: int) -> None: ...
    def slash(amount: int, /) -> None: ...

    for function in (star, slash):
        with pytest.raises(DefinitionError, match="no name to fill it by"):
            Handler(function, name="clerk.work")


def test_what_is_no_function_is_no_handler() -> None:
    nonsense: Any = "charge"
    with pytest.raises(DefinitionError, match=r"'clerk\.work' is a str, not a function"):
        Handler(nonsense, name="clerk.work")


@pytest.mark.parametrize(
    ("function", "run_in", "words"),
    [
        (charge, "loop", "would block the event loop"),
        (charge_later, "thread", "is async and cannot run in a thread"),
        (charge_later, "process", "is async and cannot run in a process"),
        (charge, "cloud", "run_in='cloud' .* is unknown"),
        (lambda amount: amount, "process", "importable by name"),
        (functools.partial(charge), "process", "importable by name"),
        (Charge(), "process", "importable by name"),
        (Clerk().work, "process", "importable by name"),
    ],
)
def test_places_that_cannot_be(function: Callable[..., object], run_in: str, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        Handler(function, name="clerk.work", run_in=run_in)


def test_local_functions_do_not_run_in_processes() -> None:
    def local(amount: int) -> None: ...

    with pytest.raises(DefinitionError, match="importable by name"):
        Handler(local, name="clerk.work", run_in="process")


def with_context(context: TaskContext) -> None: ...


def test_a_process_has_no_context() -> None:
    with pytest.raises(DefinitionError, match="cannot take the context there"):
        Handler(with_context, name="clerk.work", run_in="process")


@pytest.mark.parametrize("function", [charge, Clerk.count, Clerk.add])
def test_places_on_request(function: Callable[..., object]) -> None:
    assert Handler(function, name="x", run_in="process").runs_in is RunsIn.PROCESS
    assert Handler(function, name="x", run_in="thread").runs_in is RunsIn.THREAD


def take_all(amount: int, params: dict[str, object]) -> None: ...


def test_what_goes_to_a_process_is_gathered_unchecked() -> None:
    handler = Handler(charge, name="x", run_in="process")
    given = context({"currency": "USD"}, amount="five")
    assert handler.gather({}, given) == {"amount": "five", "currency": "USD"}
    assert handler.gather({"currency": "EUR"}, given) == {"amount": "five"}
    assert handler.gather({"amount": 1, "more": 2}, context()) == {}


def test_a_function_that_takes_all_params_may_look_up_a_result_beside_them() -> None:
    handler = Handler(take_all, name="x", run_in="process")
    assert handler.gather({"b": 2}, context(amount=1)) == {"amount": 1}
