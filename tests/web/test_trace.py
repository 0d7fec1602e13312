import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kelp.execution.observation import Observation, Status, TestOutcome
from kelp.repair.trajectory import SCHEMA, Candidate, State, TextEdit, Trajectory
from kelp.search.task import Budget
from kelp.web import render_trace

START = 'def größe(x, y):\n    """Wie groß? 😀"""\n    return x - y\n'
SOURCE = "# no\n" * 2000 + START
PLACE = len(SOURCE.encode()) - len(START.encode()), len(SOURCE.encode()) - 1
HOSTILE = "</script><script>alert('boo')</script><!-- & \u2028 {{data}}"


def a_trajectory(name: str = "adds", replaced: str = "-") -> Trajectory:
    """A start, a wrong edit and a right one, of a function in the seventh line of a large file."""

    def observed(status: Status) -> Observation:
        return Observation((TestOutcome(name, status, call="größe(2, 3)", got="-1", expected="5"),))

    def state(id: int, edit: TextEdit | None, status: Status) -> State:
        return State(
            id=id, parent=None if edit is None else 0, edit=edit, function="größe", run=id + 1, seconds=id / 10,
            origin="start" if edit is None else "model", log_prob=0.0 if edit is None else -0.5,
            observation=observed(status),
        )  # fmt: skip

    def edit(old: str, new: str) -> TextEdit:
        start = SOURCE.encode().index(old.encode())
        return TextEdit(start=start, end=start + len(old.encode()), old=old, new=new)

    return Trajectory(
        schema=SCHEMA,
        file="größe.py",
        source=SOURCE,
        model="none",
        strategy="best-first",
        seed=0,
        budget=Budget(),
        functions=(Candidate("größe", 0.0, "Wie groß? 😀", *PLACE),),
        states=(
            state(0, None, "fail"), state(1, edit("x - y", "y - x"), "fail"), state(2, edit(replaced, "+"), "pass")
        ),
        patches=(2,),
        runs=3,
        seconds=0.25,
        made=3,
        valid=3,
        stopped="found enough patches",
        timings={},
    )  # fmt: skip


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


def test_the_page_holds_the_functions_searched_and_each_edit_where_it_is_in_them():
    held = content(render_trace(a_trajectory()))
    assert [held[key] for key in ("title", "file", "function", "intent", "status", "runs", "validity", "tests")] == [
        "kelp repair größe.py", "größe.py", "größe", "Wie groß? 😀", "repaired", 3, 1.0, ["adds"],
    ]  # fmt: skip
    start, wrong, right = held["nodes"]
    assert (start["source"], start["first_line"], start["depth"]) == (START.rstrip("\n"), 2001, 0)
    assert wrong["source"] == start["source"].replace("x - y", "y - x")
    assert right["source"] == start["source"].replace("x - y", "x + y")
    assert (right["parent"], right["depth"], right["log_prob"], right["run"]) == (0, 1, -0.5, 3)
    assert [node["outcomes"][0]["status"] for node in held["nodes"]] == ["fail", "fail", "pass"]
    assert start["outcomes"] == [{"name": "adds", "status": "fail", "message": "größe(2, 3) gave -1, expected 5"}]
    [patch] = held["patches"]
    assert (patch["node"], patch["log_prob"]) == (2, -0.5)
    assert "+    return x + y\n" in patch["diff"]


def test_a_small_file_is_shown_whole():
    small = replace(a_trajectory(), source=START, states=a_trajectory().states[:1], patches=())
    held = content(render_trace(small))
    assert (held["nodes"][0]["source"], held["nodes"][0]["first_line"]) == (START, 1)


def test_the_page_asks_for_nothing_from_outside():
    page = render_trace(a_trajectory())
    assert Page(page).addresses == []
    outside = re.findall(r"https?://[\w./]+|@import|url\(|fetch\(|XMLHttpRequest|import\(|^import ", page, re.MULTILINE)
    assert set(outside) == {"http://www.w3.org/2000/svg"}  # a name, which nobody looks up
    assert "default-src 'none'" in page


def test_hostile_text_stays_text():
    plain = a_trajectory(HOSTILE)
    last = plain.states[2]
    edit = TextEdit(start=last.edit.start, end=last.edit.end, old="-", new=f"+ {HOSTILE!r} +")
    hostile = replace(
        plain,
        file=HOSTILE,
        functions=(replace(plain.functions[0], intent=HOSTILE),),
        states=(*plain.states[:2], replace(last, edit=edit)),
    )
    page = render_trace(hostile)
    held = content(page)
    assert (held["file"], held["intent"], held["tests"]) == (HOSTILE, HOSTILE, [HOSTILE])
    assert repr(HOSTILE) in held["nodes"][2]["source"] and repr(HOSTILE) in held["patches"][0]["diff"]
    assert Page(page).tags == Page(render_trace(a_trajectory())).tags
    assert "\u2028" not in page.split("<style>")[1]


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=1000 --dump-dom"
).split()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(
    ("place", "row", "verdict"),
    [
        ("#node=0", 'data-line="2003">    <span class="k">return</span> x - y</div>', "0 of 1 pass"),
        ("#node=2", "</span> x <del>-</del><ins>+</ins> y</div>", "1 of 1 pass"),
        ("#tried=2", "</span> <del>x - y</del><ins>y - x</ins></div>", "0 of 1 pass"),
    ],
)
@pytest.mark.slow
def test_a_browser_shows_the_edit_in_its_place(place: str, row: str, verdict: str, tmp_path: Path):
    shown = seen(a_trajectory(), place, tmp_path)
    assert row in shown
    assert f'id="tests-note">{verdict}</span>' in shown


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("name", ["adds(1, 2) == 3", "adds('a::b.py::c') == 'a'", "test_adds.py::adds(1)"])
@pytest.mark.slow
def test_of_a_test_only_its_file_goes_unsaid(name: str, tmp_path: Path):
    assert f">{name.removeprefix('test_adds.py::')}<" in seen(a_trajectory(name), "#node=0", tmp_path)


def seen(trajectory: Trajectory, place: str, folder: Path) -> str:
    """The page as a browser shows it."""
    page = folder / "trace.html"
    page.write_text(render_trace(trajectory), encoding="utf-8")
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={folder / 'profile'}", page.as_uri() + place]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=300).stdout
