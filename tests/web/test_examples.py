import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.web.test_trace import HOSTILE, QUIET, Page

from kelp.data.examples.inspect import Step, Target, Test, Token, View
from kelp.web.examples import render_examples

VIEW = View(
    7, None, origin="größe-1.0/größe.py", name="größe", start="mutated", kinds=("binary operator",),
    clean='def größe(x):\n    return x + 1', state='def größe(x):\n    return x - 1',
    path=(Step(30, 31, 2, "-", "+"),), targets=(Target(2, "replace", "binary operator", "-", "+", True),),
    sees=(Token("<program>", True, ""), Token("x", False, ""), Token("-", False, "site"), Token("1", False, "")),
    tests=(Test("assert größe(1) == 2", "fail", "got 0 want 2"),), breaks=True, shows=("spec",),
    prefix=4, suffix=3, edits=1,
)  # fmt: skip
TABLES = {"padding": [{"row tokens": "40", "padding": 0.125}, {"row tokens": "all", "padding": 1.0}]}


def test_the_page_holds_every_example_and_the_tables_as_they_are_shown() -> None:
    held = json.loads(Page(render_examples("a.toml", [VIEW], TABLES)).scripts[0])
    assert held["tables"]["padding"] == [["row tokens", "padding"], ["40", "12.5%"], ["all", "100.0%"]]
    [example] = held["examples"]
    assert example["diff"] == [" def größe(x):", "-    return x + 1", "+    return x - 1"]


def test_the_page_asks_for_nothing_from_outside_and_hostile_text_stays_text() -> None:
    plain = render_examples("a.toml", [VIEW], TABLES)
    hostile = View(7, HOSTILE, name=HOSTILE, clean=HOSTILE, state=HOSTILE, start="stop")
    page = render_examples(HOSTILE, [hostile], {HOSTILE: [{HOSTILE: HOSTILE}]})
    assert Page(page).tags == Page(plain).tags and Page(page).addresses == []
    outside = re.findall(r"https?://[\w./]+|@import|url\(|fetch\(|XMLHttpRequest|import\(", plain)
    assert set(outside) == {"http://www.w3.org/2000/svg"}  # a name, which nobody looks up
    assert json.loads(Page(page).scripts[0])["examples"][0]["name"] == HOSTILE


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_an_example_and_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "examples.html"
    page.write_text(render_examples("a.toml", [VIEW, View(9, "nothing to mutate")], TABLES), encoding="utf-8")
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=300).stdout
    assert '<div class="row added">+    return x - 1</div>' in shown
    assert '<code class="old">-</code> → <code class="new">+</code>' in shown
    assert 'class=" site">-</i>' in shown
    assert "got 0 want 2" in shown and "breaks a test" in shown
    assert "<td>12.5%</td>" in shown
