"""Plans that are known beforehand: matched by what a request names, and made to fit it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from agenticflow.agents.decomposition.analysis import QueryAnalysis
from agenticflow.agents.decomposition.answers import read_answer
from agenticflow.agents.decomposition.decomposition import Decomposition, PlannedTask, Strategy, plain_form
from agenticflow.errors import DefinitionError

__all__ = ["WorkflowTemplate", "WorkflowTemplateRegistry"]

MAX_TEMPLATES: Final = 1_000
_WORD: Final = re.compile(r"\w+")
_RIGHT_CALL: Final = 'write WorkflowTemplate("refund", tasks, keywords=["refund"])'


class WorkflowTemplate:
    """``WorkflowTemplate("refund", [{"type": "look_up", …}, …], keywords=["refund"], needs=["order"])``.

    It matches a request that has all of its ``keywords`` and names all of its ``capabilities``, when whatever it ``needs`` came with the
    request. ``tasks`` are mappings in the form of a decomposition, or ``PlannedTask`` s; parameters refer to the request by ``${query}``
    and ``${context.order}``. Tasks in ``optional`` are left out unless the request names one of their capabilities; what waited for
    them waits for what they waited for.
    """

    __slots__ = ("capabilities", "decomposition", "keywords", "name", "needs", "optional")

    def __init__(
        self,
        name: str,
        tasks: Sequence[PlannedTask | Mapping[str, object]],
        *,
        strategy: Strategy | str = Strategy.SEQUENTIAL,
        keywords: Collection[str] = (),
        capabilities: Collection[str] = (),
        needs: Collection[str] = (),
        optional: Collection[str] = (),
    ) -> None:
        """Raises ``DefinitionError`` with every mistake in the tasks: what is mended of a model's answer is one here."""
        if not isinstance(name, str) or not name:
            raise DefinitionError(f"{name!r:.60} is no name of a template", hint=_RIGHT_CALL)
        self.name = name
        self.keywords = _texts(name, "keywords", keywords)
        self.capabilities = _texts(name, "capabilities", capabilities)
        self.needs = _texts(name, "needs", needs)
        self.optional = _texts(name, "optional", optional)
        if not (self.keywords or self.capabilities):
            raise DefinitionError(
                f"template {name!r} says neither keywords nor capabilities: it would match every request",
                hint=_RIGHT_CALL,
            )
        plain = [plain_form(task) if isinstance(task, PlannedTask) else dict(task) for task in tasks]
        reading = read_answer({"strategy": str(strategy), "tasks": plain})
        problems = [*reading.problems, *reading.repairs]
        if reading.decomposition is not None:
            problems += [
                f"optional names {one!r}, which does not exist"
                for one in sorted(self.optional - set(reading.decomposition.ids))
            ]
        if reading.decomposition is None or problems:
            raise DefinitionError(f"template {name!r}: {'; '.join(problems)}", problems=problems)
        self.decomposition = reading.decomposition

    def fits(self, analysis: QueryAnalysis) -> int:
        """Return how much of the request it speaks of; 0 when it does not match."""
        words = {word for keyword in self.keywords for word in _WORD.findall(keyword)}
        is_fit = (
            words <= analysis.words
            and self.capabilities <= set(analysis.capabilities)
            and self.needs <= set(analysis.context_keys)
        )
        return len(self.keywords) + len(self.capabilities) if is_fit else 0

    def customised(self, analysis: QueryAnalysis) -> Decomposition:
        """Return its tasks for this request: without the optional ones that it does not ask for."""
        wanted = set(analysis.capabilities)
        tasks = list(self.decomposition.tasks)
        for task in self.decomposition.tasks:
            if task.id in self.optional and not wanted & set(task.capabilities) and len(tasks) > 1:
                tasks = [_without(task, one) for one in tasks if one.id != task.id]
        return msgspec.structs.replace(
            self.decomposition, tasks=tuple(tasks), reason=f"the request fits the template {self.name!r}"
        )

    def __repr__(self) -> str:
        return f"WorkflowTemplate({self.name!r}, {len(self.decomposition.tasks)} tasks)"


class WorkflowTemplateRegistry:
    """The templates of a supervisor: ``registry.register(template)``, ``registry.find_matching_template(analysis)``."""

    def __init__(self, templates: Collection[WorkflowTemplate] = ()) -> None:
        self._templates: dict[str, WorkflowTemplate] = {}
        for template in templates:
            self.register(template)

    def register(self, template: WorkflowTemplate) -> WorkflowTemplate:
        """Make the template known. Raises ``DefinitionError`` for a taken name, and beyond 1,000."""
        if not isinstance(template, WorkflowTemplate):
            raise DefinitionError(f"a registry got a {type(template).__name__}", hint=_RIGHT_CALL)
        if self._templates.get(template.name, template) is not template:
            raise DefinitionError(f"there is a template {template.name!r} already", hint="give each its own name")
        if len(self._templates) >= MAX_TEMPLATES and template.name not in self._templates:
            raise DefinitionError(
                f"there are {MAX_TEMPLATES:,} templates, and no more", hint="join some that are alike"
            )
        self._templates[template.name] = template
        return template

    def get(self, name: str) -> WorkflowTemplate | None:
        """Return the template of that name."""
        return self._templates.get(name)

    def find_matching_template(self, analysis: QueryAnalysis) -> WorkflowTemplate | None:
        """Return the template that speaks of most of the request, of equal ones the first by name; ``None`` when none matches."""
        fitting = [(-template.fits(analysis), name) for name, template in self._templates.items()]
        best = min(fitting, default=(0, ""))
        return self._templates[best[1]] if best[0] else None

    def __len__(self) -> int:
        return len(self._templates)


def _without(gone: PlannedTask, task: PlannedTask) -> PlannedTask:
    """Return ``task`` waiting for what ``gone`` waited for, when it waited for that."""
    if gone.id not in task.dependencies:
        return task
    others = (one for other in task.dependencies for one in (gone.dependencies if other == gone.id else (other,)))
    return msgspec.structs.replace(task, dependencies=tuple(dict.fromkeys(others)))


def _texts(name: str, what: str, given: Collection[str]) -> frozenset[str]:
    if isinstance(given, str) or not all(isinstance(one, str) and one for one in given):
        raise DefinitionError(f"{what} of template {name!r} are {given!r:.60}", hint='give a list: ["refund"]')
    return frozenset(one.casefold() for one in given) if what == "keywords" else frozenset(given)
