"""Cassettes: everything of one run in one file that reads well in a diff, without secrets, to be replayed elsewhere."""

from agenticflow.app.cassettes.form import MAX_CASSETTE_BYTES, Cassette, CassetteEvent, parse_cassette
from agenticflow.app.cassettes.recording import record_cassette

__all__ = ["MAX_CASSETTE_BYTES", "Cassette", "CassetteEvent", "parse_cassette", "record_cassette"]
