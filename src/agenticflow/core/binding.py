"""How a plain function becomes a handler: its parameters are filled by name and checked against their type hints.

A parameter is filled, in this order: ``context`` (by that name, or by the hint ``TaskContext``), ``params`` (all params as one
dict), a param of its name, the result of a dependency of its name, a key of the workflow input of its name, its default.
Everything is worked out once, when the handler is registered; a call only looks values up.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, Final, get_origin, get_type_hints
from weakref import WeakKeyDictionary

import msgspec

from agenticflow.core.context import TaskContext
from agenticflow.core.guards import AttemptGuard
from agenticflow.core.plain import is_async
from agenticflow.errors import DefinitionError, InvalidInput

__all__ = ["CHECK_SECONDS", "Check", "Handler", "HandlerFunction", "HandlerRule", "RunsIn", "rule_of", "set_rule"]

HandlerFunction = Callable[..., object]
_MISSING: Final = object()
CHECK_SECONDS: Final = 30.0
MAX_CHECK_SECONDS: Final = 3_600
_EXACT: Final = frozenset({int, str, bool, float, bytes, dict, list})


class RunsIn(enum.StrEnum):
    """Where the code of a handler runs."""

    LOOP = "loop"
    """``async def``: on the event loop."""
    THREAD = "thread"
    """A plain function: in a thread."""
    PROCESS = "process"
    """CPU-bound work, on request: in a process of its own, spawned, which can be killed."""


class HandlerRule(msgspec.Struct, frozen=True):
    """What a decorator says about its function becoming a handler; decorators around it pass it on, as ``functools.wraps`` does."""

    refusal: str = ""
    """Why it may not be one, after its name; empty: it may."""
    hint: str = ""
    needs_process: bool = False
    """Whether it keeps its promise in a process of its own only."""


_NO_RULE: Final = HandlerRule()
_RULE: Final = "__handler_rule__"


def rule_of(function: object) -> HandlerRule:
    """Return what the decorators of ``function`` say."""
    rule = getattr(function, _RULE, _NO_RULE)
    return rule if isinstance(rule, HandlerRule) else _NO_RULE


def set_rule(function: object, rule: HandlerRule) -> None:
    """Let ``function`` carry ``rule``."""
    setattr(function, _RULE, rule)


class _Parameter(msgspec.Struct, frozen=True):
    name: str
    hint: object
    is_exact: bool
    default: object


class _Signature(msgspec.Struct, frozen=True):
    parameters: tuple[_Parameter, ...]
    context_name: str | None
    params_name: str | None
    takes_rest: bool
    unnamed: str
    """A parameter that cannot be filled by name, if there is one."""


_known: Final[WeakKeyDictionary[HandlerFunction, _Signature]] = WeakKeyDictionary()
"""Weak, because a function made for one agent has that agent, and all it works with, in its closure."""


def _signature_of(function: HandlerFunction) -> _Signature:
    """Work out the parameters of ``function`` once, however many agents share it."""
    try:
        known = _known.get(function)
        if known is None:
            known = _known[function] = _worked_out(function)
    except TypeError:  # a callable that cannot be hashed, or referred to weakly
        return _worked_out(function)
    return known


def _worked_out(function: HandlerFunction) -> _Signature:
    parameters: list[_Parameter] = []
    context_name = params_name = None
    takes_rest = False
    unnamed = ""
    hints = _hints(function)
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_rest = True
        elif parameter.kind is parameter.VAR_POSITIONAL or parameter.kind is parameter.POSITIONAL_ONLY:
            unnamed = str(parameter)
        elif hint is TaskContext or parameter.name == "context":
            context_name = parameter.name
        elif parameter.name == "params":
            params_name = parameter.name
        else:
            default = _MISSING if parameter.default is parameter.empty else parameter.default
            checked = hint if _can_be_checked(hint) else Any
            parameters.append(_Parameter(parameter.name, checked, checked in _EXACT, default))
    return _Signature(tuple(parameters), context_name, params_name, takes_rest, unnamed)


class Check(msgspec.Struct, frozen=True):
    """What says whether the work of a handler has happened, when nobody knows."""

    handler: Handler
    timeout_seconds: float

    @classmethod
    def of(cls, handler: Handler, timeout_seconds: float) -> Check:
        """Raises ``DefinitionError`` for a function that needs a process of its own, and for a time that is none."""
        if handler.runs_in is RunsIn.PROCESS:
            raise DefinitionError(
                f"{handler.name!r} would run in a process of its own",
                hint="a check is a short look, async or in a thread",
            )
        if not 0 < timeout_seconds <= MAX_CHECK_SECONDS:
            raise DefinitionError(
                f"{handler.name!r} has {timeout_seconds!r} s",
                hint=f"give more than 0 and at most {MAX_CHECK_SECONDS:,}",
            )
        return cls(handler, timeout_seconds)


class Handler:
    """A function and the plan of how to call it."""

    __slots__ = (
        "_context_name",
        "_parameters",
        "_params_name",
        "_takes_rest",
        "check",
        "function",
        "guard",
        "name",
        "runs_in",
    )

    def __init__(self, function: HandlerFunction, *, name: str, run_in: str | None = None) -> None:
        if not callable(function):
            raise DefinitionError(f"the handler {name!r} is a {type(function).__name__}, not a function")
        self.function = function
        self.guard: AttemptGuard | None = None
        """Is asked before an attempt begins."""
        self.name = name
        self.check: Check | None = None
        self.runs_in = _place(function, name, run_in)
        signature = _signature_of(function)
        if signature.unnamed:
            raise DefinitionError(
                f"the handler {name!r} has the parameter {signature.unnamed!r}, which has no name to fill it by",
                hint="give it a name, or take `params` for all of them as one dict",
            )
        self._parameters = signature.parameters
        self._context_name = signature.context_name
        self._params_name = signature.params_name
        self._takes_rest = signature.takes_rest
        if self.runs_in is RunsIn.PROCESS and self._context_name is not None:
            raise DefinitionError(
                f"the handler {name!r} runs in a process of its own and cannot take the context there",
                hint="take the values it needs as params: ${input.x}, or the results by name",
            )

    @property
    def takes_context(self) -> bool:
        """Whether it has a parameter for the context."""
        return self._context_name is not None

    @property
    def parameter_names(self) -> frozenset[str]:
        """The names that are filled from params, results or the input."""
        return frozenset(parameter.name for parameter in self._parameters)

    def arguments(self, params: dict[str, object], context: TaskContext) -> dict[str, Any]:
        """Return the keyword arguments of one call.

        Raises ``InvalidInput`` for a parameter nothing fills, a value that does not fit its hint, and a param that the
        handler does not take.
        """
        arguments: dict[str, Any] = {}
        used = 0
        for parameter in self._parameters:
            name = parameter.name
            value = params.get(name, _MISSING)
            if value is not _MISSING:
                used += 1
            else:
                value = context.find(name, _MISSING)
                if value is _MISSING:
                    value = parameter.default
                    if value is _MISSING:
                        raise InvalidInput(
                            f"nothing fills the parameter {name!r} of the handler {self.name!r}",
                            hint=f"give params={{{name!r}: …}} in the task, or a default in the handler",
                        )
                    arguments[name] = value
                    continue
            if not (parameter.is_exact and type(value) is parameter.hint) and parameter.hint is not Any:
                value = self._checked(parameter, value)
            arguments[name] = value
        if used < len(params) and self._params_name is None:
            rest = {key: params[key] for key in params if key not in arguments}
            if rest and not self._takes_rest:
                self._refuse(sorted(rest))
            arguments.update(rest)
        if self._params_name is not None:
            arguments[self._params_name] = params
        if self._context_name is not None:
            arguments[self._context_name] = context
        return arguments

    def picked(self, params: dict[str, object]) -> dict[str, object]:
        """Return those of ``params`` that it takes: what looks after the work of a handler need not take all that the handler does."""
        if self._params_name is not None or self._takes_rest:
            return params
        return {name: value for name, value in params.items() if name in self.parameter_names}

    def gather(self, params: dict[str, object], context: TaskContext) -> dict[str, object]:
        """Return what ``arguments`` would look up beside ``params``, unchecked: for a call that is made elsewhere."""
        values: dict[str, object] = {}
        for parameter in self._parameters:
            if parameter.name not in params:
                found = context.find(parameter.name, _MISSING)
                if found is not _MISSING:
                    values[parameter.name] = found
        return values

    def misfits(self, literal: Mapping[str, object], others: Iterable[str]) -> list[str]:
        """Return, in words, which params this handler would refuse: those it does not take, and values that do not fit.

        ``literal`` are params whose values are known before anything runs, ``others`` the names of the rest.
        """
        problems: list[str] = []
        taken = {parameter.name: parameter for parameter in self._parameters}
        for name, value in literal.items():
            if name in taken and taken[name].hint is not Any:
                try:
                    self._checked(taken[name], value)
                except InvalidInput as error:
                    problems.append(str(error))
        if self._params_name is None and not self._takes_rest:
            for name in dict.fromkeys([*literal, *others]):
                if name not in taken:
                    try:
                        self._refuse([name])
                    except InvalidInput as error:
                        problems.append(str(error))
        return problems

    def unfilled(self, names: Collection[str]) -> set[str]:
        """Return the parameters without a default that none of ``names`` fills."""
        return {one.name for one in self._parameters if one.default is _MISSING and one.name not in names}

    def _checked(self, parameter: _Parameter, value: object) -> object:
        try:
            return msgspec.convert(value, parameter.hint, dec_hook=_foreign)
        except msgspec.ValidationError as error:
            raise InvalidInput(
                f"the parameter {parameter.name!r} of the handler {self.name!r} does not take {_short(value)}: {error}",
                hint=f"it is declared as {_hint_name(parameter.hint)}",
            ) from error

    def _refuse(self, extra: list[str]) -> None:
        known = [parameter.name for parameter in self._parameters]
        close = get_close_matches(extra[0], known, n=1)
        raise InvalidInput(
            f"the handler {self.name!r} takes no {', '.join(map(repr, extra))}",
            hint=f"did you mean {close[0]!r}?"
            if close
            else f"it takes {', '.join(known) or 'nothing'}; add `params` to take all",
        )


def _place(function: HandlerFunction, name: str, run_in: str | None) -> RunsIn:
    is_coroutine = is_async(function)
    rule = rule_of(function)
    if rule.refusal:
        raise DefinitionError(f"the handler {name!r} {rule.refusal}", hint=rule.hint)
    if run_in is None:
        run_in = RunsIn.LOOP if is_coroutine else RunsIn.PROCESS if rule.needs_process else RunsIn.THREAD
    try:
        place = RunsIn(run_in)
    except ValueError:
        raise DefinitionError(
            f"run_in={run_in!r} of the handler {name!r} is unknown", hint="use 'loop', 'thread' or 'process'"
        ) from None
    if is_coroutine != (place is RunsIn.LOOP):
        raise DefinitionError(
            f"the handler {name!r} is {'async' if is_coroutine else 'not async'} and cannot run in a {place.value}"
            if place is not RunsIn.LOOP
            else f"the handler {name!r} is not async and would block the event loop",
            hint="async functions run on the loop, plain ones in a thread or a process",
        )
    if rule.needs_process and place is RunsIn.THREAD:
        raise DefinitionError(
            f"the handler {name!r} has bounds that cannot be enforced in a thread",
            hint='leave run_in away or say run_in="process": a thread can be neither measured nor stopped',
        )
    if place is RunsIn.PROCESS and not _is_importable(function):
        raise DefinitionError(
            f"the handler {name!r} runs in a process of its own and must be importable by name",
            hint="define it at the top level of a module",
        )
    return place


def _is_importable(function: HandlerFunction) -> bool:
    name = getattr(function, "__qualname__", "<object>")
    owner = getattr(function, "__self__", None)
    return "<" not in name and (owner is None or isinstance(owner, type))


def _hints(function: HandlerFunction) -> Mapping[str, object]:
    while isinstance(function, partial):
        function = function.func
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(target)
    except (NameError, TypeError):
        # A hint that names something unknown here (only imported for the checker, say) cannot be checked against.
        return {}


def _can_be_checked(hint: object) -> bool:
    """Whether values can be converted to ``hint``: some unions cannot, nor what names something unknown here."""
    try:
        msgspec.convert(None, hint, dec_hook=_refuse_all)
    except msgspec.ValidationError:
        return True
    except (TypeError, NameError, AttributeError):
        return False
    return True


def _refuse_all(hint: type, value: object) -> object:
    raise ValueError


def _foreign(hint: type, value: object) -> object:
    """Check against a type msgspec does not know: a pydantic model validates, any other class must match."""
    validate = getattr(hint, "model_validate", None)
    if validate is not None:
        return validate(value)
    kind = get_origin(hint) or hint
    if isinstance(value, kind):
        return value
    raise ValueError(f"expected `{kind.__name__}`, got `{type(value).__name__}`")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _hint_name(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
