"""`kelp repair` on real files: what comes out is a patch that applies, and nothing else has changed."""

import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp, environment

from kelp.repair.reach import NEVER
from kelp.search.node import Node
from kelp.search.search import Search
from kelp.search.strategies import STRATEGIES, best_first

pytestmark = pytest.mark.slow

BROKEN = b"""\
def area(width, height):
    \"\"\"The area of a rectangle. Sides come first.\"\"\"
    return width + height


def half(x):
    return x / 2
"""
FIXED = BROKEN.replace(b"width + height", b"width * height")
TESTS = """\
from shapes import area, half

def test_area():
    assert area(2, 3) == 6

def test_square():
    assert area(3, 3) == 9

def test_half():
    assert half(4) == 2
"""
NO_MODEL = ("--model", "none")


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """shapes.py, broken, with its tests beside it."""
    (tmp_path / "test_shapes.py").write_text(TESTS)
    (tmp_path / "shapes.py").write_bytes(BROKEN)
    return tmp_path / "shapes.py"


def test_a_diff_is_printed_and_nothing_changed(kelp: Kelp, shapes: Path) -> None:
    ran = kelp("repair", "shapes.py", *NO_MODEL)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(b"--- a/shapes.py\n+++ b/shapes.py\n@@ ")
    assert b"-    return width + height\n+    return width * height\n" in ran.out
    assert shapes.read_bytes() == BROKEN
    tests, said = ran.err.splitlines()  # which tests were taken, and how it went
    assert tests == "Tests: test_shapes.py"
    assert said.startswith("Repaired: area, tests 1/3 -> 3/3 (")
    assert {path.name for path in shapes.parent.iterdir()} == {"shapes.py", "test_shapes.py", "scratch"}
    assert not any((shapes.parent / "scratch").iterdir())


def test_json_tells_all(kelp_here: Kelp, shapes: Path) -> None:
    ran = kelp_here("repair", shapes, "--tests", "test_shapes.py", "--json", "--intent", "Area", *NO_MODEL)
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["status"] == "repaired"
    assert found["function"] == "area"
    assert found["functions"] == [{"name": "area", "log_prob": 0.0, "intent": "Area"}]  # half passes its test
    assert found["tests_before"] == {
        "passed": 1, "total": 3, "failing": ["test_shapes.py::test_area", "test_shapes.py::test_square"],
    }  # fmt: skip
    assert found["validity"] == 1.0
    assert 2 <= found["runs"] <= 256
    assert found["seconds"] > 0 and found["timings"]["search"] > 0
    assert found["closest"] is None
    for patch in found["patches"]:
        source = BROKEN
        for edit in patch["edits"]:
            assert source[edit["start"] : edit["end"]] == edit["old"].encode()
            source = source[: edit["start"]] + edit["new"].encode() + source[edit["end"] :]
        assert source == patch["source"].encode()
        assert patch["log_prob"] < 0
        assert (patch["tests_passed"], patch["tests_total"]) == (3, 3)
        assert patch["diff"].startswith("--- a/shapes.py\n")
    assert shapes.read_bytes() == BROKEN


def test_write_replaces_the_file_through_a_link_and_keeps_its_mode(kelp: Kelp, shapes: Path) -> None:
    real = shapes.rename(shapes.parent / "real.py")
    shapes.symlink_to("real.py")
    real.chmod(0o754)
    ran = kelp("repair", "shapes.py", "--write", "--patches", 1, *NO_MODEL)
    assert (ran.code, ran.out) == (0, b""), ran.err
    assert shapes.is_symlink()
    assert real.read_bytes() == FIXED
    assert stat.S_IMODE(real.stat().st_mode) == 0o754
    assert len(list(shapes.parent.iterdir())) == 4  # no temporary file is left


