"""Replaying cassettes: a recorded run decided anew by today's engine, definition and handlers, and where it went another way."""

from agenticflow.testing.cassettes.replaying import replay_cassette
from agenticflow.testing.cassettes.report import Drift, DriftReport

__all__ = ["Drift", "DriftReport", "replay_cassette"]
