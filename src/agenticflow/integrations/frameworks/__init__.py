"""Agents of other frameworks: each an extra, imported where it is used (docs/adr/0025)."""
