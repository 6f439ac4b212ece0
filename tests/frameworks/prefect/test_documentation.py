"""The page and the example of Prefect do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_examples import Example, perform
from tests.frameworks.documentation import examples_of, pages_of, run_page


@pytest.mark.parametrize("page", pages_of("prefect"), ids=lambda page: page.name)
def test_every_block_runs(page: Path, tmp_path: Path, prefect_server: str) -> None:
    run_page(page, tmp_path, {"PREFECT_API_URL": prefect_server})


@pytest.mark.parametrize("example", examples_of("prefect"), ids=lambda example: example.name)
def test_the_example_runs(
    example: Example, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    outcome = perform(example, tmp_path)
    assert not outcome.problem, f"{outcome.problem}\n{outcome.output}\n{outcome.errors}"
    assert outcome.output.splitlines()[-3:] == [
        "the best of 3 offers: 11",
        "{'small': 'ordered at 10.12'}",
        "{'large': 'the manager looks at 1012'}",
    ]
