"""Handlers are plain functions: how their parameters are filled, checked, and where they run."""

from __future__ import annotations

import dataclasses
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Optional, TypedDict
from uuid import UUID

import msgspec
import pytest

from agenticflow.core import codec
from agenticflow.core.binding import Check, Handler
from agenticflow.core.context import TaskContext
from agenticflow.errors import DefinitionError, InvalidInput
from tests.unit.runtime.tasks import double

if TYPE_CHECKING:
    from somewhere import Unknown  # type: ignore[import-not-found]  # stands for a name only the checker knows


def context(given: object = None, **results: object) -> TaskContext:
    return TaskContext(
        workflow_id="w",
        run_no=1,
        task_id="t",
        task_key="t",
        agent_id="a",
        attempt=1,
        generation=0,
        deadline=None,
        params={},
        results=results,
        encoded_input=codec.encode(given if given is not None else {}),
    )


def call(
    function: Callable[..., object], params: dict[str, object] | None = None, given: TaskContext | None = None
) -> object:
    handler = Handler(function, name="clerk.work")
    return function(**handler.arguments(params or {}, context() if given is None else given))


# --- filling --------------------------------------------------------------------------------------------------------------


def test_a_parameter_is_filled_from_the_first_place_that_has_its_name() -> None:
    def work(a: int, b: int, c: int, d: int = 4) -> tuple[int, ...]:
        return a, b, c, d

    given = context({"a": 30, "b": 30, "c": 30}, a=20, b=20)
    assert call(work, {"a": 10}, given) == (10, 20, 30, 4)


def test_a_default_is_taken_as_it_is() -> None:
    def work(limit: int = "none") -> object:  # type: ignore[assignment]  # a default is the author's business
        return limit

    assert call(work) == "none"


def test_none_is_a_value() -> None:
    def work(a: int | None = 7) -> object:
        return a

    assert call(work, {"a": None}) is None


def test_params_takes_all_of_them_beside_single_ones() -> None:
    def work(a: int, params: dict[str, object]) -> object:
        return a, params

    assert call(work, {"a": 1, "b": 2}) == (1, {"a": 1, "b": 2})


def test_the_context_comes_by_name_or_by_hint() -> None:
    given = context()

    def by_name(context) -> object:  # type: ignore[no-untyped-def]  # without a hint
        return context

    def by_hint(ctx: TaskContext, a: int) -> object:
        return ctx

    assert call(by_name, {}, given) is given
    assert call(by_hint, {"a": 1}, given) is given


def test_the_rest_goes_to_double_star() -> None:
    def work(a: int, **rest: object) -> object:
        return a, rest

    assert call(work, {"a": 1, "b": 2, "c": 3}) == (1, {"b": 2, "c": 3})


def test_keyword_only_parameters_are_filled_alike() -> None:
    def work(*, a: int, b: int = 2) -> object:
        return a, b

    assert call(work, {"a": 1}) == (1, 2)


def test_the_whole_input_is_input_data() -> None:
    def work(input_data: list[int]) -> object:
        return sum(input_data)

    assert call(work, {}, context([1, 2, 3])) == 6


def test_results_are_not_decoded_for_handlers_that_do_not_ask() -> None:
    class Counting(Mapping[str, object]):
        looked: list[str] = []

        def __getitem__(self, key: str) -> object:
            self.looked.append(key)
            return 5

        def __iter__(self) -> Any:
            return iter(["load"])

        def __len__(self) -> int:
            return 1

        def __contains__(self, key: object) -> bool:
            return key == "load"

    given = context()
    given.results = Counting()

    def quiet(a: int) -> object:
        return a

    def curious(load: int) -> object:
        return load

    assert call(quiet, {"a": 1}, given) == 1
    assert Counting.looked == []
    assert call(curious, {}, given) == 5


