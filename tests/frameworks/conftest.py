"""Each framework is tested where it is installed: in an environment of its own, that ``test_environments`` builds and runs tests in."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [name for name in ("dspy", "prefect") if find_spec(name) is None]
