"""Profiles: what differs from the defaults by where a program runs. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["PROFILES"]

PROFILES: Final[Mapping[str, Mapping[str, object]]] = {
    "development": {},
    "testing": {"store": "memory:", "engine.drain_seconds": 1.0},
    "staging": {"log.level": "debug", "log.format": "json", "metrics.enabled": True},
    "production": {"log.level": "info", "log.format": "json", "metrics.enabled": True},
}
"""By profile: the settings it begins with, by key."""
