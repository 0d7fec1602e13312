"""`kelp view` as a person meets it: the command serves a page on loopback, and a real Chromium shows it."""

import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.web.test_trace import CHROMIUM, HOSTILE, a_trajectory

from kelp.errors import KelpError
from kelp.repair import Tests
from kelp.repair.trajectory import TextEdit
from kelp.search.policy import PointedSite
from kelp.web import render_trace
from kelp.web.server import as_asserts

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 120_000  # milliseconds: a busy machine takes its time
AREA = "def area(width, height):\n    return width + height\n"


class Server:
    """A `kelp view` that serves until it is left."""

    def __init__(self, *args: str, folder: Path) -> None:
        command = [sys.executable, "-m", "kelp", "view", *args, "--model", "none"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.parts = urlsplit(self.address)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        _, said = self.process.communicate(timeout=PATIENCE / 1000)
        assert (self.process.returncode, said) == (0, "")

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, str]:
        """Status and text of the answer to a request; `path` begins with the token unless it begins with a slash."""
        connection = http.client.HTTPConnection("127.0.0.1", int(self.parts.port or 0), timeout=60)
        path = path if path.startswith("/") else self.parts.path + path
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    @property
    def origin(self) -> str:
        return f"http://{self.parts.netloc}"


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a folder with a trace, a hostile trace, and files that are none."""
    folder = tmp_path_factory.mktemp("traces")
    plain, at = a_trajectory(), a_trajectory().states[2].edit
    assert at is not None
    lit = replace(plain, pointer={0: (PointedSite(at.start, at.end, 0.4), PointedSite(at.end + 2, at.end + 2, 0.1))})
    (folder / "plain.html").write_text(render_trace(lit), "utf-8")
    edit = TextEdit(start=at.start, end=at.end, old="-", new=f'+ """{HOSTILE}""" +')
    hostile = replace(plain, file=f"{HOSTILE}.py", states=(*plain.states[:2], replace(plain.states[2], edit=edit)))
    (folder / f"{HOSTILE.replace('/', '')}.html").write_text(render_trace(hostile), "utf-8")
    (folder / "other.html").write_text("<script>alert('boo')</script> a secret")
    (folder / "notes.txt").write_text("a secret")
    (folder.parent / "above.html").write_text(render_trace(plain), "utf-8")
    with Server(".", folder=folder) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, which the extra dev installs")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page on which no script fails, nothing is refused by the policy and nothing scrolls sideways."""
    page = browser.new_page(viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    page.set_default_timeout(PATIENCE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: problems.append(f"a dialog: {dialog.message}"))
    yield page
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"wider than {width} pixels"
    page.close()
    assert problems == []


def test_a_request_needs_the_token_the_host_and_the_origin_of_the_page(traces: Server) -> None:
    token = traces.parts.path.strip("/")
    assert traces.parts.hostname == "127.0.0.1" and len(token) >= 40
    own = {"Origin": traces.origin}
    body = {"source": AREA, "tests": "area(2, 3) == 6"}
    for refused in (
        traces.ask("/"),
        traces.ask("/about"),
        traces.ask(f"/{token[:-1]}x/about"),
        traces.ask(f"/{token}%C3%A9/about"),
        traces.ask("about", Host="evil.example"),
        traces.ask("about", Origin="http://evil.example"),
        traces.ask("about", Origin="null"),
        traces.ask("repairs", "POST", body),
        traces.ask("repairs", "POST", body, Origin="http://127.0.0.1"),
        traces.ask("/repairs", "POST", body, **own),
    ):
        assert refused[0] == 403 and "secret" not in refused[1] and token not in refused[1]
    status, about = traces.ask("about", **own)
    assert (status, json.loads(about)["first"]) == (200, "list")


def test_only_traces_of_the_folder_can_be_read(traces: Server) -> None:
    listed = [each["name"] for each in json.loads(traces.ask("traces")[1])]
    assert "plain.html" in listed and len(listed) == 2
    assert json.loads(traces.ask("trace?name=plain.html")[1])["status"] == "repaired"
    for path in (
        "trace?name=notes.txt", "trace?name=../above.html", "trace?name=%2e%2e%2fabove.html", "trace?name=/etc/passwd",
        "notes.txt", "trace.py", "../about", "%2e%2e/server.py", "repairs/0/events",
    ):  # fmt: skip
        status, answer = traces.ask(path)
        assert status in (403, 404) and "secret" not in answer, path
    status, answer = traces.ask("trace?name=other.html")
    assert (status, json.loads(answer)["error"]) == (400, "This is no page of kelp repair --trace.")


def test_every_answer_forbids_scripts_of_others(traces: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(traces.parts.port or 0), timeout=60)
    for path in ("/", traces.parts.path, f"{traces.parts.path}trace.js"):
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy and "unsafe" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert not re.search(r"<script(?! type=\"module\" src=)|\son\w+=|\sstyle=", text) or path.endswith(".js")


def test_a_folder_is_listed_and_a_trace_stepped_through_by_keyboard(traces: Server, page: Any) -> None:
    page.goto(traces.address)
    page.get_by_role("link", name="plain.html").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#trace-page:not([hidden])")
    assert page.text_content("#tests-note") == "0 of 1 pass"
    [site] = page.query_selector_all(".site")
    assert (site.text_content(), site.get_attribute("title")) == ("-", "40 % of the model's probability")
    assert len(page.query_selector_all(".gap")) == 1
    assert page.text_content("#sites-list") == "- line 2003, 40 %insertion line 2003, 10 %"
    assert len(page.query_selector_all("#tree circle")) == 3
    page.keyboard.press("ArrowRight")
    assert page.text_content("#tests-note") == "1 of 1 pass"
    assert page.get_by_role("listitem").filter(has_text="adds").text_content() == "✓adds passesfixed"
    assert page.locator("#program .row.changed").text_content() == "    return x -+ y"
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Every try").click()
    page.keyboard.press("End")
    assert page.get_by_role("option", selected=True).locator(".rank").text_content() == "#3"
    page.keyboard.press("Tab")
    focused = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(focused) == "solid"


def test_hostile_text_stays_text(traces: Server, page: Any) -> None:
    page.goto(traces.address)
    page.get_by_role("link", name="boo").click()
    page.wait_for_selector("#trace-page:not([hidden])")
    assert page.text_content("#file") == f"{HOSTILE}.py"
    page.keyboard.press("ArrowRight")
    seen = HOSTILE.replace("\u2028", "\\u2028")  # a control character as its escape
    assert seen in page.text_content("#program ins") and seen in page.text_content("#diff")
    assert page.evaluate("document.scripts.length") == 1


def test_a_function_that_a_person_types_is_repaired_and_its_patch_copied(traces: Server, page: Any) -> None:
    page.goto(f"{traces.address}?try")
    for tests, words in (
        ("assert area(", "do not parse (line 1"),
        ("x = 1", "no test"),
        ("area(1, 1) == 2", "pass already"),
    ):
        page.get_by_label("Function").fill(AREA)
        page.get_by_role("textbox", name="Tests").fill(tests)
        page.get_by_role("button", name="Repair").click()
        page.get_by_role("alert").filter(has_text=words).wait_for()
    page.get_by_role("textbox", name="Tests").fill(
        "def test_area():\n    assert area(2, 3) == 6\n    assert area(1, 1) == 1\n"
    )
    page.keyboard.press("Control+Enter")
    page.locator(".verdict", has_text="Repaired").wait_for()
    assert page.text_content("#file") == "program.py" and page.is_hidden("#live")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy patch").click()
    page.get_by_role("button", name="Copied").wait_for()
    patch = page.evaluate("navigator.clipboard.readText()")
    assert patch.startswith("--- a/program.py\n") and "+    return width * height\n" in patch


def test_a_repair_is_watched_while_it_goes_on_and_stopped(browser: Any, page: Any, tmp_path: Path) -> None:
    for name in ("slugs.py", "test_slugs.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with Server("slugs.py", "--max-seconds", "3000", "--max-runs", "100000", folder=tmp_path) as server:
        page.goto(server.address)
        candidates = page.get_by_role("listbox", name="Candidates").get_by_role("option")
        candidates.nth(2).wait_for(state="attached")
        assert page.locator(".verdict").text_content() == "Searching"
        assert "test runs; best:" in page.text_content("#progress") and page.text_content("#said")
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        assert page.get_by_role("option", selected=True).locator(".rank").text_content() == "#2"
        candidates.nth(3).wait_for(state="attached")  # it goes on, and the second try stays in sight
        assert page.get_by_role("option", selected=True).locator(".rank").text_content() == "#2"
        page.get_by_role("button", name="Stop").click()
        page.locator(".verdict", has_text="Interrupted").wait_for()
        assert page.is_hidden("#live")
        runs = candidates.count()
        page.get_by_role("button", name="Every try").click()
        page.keyboard.press("End")
        of_list = "one => { const [a, b] = [one, one.parentNode].map(e => e.getBoundingClientRect());"
        in_sight = f"{of_list} return a.top >= b.top - 1 && a.bottom <= b.bottom + 1; }}"
        assert page.get_by_role("option", selected=True).evaluate(in_sight)
        page.reload()  # the repair of the file is not begun again
        page.locator(".verdict", has_text="Interrupted").wait_for()
        assert candidates.count() == runs >= 3
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_project_is_repaired_and_a_folder_of_traces_in_it_is_listed(tmp_path: Path) -> None:
    tests = "from app.shapes import area\n\ndef test_area():\n    assert area(2, 3) == 6\n"
    files = {"pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\n', "src/app/shapes.py": AREA}
    files |= {"tests/test_shapes.py": tests, "traces/how.html": render_trace(a_trajectory())}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    with Server(".", "--python", sys.executable, folder=tmp_path) as server:
        assert json.loads(server.ask("about")[1])["program"] == tmp_path.name
        _, begun = server.ask("repairs", "POST", {}, Origin=server.origin)
        _, events = server.ask(f"repairs/{json.loads(begun)['id']}/events")
        *_, done = (json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: "))
        assert done["trace"]["status"] == "repaired" and done["trace"]["title"] == f"kelp repair {tmp_path.name}"
        assert "--- a/src/app/shapes.py\n" in done["trace"]["patches"][0]["diff"]
    with Server("traces", folder=tmp_path) as server:
        assert json.loads(server.ask("about")[1])["first"] == "list"


def test_the_command_ends_while_a_repair_goes_on_and_its_page_says_so(browser: Any) -> None:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    with Server("slugs.py", "--max-seconds", "3000", "--max-runs", "100000", folder=EXAMPLES) as server:
        page.goto(server.address)
        page.get_by_role("option").first.wait_for(state="attached")
    page.get_by_role("alert").filter(has_text="kelp view does not answer").wait_for()
    assert page.is_hidden("#live") and page.is_visible("#trace-page")
    page.close()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["nowhere.html"], "nowhere.html does not exist."),
        (["page.html"], "page.html: This is no page of kelp repair --trace."),
        (["mine.py"], "No tests are given"),
    ],
)
def test_bad_input_is_a_sentence_before_anything_is_served(args: list[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>hello")
    (tmp_path / "mine.py").write_text(AREA)
    command = [sys.executable, "-m", "kelp", "view", *args, "--model", "none"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (2, "") and sentence in done.stderr


def test_a_missing_library_is_a_sentence_with_the_command_that_installs_it() -> None:
    script = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "starlette" else find(name, *rest)
sys.argv = ["kelp", "view"]
from kelp.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    sentence = "kelp view needs starlette, which is not installed: pip install 'kelp-repair[view]'.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)


def test_typed_tests_are_asserts_with_their_setup_or_test_functions() -> None:
    typed = "import math\nassert f(math.pi) == 3\nf(2) == 2\nfor x in (1, 2):\n    assert f(x) == x\n"
    looped = "for x in (1, 2):\n    assert f(x) == x"
    assert as_asserts(typed) == Tests(asserts=("assert f(math.pi) == 3", "f(2) == 2", looped), setup="import math")
    assert as_asserts("def test_f():\n    assert f(1) == 1\n") is None
    with pytest.raises(KelpError, match="line 2"):
        as_asserts("f(1) == 1\nf(")
