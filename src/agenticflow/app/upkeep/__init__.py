"""Keeping a store in order: whether it is sound, copies of it, and putting one back."""

from agenticflow.app.upkeep.backups import Restored, back_up_store, restore_store
from agenticflow.app.upkeep.verification import Verification, verify_store

__all__ = ["Restored", "Verification", "back_up_store", "restore_store", "verify_store"]
