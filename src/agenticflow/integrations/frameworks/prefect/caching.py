"""Results of a flow's tasks that outlive the attempt that made them: a cache policy whose key names our effect, not Prefect's run.

When a process dies while a flow performs a task of ours, the next attempt calls the flow again, as a new run of Prefect's. Prefect's own
policy asks for the id of the run and finds nothing. This one finds what was stored for the same task, whoever performs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final

from prefect.cache_policies import CachePolicy
from prefect.logging import get_logger

from agenticflow.core import codec
from agenticflow.core.context import TaskContext
from agenticflow.errors import NotSerializable
from agenticflow.integrations.frameworks.prefect.tasks import performed

__all__ = ["ONCE_PER_EFFECT", "OncePerEffect"]

log = get_logger("agenticflow")


@dataclass
class OncePerEffect(CachePolicy):
    """``@task(cache_policy=ONCE_PER_EFFECT)``: a call that is done stays done for all attempts of our task.

    The key is made of our effect key, the task and its parameters. A parameter without a form on the wire (a connection, a lock, a file)
    cannot be told from another one, so a call that has one is not cached, quietly; ``ONCE_PER_EFFECT - "connection"`` leaves that
    parameter out of the key instead. Outside a task of ours nothing is cached.
    """

    exclude: list[str] = field(default_factory=list)

    def compute_key(
        self, task_ctx: Any, inputs: Mapping[str, Any], flow_parameters: Mapping[str, Any], **kwargs: Any
    ) -> str | None:
        """Return the key of one call, ``None`` when it has none. Raises nothing."""
        context = performed()
        if context is None:
            return None
        digest = blake2b(f"{context.effect_key}\0{task_ctx.task.task_key}".encode(), digest_size=16)
        for name, value in sorted((inputs or {}).items()):
            if name in self.exclude or isinstance(value, TaskContext):
                continue
            try:
                encoded = codec.encode(value)
            except NotSerializable as error:
                log.debug("a call of %s is not cached: its parameter %r: %s", task_ctx.task.name, name, error)
                return None
            digest.update(f"\0{name}\0{len(encoded)}\0".encode() + encoded)
        return digest.hexdigest()

    def __sub__(self, other: str) -> OncePerEffect:
        """Return a policy that leaves the parameter ``other`` out of its keys."""
        if not isinstance(other, str):
            raise TypeError(f"a parameter is left out by its name, not by {other!r:.60}")
        return replace(self, exclude=[*self.exclude, other])


ONCE_PER_EFFECT: Final = OncePerEffect()
"""See ``OncePerEffect``."""
