"""What is read out of a docstring, in the three styles people write them in."""

from __future__ import annotations

import pytest

from agenticflow.tools.schemas.docstrings import read_docstring

GOOGLE = """Look up the weather.

    More words
    on two lines.

    Args:
        city: Where, as people
            call it.
        days (int): How many.

        *rest: Whatever.
    Returns:
        The forecast,
        in words.

    Raises:
        ValueError: never.
    """

NUMPY = """Look up the weather.

    More words
    on two lines.

    Parameters
    ----------
    city : str
        Where, as people
        call it.
    days, hours : int
        How many.

    Returns
    -------
    str
        The forecast,
        in words.
    """

SPHINX = """Look up the weather.

    More words
    on two lines.

    :param city: Where, as people
        call it.
    :param int days: How many.
    :raises ValueError: never,
        ever.
    :return: The forecast,
        in words.
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_each_style_says_the_same(text: str) -> None:
    said = read_docstring(text)
    assert said.description == "Look up the weather.\n\nMore words\non two lines."
    assert said.parameters["city"] == "Where, as people call it."
    assert said.parameters["days"] == "How many."
    assert said.returns == "The forecast, in words."


def test_stars_and_several_names_of_one_entry() -> None:
    assert read_docstring(GOOGLE).parameters["rest"] == "Whatever."
    assert read_docstring(NUMPY).parameters["hours"] == "How many."


@pytest.mark.parametrize(
    ("text", "description"),
    [
        (None, ""),
        ("", ""),
        ("One line.", "One line."),
        ("Returns: nothing that is a section, but words.", "Returns: nothing that is a section, but words."),
        ("Args", "Args"),
        ("Words.\n\n    Args:\n        no entry at all\n", "Words."),
        ("Words.\n\n    :param x: told\n\n    And more words.", "Words.\n\n\nAnd more words."),
    ],
)
def test_text_in_no_style_is_description(text: str | None, description: str) -> None:
    said = read_docstring(text)
    assert said.description == description
    assert said.returns == ""


def test_a_numpy_section_without_a_type_is_all_words() -> None:
    assert read_docstring("W.\n\nReturns\n-------\nthe words\n").returns == "the words"
    assert read_docstring("W.\n\nParameters\n----------\n    lost words\n").parameters == {}
    assert read_docstring("W.\n\nReturns\n-------\n").returns == ""
