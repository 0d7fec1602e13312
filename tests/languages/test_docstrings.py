"""Docstrings: first sentences and examples."""

import pytest

from kelp.languages.python.docstrings import doctest_asserts, first_sentence


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return x. And more.", "Return x."),
        ("Use e.g. Cython here. Then rest.", "Use e.g. Cython here."),
        ("\n   First line\n   second line.\n\n   Other paragraph.", "First line second line."),
        (">>> f(1)\n2", ""),
        ("word " * 100, "word " * 38 + "word ..."),
    ],
)
def test_the_intent_is_the_first_sentence(docstring, sentence):
    assert first_sentence(docstring) == sentence


def test_doctests_are_asserts_too() -> None:
    assert doctest_asserts(">>> f(1)\n2\n>>> x = 3\n>>> f(x)\n'a'\n") == ("assert f(1) == 2", "assert f(x) == 'a'")
