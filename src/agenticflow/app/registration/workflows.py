"""The workflows an orchestrator knows by name: definitions, and functions in every version that runs may be pinned to."""

from __future__ import annotations

import asyncio
import asyncio.events
import logging
from collections.abc import Mapping
from typing import Final

import msgspec

from agenticflow.errors import DefinitionError, WorkflowNotFoundError
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.plan import Plan, compile_plan
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.planning.planner import Planners
from agenticflow.orchestration.validation import contradictions
from agenticflow.resilience.budgets import Budget

log = logging.getLogger("agenticflow.engine")

__all__ = ["AnyWorkflow", "Workflows"]

CACHED_DEFINITIONS: Final = 64
AnyWorkflow = WorkflowDefinition | WorkflowFunction | str
"""A workflow as data, as code, or the name of one that is registered."""


class Workflows:
    """Registered workflows. Of a function that is registered in several versions the last one is what its name means."""

    def __init__(self) -> None:
        self._by_name: dict[str, WorkflowDefinition] = {}
        self._plans: dict[int, tuple[WorkflowDefinition, Plan]] = {}
        self.planners = Planners(_hide_the_loop, asyncio.events._set_running_loop, log.warning)
        """The functions of workflows as code."""

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def by_name(self) -> Mapping[str, WorkflowDefinition]:
        """The definitions by name."""
        return self._by_name

    def add(self, workflow: WorkflowDefinition | WorkflowFunction) -> None:
        """Make ``workflow`` known by its name. Raises ``DefinitionError`` with every mistake in it, and for a name that is taken."""
        if isinstance(workflow, WorkflowFunction):
            self.planners.add(workflow)
            definition = workflow.definition
        elif isinstance(workflow, WorkflowDefinition):
            definition = workflow
        else:
            raise DefinitionError(
                f"register_workflow got a {type(workflow).__name__}",
                hint="give it a WorkflowDefinition, or a function under @workflow",
            )
        self.plan(definition)
        known = self._by_name.get(definition.name)
        if known is not None and known != definition and not (known.code and definition.code):
            raise DefinitionError(f"there is another workflow {definition.name!r} already", hint="give it another name")
        self._by_name[definition.name] = definition

    def named(self, workflow: AnyWorkflow) -> WorkflowDefinition:
        """Return the definition that is meant; a function is known from now on.

        Raises ``WorkflowNotFoundError`` for an unknown name, ``DefinitionError`` for what is no workflow.
        """
        if isinstance(workflow, WorkflowDefinition):
            return workflow
        if isinstance(workflow, WorkflowFunction):
            self.planners.add(workflow)
            return workflow.definition
        if isinstance(workflow, str):
            known = self._by_name.get(workflow)
            if known is None:
                raise WorkflowNotFoundError(
                    f"no workflow {workflow!r:.200} is registered",
                    hint=f"there are {', '.join(sorted(self._by_name)) or 'none'}",
                )
            return known
        raise DefinitionError(
            f"a workflow is a WorkflowDefinition, a function under @workflow, or the name of one, not a {type(workflow).__name__}",
            hint='write start_workflow(definition, {"key": "value"})',
        )

    def plan(self, definition: WorkflowDefinition) -> Plan:
        """Return the plan of ``definition``. Raises ``DefinitionError`` with every mistake in it."""
        known = self._plans.get(id(definition))
        if known is not None and known[0] is definition:
            return known[1]
        plan = compile_plan(definition)
        if problems := contradictions(definition):
            raise DefinitionError(f"workflow {definition.name!r}: {'; '.join(problems)}", problems=problems)
        while len(self._plans) >= CACHED_DEFINITIONS:
            del self._plans[next(iter(self._plans))]
        self._plans[id(definition)] = (definition, plan)
        return plan

    def plan_of(self, workflow: AnyWorkflow, budget: Budget | str | None = None) -> Plan:
        """Return the plan of what is meant, with a ``budget`` instead of its own. Errors as for ``named`` and ``plan``."""
        definition = self.named(workflow)
        return self.plan(definition if budget is None else msgspec.structs.replace(definition, budget=budget))


def _hide_the_loop() -> asyncio.AbstractEventLoop | None:
    """A function that would wait for the loop, or start a task on it, fails at once instead of doing so unrecorded."""
    loop = asyncio.events._get_running_loop()
    asyncio.events._set_running_loop(None)
    return loop
