"""The conformance kit of the model port: every promise of ``Model`` is a case here, in nearly the same words.

An adapter proves itself against a provider that runs on this machine and speaks the wire format; a place says how it is told what to
answer (``ModelPlace.serving``), and nothing else::

    class TestMyModel(ModelKit):
        def serving(self, *answers):
            return my_wire_server(answers)
"""

from agenticflow.testing.model_kit.answering import AnsweringCases
from agenticflow.testing.model_kit.asking import AskingCases
from agenticflow.testing.model_kit.failing import FailingCases
from agenticflow.testing.model_kit.place import (
    BreaksOff,
    Garbles,
    HoldsBack,
    ModelPlace,
    ProviderAnswer,
    Refuses,
    Says,
    Seen,
    Served,
)

__all__ = [
    "BreaksOff",
    "Garbles",
    "HoldsBack",
    "ModelKit",
    "ModelPlace",
    "ProviderAnswer",
    "Refuses",
    "Says",
    "Seen",
    "Served",
]


class ModelKit(AnsweringCases, AskingCases, FailingCases):
    """All cases. Subclass it, give ``serving``, and declare what the provider cannot do (see ``ModelPlace``)."""
