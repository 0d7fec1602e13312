"""Results in a notebook, and the examples of docs/api.md, which run as they stand."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kelp.repair import Budget, Result, Session, Tests

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
PROGRAM = 'def less(a, b):\n    """<b>"""\n    return a <= b\n'


def result_of(*asserts: str, runs: int = 100) -> Result:
    session = Session(PROGRAM, Tests(asserts=asserts), Budget(runs=runs, patches=1), model="none")
    for _ in session.run():
        pass
    assert session.result is not None
    return session.result


class _Tags(HTMLParser):
    """The text of a page, and the elements that are open at its end."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.text = list[str](), ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_result_shows_its_diff_and_steps_as_well_formed_html() -> None:
    result = result_of("less(1, 2)", "not less(1, 1)")
    page = _Tags(result._repr_html_())
    assert page.open == [] and "Repaired, 1 of 2 tests passed before" in page.text
    assert result.patches[0].diff.strip() in page.text
    assert re.search(r"0as it was1 of 2.*1less.*2 of 2$", page.text)
    assert "<b>" not in result.patches[0]._repr_html_()  # of the program: escaped
    assert _Tags(result.patches[0]._repr_html_()).open == []


def test_without_a_patch_the_closest_edit_is_shown() -> None:
    result = result_of("not less(1, 1)", "less(2, 1) == 'never'", runs=30)
    page = _Tags(result._repr_html_())
    assert page.open == [] and "Not repaired, 0 of 2 tests passed before" in page.text
    assert ("The closest edit" in page.text) == (result.closest is not None)


def test_the_examples_of_the_page_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert "max(words, key=len)" in (tmp_path / "longest.py").read_text()
