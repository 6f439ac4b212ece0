"""Who performs: the port through which the engine asks where a piece of work goes when its agent is not well.

The engine names a performer for every task. Before it hands work over it may ask an ``Assigner``, which keeps a healthy performer and
replaces one that is not. The engine works without one: then every task stays with the performer it names.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Protocol

__all__ = ["Assigner", "Load"]

Load = Mapping[str, tuple[int, int]]
"""By performer id, how many attempts are in work and how many queue. Whoever is not in it has none."""


class Assigner(Protocol):
    """Answers from what it knows now; the same question may have another answer a moment later."""

    @property
    def noted(self) -> Container[str]:
        """Ids of performers of whom anything is known that could keep work from them: all others are well, and are kept."""

    def choose(self, performer_id: str, task_type: str, capabilities: frozenset[str], load: Load) -> str:
        """Return the id of the performer to use for a task of ``task_type`` that names ``performer_id``.

        A performer that is well is always kept, and so is one that is not known here (a worker, or somebody who is registered later).
        One that is not well is replaced by another that is, has a handler for ``task_type`` and all ``capabilities`` (when there are
        none: all of the named one's). With an empty ``performer_id`` the best one that has all ``capabilities`` is returned.

        Raises ``NoHealthyAgentError`` when there is nobody, ``AgentNotFoundError`` when nobody ever had those capabilities.
        """

    def check(self) -> Sequence[str]:
        """Look at everybody for whom time alone changes something: who has been silent, who has waited long enough to be tried again.

        Whoever keeps work waiting for somebody to be well calls it now and then. Returns whose health changed, by id.
        """

    def when_changed(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Have ``listener(performer_id)`` called whenever somebody begins or ceases to be well enough for work; return what ends that.

        It is called in the middle of whatever brought the change about, also of a report of the engine itself: it should take a note
        and move queued work later.
        """
