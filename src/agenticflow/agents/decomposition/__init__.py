"""A request, taken apart and made a workflow: analysis, templates, a model's answer read and mended, plans checked and laid out."""

from agenticflow.agents.decomposition.analysis import Complexity, QueryAnalysis, analyse
from agenticflow.agents.decomposition.answers import Reading, read_answer
from agenticflow.agents.decomposition.decomposer import TaskDecomposer
from agenticflow.agents.decomposition.decomposition import Bounds, Decomposition, PlannedTask, Strategy
from agenticflow.agents.decomposition.plans import Doer, Plan, Planned, lay_out
from agenticflow.agents.decomposition.templates import WorkflowTemplate, WorkflowTemplateRegistry

__all__ = [
    "Bounds",
    "Complexity",
    "Decomposition",
    "Doer",
    "Plan",
    "Planned",
    "PlannedTask",
    "QueryAnalysis",
    "Reading",
    "Strategy",
    "TaskDecomposer",
    "WorkflowTemplate",
    "WorkflowTemplateRegistry",
    "analyse",
    "lay_out",
    "read_answer",
]
