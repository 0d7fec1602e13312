"""The format of bugs in a file, and what is wrong with a line."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from kelp.encoding.condition import Condition
from kelp.evaluation.case import Case
from kelp.evaluation.case_files import read_cases, read_folder
from kelp.evaluation.case_runner import CaseRunner, shared_sandbox
from kelp.execution.sandbox import Sandbox
from kelp.repair import Done
from kelp.search.policy import Policy, Proposal
from kelp.syntax.program import Program

GOOD = {"id": "a", "source": "def f(x):\n    return x\n", "visible_tests": ["assert f(1) == 2"]}
NEXT = {**GOOD, "id": "next"}


def read(tmp_path: Path, *lines: object) -> tuple[list[Case], list[str]]:
    text = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    (tmp_path / "cases.jsonl").write_bytes(text)
    return read_cases(tmp_path / "cases.jsonl")


def test_a_case_needs_a_name_a_program_and_tests(tmp_path: Path) -> None:
    cases, skipped = read(
        tmp_path, GOOD, b"\n", {**GOOD, "id": "b", "visible_tests": "def test_f():\n    assert f(1)\n"}
    )
    assert skipped == []
    assert read(tmp_path, {**GOOD, "hidden_tests": ""})[0][0].hidden_tests == ""
    assert cases[0] == Case("a", "def f(x):\n    return x\n", ("assert f(1) == 2",))
    assert cases[1].visible_tests == "def test_f():\n    assert f(1)\n"


def test_a_case_that_is_written_is_read_again(tmp_path: Path) -> None:
    case = Case("a", GOOD["source"], ("f(1)",), ("f(2)", "f(3)"), "A = 1", "Do.", "f", "g", "def f(x): return A", 3)  # type: ignore[arg-type]
    assert read(tmp_path, asdict(case)) == ([case], [])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{\n", "Expecting property name"),
        (b"[1]\n", "not a JSON object"),
        (b'{"id": "b"}\n', "there is no 'source'"),
        (b'{"id": "\xe9"}\n', "'utf-8' codec can't decode byte 0xe9"),
        (b"[" * 100_000 + b"\n", "maximum recursion depth exceeded"),
        (GOOD, "the id 'a' occurs twice"),
        ({"hidden_test": []}, "unknown key 'hidden_test'; known are id, source, visible_tests, hidden_tests, setup"),
        ({"id": 7}, "id cannot be '7'"),
        ({"id": ""}, "the id is empty"),
        ({"group": "all"}, "group 'all' is that of all cases"),
        ({"module": "a.b"}, "module 'a.b' is no name of a module"),
        ({"source": "def f(:"}, "source does not parse"),
        ({"source": "x = 1"}, "source holds no function"),
        ({"function": "g"}, "source holds no function g"),
        ({"fixed": "return"}, "fixed does not parse"),
        ({"source": "\ud800"}, "source cannot be"),
        ({"id": "\ud800"}, "id cannot be"),
        ({"source": "def f(x):\n    return '\0'"}, "source does not parse"),
        ({"visible_tests": []}, "there are no visible tests"),
        ({"visible_tests": ["assert f("]}, "this test does not parse: 'assert f('"),
        ({"visible_tests": [f"assert f({'-' * 20_000}1)"]}, "this test does not parse: 'assert f(---"),
        ({"visible_tests": "assert f(1) == 2"}, "tests in one text are pytest code, with functions"),
        ({"hidden_tests": [1]}, "this test does not parse: '1'"),
        ({"hidden_tests": "def test("}, "this test does not parse: 'def test('"),
        ({"hidden_tests": {"a": 1}}, "hidden_tests cannot be"),
        ({"setup": "A ="}, "setup does not parse"),
        ({"visible_tests": "def test_f(): pass", "setup": "A = 1"}, "setup does not go with pytest code"),
    ],
)
def test_a_bad_line_is_named_and_skipped(tmp_path: Path, line: Any, what: str) -> None:
    cases, [said] = read(tmp_path, GOOD, line if isinstance(line, bytes) else {**NEXT, **line}, {**GOOD, "id": "last"})
    assert [case.id for case in cases] == ["a", "last"]
    assert said.startswith(f"line 2: {what}")


def test_a_repair_is_of_the_function_named_or_of_the_functions_that_failing_tests_reach() -> None:
    source = "def f(x):\n    return g(x)\n\ndef g(x):\n    return x\n\ndef h(x):\n    return x\n"
    tests = ("assert f(1) == 2",)
    code = "from program import f\n\ndef test_f():\n    assert f(1) == 2\n    assert f(2) == 3\n"

    def searched(case: Case, sandbox: Sandbox) -> dict[str, tuple[str, ...]]:
        seen = {}

        class Curious(Policy):
            def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
                seen[program.source.decode()[4]] = condition.asserts
                yield from ()

        with CaseRunner(case, sandbox) as runner:
            *_, done = runner.session(model=Curious()).run()
        assert isinstance(done, Done)
        assert [function.name for function in done.result.functions] == list(seen)
        return seen

    with shared_sandbox() as sandbox:
        assert searched(Case("a", source, tests, intent="Do."), sandbox) == {"f": tests, "g": tests}
        assert searched(Case("a", source, tests, function="g"), sandbox) == {"g": tests}
        assert searched(Case("a", source, code), sandbox) == {"f": ("assert f(1) == 2", "assert f(2) == 3"), "g": ()}


def bug_folder(folder: Path) -> Path:
    (folder / "double").mkdir()
    (folder / "bugs.toml").write_text('[double]\ngroup = "g"\nintent = "Double."\nedits = 1\n')
    (folder / "double/double.py").write_text("def double(x):\n    return x + 1\n")
    (folder / "double/test_double.py").write_text(
        "from double import double\n\ndef test():\n    assert double(2) == 4\n"
    )
    return folder


def test_a_folder_of_bugs_is_read(tmp_path: Path) -> None:
    folder = bug_folder(tmp_path)
    [case], skipped = read_folder(folder)
    assert skipped == []
    assert (case.id, case.module, case.group, case.intent) == ("double", "double", "g", "Double.")
    assert (case.source, case.fixed, case.hidden_tests) == ((folder / "double/double.py").read_text(), None, ())
    (folder / "double/fixed.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "double/test_double_hidden.py").write_text(
        "from double import double\n\ndef test():\n    assert double(5) == 10\n"
    )
    [case], _ = read_folder(folder)
    assert case.fixed is not None
    with shared_sandbox() as sandbox, CaseRunner(case, sandbox) as runner:
        assert not runner.run(case.source.encode()).ok
        assert runner.passes(case.fixed)


def test_a_bad_bug_of_a_folder_is_named_and_skipped(tmp_path: Path) -> None:
    table = bug_folder(tmp_path) / "bugs.toml"
    table.write_text(f"here = 1\n{table.read_text()}[gone]\n[latin]\n")
    shutil.copytree(tmp_path / "double", tmp_path / "latin")
    for file in (tmp_path / "latin").iterdir():
        file.rename(tmp_path / "latin" / file.name.replace("double", "latin"))
    (tmp_path / "latin/latin.py").write_bytes(b"# caf\xe9\ndef double(x):\n    return x\n")
    cases, skipped = read_folder(tmp_path)
    assert [case.id for case in cases] == ["double"]
    assert skipped[:2] == ["here: not a JSON object", "gone: there is no 'source'"]
    assert skipped[2].startswith("latin: source cannot be '# caf")
    table.write_text("[double")
    with pytest.raises(ValueError):
        read_folder(tmp_path)


FORGED = """
import sys
def f(x):
    frame = sys._getframe()
    while "report" not in frame.f_locals:
        frame = frame.f_back
    report = frame.f_locals["report"]
    for name in ("f(1) == 2",):
        report.verdict(name, "pass")
        report.outcome(name, status="pass", seconds=0.0)
    report.done()
"""


def test_a_hidden_assert_counts_only_if_its_values_hold_outside_of_the_programs_process() -> None:
    source = (
        "class Box:\n    def __init__(self, x): self.x = x\n    def __eq__(self, other): return self.x == other.x\n"
    )
    source += "def f(x):\n    return Box(x)\n"
    boxed = ("f(1) == Box(1)", "f(2).x == 2")  # the first cannot be judged outside, with the correct program either
    plain = ("f(1) == 2",)
    with shared_sandbox() as sandbox:
        with CaseRunner(Case("a", source, boxed, boxed, fixed=source), sandbox) as runner:
            assert runner.passes_hidden(source) is True
        for fixed in ("def f(x):\n    return x + 1\n", None):
            with CaseRunner(Case("a", FORGED, plain, plain, fixed=fixed), sandbox) as runner:
                assert runner.run(FORGED.encode()).ok and runner.passes_hidden(FORGED) is False
                assert runner.passes_hidden("def f(x):\n    return 2 * x\n") is True
