"""Exit codes, and errors in words."""

from __future__ import annotations

import pytest

from agenticflow import errors
from agenticflow.cli.exits import DEBUG_VARIABLE, Exit, NotThere, code_of, code_of_status, tell
from agenticflow.errors import AgenticFlowError, DefinitionError, InvariantError, StoreOwned, WorkflowExecutionError
from agenticflow.orchestration import WorkflowStatus


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvariantError("x"), Exit.INTERNAL),
        (errors.InvalidInput("x"), Exit.USAGE),
        (errors.ConfigurationError("x"), Exit.USAGE),
        (errors.WorkflowNotFoundError("x"), Exit.NOT_FOUND),
        (NotThere("x"), Exit.NOT_FOUND),
        (errors.WorkflowIdConflict("x"), Exit.CONFLICT),
        (errors.CommandRefused("x"), Exit.CONFLICT),
        (errors.ConcurrencyConflict("s", 1, 2), Exit.CONFLICT),
        (StoreOwned("x", owner_pid=1), Exit.CONFLICT),
        (errors.StoreUnavailable("x"), Exit.FAILED),
        (errors.CorruptStore("x"), Exit.FAILED),
        (WorkflowExecutionError("x", workflow_id="w"), Exit.FAILED),
        (WorkflowExecutionError("x", workflow_id="w", status="CANCELLED"), Exit.CANCELLED),
    ],
)
def test_the_code_says_whose_move_it_is(error: AgenticFlowError, code: Exit) -> None:
    assert code_of(error) is code


def test_every_status_has_a_code() -> None:
    codes = {status: code_of_status(status) for status in WorkflowStatus}
    assert {status for status, code in codes.items() if code is Exit.OK} == {
        WorkflowStatus.COMPLETED,
        WorkflowStatus.CONTINUED,
    }
    assert codes[WorkflowStatus.NEEDS_ATTENTION] is Exit.WAITS_FOR_A_PERSON
    assert codes[WorkflowStatus.RUNNING] is Exit.STILL_RUNNING


def test_an_error_is_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(errors.InvalidInput("the thing is wrong", hint="do it right")) is Exit.USAGE
    assert capsys.readouterr() == ("", "error: the thing is wrong\nhint: do it right\n")


def test_several_mistakes_are_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    tell(DefinitionError("both", problems=["one is wrong", "two is wrong"]))
    assert capsys.readouterr().err == "error: 2 mistakes:\n  one is wrong\n  two is wrong\n"


def test_a_bug_asks_to_be_reported_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DEBUG_VARIABLE, raising=False)
    assert tell(ZeroDivisionError("division\nby zero")) is Exit.INTERNAL
    told = capsys.readouterr().err
    assert told.startswith(
        "error: internal error: ZeroDivisionError: division by zero\nhint: this is a bug in agenticflow"
    )
    assert tell(InvariantError("broken")) is Exit.INTERNAL
    assert "please report it" in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        tell(error)
    assert "Traceback" in capsys.readouterr().err
