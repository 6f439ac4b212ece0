"""Guardrails at work: in time, beside the work, failing closed, and with a report of what each said."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agenticflow.agents.guardrails import Guardrail, GuardrailKind, GuardrailReport, Guardrails, guardrail, length
from agenticflow.agents.guardrails import running as running_module
from agenticflow.agents.guardrails.guardrail import verdict_in
from agenticflow.errors import DefinitionError, GuardrailTripwireTriggered, InvalidInput
from agenticflow.testing.virtual_time import run_virtual


def polite(ctx: Any, value: str) -> tuple[bool, str]:
    return "please" in value, "say please"


async def short(ctx: Any, value: str) -> tuple[bool, str]:
    return len(value) < ctx["most"], "too long"


class Watcher:
    """A check that is an object."""

    async def __call__(self, ctx: Any, value: Any) -> bool:
        return "bad" not in str(value)


def fine(ctx: Any, value: Any) -> bool:
    return True


async def test_plain_and_async_functions_and_objects_are_checks() -> None:
    rails = Guardrails([polite, short, Guardrail(Watcher(), name="object")])
    report = await rails.check("input", {"most": 20}, "tea, please")
    assert [(result.guardrail, result.is_ok, result.kind) for result in report.results] == [
        ("polite", True, "input"),
        ("short", True, "input"),
        ("object", True, "input"),
    ]
    assert report.is_ok
    assert report.refusal is None
    with pytest.raises(GuardrailTripwireTriggered) as caught:
        await rails.check("input", {"most": 99}, "tea")
    assert str(caught.value) == (
        "the guardrail 'polite' refused the input: say please (change what is asked or answered, or the guardrail)"
    )
    assert (caught.value.guardrail, caught.value.kind, caught.value.reason) == ("polite", "input", "say please")
    assert caught.value.code == "guardrail"


async def test_each_kind_has_its_own() -> None:
    @guardrail("tool_input", "tool_output", name="no tea")
    def no_tea(ctx: Any, value: Any) -> tuple[bool, str]:
        return value != "tea", ""

    @guardrail()
    def never(ctx: Any, value: Any) -> bool:
        return False

    rails = Guardrails([no_tea, never, length(3).on("output")])
    assert (await rails.check("tool_input", None, "coffee")).is_ok
    assert (await rails.check(GuardrailKind.OUTPUT, None, "abc")).is_ok
    assert not (await rails.examine("output", None, "abcd")).is_ok
    with pytest.raises(GuardrailTripwireTriggered, match="refused the tool output: no reason given"):
        await rails.check("tool_output", None, "tea")
    with pytest.raises(GuardrailTripwireTriggered, match="never"):
        await rails.check("input", None, "x")
    assert [result.kind for result in rails.report.results] == [
        "tool_input",
        "output",
        "output",
        "tool_output",
        "input",
    ]
    with pytest.raises(InvalidInput, match="tool_output"):
        await rails.check("inputs", None, "x")
    assert await Guardrails().check("input", None, "x") == GuardrailReport()


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda ctx, value: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda ctx, value: None, "TypeError: it returned None, not (ok, message)"),
        (lambda ctx, value: (1, "yes"), "it returned (1, 'yes'), not (ok, message)"),
        (lambda ctx, value: (True, "a", "b"), "not (ok, message)"),
        (lambda ctx, value: (True, 3), "not (ok, message)"),
    ],
)
async def test_what_fails_does_not_pass(check: Callable[[Any, Any], Any], words: str) -> None:
    rails = Guardrails([Guardrail(check, name="broken")])
    with pytest.raises(GuardrailTripwireTriggered) as caught:
        await rails.check("input", None, "x")
    assert "the guardrail 'broken' could not check the input: " in caught.value.message
    assert words in caught.value.message
    assert "mend the guardrail" in caught.value.hint
    [result] = rails.report.results
    assert result.is_failure
    assert not result.is_ok


def test_a_verdict_may_be_short() -> None:
    assert verdict_in(True) == (True, "")
    assert verdict_in((False, None)) == (False, "")
    assert verdict_in([False, "x" * 900]) == (False, "x" * 500)


def test_time_is_bounded() -> None:
    async def slow(ctx: Any, value: Any) -> bool:
        await asyncio.sleep(3_600)
        return True

    async def program() -> None:
        rails = Guardrails([Guardrail(slow, timeout_seconds=2)])
        report = await rails.examine("input", None, "x")
        [result] = report.results
        assert (result.is_ok, result.is_failure, result.message) == (False, True, "it took longer than 2 s")
        assert 2 <= result.seconds < 2.1

    run_virtual(program())


async def test_a_plain_check_does_not_stop_the_loop() -> None:
    free = threading.Event()

    def waits(ctx: Any, value: Any) -> bool:
        return free.wait(30)

    async def frees(ctx: Any, value: Any) -> bool:
        free.set()
        return True

    report = await Guardrails([waits, frees]).examine("input", None, "x")
    assert report.is_ok


async def test_the_first_no_stops_the_others() -> None:
    stopped = asyncio.Event()

    async def forever(ctx: Any, value: Any) -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return True

    async def no(ctx: Any, value: Any) -> tuple[bool, str]:
        return False, "no"

    report = await Guardrails([forever, no]).examine("input", None, "x")
    assert [result.guardrail for result in report.results] == ["no"]
    assert stopped.is_set()


def test_definitions_that_make_no_sense_are_refused() -> None:
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"check": 7}, "function"),
        ({"check": polite, "name": "x\n"}, "name"),
        ({"check": polite, "kinds": ()}, "checks nothing"),
        ({"check": polite, "kinds": ("inputs",)}, "unknown kind"),
        ({"check": polite, "kinds": "output", "timeout_seconds": 0}, "timeout_seconds"),
        ({"check": polite, "timeout_seconds": True}, "timeout_seconds"),
    ]
    for arguments, words in wrongs:
        with pytest.raises(DefinitionError, match=words):
            Guardrail(**arguments)
    assert repr(Guardrail(polite, kinds="output")) == "Guardrail('polite', output)"
    with pytest.raises(DefinitionError, match="two guardrails of the input are named 'polite'"):
        Guardrails([polite, polite])
    Guardrails([polite, Guardrail(polite, kinds=("output",))])
    with pytest.raises(DefinitionError, match="101"):
        Guardrails([Guardrail(fine, name=f"{number}") for number in range(101)])
    moved = Guardrail(polite, name="p", is_blocking=True).on("output", is_blocking=False)
    assert (moved.name, moved.kinds, moved.is_blocking) == ("p", frozenset({GuardrailKind.OUTPUT}), False)
    assert Guardrail(polite).on().kinds == frozenset({GuardrailKind.INPUT})


# --- around work ----------------------------------------------------------------------------------------------------------


async def test_work_goes_on_beside_its_guardrails() -> None:
    begun, checked = asyncio.Event(), asyncio.Event()

    async def late(ctx: Any, value: Any) -> bool:
        await begun.wait()
        checked.set()
        return True

    async def work() -> str:
        begun.set()
        await checked.wait()
        return "done"

    assert await Guardrails([late]).around(None, "x", work) == "done"
    assert await Guardrails([fine, Guardrail(fine, name="first", is_blocking=True)]).around(None, "x", work) == "done"
    assert await Guardrails([Guardrail(fine, is_blocking=True)]).around(None, "x", work) == "done"
    assert await Guardrails().around(None, "x", work) == "done"


async def test_the_result_waits_for_the_guardrails() -> None:
    worked, go_on = asyncio.Event(), asyncio.Event()

    async def slow_no(ctx: Any, value: Any) -> tuple[bool, str]:
        await worked.wait()
        await go_on.wait()
        return False, "no"

    async def work() -> str:
        worked.set()
        return "done"

    running = asyncio.ensure_future(Guardrails([slow_no]).around(None, "x", work))
    await worked.wait()
    go_on.set()
    with pytest.raises(GuardrailTripwireTriggered):
        await running


async def test_a_no_stops_the_work() -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def no(ctx: Any, value: Any) -> tuple[bool, str]:
        await begun.wait()
        return False, "no"

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    with pytest.raises(GuardrailTripwireTriggered):
        await Guardrails([no]).around(None, "x", work)
    assert stopped.is_set()


async def test_a_blocking_no_comes_before_the_work() -> None:
    async def work() -> None:
        raise AssertionError("it must not begin")

    with pytest.raises(GuardrailTripwireTriggered):
        await Guardrails([fine, Guardrail(polite, is_blocking=True)]).around(None, "tea", work)


async def test_when_both_fail_the_no_is_the_reason() -> None:
    async def work() -> None:
        raise OSError("broken")

    with pytest.raises(GuardrailTripwireTriggered):
        await Guardrails([polite]).around(None, "tea", work)
    with pytest.raises(OSError, match="broken"):
        await Guardrails([polite]).around(None, "tea, please", work)


async def test_who_is_cancelled_stops_work_and_guardrails() -> None:
    begun = asyncio.Event()
    stopped: list[str] = []

    async def wait(name: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(name)

    async def check(ctx: Any, value: Any) -> bool:
        await wait("check")
        return True

    running = asyncio.ensure_future(Guardrails([check]).around(None, "x", lambda: wait("work")))
    await begun.wait()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(stopped) == ["check", "work"]


def test_work_that_does_not_stop_is_left_behind() -> None:
    async def no(ctx: Any, value: Any) -> tuple[bool, str]:
        await asyncio.sleep(1)
        return False, "no"

    async def stubborn() -> None:
        for _ in range(100):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    async def program() -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(GuardrailTripwireTriggered):
            await Guardrails([no]).around(None, "x", stubborn)
        return loop.time() - started

    assert 11 <= run_virtual(program()) < 12


async def test_the_report_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_module, "MAX_REPORTED", 5)
    rails = Guardrails([Guardrail(fine, is_quick=True)])
    for _ in range(9):
        await rails.check("input", None, "x")
    assert len(rails.report.results) == 5
