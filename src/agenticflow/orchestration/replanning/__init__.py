"""Asking for another plan when a run would fail: what can be true and asked of it. Data, and no rules."""
