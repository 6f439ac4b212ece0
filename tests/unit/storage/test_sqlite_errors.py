"""Every error class of the driver has a meaning here: whose move it is."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    ConfigurationError,
    CorruptStore,
    InvariantError,
    StoreUnavailable,
)
from agenticflow.integrations.stores.sqlite.file import mapped

MEANINGS: dict[type[AgenticFlowError], set[type[apsw.Error]]] = {
    # the world's, for a while
    StoreUnavailable: {
        apsw.AbortError,
        apsw.BusyError,
        apsw.ConnectionClosedError,
        apsw.CursorClosedError,
        apsw.ForkingViolationError,
        apsw.FullError,
        apsw.IOError,
        apsw.InterruptError,
        apsw.LockedError,
        apsw.NoMemError,
        apsw.ProtocolError,
        apsw.SchemaChangeError,
        apsw.ThreadingViolationError,
    },
    # the world's, for good
    CorruptStore: {apsw.CorruptError, apsw.FormatError, apsw.NotADBError, apsw.SQLError},
    # the user's
    ConfigurationError: {
        apsw.AuthError,
        apsw.CantOpenError,
        apsw.NoLFSError,
        apsw.PermissionsError,
        apsw.ReadOnlyError,
    },
    BoundExceeded: {apsw.TooBigError},
    # ours
    InvariantError: {
        apsw.BindingsError,
        apsw.ConnectionNotClosedError,
        apsw.ConstraintError,
        apsw.EmptyError,
        apsw.Error,
        apsw.ExecTraceAbort,
        apsw.ExecutionCompleteError,
        apsw.ExtensionLoadingError,
        apsw.IncompleteExecutionError,
        apsw.InternalError,
        apsw.InvalidContextError,
        apsw.MismatchError,
        apsw.MisuseError,
        apsw.NoFTS5Error,
        apsw.NotFoundError,
        apsw.RangeError,
        apsw.VFSFileClosedError,
        apsw.VFSNotImplementedError,
    },
}


def classes_of_the_driver() -> set[type[apsw.Error]]:
    return {kind for kind in vars(apsw).values() if isinstance(kind, type) and issubclass(kind, apsw.Error)}


def test_every_class_of_the_driver_is_listed_once() -> None:
    listed = [kind for kinds in MEANINGS.values() for kind in kinds]
    assert len(listed) == len(set(listed))
    assert set(listed) == classes_of_the_driver(), "a new release of the driver: give its errors a meaning"


@pytest.mark.parametrize(
    ("kind", "meaning"),
    [(kind, meaning) for meaning, kinds in MEANINGS.items() for kind in sorted(kinds, key=lambda k: k.__name__)],
    ids=lambda thing: thing.__name__,
)
def test_a_foreign_error_becomes_ours_and_names_the_file(
    kind: type[apsw.Error], meaning: type[AgenticFlowError]
) -> None:
    error = mapped(kind("what the driver said"), Path("some/state.db"))
    assert type(error) is meaning
    assert "some/state.db" in error.message
    if kind is not apsw.FullError:
        assert "what the driver said" in error.message
    if kind is not apsw.TooBigError:
        assert error.hint
