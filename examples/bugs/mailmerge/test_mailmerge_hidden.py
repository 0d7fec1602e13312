from datetime import date

import pytest

from mailmerge import as_text, render


def test_text_is_escaped_once():
    assert render("<b>{{ a }}</b>", {"a": "<i> & \"x\""}) == "<b>&lt;i&gt; &amp; &quot;x&quot;</b>"
    assert render("{{ a }}", {"a": "O'Hara"}) == "O&#x27;Hara"
    assert render("{{ a }}", {"a": "&amp;"}) == "&amp;amp;"


def test_lists_are_escaped_once():
    assert render("{{ a }}", {"a": ["x & y", "<z>"]}) == "x &amp; y, &lt;z&gt;"


def test_raw_is_trusted():
    assert render("{{ link | raw }}", {"link": '<a href="/x?a=1&b=2">x</a>'}) == '<a href="/x?a=1&b=2">x</a>'
    assert render("{{a|raw}}", {"a": ["<", ">"]}) == "<, >"


def test_capitals():
    assert render("{{ a | upper }}", {"a": "a & b"}) == "A &amp; B"
    assert render("{{ a|upper }}", {"a": "<br>"}) == "&lt;BR&gt;"


def test_values_as_text():
    assert as_text(True) == "yes"
    assert as_text(date(2024, 5, 1)) == "01.05.2024"
    assert as_text(2.0) == "2.00"
    assert as_text(3) == "3"
    assert as_text("a & b") == "a & b"
    assert as_text([False, 1, "<"]) == "no, 1, <"


def test_placeholders_are_not_filled_in_again():
    assert render("{{ a }}{{ b }}", {"a": "{{ b }}", "b": "x"}) == "{{ b }}x"


def test_the_rest_is_left_as_it_is():
    assert render("a & b { c } {{}}", {}) == "a & b { c } {{}}"


def test_what_is_not_known_is_refused():
    with pytest.raises(KeyError):
        render("{{ b }}", {"a": 1})
    with pytest.raises(ValueError, match="lower"):
        render("{{ a | lower }}", {"a": "x"})