def test_what_nothing_fills_is_named() -> None:
    def work(amount: int) -> None: ...

    with pytest.raises(
        InvalidInput, match=r"nothing fills the parameter 'amount' of the handler 'clerk.work'"
    ) as refusal:
        call(work)
    assert "params={'amount': …}" in refusal.value.hint


def test_a_misspelled_param_gets_a_suggestion() -> None:
    def work(amount: int, customer: str = "") -> None: ...

    with pytest.raises(InvalidInput, match=r"takes no 'custmer'") as refusal:
        call(work, {"amount": 1, "custmer": "Ann"})
    assert refusal.value.hint == "did you mean 'customer'?"
    with pytest.raises(InvalidInput, match="takes no 'x', 'y'") as refusal:
        call(work, {"amount": 1, "y": 1, "x": 1})
    assert refusal.value.hint == "it takes amount, customer; add `params` to take all"

    def nothing() -> None: ...

    with pytest.raises(InvalidInput) as refusal:
        call(nothing, {"x": 1})
    assert refusal.value.hint.startswith("it takes nothing")


def test_a_param_cannot_stand_in_for_the_context() -> None:
    def work(context: TaskContext) -> None: ...

    with pytest.raises(InvalidInput, match="takes no 'context'"):
        call(work, {"context": 1})


# --- checking -------------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


class Customer(TypedDict):
    name: str
    age: NotRequired[int]


@dataclasses.dataclass
class Order:
    order_id: int
    total: Decimal
    placed: datetime | None = None


class Line(msgspec.Struct):
    sku: str
    count: int = 1


class Model:
    """Validates as a pydantic model does."""

    def __init__(self, amount: Decimal) -> None:
        self.amount = amount

    @classmethod
    def model_validate(cls, value: object) -> Model:
        if not isinstance(value, dict) or "amount" not in value:
            raise ValueError("1 validation error for Model: amount is missing")
        return cls(Decimal(str(value["amount"])))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.amount == other.amount

    __hash__ = None  # type: ignore[assignment]  # as data is


class Plain:
    """A class of the author's that nothing converts to."""


CHECKED: list[tuple[object, object, object]] = [
    (int, 3, 3),
    (float, 3, 3.0),
    (str, "a", "a"),
    (bool, True, True),
    (bytes, b"a", b"a"),
    (list, [1, "a"], [1, "a"]),
    (dict, {"a": 1}, {"a": 1}),
    (list[int], [1, 2], [1, 2]),
    (set[int], [1, 2, 2], {1, 2}),
    (tuple[int, str], [1, "a"], (1, "a")),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (int | None, None, None),
    (Optional[int], 3, 3),  # noqa: UP045 - the older spelling means the same
    (int | str, "a", "a"),
    (Literal["a", "b"], "b", "b"),
    (Decimal, "1.50", Decimal("1.50")),
    (UUID, "00000000-0000-0000-0000-000000000001", UUID(int=1)),
    (datetime, "2026-07-01T12:00:00Z", datetime(2026, 7, 1, 12, tzinfo=UTC)),
    (datetime, datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)),
    (date, "2026-07-01", date(2026, 7, 1)),
    (timedelta, "PT90S", timedelta(seconds=90)),
    (Colour, "red", Colour.RED),
    (Customer, {"name": "Ann"}, {"name": "Ann"}),
    (Order, {"order_id": 7, "total": "1.50"}, Order(7, Decimal("1.50"))),
    (list[Order], [{"order_id": 7, "total": "1"}], [Order(7, Decimal(1))]),
    (Line, {"sku": "a", "count": 2}, Line("a", 2)),
    (Model, {"amount": "1.50"}, Model(Decimal("1.50"))),
    (list[Model], [{"amount": 1}], [Model(Decimal(1))]),
    (Any, object, object),
    (object, "whatever", "whatever"),
]

