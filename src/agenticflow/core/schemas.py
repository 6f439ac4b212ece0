"""What payloads look like, by event type and version: checked when they are written, brought to the present when they are read.

A stored payload never changes. Each event type has a current version; ``register`` says what a payload of a version looks like,
``upcaster(type, from_version)`` registers the step to the next one, and reading applies the steps in order. A payload newer than the code
is an error, not a guess. Data from outside, documents with a version of their own under ``_schema_version``, takes the same way with
``migrator`` and ``validate_and_migrate``.
"""

from __future__ import annotations

import dataclasses
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, is_typeddict

import msgspec

from agenticflow.core import codec
from agenticflow.errors import DefinitionError, InvalidInput, PermanentError

__all__ = ["VERSION_KEY", "Migrator", "Schema", "SchemaRegistry", "Upcaster"]

Upcaster = Callable[[dict[str, object]], Mapping[str, object]]
"""Takes a payload of one version, returns that of the next. Must be pure."""
Migrator = Callable[[Mapping[str, object]], dict[str, object]]
"""Takes data of one version, returns that of another; the data it was given stays as it is."""
Schema = type | Mapping[str, Any]
"""A msgspec Struct, dataclass or TypedDict, or a mapping from field names to types, all of them required: ``{"order_id": int}``."""

VERSION_KEY: Final = "_schema_version"
FIRST_VERSION: Final = "1.0"
_VERSION: Final = re.compile(r"\d{1,9}(\.\d{1,9}){1,3}")


class SchemaRegistry:
    """Current versions, schemas and upcasters by event type, and migrators of outside data. Types never mentioned are at version 1 and
    may look like anything."""

    __slots__ = ("_current", "_decoders", "_formats", "_migrators", "_steps")

    def __init__(self) -> None:
        self._current: dict[str, int] = {}
        self._steps: dict[tuple[str, int], Upcaster] = {}
        self._decoders: dict[tuple[str, int], msgspec.msgpack.Decoder[Any]] = {}
        self._formats: dict[str, msgspec.msgpack.Decoder[Any]] = {}
        self._migrators: dict[str, dict[str, Upcaster]] = {}

    # --- payloads of events -----------------------------------------------------------------------------------------

    def register(self, event_type: str, version: int, schema: Schema) -> None:
        """Say what a payload of ``event_type`` in ``version`` looks like; what is appended or published from now on must fit.

        The highest version mentioned is the one that today's code writes. What was recorded earlier is not checked again. Raises
        ``DefinitionError`` for a version below 1, one registered twice, or what is no schema.
        """
        if not isinstance(event_type, str) or not event_type:
            raise DefinitionError(
                f"{event_type!r} is no event type", hint='write schemas.register("order_placed", 1, OrderPlaced)'
            )
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise DefinitionError(f"versions start at 1, not {version!r}", hint="the first schema is of version 1")
        if (event_type, version) in self._decoders:
            raise DefinitionError(
                f"{event_type!r} has a schema of version {version} already", hint="a change of shape is a new version"
            )
        self._decoders[event_type, version] = _decoder(schema, f"{event_type} in version {version}")
        self._current[event_type] = max(self._current.get(event_type, 1), version)

    def check(self, event_type: str, version: int, payload: Mapping[str, object]) -> None:
        """Raise ``InvalidInput`` when the payload does not fit the schema registered for its type and version.

        Version 1 of an event is what its maker did not think about: it stands for the current one.
        """
        if self._decoders:
            written = self.written_version(event_type, version)
            if (event_type, written) in self._decoders:
                self.check_encoded(event_type, written, codec.encode(payload))

    def check_encoded(self, event_type: str, version: int, data: bytes) -> None:
        """As ``check``, for the encoded payload of exactly this version: what is checked is what will be read back."""
        decoder = self._decoders.get((event_type, version))
        if decoder is not None:
            _fit(decoder, data, f"the payload of {event_type!r} in version {version}")

    def upcaster(self, event_type: str, from_version: int) -> Callable[[Upcaster], Upcaster]:
        """Register the decorated function as the step from ``from_version`` to the next of ``event_type``.

        Raises ``DefinitionError`` for a version below 1 or a step registered twice.
        """
        if from_version < 1:
            raise DefinitionError(
                f"versions start at 1, not {from_version}", hint="the first upcaster is from version 1"
            )

        def register(step: Upcaster) -> Upcaster:
            if (event_type, from_version) in self._steps:
                raise DefinitionError(
                    f"{event_type!r} has an upcaster from version {from_version} already",
                    hint="keep one step per version",
                )
            self._steps[event_type, from_version] = step
            self._current[event_type] = max(self._current.get(event_type, 1), from_version + 1)
            return step

        return register

    def current_version(self, event_type: str) -> int:
        """Return the version that today's code writes."""
        return self._current.get(event_type, 1)

    def written_version(self, event_type: str, version: int) -> int:
        """Return the version under which an event made in ``version`` is recorded: 1, the default, stands for the current one."""
        return self.current_version(event_type) if version == 1 else version

    def upcast(self, event_type: str, version: int, payload: dict[str, object]) -> dict[str, object]:
        """Return ``payload`` in the current version. Raises ``PermanentError`` when no way leads there."""
        target = self.current_version(event_type)
        if version > target:
            raise PermanentError(
                f"{event_type!r} was written in version {version}, this program knows up to {target}",
                hint="read it with the release that wrote it, or a later one",
            )
        while version < target:
            step = self._steps.get((event_type, version))
            if step is None:
                raise PermanentError(
                    f"no upcaster leads {event_type!r} from version {version} to {target}",
                    hint=f"register one with upcaster({event_type!r}, {version})",
                )
            payload = dict(step(payload))
            version += 1
        return payload

    # --- data from outside --------------------------------------------------------------------------------------------

    def register_format(self, version: str, schema: Schema) -> None:
        """Say what outside data of ``version`` looks like, ``_schema_version`` left aside. Raises ``DefinitionError``."""
        name = _version(version, DefinitionError)
        if name in self._formats:
            raise DefinitionError(
                f"data of version {name!r} has a schema already", hint="a change of shape is a new version"
            )
        self._formats[name] = _decoder(schema, f"data of version {name}")

    def migrator(self, from_version: str, to_version: str) -> Callable[[Upcaster], Upcaster]:
        """Register the decorated function as the step of outside data from one version to another.

        It is given the data without ``_schema_version``. Raises ``DefinitionError`` for a step registered twice or one to itself.
        """
        first, second = _version(from_version, DefinitionError), _version(to_version, DefinitionError)

        def register(step: Upcaster) -> Upcaster:
            ways = self._migrators.setdefault(first, {})
            if second in ways or first == second:
                raise DefinitionError(
                    f"there is a migrator from version {first!r} to {second!r} already",
                    hint="keep one step for each pair",
                )
            ways[second] = step
            return step

        return register

    def get_migrator(self, from_version: str, to_version: str) -> Migrator:
        """Return the function that brings data from one version to another: the shortest way over the steps registered.

        What it returns carries ``_schema_version``. Raises ``PermanentError`` when no way leads there.
        """
        first, target = _version(from_version, InvalidInput), _version(to_version, InvalidInput)
        ways: dict[str, tuple[Upcaster, ...]] = {first: ()}
        todo = deque([first])
        while todo and target not in ways:
            here = todo.popleft()
            for version, step in self._migrators.get(here, {}).items():
                if version not in ways:
                    ways[version] = (*ways[here], step)
                    todo.append(version)
        if target not in ways:
            known = ", ".join(sorted(ways, key=_parts))
            raise PermanentError(
                f"no migrator leads data from version {first!r} to {target!r}",
                hint=f"from there it can be brought to {known}; register the next step with migrator({first!r}, {target!r})",
            )
        steps = ways[target]

        def migrate(data: Mapping[str, object]) -> dict[str, object]:
            brought = {key: value for key, value in data.items() if key != VERSION_KEY}
            for step in steps:
                brought = dict(step(brought))
            return {**brought, VERSION_KEY: target}

        return migrate

    def validate_and_migrate(self, data: Mapping[str, object], expected_version: str) -> dict[str, object]:
        """Return outside data in ``expected_version``, its version under ``_schema_version``; absent there, it is ``"1.0"``.

        It is checked as it came in and as it goes out, where a schema is registered for the version. Raises ``InvalidInput`` for data
        that is no mapping or does not fit, ``PermanentError`` when no migrator leads there.
        """
        if not isinstance(data, Mapping):
            raise InvalidInput(f"data with a {VERSION_KEY} is a mapping, not a {type(data).__name__}")
        version = _version(data.get(VERSION_KEY, FIRST_VERSION), InvalidInput)
        migrate = self.get_migrator(version, expected_version)
        self._check_format(version, data)
        brought = migrate(data)
        self._check_format(str(brought[VERSION_KEY]), brought)
        return brought

    def _check_format(self, version: str, data: Mapping[str, object]) -> None:
        decoder = self._formats.get(version)
        if decoder is not None:
            bare = {key: value for key, value in data.items() if key != VERSION_KEY}
            _fit(decoder, codec.encode(bare), f"data of version {version!r}")


