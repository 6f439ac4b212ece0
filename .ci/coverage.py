"""Judge the last test run: the pure modules ([tool.house] in pyproject.toml) have every branch covered.

Combines what the test processes left behind. Of everything else only the total is shown; ``coverage report`` tells
more.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOUSE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["house"]


def coverage(*arguments: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coverage", *arguments], cwd=ROOT, text=True, check=False, capture_output=quiet
    )


def pure_files() -> list[str]:
    patterns: list[str] = []
    for name in HOUSE["pure"]:
        path = f"src/agenticflow/{name.replace('.', '/')}"
        patterns += [f"{path}.py", f"{path}/*"]
    return patterns


def main() -> int:
    # a process that was killed leaves a file that cannot be read: that is what the crash tests do
    combined = coverage("combine", "--quiet", quiet=True)
    if combined.returncode and not (ROOT / ".coverage").exists():
        print(combined.stdout, combined.stderr, sep="", end="")
        return combined.returncode
    pure = coverage("report", f"--include={','.join(pure_files())}", "--fail-under=100", quiet=True)
    if pure.returncode:
        print(pure.stdout, pure.stderr, sep="", end="")
        print("the pure modules must have every branch covered")
        return 1
    total = coverage("report", "--format=total", "--precision=1", quiet=True).stdout.strip()
    print(f"pure modules 100 %, everything {total} %")
    if float(total) < HOUSE["min_total_coverage"]:
        print(f"less than {HOUSE['min_total_coverage']} %: see `.venv/bin/coverage report`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
