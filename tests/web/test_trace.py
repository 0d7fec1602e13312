import copy
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kelp.web import render_trace

START = 'def größe(x, y):\n    """Wie groß? 😀"""\n    return x - y\n'
HOSTILE = "</script><script>alert('boo')</script><!-- & \u2028 {{data}}"


def child(parent: dict[str, Any], id: int, old: str, new: str, passed: bool) -> dict[str, Any]:
    """The node that one edit makes of its parent; `old` stands once in the parent's source."""
    before, after = parent["source"].split(old)
    start = len(before.encode())
    return {
        "id": id,
        "parent": parent["id"],
        "depth": parent["depth"] + 1,
        "source": before + new + after,
        "first_line": parent["first_line"],
        "edit": {"start": start, "end": start + len(old.encode()), "old": old, "new": new},
        "log_prob": -0.5,
        "origin": "model",
        "outcomes": [{"name": "adds", "status": "pass" if passed else "fail", "message": None}],
        "run": id + 1,
    }


def a_trace() -> dict[str, Any]:
    start = {
        "id": 0,
        "parent": None,
        "depth": 0,
        "source": START,
        "first_line": 7,
        "edit": None,
        "log_prob": 0.0,
        "origin": "start",
        "outcomes": [{"name": "adds", "status": "fail", "message": "got 1, expected 5"}],
        "run": 1,
    }
    wrong = child(start, 1, "x - y", "y - x", passed=False)
    right = child(start, 2, "-", "+", passed=True)
    return {
        "title": "Repair of größe",
        "file": "größe.py",
        "function": "größe",
        "intent": "Wie groß? 😀",
        "status": "repaired",
        "runs": 3,
        "seconds": 0.25,
        "validity": 1.0,
        "tests": ["adds"],
        "nodes": [start, wrong, right],
        "patches": [{"node": 2, "log_prob": -0.5, "tests_passed": 1, "diff": "- x - y\n+ x + y\n"}],
    }


class Page(HTMLParser):
    """The tags of a page, what each `script` holds, and every address it names."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["script"] and data.strip():
            self.scripts.append(data)


def content(page: str) -> dict[str, Any]:
    """The trace as the page rebuilds it: each source is its parent's with one edit."""
    data: dict[str, Any] = json.loads(Page(page).scripts[0])
    sources: dict[int, bytes] = {}
    for node in data["nodes"]:
        if edit := node["edit"]:
            before = sources[node["parent"]]
            node["source"] = (before[: edit["start"]] + edit["new"].encode() + before[edit["end"] :]).decode()
        sources[node["id"]] = node["source"].encode()
    return data


def test_the_trace_comes_back_out_of_the_page():
    assert content(render_trace(a_trace())) == a_trace()


def test_the_page_asks_for_nothing_from_outside():
    page = render_trace(a_trace())
    assert Page(page).addresses == []
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|import\(", page)
    assert "default-src 'none'" in page


def test_hostile_text_stays_text():
    trace = a_trace()
    for key in ("title", "file", "function", "intent"):
        trace[key] = HOSTILE
    trace["tests"] = [HOSTILE]
    for node in trace["nodes"]:
        node["outcomes"] = [{"name": HOSTILE, "status": "fail", "message": HOSTILE}]
    edited = child(trace["nodes"][2], 3, "y):", f"y): # {HOSTILE}", passed=False)
    trace["nodes"].append(edited | {"outcomes": None})
    trace["patches"][0]["diff"] = HOSTILE
    page = render_trace(trace)
    assert content(page) == trace
    assert Page(page).tags == Page(render_trace(a_trace())).tags
    assert "\u2028" not in page.split("<style>")[1]


def test_a_log_probability_that_json_cannot_hold_is_unknown():
    trace = a_trace()
    trace["nodes"][1]["log_prob"] = float("-inf")
    assert content(render_trace(trace))["nodes"][1]["log_prob"] is None


def broken(path: str, value: Any) -> dict[str, Any]:
    trace: Any = copy.deepcopy(a_trace())
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at = trace
    for part in way:
        at = at[part]
    at[last] = value
    return trace


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("nodes.1.origin", "guess", r"nodes\.1\.origin"),
        ("nodes.1.edit.start", "here", r"nodes\.1\.edit\.start"),
        ("nodes.0.outcomes.0.status", "green", r"nodes\.0\.outcomes\.0\.status"),
        ("nodes.0.outcomes.0.name", "subtracts", "node 0: 'subtracts' is not one of the tests"),
        ("nodes", [], "nodes"),
        ("nodes.2.id", 1, "two nodes have the id 1"),
        ("nodes.1.parent", 2, "node 1: its parent 2 does not come before it"),
        ("nodes.1.parent", None, "node 1: a parent and an edit go together"),
        ("nodes.1.edit.start", 54, "node 1: bytes 54 to .* of node 0 are not 'x - y'"),
        ("nodes.1.edit.new", "x", "node 1: its edit does not turn node 0 into it"),
        ("patches.0.node", 9, "a patch names node 9, which is not there"),
        ("validity", 100, "validity"),
    ],
)
def test_a_malformed_trace_is_refused_and_its_place_named(path: str, value: Any, message: str):
    with pytest.raises(ValueError, match=message):
        render_trace(broken(path, value))


def test_a_missing_key_is_named():
    trace = a_trace()
    del trace["validity"]
    with pytest.raises(ValueError, match=r"validity\s+Field required"):
        render_trace(trace)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=1000 --dump-dom"
).split()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(
    ("place", "row", "verdict"),
    [
        ("#node=0", 'data-line="9">    <span class="k">return</span> x - y</div>', "0 of 1 pass"),
        ("#node=2", "</span> x <del>-</del><ins>+</ins> y</div>", "1 of 1 pass"),
        ("#tried=2", "</span> <del>x - y</del><ins>y - x</ins></div>", "0 of 1 pass"),
    ],
)
def test_a_browser_shows_the_edit_in_its_place(place: str, row: str, verdict: str, tmp_path: Path):
    shown = seen(a_trace(), place, tmp_path)
    assert row in shown
    assert f'id="tests-note">{verdict}</span>' in shown


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("name", ["adds(1, 2) == 3", "adds('a::b.py::c') == 'a'", "test_adds.py::adds(1)"])
def test_of_a_test_only_its_file_goes_unsaid(name: str, tmp_path: Path):
    trace = a_trace()
    trace["tests"] = [name]
    for node in trace["nodes"]:
        node["outcomes"] = [{"name": name, "status": "fail", "message": None}]
    assert f">{name.removeprefix('test_adds.py::')}<" in seen(trace, "#node=0", tmp_path)


def seen(trace: dict[str, Any], place: str, folder: Path) -> str:
    """The page as a browser shows it."""
    page = folder / "trace.html"
    page.write_text(render_trace(trace), encoding="utf-8")
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={folder / 'profile'}", page.as_uri() + place]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=300).stdout
