"""Typed settings: defaults, profile, file, environment, command line. Read by ``app``, entry points and demos only; everything below
is handed what it needs."""

from agenticflow.config.loading import Loaded, Setting, check_file, load_settings
from agenticflow.config.settings import EngineSettings, MetricsSettings, Settings, json_schema
from agenticflow.observability.logs import LogSettings

__all__ = [
    "EngineSettings",
    "Loaded",
    "LogSettings",
    "MetricsSettings",
    "Setting",
    "Settings",
    "check_file",
    "json_schema",
    "load_settings",
]
