"""State that agents share: modified by functions, recorded as events, never losing an update."""

from agenticflow.runtime.shared_state.state_manager import (
    ModificationFunction,
    StateChange,
    StateManager,
    VersionedState,
)

__all__ = ["ModificationFunction", "StateChange", "StateManager", "VersionedState"]
