"""Whatever a person can put right is one sentence on stderr and exit status 2; with --json, an object too."""

# ruff: noqa: E501  (the sentences as they are printed)

import os
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp

from kelp.errors import KelpError
from kelp.files import read

pytestmark = pytest.mark.slow

BAD = "def area(width, height):\n    return width + height\n\nclass Box:\n    def size(self):\n        return 1\n"


FILES: dict[str, str | bytes] = {
    "shapes": BAD,
    "latin": b"x = 1\nname = '\xe9'\ndef f(): return 1\n",
    "mac": b"def f():\r    return 1\r",
    "broken": "def f():\n    return (1\n",
    "nul": b"def f():\n    return 1\0\n",
    "constants": "X = 1\n",
    "early": "X = 1 / 0\n\ndef f():\n    return 1\n",
    "test_empty": "import shapes\n",
    "test_import": "import shapes\nimport surely_not_installed\n\ndef test_it():\n    assert False\n",
    "test_name": "from shapes import volume\n\ndef test_it():\n    assert volume() == 1\n",
    "test_syntax": "def test_it(:\n",
    "test_good": "from shapes import area\n\ndef test_it():\n    assert area(2, 2) == 4\n",
    "test_nothing": "import shapes\n\ndef test_it():\n    assert shapes.X == 1\n",
    "test_skip": "import pytest\n\n@pytest.mark.skip\ndef test_it():\n    assert False\n",
}
FAILING = ("--assert", "area(2, 3) == 6")
CASES: dict[str, tuple[tuple[str, ...], str]] = {
    "missing file": (("nowhere.py",), "nowhere.py does not exist."),
    "folder": ((".", *FAILING), "--assert and --doctest need a file, and not a project or a test file."),
    "line ends": (("mac.py",), "mac.py has lines that end with CR alone, which Kelp does not edit: convert them to LF."),
    "encoding": (("latin.py",), "latin.py is not UTF-8 (line 2), and Kelp edits no other encoding."),
    "syntax": (("broken.py",), "broken.py does not parse (line 2: '(' was never closed): Kelp repairs programs that do."),
    "nul": (("nul.py",), "nul.py does not parse ("),
    "no tests": (("shapes.py",), "No tests are given, and there is no test_shapes.py beside shapes.py or in tests/: name tests with --tests, --assert or --doctest."),
    "no function": (("constants.py", "--assert", "X == 2"), "constants.py holds no function, and Kelp repairs functions."),
    "no test file": (("shapes.py", "--tests", "test_x.py"), "test_x.py does not exist."),
    "test folder": (("shapes.py", "--tests", "scratch"), "There is no test file in scratch: pytest's are named test_*.py or *_test.py."),
    "whole and single": (("shapes.py", "--tests", "test_good.py::test_it", "--tests", "test_skip.py"), "--tests takes whole files or single tests, not both."),
    "no such test": (("shapes.py", "--tests", "test_good.py::test_no"), "There is no test test_good.py::test_no."),
    "no test in it": (("shapes.py", "--tests", "test_empty.py"), "There is no test in test_empty.py."),
    "no doctest": (("shapes.py", "--doctest"), "There is no example in the docstrings of shapes.py."),
    "test import": (("shapes.py", "--tests", "test_import.py"), "The tests cannot be run: ModuleNotFoundError: No module named 'surely_not_installed' (while importing test_import.py); they need the package 'surely_not_installed', which "),
    "test syntax": (("shapes.py", "--tests", "test_syntax.py"), "The tests cannot be run: SyntaxError"),
    "missing name": (("shapes.py", "--tests", "test_name.py"), "The tests cannot be run: ImportError: cannot import name 'volume' from 'shapes'"),
    "skipped": (("shapes.py", "--tests", "test_skip.py"), "All tests are skipped: nothing says what to repair."),
    "own import": (("early.py", "--assert", "f() == 2"), "early.py cannot be imported, and not because of a function: ZeroDivisionError line 1: division by zero (while loading early.py)."),
    "no function reached": (("shapes.py", "--tests", "test_nothing.py"), "The failing tests reach no function of shapes.py (the first is test_nothing.py::test_it): name the function with --function."),
    "function": (("shapes.py", "--function", "aera", *FAILING), "shapes.py has no function aera: did you mean area?"),
    "method": (("shapes.py", "--function", "size", *FAILING), "shapes.py has no function size: did you mean Box.size?"),
    "far function": (("shapes.py", "--function", "zzz", *FAILING), "shapes.py has no function zzz: there are area, Box.size."),
    "assert": (("shapes.py", "--assert", "area(1, 2) =="), "--assert 'area(1, 2) ==' is no Python expression: invalid syntax."),
    "assert statement": (("shapes.py", "--assert", "x = 1"), "--assert 'x = 1' is no Python expression: give one that must be true, as in 'f(1) == 2'."),
    "outputs": (("shapes.py", "--write", "--json"), "--diff, --write, --json and --format exclude one another: give one of them."),
    "seconds": (("shapes.py", "--max-seconds", "0", *FAILING), "--max-seconds must be positive, not 0.0."),
    "model": (("shapes.py", *FAILING, "--model", "no-such-model"), "There is no model 'no-such-model': "),
    "model folder": (("shapes.py", *FAILING, "--model", "."), ". is no model folder: it holds no config.json."),
    "trace folder": (("shapes.py", *FAILING, "--trace", "nowhere/x.html"), "nowhere/x.html cannot be written: there is no folder "),
    "trace is folder": (("shapes.py", *FAILING, "--trace", "."), ". is a directory: give the name of a file to write."),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_mistake_has_its_sentence(kelp_here: Kelp, tmp_path: Path, case: str) -> None:
    for name, content in FILES.items():
        (tmp_path / f"{name}.py").write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments, sentence = CASES[case]
    model = () if "--model" in arguments else ("--model", "none")
    ran = kelp_here("repair", *arguments, *model)
    assert ran.code == 2
    assert ran.sentence.startswith(sentence)
    assert ran.sentence == sentence or not sentence.endswith(".")
    assert (ran.json["error"] == ran.sentence) if "--json" in arguments else (ran.out == b"")
    assert not any((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("output", [(), ("--write",)])
def test_tests_that_pass_already_are_said_to(kelp_here: Kelp, tmp_path: Path, output: tuple[str, ...]) -> None:
    (tmp_path / "shapes.py").write_text(FILES["shapes"])
    ran = kelp_here("repair", "shapes.py", "--assert", "area(2, 2) == 4", *output, "--model", "none")
    assert (ran.code, ran.out, ran.sentence) == (3, b"", "All tests of shapes.py pass already (1 of 1).")


def test_json_is_printed_for_bad_input_too(kelp_here: Kelp, tmp_path: Path) -> None:
    ran = kelp_here("repair", "nowhere.py", "--json")
    assert ran.code == 2
    assert ran.json["status"] == "bad input"
    assert ran.json["error"] == ran.sentence == "nowhere.py does not exist."
    (tmp_path / "shapes.py").write_text(FILES["shapes"])
    ran = kelp_here("repair", "shapes.py", "--assert", "area(2, 2) == 4", "--json", "--model", "none")
    assert (ran.code, ran.json["status"], ran.json["tests_before"]["passed"]) == (3, "passes already", 1)


def test_an_unknown_option_names_the_one_that_was_meant(kelp: Kelp) -> None:
    ran = kelp("repair", "x.py", "--tets", "y.py")
    assert ran.code == 2
    assert "--tests" in ran.err and "Traceback" not in ran.err


def test_a_folder_that_cannot_be_written_is_found_out_before_the_search(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text(FILES["shapes"])
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        ran = kelp_here("repair", "shapes.py", *FAILING, "--write", "--model", "none")
    finally:
        tmp_path.chmod(0o700)
    assert (ran.code, ran.sentence) == (2, "shapes.py cannot be written: permission denied.")


def test_a_pipe_is_no_program(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(KelpError, match="pipe or a device"):
        read(tmp_path / "pipe.py")
