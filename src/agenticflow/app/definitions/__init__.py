"""Definitions as files: what may stand in them, how they are read, and how every mistake in them is told."""

from agenticflow.app.definitions.loading import Loaded, Performers, load_workflow, load_workflows
from agenticflow.app.definitions.modifying import load_modifications
from agenticflow.app.definitions.performers import Performing, needed_input, unperformed, unused_input
from agenticflow.app.definitions.schema import workflow_schema

__all__ = [
    "Loaded",
    "Performers",
    "Performing",
    "load_modifications",
    "load_workflow",
    "load_workflows",
    "needed_input",
    "unperformed",
    "unused_input",
    "workflow_schema",
]
