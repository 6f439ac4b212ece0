"""The rules of asking for another plan when a run would fail."""
