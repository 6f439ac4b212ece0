"""Each example is a program that ends well, in a folder of its own, on a store in memory; ``run_examples.py`` runs them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_examples import LIMIT_SECONDS, Example, chosen, examples, main, perform
from tests.docs.pages import ROOT

EXAMPLES = examples()


@pytest.mark.timeout(LIMIT_SECONDS + 10)
@pytest.mark.parametrize(
    "example", [example for example in EXAMPLES if not example.framework], ids=lambda example: example.name
)
def test_the_example_runs(example: Example, tmp_path: Path) -> None:
    outcome = perform(example, tmp_path)
    assert not outcome.problem, f"{outcome.problem}\n{outcome.output}\n{outcome.errors}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_example_says_what_it_shows(example: Example) -> None:
    assert example.summary


def test_an_example_of_a_framework_that_is_not_there_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    """It runs in the environment of its framework: ``tests/frameworks``."""
    framed = [example for example in EXAMPLES if example.framework]
    assert {example.framework for example in framed} == {"dspy", "prefect"}
    assert main([framed[0].name]) == 0
    assert f"needs agenticflow[{framed[0].framework}]" in capsys.readouterr().out


def test_no_program_is_forgotten() -> None:
    """Whatever can be started below ``examples`` is an example."""
    programs = {
        path
        for path in (ROOT / "examples").rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    assert programs == {example.path for example in EXAMPLES}


def test_the_runner_lists_runs_and_tells(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == [example.name for example in EXAMPLES]
    assert main(["hello_workflow"]) == 0
    assert "1 of 1 examples ran well" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        chosen(["helo_workflow"])
    assert "did you mean 'hello_workflow'?" in str(ended.value)


@pytest.mark.parametrize(
    ("program", "problem"), [("raise SystemExit(3)", "exit code 3"), ("silence = True", "showed nothing")]
)
def test_the_runner_notices_an_example_that_does_not_end_well(program: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(program, encoding="utf-8")
    assert perform(Example("bad", path), tmp_path).problem == problem