ODD = """\
\ufeff# -*- coding: utf-8 -*-
from functools import lru_cache ;import math   # odd   spacing
NAME = 'Zoë — ünïcödé \N{SNOWMAN}'

class  Shape ( object ) :
\t'''A shape.'''
\tdef __init__( self , r = 1 ): self.r=r

\t@property
\t@lru_cache( maxsize = None )  # of course
\tdef name(self) : return NAME

\tdef area ( self ):
\t\t# π r²
\t\tresult = math.pi*self.r +2\t\t# «wrong»
\t\treturn  result

\tclass Inner:
\t\tdef twice(self, x): return ( x*2 )
def last (x): return x   # no end of line"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_byte_outside_the_edit_stays_whatever_the_file_looks_like(
    kelp_here: Kelp, tmp_path: Path, newline: str
) -> None:
    odd = tmp_path / "odd.py"
    broken = ODD.replace("\n", newline).encode()
    odd.write_bytes(broken)
    asserts = ("--assert", "round(Shape(3).area(), 3) == 18.85", "--assert", "Shape(0).area() == 0")
    ran = kelp_here("repair", "odd.py", *asserts, "--function", "Shape.area", "--json", "--patches", 1, *NO_MODEL)
    assert ran.code == 0, ran.err
    [patch] = ran.json["patches"]
    assert patch["functions"] == ["Shape.area"]
    start, end = broken.index(b"\tdef area"), broken.index(b"\tclass Inner")
    fixed = patch["source"].encode()
    assert fixed.startswith(broken[:start]) and fixed.endswith(broken[end:])
    assert fixed.count(b"\r\n") == (broken.count(b"\r\n") if newline == "\r\n" else 0)
    for command in (["git", "apply"], ["patch", "-p1", "--quiet"]):
        odd.write_bytes(broken)
        subprocess.run(command, cwd=tmp_path, input=patch["diff"].encode(), check=True)
        assert odd.read_bytes() == fixed


@pytest.mark.parametrize("end", ["", "\n"])
def test_diffs_apply_at_the_last_line_and_to_names_with_spaces(kelp_here: Kelp, tmp_path: Path, end: str) -> None:
    folder = tmp_path / "my code"
    folder.mkdir()
    file = folder / "söme file.py"
    file.write_text(f"def one():\n    return 2{end}")
    ran = kelp_here("repair", file, "--assert", "one() == 1", *NO_MODEL)
    assert ran.code == 0, ran.err
    assert ran.out.count(b"\\ No newline at end of file") == (0 if end else 2)
    for command in (["git", "apply"], ["patch", "-p1", "--quiet"]):
        file.write_text(f"def one():\n    return 2{end}")
        subprocess.run(command, cwd=tmp_path, input=ran.out, check=True)
        assert file.read_text() == f"def one():\n    return 1{end}"


def test_methods_are_found_by_the_tests_that_reach_them(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text(
        "class Stack:\n"
        "    def __init__(self):\n        self.items = []\n"
        "    def push(self, item):\n        self.items.append(item)\n"
        "    @property\n    def top(self):\n        return self.items[0]\n"
        "    @top.setter\n    def top(self, item):\n        self.items[-1] = item\n"
        "    def unused(self):\n        return 1\n"
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/stack_test.py").write_text(
        "from stack import Stack\n"
        "def test_top():\n    s = Stack()\n    s.push(1)\n    s.push(2)\n    assert s.top == 2\n"
        "def test_set():\n    s = Stack()\n    s.push(1)\n    s.top = 5\n    assert s.items == [5]\n"
    )
    ran = kelp_here("repair", "stack.py", "--json", "--patches", 1, *NO_MODEL)
    assert ran.code == 0, ran.err
    assert ran.json["function"] == "Stack.top"
    names = [function["name"] for function in ran.json["functions"]]
    assert names[0] == "Stack.top" and "Stack.unused" not in names
    assert "return self.items[0]\n" not in ran.json["patches"][0]["source"]  # the getter was at fault


def test_a_function_that_never_ends_is_found(kelp_here: Kelp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kelp.repair.session.FIRST_RUN_SECONDS", 2.0)
    (tmp_path / "loop.py").write_text(
        "def count(n):\n    i = 0\n    while i < n:\n        i -= 1\n    return i\n\ndef other():\n    return 1\n"
    )
    asserts = ("--assert", "other() == 1", "--assert", "count(3) == 3")
    ran = kelp_here("repair", "loop.py", *asserts, "--max-runs", 1, "--json", *NO_MODEL)
    assert ran.code == 1, ran.err
    assert [function["name"] for function in ran.json["functions"]] == ["count"]
    assert ran.json["tests_before"] == {"passed": 1, "total": 2, "failing": ["count(3) == 3"]}


def test_doctests_are_tests(kelp_here: Kelp, tmp_path: Path) -> None:
    examples = '    """Sum.\n\n    >>> add(1, 2)\n    3\n    """\n'
    (tmp_path / "f.py").write_text(f"def add(a, b):\n{examples}    return a - b\n")
    ran = kelp_here("repair", "f.py", "--doctest", "--patches", 1, *NO_MODEL)
    assert ran.code == 0 and b"+    return a + b\n" in ran.out, ran.err


def test_a_file_that_a_function_keeps_from_being_imported_is_repaired(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "table.py").write_text("def build(n):\n    return [1 / i for i in range(0, n)]\n\nTABLE = build(3)\n")
    ran = kelp_here("repair", "table.py", "--assert", "TABLE == [1.0, 0.5]", "--json", "--patches", 1, *NO_MODEL)
    assert ran.code == 0, ran.err
    assert ran.json["patches"][0]["edits"] == [{"start": 47, "end": 48, "old": "0", "new": "1"}]


@pytest.mark.parametrize("search", ["best-first", "beam", "best-of-n"])
def test_no_repair_tells_how_close_it_came_and_keeps_to_the_budget(kelp_here: Kelp, shapes: Path, search: str) -> None:
    asserts = ("--assert", "area(2, 3) == 6", "--assert", "area(1, 1) == 17")
    impossible = (*asserts, "--function", "area", "--search", search, *NO_MODEL)
    ran = kelp_here("repair", "shapes.py", *impossible, "--max-edits", 1)
    assert (ran.code, ran.out) == (1, b"")
    near = r"Not repaired: the closest edit passes 1 of 2 tests, the file as it is 0 \(.*: \d+ test runs, [\d.]+ s\)\."
    said, *rest = ran.err.splitlines()
    assert re.fullmatch(near, said)
    assert rest[0].startswith("With the closest edit ('") and any(line.startswith("area(") for line in rest)
    ran = kelp_here("repair", "shapes.py", *impossible, "--max-runs", 2, "--json")
    assert ran.code == 1
    assert (ran.json["status"], ran.json["patches"], ran.json["runs"]) == ("not repaired", [], 2)
    assert ran.json["stopped"] == "test runs used up"


def test_seconds_bind_a_program_that_hangs_in_every_run(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "hang.py").write_text("import time\n\ndef f(x):\n    time.sleep(3600)\n    return x + 1\n")
    ran = kelp_here("repair", "hang.py", "--assert", "f(1) == 1", "--max-seconds", 1.5, "--json", *NO_MODEL)
    assert ran.code == 1, ran.err
    assert ran.json["stopped"] == "out of time"
    assert ran.json["timings"]["first_tests"] + ran.json["timings"]["search"] < 30  # and not hours


def test_a_trace_is_written_for_a_repair_and_for_a_failure(kelp_here: Kelp, shapes: Path) -> None:
    trace = shapes.parent / "trace.html"
    ran = kelp_here("repair", "shapes.py", "--trace", trace, "--patches", 1, *NO_MODEL)
    assert ran.code == 0, ran.err
    assert "width * height" in trace.read_text()
    shapes.write_bytes(b"before = 1\n" * 1000 + BROKEN + b"after = 1\n" * 1000)
    ran = kelp_here("repair", "shapes.py", "--max-runs", 5, "--assert", "area(1, 1) == 17", "--trace", trace, *NO_MODEL)
    assert ran.code == 1, ran.err
    assert "width + height" in trace.read_text() and "after = 1" not in trace.read_text()  # only what is edited


def meddle(monkeypatch: pytest.MonkeyPatch, act: Callable[[Search], None]) -> None:
    """Have something happen in the middle of the search: in the first test run after a patch was found."""

    def strategy(search: Search, start: Node) -> Iterator[Node]:
        for node in best_first(search, start):
            if search.patches:
                act(search)
            yield node

    monkeypatch.setitem(STRATEGIES, "best-first", strategy)


def test_a_file_that_changed_meanwhile_is_left_as_it_is(
    kelp_here: Kelp, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddle(monkeypatch, lambda search: shapes.write_text("# changed\n") and None)
    ran = kelp_here("repair", "shapes.py", "--write", *NO_MODEL)
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == "shapes.py has changed since the search began and is left as it is."
    assert shapes.read_text() == "# changed\n"


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("how", ["--diff", "--write", "--json"])
def test_an_interrupt_hands_out_what_was_found_and_changes_nothing(
    kelp_here: Kelp, shapes: Path, monkeypatch: pytest.MonkeyPatch, how: str, number: int, code: int
) -> None:
    meddle(monkeypatch, lambda search: signal.raise_signal(number))
    ran = kelp_here("repair", "shapes.py", how, *NO_MODEL)
    assert ran.code == code
    assert ran.err.splitlines()[-1].startswith("Interrupted: area, tests 1/3 -> 3/3 (")
    assert b"+    return width * height\n" in (ran.out if how != "--json" else ran.json["patches"][0]["diff"].encode())
    assert shapes.read_bytes() == BROKEN


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_any_time_and_nothing_is_left(shapes: Path, number: int, code: int) -> None:
    folder = shapes.parent
    command = [sys.executable, "-m", "kelp", "repair", "shapes.py", "--write", "--assert", "area(1, 1) == 17"]
    command += ["--max-runs", "1000000", *NO_MODEL]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, env=environment(folder))
    while not any((folder / "scratch").glob("kelp-*/log")):  # until the sandbox is there
        assert process.poll() is None
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == code
    assert b"Traceback" not in said
    assert shapes.read_bytes() == BROKEN
    assert not any((folder / "scratch").iterdir())


def test_help_and_version_come_without_jax_or_pytest(tmp_path: Path) -> None:
    script = "import sys, kelp.cli.main; print(sorted({'jax', 'pytest', 'numpy', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("command", ["repair", "test", "train", "export"])
def test_every_command_shows_examples(kelp_here: Kelp, command: str) -> None:
    ran = kelp_here(command, "--help")
    assert ran.code == 0
    assert f"Examples:\n    kelp {command} " in ran.out.decode()


def test_the_disk_being_full_is_said(kelp: Kelp, shapes: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    ran = kelp("repair", "shapes.py", "--trace", "/dev/full", "--patches", 1, *NO_MODEL)
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == "/dev/full cannot be written: no space left on device."
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "kelp", "repair", "shapes.py", "--patches", "1", *NO_MODEL]
        done = subprocess.run(command, cwd=shapes.parent, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1] == "The output cannot be written: no space left on device."


FETCHING = """\
import socket
import urllib.request