REFUSED: list[tuple[object, object]] = [
    (int, "3"),
    (int, 3.5),
    (int, True),
    (int, None),
    (str, 3),
    (bool, 1),
    (list, {"a": 1}),
    (list[int], [1, "a"]),
    (dict[str, int], {"a": "b"}),
    (int | None, "a"),
    (Literal["a", "b"], "c"),
    (Decimal, "much"),
    (UUID, "1"),
    (datetime, "yesterday"),
    (Colour, "blue"),
    (Customer, {"age": 3}),
    (Order, {"order_id": 7}),
    (Order, "order 7"),
    (Line, {"count": 2}),
    (Model, {"total": 1}),
    (Plain, {"a": 1}),
    (Callable[[int], str], "2026"),
    (Awaitable[int], 3),
]


def taking(hint: object) -> Callable[..., object]:
    def work(value: object) -> object:
        return value

    work.__annotations__["value"] = hint
    return work


@pytest.mark.parametrize(("hint", "given", "taken"), CHECKED, ids=lambda value: str(value)[:30])
def test_hints_turn_plain_data_back(hint: object, given: object, taken: object) -> None:
    value = call(taking(hint), {"value": given})
    assert value == taken
    assert type(value) is type(taken)


@pytest.mark.parametrize(("hint", "given"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_does_not_fit_its_hint_is_refused(hint: object, given: object) -> None:
    with pytest.raises(
        InvalidInput, match=r"the parameter 'value' of the handler 'clerk.work' does not take"
    ) as refusal:
        call(taking(hint), {"value": given})
    assert refusal.value.hint.startswith("it is declared as ")


def test_an_object_of_a_plain_class_is_taken_as_it_is() -> None:
    thing = Plain()
    handler = Handler(taking(Plain), name="x")
    assert handler.arguments({"value": thing}, context()) == {"value": thing}


def test_long_values_are_cut_in_the_message() -> None:
    with pytest.raises(InvalidInput) as refusal:
        call(taking(int), {"value": "x" * 1_000})
    assert len(refusal.value.message) < 250


def test_the_model_says_itself_what_is_wrong() -> None:
    with pytest.raises(InvalidInput, match="1 validation error for Model: amount is missing"):
        call(taking(Model), {"value": {}})


def test_results_and_input_are_checked_too() -> None:
    with pytest.raises(InvalidInput, match="'load'"):
        call(named_load, {}, context(load="three"))
    assert call(named_load, {}, context({"load": 3})) == 3


def named_load(load: int) -> int:
    return load


@pytest.mark.parametrize("hint", [str | datetime, Order | Line, logging.Logger | int])
def test_a_hint_that_cannot_be_checked_against_is_not(hint: object) -> None:
    assert call(taking(hint), {"value": "2026"}) == "2026"


def test_hints_that_only_the_checker_knows_are_not_checked() -> None:
    def work(a: Unknown, b: int) -> object:
        return a, b

    assert call(work, {"a": 1, "b": "text"}) == (1, "text")


def test_hints_inside_a_dataclass_that_only_the_checker_knows_are_not_checked() -> None:
    @dataclasses.dataclass
    class Odd:
        part: Unknown

    assert call(taking(Odd), {"value": {"part": 1}}) == {"part": 1}


def test_a_check_takes_of_the_params_what_it_names_and_needs_no_process() -> None:
    def some(a: int) -> None: ...

    def whole(params: dict[str, object]) -> None: ...

    given: dict[str, object] = {"a": 1, "b": 2}
    assert Handler(some, name="some").picked(given) == {"a": 1}
    assert Handler(whole, name="whole").picked(given) == given
    in_process = Handler(double, name="double", run_in="process")
    with pytest.raises(DefinitionError, match="'double' would run in a process of its own"):
        Check.of(in_process, 1)


def test_what_a_function_was_made_for_is_let_go_with_it() -> None:
    class Owner:
        def handler(self) -> Callable[[int], object]:
            return lambda load: (self, load)

    owner = Owner()
    handler = Handler(owner.handler(), name="h")
    assert call(handler.function, {"load": 1}) == (owner, 1)
    gone = weakref.ref(owner)
    del owner, handler
    gc.collect()
    assert gone() is None
