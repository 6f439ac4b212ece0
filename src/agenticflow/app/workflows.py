"""The workflow definitions an orchestrator knows: by name, and laid out."""

from __future__ import annotations

from typing import Final

from agenticflow.errors import DefinitionError, WorkflowNotFoundError
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.plan import Plan, compile_plan
from agenticflow.orchestration.validation import contradictions

__all__ = ["KnownWorkflows"]

CACHED_DEFINITIONS: Final = 64


class KnownWorkflows:
    """Definitions by name, and the plans of those that were used lately."""

    def __init__(self) -> None:
        self._by_name: dict[str, WorkflowDefinition] = {}
        self._plans: dict[int, tuple[WorkflowDefinition, Plan]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def add(self, definition: WorkflowDefinition) -> None:
        """Know ``definition`` by its name. Raises ``DefinitionError`` with every mistake in it, and for a taken name."""
        if not isinstance(definition, WorkflowDefinition):
            raise DefinitionError(
                f"register_workflow got a {type(definition).__name__}", hint="give it a WorkflowDefinition"
            )
        self.plan(definition)
        known = self._by_name.get(definition.name)
        if known is not None and known != definition:
            raise DefinitionError(f"there is another workflow {definition.name!r} already", hint="give it another name")
        self._by_name[definition.name] = definition

    def named(self, definition: WorkflowDefinition | str) -> WorkflowDefinition:
        """Return the definition itself, or the one of that name. Raises ``WorkflowNotFoundError``, ``DefinitionError`` for neither."""
        if isinstance(definition, WorkflowDefinition):
            return definition
        if isinstance(definition, str):
            known = self._by_name.get(definition)
            if known is None:
                raise WorkflowNotFoundError(
                    f"no workflow {definition!r} is registered",
                    hint=f"there are {', '.join(sorted(self._by_name)) or 'none'}",
                )
            return known
        raise DefinitionError(
            f"a workflow is a WorkflowDefinition or the name of one, not a {type(definition).__name__}",
            hint='write start_workflow(definition, {"key": "value"})',
        )

    def plan(self, definition: WorkflowDefinition) -> Plan:
        """Return the definition laid out. Raises ``DefinitionError`` with every mistake in it."""
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
