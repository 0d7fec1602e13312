import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.web.test_trace import HOSTILE, QUIET, Page

from kelp.cli.evaluate import Baseline
from kelp.cli.repair import Strategy
from kelp.evaluation.arms import ConditionMask
from kelp.evaluation.case import Case
from kelp.evaluation.metrics import by_group, compare
from kelp.evaluation.result import CaseResult
from kelp.execution.observation import Observation, TestOutcome
from kelp.repair.trajectory import State, TextEdit
from kelp.web.report import render_report

pytestmark = pytest.mark.slow

FIXED = 'def größe(x):\n    """Wie groß? 😀"""\n    return x + 1\n'
CASE = Case("größe/1", FIXED.replace("+", "-"), ("größe(1) == 2",), ("größe(2) == 3",), group="1", fixed=FIXED)
PLACE = CASE.source.encode().index(b"- 1")
PATH = (
    State(
        id=0, parent=None, edit=None, function="", origin="start", log_prob=0.0, run=1, seconds=0.1,
        observation=Observation((TestOutcome("größe(1) == 2", "fail", call="größe(1)", got="0", expected="2"),)),
    ),
    State(
        id=7, parent=0, edit=TextEdit(PLACE, PLACE + 1, "-", "+"), function="größe", origin="near-miss", log_prob=-2.5,
        run=4, seconds=0.5, observation=Observation((TestOutcome("größe(1) == 2", "pass"),)),
    ),
)  # fmt: skip
GOOD = CaseResult(
    id=CASE.id, group="1", repaired=True, correct=True, first_correct=True, exact=True, first_exact=True, pass_rate=1.0,
    first_repair=4, first_seconds=0.5, runs=4, seconds=0.5, states=4, valid_states=4, rejected=0, stopped="found",
    site_rank=2, site_edit=True, source=CASE.source, patch=FIXED, first_patch=FIXED, path=PATH,
)  # fmt: skip
BAD = replace(
    GOOD, repaired=False, correct=False, first_correct=False, exact=False, first_exact=False, pass_rate=0.0,
    first_repair=None, first_seconds=None, patch=None, first_patch=None, site_rank=0, site_edit=None, path=PATH[:1],
)  # fmt: skip


def report(*cases: Case, most: int = 600) -> str:
    cases = cases or (CASE,)
    rows = {
        by: [replace(row, id=c.id, group=c.group) for c in cases] for by, row in (("model", GOOD), ("none-random", BAD))
    }
    summary: dict[str, Any] = {
        "benchmark": "toy",
        "settings": {"strategy": "best-first", "budget": {"runs": 16, "edits": 3}, "seed": 0},
        "skipped": [],
        "results": {by: by_group(some, 16) for by, some in rows.items()},
        "baseline": "none-random",
        "compared": {
            "model": {group: compare(rows["model"], rows["none-random"], 16) for group in (cases[0].group, "all")}
        },
    }
    return render_report(summary, rows, {case.id: case for case in cases}, most)


def content(page: str) -> dict[str, Any]:
    return json.loads(Page(page).scripts[0])


def test_the_page_holds_the_figures_and_every_search() -> None:
    held = content(report())
    assert held["summary"]["results"]["model"]["all"]["correct"]["mean"] == 1
    start, end = held["rows"]["model"][CASE.id]["path"]
    assert (start["old"], start["observation"]) == ("", "0/1 größe(1) got 0 want 2")
    assert end == {
        "start": PLACE, "end": PLACE + 1, "old": "-", "new": "+", "origin": "near-miss", "log_prob": -2.5, "run": 4,
        "observation": "1/1",
    }  # fmt: skip
    assert held["rows"]["none-random"][CASE.id]["repaired"] is False
    assert held["cases"][0]["source"] == CASE.source


def test_a_page_of_many_cases_shows_some_from_everywhere() -> None:
    held = content(report(*(replace(CASE, id=str(i)) for i in range(10)), most=4))
    assert [case["id"] for case in held["cases"]] == list(held["rows"]["model"]) == ["0", "3", "6", "9"]
    assert held["summary"]["results"]["model"]["all"]["n"] == 10


def test_the_page_asks_for_nothing_from_outside() -> None:
    page = report()
    assert Page(page).addresses == []
    outside = re.findall(r"https?://[\w./]+|@import|url\(|fetch\(|XMLHttpRequest|import\(", page)
    assert set(outside) == {"http://www.w3.org/2000/svg"}  # a name, which nobody looks up
    assert "default-src 'none'" in page


def test_hostile_text_stays_text() -> None:
    case = replace(CASE, id=HOSTILE, intent=HOSTILE, source=CASE.source + f"# {HOSTILE!r}\n")
    page = report(case)
    assert content(page)["cases"][0]["intent"] == HOSTILE
    assert Page(page).tags == Page(report()).tags


def test_all_arms_that_a_run_can_have_differ_in_color() -> None:
    most = len(Strategy) + len(list(ConditionMask)[1:]) + len(Baseline)
    page = report()
    light, dark = (re.findall(r"#\w+", theme) for theme in re.findall(r"{ (--arm-0: .*) }", page))
    assert len(set(light)) == len(set(dark)) == most
    assert f"arms.indexOf(arm) % {most}" in page


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_figures_plots_and_the_way_to_a_patch(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(report(), encoding="utf-8")
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=300).stdout
    assert "<td>100.0 % <small>100 % to 100 %</small></td><td>0.0 % <small>0 % to 0 %</small></td>" in shown
    assert shown.count("<polyline") == 2
    assert "return x <del>-</del><ins>+</ins> 1</div>" in shown
    assert "right site proposed as number 2" in shown
    assert shown.count('<button type="button" aria-pressed=') >= 2 and 'aria-label="Which cases" hidden' not in shown


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_cases_without_groups_are_not_offered_by_group(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(report(replace(CASE, group="")), encoding="utf-8")
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=300).stdout
    assert 'aria-label="Which cases" hidden' in shown and "<polyline" in shown


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_opens_at_its_head_and_keeps_the_chosen_case_in_sight(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    script = """
      const say = (text) => document.body.append(make("p", {}, text));
      say(`top ${scrollY}`);
      const down = { key: "ArrowDown", bubbles: true };
      for (let i = 0; i < 60; i++) document.body.dispatchEvent(new KeyboardEvent("keydown", down));
      const [box, one] = [$("cases"), document.querySelector("[role=option][aria-selected=true]")];
      const [outer, inner] = [box.getBoundingClientRect(), one.getBoundingClientRect()];
      say(`in sight ${state.id} ${inner.top > outer.top - 1 && inner.bottom < outer.bottom + 1}`);
    """
    open_to_scripts = re.sub(
        r"'sha256-[^']*'", "'unsafe-inline'", report(*(replace(CASE, id=str(i)) for i in range(99)))
    )
    page.write_text(open_to_scripts + f"<script>{script}</script>", "utf-8")
    command = [str(CHROMIUM), *QUIET, "--window-size=1200,600", f"--user-data-dir={tmp_path / 'p'}", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=300).stdout
    assert "<p>top 0</p>" in shown and "<p>in sight 60 true</p>" in shown
