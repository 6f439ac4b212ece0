"""A model whose answers were recorded once and are replayed in tests: no key, no network, no cost, and a clear word about drift.

A cassette is one JSON file, made to be read and reviewed: what was asked, with the answer below. Texts that look like secrets are hidden
before they are written. Replaying asks nobody; a request that was not recorded is an error with the first difference.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from agenticflow.agents.model.deltas import Delta, ResponseFold, deltas_of
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.requests import ModelAbilities, ModelRequest
from agenticflow.agents.model.responses import ModelResponse
from agenticflow.core.redaction import redact_text
from agenticflow.errors import BoundExceeded, CorruptStore, DefinitionError, InvalidInput

__all__ = ["CassetteModel"]

FORM: Final = 1
MAX_ANSWERS: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024
SHOWN_CHARS: Final = 120
"""Of each side of a difference."""

Mode = Literal["replay", "record", "extend"]


class CassetteModel(Model):
    """``CassetteModel("tests/cassettes/guide.json")`` replays; with ``mode="record"`` and a ``model`` it records anew.

    ``replay`` asks nobody. ``record`` asks ``model`` for everything, and the file is written by ``close`` (``async with`` calls it).
    ``extend`` replays what is known and asks for the rest. Equal requests are answered in the order in which they were recorded; asked more
    often, with the last answer.

    ``model`` is a ``Model``, or a function that returns one when it is first needed. What is recorded has been redacted: a secret in an
    answer is not replayed. Errors of the model go through and are not recorded.
    """

    def __init__(
        self, path: str | Path, *, model: Model | Callable[[], Model] | None = None, mode: Mode = "replay"
    ) -> None:
        """Raises ``DefinitionError`` for a mode that needs a model and has none, and for a cassette that is not there or is none."""
        if mode not in ("replay", "record", "extend"):
            raise DefinitionError(f"mode={mode!r:.40} is unknown", hint="choose from 'replay', 'record', 'extend'")
        if mode != "replay" and model is None:
            raise DefinitionError(
                f"mode={mode!r} asks a model, and there is none",
                hint='give model=lambda: model_from("openai:gpt-5")',
            )
        self.path = Path(path)
        self.mode = mode
        self.asked = 0
        """How often the real model was asked."""
        self._given = model
        self._answers: list[tuple[str, dict[str, Any], ModelResponse]] = []
        self._told: defaultdict[str, int] = defaultdict(int)
        self.provider, self.name = "cassette", self.path.stem
        self.abilities = ModelAbilities()
        if mode == "record":
            self._look_like(self._model())
        elif mode == "replay" or self.path.exists():
            self._read()
        else:
            self._look_like(self._model())

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        request.check(self.abilities)
        key = _key(request)
        known = [] if self.mode == "record" else [answer for one, _, answer in self._answers if one == key]
        if known:
            place = self._told[key]
            self._told[key] += 1
            for delta in deltas_of(known[min(place, len(known) - 1)]):
                yield delta
            return
        if self.mode == "replay":
            raise InvalidInput(
                f"the cassette {self.path.name!r} has no answer to this: {self._difference(request)}",
                hint="record it anew with mode='record' when the change is meant",
            )
        if len(self._answers) >= MAX_ANSWERS:
            raise BoundExceeded(
                f"the cassette {self.path.name!r} has {MAX_ANSWERS:,} answers", hint="use one for each test"
            )
        fold = ResponseFold()
        self.asked += 1
        async with aclosing(self._model().stream(request)) as deltas:
            async for delta in deltas:
                fold.add(delta)
                yield delta
        self._answers.append((key, _shown(request), _hidden(fold.response())))

    async def close(self) -> None:
        """Write what was recorded, the whole file at once, and close the model. A second call writes nothing new."""
        if self.mode != "replay" and self._answers:
            entries = [
                {"key": key, "request": request, "response": msgspec.to_builtins(answer)}
                for key, request, answer in self._answers
            ]
            abilities = msgspec.to_builtins(self.abilities)
            head = {"form": FORM, "provider": self.provider, "model": self.name, "abilities": abilities}
            text = json.dumps({**head, "answers": entries}, indent=1, ensure_ascii=False, sort_keys=False)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside = self.path.with_name(f"{self.path.name}.new")
            beside.write_text(f"{text}\n", encoding="utf-8")
            beside.replace(self.path)
        if isinstance(self._given, Model):
            await self._given.close()

    async def __aenter__(self) -> CassetteModel:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _model(self) -> Model:
        if self._given is None:
            raise DefinitionError(f"the cassette {self.path.name!r} asks a model, and there is none")
        if not isinstance(self._given, Model):
            self._given = self._given()
        return self._given

    def _look_like(self, model: Model) -> None:
        self.provider, self.name, self.abilities = model.provider, model.name, model.abilities

    def _read(self) -> None:
        try:
            if self.path.stat().st_size > MAX_BYTES:
                raise BoundExceeded(f"the cassette {str(self.path)!r} is larger than {MAX_BYTES:,} bytes")
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DefinitionError(
                f"there is no cassette {str(self.path)!r}",
                hint="record one with mode='record' and a model, or mend the path",
            ) from None
        except (ValueError, OSError) as error:
            raise CorruptStore(f"the cassette {str(self.path)!r} cannot be read: {error}") from error
        try:
            if data["form"] != FORM:
                raise CorruptStore(
                    f"the cassette {str(self.path)!r} has form {data['form']!r}, this program knows {FORM}"
                )
            self.provider, self.name = str(data["provider"]), str(data["model"])
            self.abilities = msgspec.convert(data["abilities"], ModelAbilities)
            self._answers = [
                (str(one["key"]), dict(one["request"]), msgspec.convert(one["response"], ModelResponse))
                for one in data["answers"]
            ]
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
            raise CorruptStore(f"{str(self.path)!r} is no cassette of a model: {error}") from error

    def _difference(self, request: ModelRequest) -> str:
        """Return where ``request`` first differs from the recorded one that is most like it."""
        asked = _shown(request)
        best, depth = "it has no answers at all", -1
        for _, recorded, _ in self._answers:
            equal, words = _first_difference(recorded, asked)
            if equal > depth:
                best, depth = words, equal
        return best


def _key(request: ModelRequest) -> str:
    return blake2b(msgspec.json.encode(request, order="deterministic"), digest_size=16).hexdigest()


def _shown(request: ModelRequest) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(request)
    hidden = _redacted(shown)
    assert isinstance(hidden, dict)
    return hidden


def _hidden(response: ModelResponse) -> ModelResponse:
    return msgspec.convert(_redacted(msgspec.to_builtins(response)), ModelResponse)


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {name: _redacted(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value


def _first_difference(recorded: object, asked: object, place: str = "the request") -> tuple[int, str]:
    """Return how many leaves were equal before the first that is not, and that one in words."""
    if isinstance(recorded, dict) and isinstance(asked, dict):
        pairs = [(recorded.get(name), asked.get(name), f"{place}.{name}") for name in sorted({*recorded, *asked})]
    elif isinstance(recorded, list) and isinstance(asked, list):
        size = max(len(recorded), len(asked))
        longer = [(*recorded, *[None] * (size - len(recorded))), (*asked, *[None] * (size - len(asked)))]
        pairs = [(before, now, f"{place}[{index}]") for index, (before, now) in enumerate(zip(*longer, strict=True))]
    elif recorded == asked:
        return 1, ""
    else:
        return 0, f"{place} was {recorded!r:.{SHOWN_CHARS}} and is {asked!r:.{SHOWN_CHARS}}"
    equal = 0
    for before, now, where in pairs:
        count, words = _first_difference(before, now, where)
        equal += count
        if words:
            return equal, words
    return equal, ""
