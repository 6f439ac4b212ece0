"""What a module takes, as the parameters of a handler; and what it returns, as plain data."""

from __future__ import annotations

import inspect
from typing import Any

import dspy

from agenticflow.errors import DefinitionError

__all__ = ["is_async", "module_of", "parameters_of", "plain"]


def module_of(name: str, given: object) -> dspy.Module:
    """Return the module that ``given`` is, makes, or describes. Raises ``DefinitionError``."""
    made = given
    if isinstance(given, str) or (isinstance(given, type) and issubclass(given, dspy.Signature)):
        try:
            made = dspy.Predict(given)
        except (ValueError, TypeError, SyntaxError) as error:
            raise DefinitionError(
                f"the worker {name!r} has no signature: {error}", hint='"question -> answer" is one'
            ) from error
    elif callable(given) and not isinstance(given, dspy.Module):
        try:
            made = given()
        except TypeError as error:
            raise DefinitionError(
                f"the worker {name!r} got {getattr(given, '__name__', given)!r}, which does not make a module: {error}",
                hint="decorate a module class or a function without parameters that returns a module",
            ) from error
    if not isinstance(made, dspy.Module):
        raise DefinitionError(
            f"the worker {name!r} is made of a {type(made).__name__}, not of a DSPy module",
            hint='give it a dspy.Module, a class or function that makes one, or a signature: "question -> answer"',
        )
    return made


def is_async(name: str, module: dspy.Module, run_in: str | None) -> bool:
    """Whether it runs on the event loop. Raises ``DefinitionError`` when it shall and cannot."""
    if run_in not in (None, "loop", "thread"):
        raise DefinitionError(f"run_in={run_in!r} of the worker {name!r} is unknown", hint="use 'loop' or 'thread'")
    has_aforward = hasattr(type(module), "aforward")
    if run_in == "loop" and not has_aforward:
        raise DefinitionError(f"the module of {name!r} has no aforward", hint="leave run_in away: it runs in a thread")
    return has_aforward and run_in != "thread"


def parameters_of(module: dspy.Module, *, on_loop: bool) -> list[inspect.Parameter]:
    """Return the parameters of what is called: its own, or the input fields of its one signature."""
    kind: Any = type(module)  # of the class: DSPy warns whoever takes the method of a module
    function = kind.aforward if on_loop else kind.forward
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    if [each.kind for each in parameters] != [inspect.Parameter.VAR_KEYWORD]:
        return parameters
    predictors = module.predictors()
    if isinstance(module, dspy.Predict):
        signature = module.signature
    elif len(predictors) == 1:
        signature = predictors[0].signature
    else:
        return parameters
    return [
        inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, annotation=info.annotation)
        for field, info in signature.input_fields.items()
    ]


def plain(value: object) -> Any:
    """Return a prediction as a dictionary of its fields, models as theirs, anything else as it is."""
    if isinstance(value, dspy.Example):  # a prediction is one
        return {str(name): plain(field) for name, field in value.items()}
    dump = getattr(value, "model_dump", None)
    if callable(dump):  # a pydantic model
        return dump(mode="json")
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value
