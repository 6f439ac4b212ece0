"""The page of scenarios lists every scenario that is tested, in the words of its test, and none besides."""

from __future__ import annotations

import re

import pytest

from tests.docs.durable_scenarios import FOLDER, PAGE, Rule, rules, table
from tests.docs.written_parts import names_of_parts, part

THEMES = sorted(path.stem.removeprefix("test_") for path in FOLDER.glob("test_*.py"))
RULES: list[Rule] = [rule for theme in THEMES for rule in rules(theme)]


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_every_theme_has_its_part_on_the_page() -> None:
    assert sorted(names_of_parts(page())) == THEMES


@pytest.mark.parametrize("theme", THEMES)
def test_the_page_says_what_the_tests_say(theme: str) -> None:
    assert part(page(), theme) == table(theme), "run `make names`"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.test)
def test_every_scenario_reads_as_a_rule(rule: Rule) -> None:
    assert re.fullmatch(r"Given .+?, when .+, then .+\.", rule.words), rule.words


def test_no_two_scenarios_are_the_same_and_the_page_counts_right() -> None:
    assert len({rule.test for rule in RULES}) == len({rule.words for rule in RULES}) == len(RULES) >= 30
    assert f"{len(RULES)} scenarios" in page()
