"""`kelp test`: a person sees what failed, and how."""

import re
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp

SOURCE = """\
def area(width, height):
    return width + height


def half(x):
    return x / 2
"""
TESTS = """\
from shapes import area, half

def test_area():
    print("measuring")
    assert area(2, 3) == 6

def test_half():
    assert half(4) == 2

def test_none():
    half(None)
"""


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    (tmp_path / "test_shapes.py").write_text(TESTS)
    (tmp_path / "shapes.py").write_text(SOURCE)
    return tmp_path / "shapes.py"


def test_each_test_is_listed_and_failures_are_explained(kelp_here: Kelp, shapes: Path) -> None:
    ran = kelp_here("test", "shapes.py", "--coverage")
    assert ran.code == 1, ran.err
    said = re.sub(r"[\d.]+ s\b", "T s", ran.out.decode())
    assert (
        said
        == """\
FAIL       T s  test_shapes.py::test_area
pass       T s  test_shapes.py::test_half
ERROR      T s  test_shapes.py::test_none

test_shapes.py::test_area
  area(2, 3)
    got       5
    expected  6

test_shapes.py::test_none
  half(None)
  TypeError: unsupported operand type(s) for /: 'NoneType' and 'int'
  shapes.py:6: return x / 2

  | measuring

Lines of shapes.py that tests ran (- only failing ones, + only passing ones):
     2 -     return width + height
     6       return x / 2

3 tests: 1 passed, 1 failed, 1 error (T s)
"""
    )


def test_passing_is_status_0(kelp_here: Kelp, shapes: Path) -> None:
    ran = kelp_here("test", shapes, "--assert", "half(4) == 2")
    assert ran.code == 0, ran.err
    assert re.fullmatch(r"pass +[\d.]+ s  half\(4\) == 2\n\n1 test: 1 passed \([\d.]+ s\)\n", ran.out.decode())


def test_json_has_all_of_it(kelp_here: Kelp, shapes: Path) -> None:
    found = kelp_here("test", "shapes.py", "--json").json
    assert (found["status"], found["passed"], found["total"], found["error"]) == ("not passed", 1, 3, None)
    assert [(test["status"], test["line"], test["lines"]) for test in found["tests"]] == [
        ("fail", None, [2]), ("pass", None, [6]), ("error", 6, [6]),
    ]  # fmt: skip


def test_a_file_that_cannot_be_imported_is_shown_where(kelp_here: Kelp, shapes: Path) -> None:
    shapes.write_text("import json\nx = json.loads('')\n")
    ran = kelp_here("test", "shapes.py", "--assert", "x == 1")
    assert ran.code == 1
    assert "JSONDecodeError" in ran.out.decode() and "shapes.py:2: x = json.loads('')\n" in ran.out.decode()
    assert "1 test: 1 not run (" in ran.out.decode()


def test_bad_usage_is_said(kelp_here: Kelp, shapes: Path) -> None:
    ran = kelp_here("test", "shapes.py", "--doctest")
    assert (ran.code, ran.sentence) == (2, "There is no example in the docstrings of shapes.py.")
    ran = kelp_here("test", "shapes.py", "--max-seconds", "0")
    assert (ran.code, ran.sentence) == (2, "--max-seconds must be positive, not 0.0.")
    assert kelp_here("test", "no.py").sentence == "no.py does not exist."


def test_a_hanging_test_is_a_timeout(kelp_here: Kelp, shapes: Path) -> None:
    shapes.write_text("def f():\n    while True: pass\n")
    ran = kelp_here("test", "shapes.py", "--assert", "f() == 1", "--assert", "True", "--max-seconds", "0.5")
    assert ran.code == 1
    assert ran.out.startswith(b"TIMEOUT ") and b"killed at its limit of 0.5 s" in ran.out
    assert b"2 tests: 1 timeout, 1 not run (" in ran.out


def test_control_characters_of_a_program_are_shown_and_not_obeyed(kelp_here: Kelp, shapes: Path) -> None:
    loud = "\\x1b[2J\\x1b]52;c;aGk=\\x07\\u202e\\ud800"
    shapes.write_text(
        f'def area(*sides):\n    print("{loud[:-6]}")\n    raise ValueError("no\\nRepaired shapes.py {loud}")\n'
    )
    for command in (("test",), ("repair", "--model", "none", "--max-runs", "3")):
        ran = kelp_here(*command, "shapes.py", "--assert", "area(2) == 4")
        assert ran.code == 1, ran.err
        printed = ran.out.decode() + ran.err
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", printed) and r"\x1b[2J" in printed
        assert not re.search("(?m)^Repaired", printed)
