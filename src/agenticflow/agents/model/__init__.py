"""The model port: our own protocol of messages, requests, answers and deltas, what errors mean, prices, and the simple face.

Pure data and pure rules; nothing here knows a provider. Adapters are in ``integrations.models``, opened and guarded by ``app.models``.
"""

from agenticflow.agents.model.client import LLMClient
from agenticflow.agents.model.deltas import (
    Delta,
    ReasoningDelta,
    ResponseBegan,
    ResponseFinished,
    ResponseFold,
    ResponseRestarted,
    TextDelta,
    ToolCallDelta,
    UsageTold,
    deltas_of,
    fold,
    fold_stream,
)
from agenticflow.agents.model.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    assistant,
    pack_messages,
    parse_arguments,
    system,
    tool_results,
    unpack_messages,
    user,
)
from agenticflow.agents.model.permission import permission
from agenticflow.agents.model.port import Model, opens_models
from agenticflow.agents.model.prices import Cost, Price, PriceTable, Spending
from agenticflow.agents.model.recovery import Recovery, recovery_of
from agenticflow.agents.model.requests import (
    ModelAbilities,
    ModelRequest,
    OutputSpec,
    ReasoningEffort,
    ToolChoice,
    ToolSpec,
)
from agenticflow.agents.model.responses import FinishReason, ModelResponse, Usage

__all__ = [
    "Cost",
    "Delta",
    "FilePart",
    "FinishReason",
    "ImagePart",
    "LLMClient",
    "Message",
    "Model",
    "ModelAbilities",
    "ModelRequest",
    "ModelResponse",
    "OutputSpec",
    "Part",
    "Price",
    "PriceTable",
    "ReasoningDelta",
    "ReasoningEffort",
    "ReasoningPart",
    "Recovery",
    "ResponseBegan",
    "ResponseFinished",
    "ResponseFold",
    "ResponseRestarted",
    "Role",
    "Spending",
    "TextDelta",
    "TextPart",
    "ToolCallDelta",
    "ToolCallPart",
    "ToolChoice",
    "ToolResultPart",
    "ToolSpec",
    "Usage",
    "UsageTold",
    "assistant",
    "deltas_of",
    "fold",
    "fold_stream",
    "opens_models",
    "pack_messages",
    "parse_arguments",
    "permission",
    "recovery_of",
    "system",
    "tool_results",
    "unpack_messages",
    "user",
]