def _decoder(schema: Schema, what: str) -> msgspec.msgpack.Decoder[Any]:
    try:
        if isinstance(schema, Mapping) and not any(isinstance(kind, str) for kind in schema.values()):
            names = {f"field_{number}": name for number, name in enumerate(schema)}
            fields = [(place, schema[name]) for place, name in names.items()]
            return msgspec.msgpack.Decoder(msgspec.defstruct("Payload", fields, rename=names))
        is_record = isinstance(schema, type) and (
            issubclass(schema, msgspec.Struct) or dataclasses.is_dataclass(schema) or is_typeddict(schema)
        )
        if is_record:
            return msgspec.msgpack.Decoder(schema)
    except (TypeError, NameError, ValueError, RuntimeError) as error:
        raise DefinitionError(f"the schema of {what} cannot be used: {error}") from error
    raise DefinitionError(
        f"the schema of {what} is {schema!r:.80}",
        hint='give a msgspec Struct, a dataclass, a TypedDict, or {"order_id": int, "note": str | None}',
    )


def _fit(decoder: msgspec.msgpack.Decoder[Any], data: bytes, what: str) -> None:
    try:
        decoder.decode(data)
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$")
        place = path.rstrip("`").removeprefix(".")
        raise InvalidInput(
            f"{what} does not fit its schema{f' at {place!r}' if place else ''}: {words[:1].lower()}{words[1:]}",
            hint="write what the schema says, or register the new shape as the next version",
        ) from error


def _version(given: object, error: type[DefinitionError | InvalidInput]) -> str:
    """Return a version as it is written: ``1``, ``1.0``, ``"1"`` and ``"1.0"`` are the same."""
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    text = str(given) if is_number else given
    if isinstance(text, str) and text.isdecimal() and text.isascii():
        text = f"{text}.0"
    if not isinstance(text, str) or not _VERSION.fullmatch(text):
        raise error(f"{given!r:.80} is no version of data", hint='versions are written "1.0", "1.1", "2.0"')
    return text


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
