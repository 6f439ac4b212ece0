"""The page of the control-flow patterns names all 43, and each it calls supported is shown, and proven by a test of its number."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "reference" / "patterns.md"
TESTS = (ROOT / "tests/scenarios/test_patterns.py", ROOT / "tests/unit/app/test_patterns_with_engine.py")
NAMES = (
    "Sequence", "Parallel Split", "Synchronization", "Exclusive Choice", "Simple Merge", "Multi-Choice",
    "Structured Synchronizing Merge", "Multi-Merge", "Structured Discriminator", "Arbitrary Cycles",
    "Implicit Termination", "Multiple Instances without Synchronization",
    "Multiple Instances with a priori Design-Time Knowledge", "Multiple Instances with a priori Run-Time Knowledge",
    "Multiple Instances without a priori Run-Time Knowledge", "Deferred Choice", "Interleaved Parallel Routing",
    "Milestone", "Cancel Task", "Cancel Case", "Structured Loop", "Recursion", "Transient Trigger",
    "Persistent Trigger", "Cancel Region", "Cancel Multiple Instance Task", "Complete Multiple Instance Task",
    "Blocking Discriminator", "Cancelling Discriminator", "Structured Partial Join", "Blocking Partial Join",
    "Cancelling Partial Join", "Generalised AND-Join", "Static Partial Join for Multiple Instances",
    "Cancelling Partial Join for Multiple Instances", "Dynamic Partial Join for Multiple Instances",
    "Local Synchronizing Merge", "General Synchronizing Merge", "Critical Section", "Interleaved Routing",
    "Thread Merge", "Thread Split", "Explicit Termination",
)  # fmt: skip
"""WCP-1 to WCP-43, in the words of the revised view of 2006."""
_ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| (yes|partly|no) \| ([^|]+|.*\\\|.*) \|$", re.MULTILINE)


def rows() -> dict[int, tuple[str, str, str]]:
    found = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(found) == len({number for number, *_ in found}), "a pattern is named twice"
    return {int(number): (name.strip(), support, how.strip()) for number, name, support, how in found}


def numbers_of_tests(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"def test_wcp_(\d\d)_", path.read_text(encoding="utf-8"))]


def supported() -> set[int]:
    return {number for number, (_, support, _) in rows().items() if support != "no"}


def test_the_page_has_each_pattern_once_under_its_name() -> None:
    assert {number: name for number, (name, _, _) in rows().items()} == dict(enumerate(NAMES, 1))


def test_every_supported_pattern_is_proven_by_a_test_of_its_number_and_no_other() -> None:
    numbers = [number for path in TESTS for number in numbers_of_tests(path)]
    assert len(numbers) == len(set(numbers)), "two tests have the same number"
    assert set(numbers) == supported()


def test_every_supported_pattern_is_shown_in_code_that_runs() -> None:
    python = [block.code for block in blocks(PAGE.read_text(encoding="utf-8")) if block.language == "python"]
    shown = [int(number) for code in python for number in re.findall(r"^# WCP-(\d+)\b", code, flags=re.MULTILINE)]
    assert sorted(shown) == sorted(supported())


def test_what_is_not_supported_or_only_partly_says_why() -> None:
    for number, (name, support, how) in rows().items():
        if support != "yes":
            assert len(how.split()) >= 8, f"WCP-{number} {name}: no reason"


def test_the_summary_counts_right() -> None:
    count = {word: sum(support == word for _, support, _ in rows().values()) for word in ("yes", "partly", "no")}
    text = PAGE.read_text(encoding="utf-8")
    assert f"{count['yes']} are supported, {count['partly']} partly, {count['no']} not" in " ".join(text.split())
