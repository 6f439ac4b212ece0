"""The page and the example of DSPy do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_examples import Example, perform
from tests.frameworks.documentation import examples_of, pages_of, run_page


@pytest.mark.parametrize("page", pages_of("dspy"), ids=lambda page: page.name)
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path, {})


@pytest.mark.parametrize("example", examples_of("dspy"), ids=lambda example: example.name)
def test_the_example_runs(example: Example, tmp_path: Path) -> None:
    outcome = perform(example, tmp_path)
    assert not outcome.problem, f"{outcome.problem}\n{outcome.output}\n{outcome.errors}"
    assert outcome.output.splitlines()[-1] == "2 calls of the model in two attempts"