def size(url):
    return len(urllib.request.urlopen(url).read())

def connected():
    return socket.create_connection(("localhost", 5432))

def table(path):
    return open(path).read()

def area(width, height):
    return width + height
"""


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("def test_x():\n    assert size('http://example.com') == 15",
         "test_x needs a network connection (the sandbox has none but to itself: mock it in the test)"),
        ("def test_x():\n    assert connected()",
         "test_x needs a server outside of the sandbox, PostgreSQL on port 5432 (the sandbox reaches nothing outside:"
         " let the test start it, or mock it)"),
        ("def test_x():\n    assert table('{outside}') == '1'",
         "test_x needs access to {folder} (the sandbox shows the project and libraries, and temporary files alone: use"
         " a file of the project or tmp_path)"),
        ("def test_x(mocker):\n    assert area(2, 3) == 6",
         "test_x needs the fixture 'mocker' (--test-command 'pytest ...' loads the plugins that are installed for that"
         " pytest)"),
        ("async def test_x():\n    assert area(2, 3) == 6",
         "test_x needs a pytest plugin for async tests (--test-command 'pytest ...' loads the plugins that are"
         " installed for that pytest)"),
    ],
)  # fmt: skip
def test_a_failure_that_the_sandbox_causes_is_named_and_not_repaired(
    kelp_here: Kelp, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, test: str, said: str
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "table.txt"
    outside.write_text("1")
    (tmp_path / "fetching.py").write_text(FETCHING)
    head, passes = "from fetching import area, connected, size, table", "def test_y():\n    assert area(2, 2) == 4"
    test = test.replace("{outside}", str(outside))
    (tmp_path / "test_fetching.py").write_text(f"{head}\n\n{test}\n\n{passes}\n")
    ran = kelp_here("repair", "fetching.py", "--tests", "test_fetching.py", *NO_MODEL)
    said = "test_fetching.py::" + said.format(folder=outside.parent)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.sentence == f"No test fails by a fault of fetching.py: {said}."
    shown = kelp_here("test", "fetching.py").out.decode()
    assert f"  {said.partition(' ')[2]}\n" in shown

    # beside a test that says what to repair, it is no goal
    with (tmp_path / "test_fetching.py").open("a") as tests:
        tests.write("\ndef test_area():\n    assert area(3, 4) == 12\n")
    ran = kelp_here("repair", "fetching.py", "--json", "--patches", 1, "--max-seconds", 600, *NO_MODEL)
    assert ran.code == 0, ran.err
    assert f"Set aside, as no fault of the program: {said}." in ran.err.splitlines()
    assert [aside["name"] for aside in ran.json["set_aside"]] == ["test_fetching.py::test_x"]
    assert ran.json["tests_before"] == {"passed": 1, "total": 2, "failing": ["test_fetching.py::test_area"]}
    assert [function["name"] for function in ran.json["functions"]] == ["area"]
    assert ran.json["patches"][0]["source"] == FETCHING.replace("width + height", "width * height")


def test_a_file_that_needs_something_to_be_imported_is_not_repaired(
    kelp_here: Kelp, shapes: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "table.txt"
    outside.write_text("1")
    shapes.write_bytes(FIXED + f"\ndef load():\n    return open('{outside}').read()\n\nTEXT = load()\n".encode())
    ran = kelp_here("repair", "shapes.py", "--assert", "half(4) == 2", *NO_MODEL)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.sentence.startswith("The tests cannot be run: FileNotFoundError line 10: ")
    assert f"; they need access to {outside.parent} (the sandbox shows" in ran.sentence


def test_several_tests_with_the_same_need_are_named_together(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "fetching.py").write_text(FETCHING)
    tests = ["size('http://a.example') == 1", "size('http://b.example') == 2", "connected() == 1"]
    given = [word for test in tests for word in ("--assert", test)]
    ran = kelp_here("repair", "fetching.py", *given, "--json", *NO_MODEL)
    assert ran.code == 2
    assert f"{tests[0]} and {tests[1]} need a network connection (" in ran.sentence
    assert f"; {tests[2]} needs a server outside of the sandbox, PostgreSQL on port 5432 (" in ran.sentence
    assert [aside["name"] for aside in ran.json["set_aside"]] == tests == ran.json["tests_before"]["failing"]


def test_a_command_is_the_test_of_a_whole_project(kelp_here: Kelp, tmp_path: Path) -> None:
    package = tmp_path / "src/shop"
    package.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['src']\n")
    (package / "__init__.py").write_text("")
    (package / "shapes.py").write_bytes(BROKEN)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_all.py").write_text(TESTS.replace("from shapes", "from shop.shapes"))
    command = f"env PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 {sys.executable} -m pytest -q tests/test_all.py"
    limits = ("--max-runs", 40, "--max-seconds", 600, "--patches", 1, *NO_MODEL)
    ran = kelp_here("repair", "src/shop/shapes.py", "--test-command", command, "--json", *limits)
    assert ran.code == 0, ran.err
    assert ran.json["tests_before"]["failing"] == ["tests/test_all.py::test_area", "tests/test_all.py::test_square"]
    assert [function["name"] for function in ran.json["functions"]] == ["area"]
    assert ran.json["patches"][0]["source"] == FIXED.decode()
    assert (package / "shapes.py").read_bytes() == BROKEN and not list(tmp_path.rglob("*.pyc"))


def test_a_command_without_tests_of_its_own_needs_a_function(kelp_here: Kelp, shapes: Path) -> None:
    (shapes.parent / "check.py").write_text("import shapes, sys\nsys.exit(shapes.area(2, 3) != 6)\n")
    check = ("--test-command", f"{sys.executable} check.py", "--patches", 1, *NO_MODEL)
    ran = kelp_here("repair", "shapes.py", *check)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.sentence.endswith("name the function with --function.")
    ran = kelp_here("repair", "shapes.py", *check, "--function", "area")
    assert ran.code == 0 and ran.sentence.startswith("Repaired: area, tests 0/1 -> 1/1"), ran.err


@pytest.mark.parametrize(
    "options, said",
    [
        ("--test-command \"x '\"", "--test-command \"x '\" cannot be split into words: No closing quotation."),
        ("--test-command ' '", "--test-command is empty: give a program and its arguments, as in 'pytest -q tests'."),
        ("--test-command 'nosuch x'", "--test-command 'nosuch x': there is no program nosuch on the PATH."),
        ("--test-command true --doctest", "--test-command excludes --tests, --assert and --doctest: the command decides"
         " alone."),
        ("--test-command true", "All tests of shapes.py pass already (1 of 1)."),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_used_is_said(kelp_here: Kelp, shapes: Path, options: str, said: str) -> None:
    ran = kelp_here("repair", "shapes.py", *shlex.split(options), *NO_MODEL)
    assert (ran.code, ran.sentence) == (3 if "pass already" in said else 2, said)


def test_tests_are_taken_from_a_folder_and_one_by_one(kelp_here: Kelp, shapes: Path) -> None:
    (shapes.parent / "unit").mkdir()
    (shapes.parent / "test_shapes.py").rename(shapes.parent / "unit/test_shapes.py")
    ran = kelp_here("repair", "shapes.py", "--tests", "unit", "--json", "--patches", 1, *NO_MODEL)
    assert ran.code == 0 and ran.json["tests_before"]["total"] == 3, ran.err
    one = ("--tests", "unit/test_shapes.py::test_square", "--tests", "unit/test_shapes.py::test_half")
    ran = kelp_here("repair", "shapes.py", *one, "--json", "--max-runs", 2, *NO_MODEL)
    assert ran.json["tests_before"] == {"passed": 1, "total": 2, "failing": ["test_shapes.py::test_square"]}


def test_several_patches_are_printed_each_with_its_edits(kelp_here: Kelp, shapes: Path) -> None:
    ran = kelp_here("repair", "shapes.py", "--assert", "area(2, 2) == 0", "--patches", 2, *NO_MODEL)
    assert ran.code == 0, ran.err
    heads = [line for line in ran.out.decode().splitlines() if line.startswith("# patch ")]
    assert [head.partition(":")[0] for head in heads] == ["# patch 1 of 2", "# patch 2 of 2"]
    assert all("area, '" in head for head in heads) and ran.out.count(b"--- a/shapes.py\n") == 2
    assert "Look closely: only one test runs area." in ran.err


def test_a_search_in_which_nothing_helps_ends_early_and_says_where_the_fault_is(kelp_here: Kelp, shapes: Path) -> None:
    ran = kelp_here("repair", "shapes.py", "--assert", "area(2, 3) == 'six'", "--max-seconds", 600, *NO_MODEL)
    assert (ran.code, ran.out) == (1, b"")
    assert "(no edit gets nearer: 128 test runs, " in ran.err
    assert ran.err.splitlines()[-4:] == [
        "The fault is probably here:",
        "  shapes.py:3 area (100%): 1 failing test runs it, 0 passing; 126 edits tried",
        "",
        NEVER,
    ]


def test_the_closest_edit_is_shown_as_a_diff_with_its_line(kelp_here: Kelp, shapes: Path) -> None:
    impossible = ("--assert", "area(2, 3) == 6", "--assert", "area(1, 1) == 17")
    ran = kelp_here("repair", "shapes.py", *impossible, "--max-edits", 1, *NO_MODEL)
    assert (ran.code, ran.out) == (1, b"")
    assert "The closest edit, at shapes.py:3, passes area(2, 3) == 6:\n\n--- a/shapes.py\n" in ran.err


def test_a_fault_in_a_file_is_located(kelp_here: Kelp, shapes: Path) -> None:
    ran = kelp_here("locate", "shapes.py")
    assert ran.code == 0, ran.err
    assert ran.out.decode().startswith("1. shapes.py:1 area (100%)\n   2 failing tests run it, 0 passing\n")
    assert b"       3  100%  return width + height\n" in ran.out
