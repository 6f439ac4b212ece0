"""Run the examples, all of them or some: ``python run_examples.py [NAME …] [--list]``.

Each runs as a reader would run it: a process of its own, in an empty folder of its own, on a store in memory. It passes when it ends
with exit code 0 and has shown something. Ends with 1 when one does not pass, and shows what that one printed. An example of a framework
that is not installed here is passed over.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Example", "Outcome", "examples", "perform"]

ROOT = Path(__file__).resolve().parent
LIMIT_SECONDS = 300.0
FRAMEWORKS = ("dspy", "prefect")
"""Each has an environment of its own: ``tests/frameworks``."""


@dataclass(frozen=True)
class Example:
    """A file in ``examples``, or a folder there that has a ``__main__.py``."""

    name: str
    path: Path

    @property
    def words(self) -> list[str]:
        """What to hand to Python to run it."""
        return ["-m", f"examples.{self.name}"] if self.path.name == "__main__.py" else [str(self.path)]

    @property
    def framework(self) -> str:
        """The framework that it imports and that is not part of ours, if any: what has to be installed to run it."""
        text = "".join(path.read_text(encoding="utf-8") for path in self.files)
        return next((name for name in FRAMEWORKS if f"integrations.frameworks.{name} " in text), "")

    @property
    def files(self) -> list[Path]:
        """What it consists of."""
        return sorted(self.path.parent.glob("*.py")) if self.path.name == "__main__.py" else [self.path]

    @property
    def summary(self) -> str:
        """The first sentence of what it says about itself."""
        described = self.path.with_name("__init__.py") if self.path.name == "__main__.py" else self.path
        text = ast.get_docstring(ast.parse(described.read_text(encoding="utf-8"))) or ""
        return " ".join(text.split("\n\n")[0].split())


@dataclass(frozen=True)
class Outcome:
    """How one run of an example went. ``problem`` is empty when it passed."""

    example: Example
    seconds: float
    output: str
    errors: str
    problem: str


def examples() -> list[Example]:
    """Return every example, by name."""
    folder = ROOT / "examples"
    files = [Example(path.stem, path) for path in folder.glob("*.py") if not path.name.startswith("_")]
    packages = [Example(path.parent.name, path) for path in folder.glob("*/__main__.py")]
    return sorted(files + packages, key=lambda example: example.name)


def perform(example: Example, folder: Path) -> Outcome:
    """Run one example in ``folder``, to its end or to the limit."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, *example.words],
            cwd=folder,
            env=os.environ | {"AGENTICFLOW_STORE": "memory:", "PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Outcome(example, LIMIT_SECONDS, "", "", f"took more than {LIMIT_SECONDS:.0f} s")
    problem = f"exit code {done.returncode}" if done.returncode else "" if done.stdout.strip() else "showed nothing"
    return Outcome(example, time.perf_counter() - started, done.stdout, done.stderr, problem)


def chosen(names: Sequence[str]) -> list[Example]:
    """Return the examples of these names, or all. Ends the program for a name that is none."""
    there = {example.name: example for example in examples()}
    for name in names:
        if name not in there:
            close = get_close_matches(name, there, n=1)
            sys.exit(f"there is no example {name!r}; " + (f"did you mean {close[0]!r}?" if close else "see --list"))
    return [there[name] for name in names or there]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; all without one")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    options = parser.parse_args(arguments)
    selected = chosen(options.names)
    width = max(len(example.name) for example in selected)
    failed: list[Outcome] = []
    passed_over = 0
    for example in selected:
        if options.list:
            print(f"{example.name:{width}}  {example.summary}")
            continue
        if example.framework and find_spec(example.framework) is None:
            print(f"{example.name:{width}}  {'':7}  passed over: needs agenticflow[{example.framework}]", flush=True)
            passed_over += 1
            continue
        with tempfile.TemporaryDirectory(prefix=f"example-{example.name}-") as folder:
            outcome = perform(example, Path(folder))
        last = outcome.output.strip().splitlines()[-1:] or [""]
        print(
            f"{example.name:{width}}  {outcome.seconds:5.1f} s  {outcome.problem or 'ok':14}  {last[0][:80]}",
            flush=True,
        )
        if outcome.problem:
            failed.append(outcome)
    if options.list:
        return 0
    for outcome in failed:
        print(f"\n--- {outcome.example.name}: {outcome.problem}\n{outcome.output}{outcome.errors}", file=sys.stderr)
    print(f"\n{len(selected) - passed_over - len(failed)} of {len(selected) - passed_over} examples ran well")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
