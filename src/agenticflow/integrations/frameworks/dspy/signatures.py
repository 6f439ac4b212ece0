"""What a module takes, as the parameters of a handler; and what it returns, as plain data."""

from __future__ import annotations

import inspect
from typing import Any

import dspy

from agenticflow.errors import DefinitionError

__all__ = ["module_of", "parameters_of", "plain"]


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


def parameters_of(module: dspy.Module) -> list[inspect.Parameter]:
    """Return the parameters of what is called: its own, or the input fields of its one signature."""
    kind: Any = type(module)  # of the class: DSPy warns whoever takes the method of a module
    function = kind.aforward if is_async(module) else kind.forward
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


def is_async(module: dspy.Module) -> bool:
    """Whether it runs on the event loop: its own code says ``aforward``."""
    return hasattr(type(module), "aforward")


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
