"""The examples in the program's docstrings: one test a docstring.

They run in the program's process; what each printed is compared with what it should print outside (`verdict.py`).
"""

from __future__ import annotations

import ast
import doctest
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from kelp.execution.worker.candidate import Candidate
from kelp.execution.worker.events import Report
from kelp.execution.worker.plugin.kelp_failures import safe_message

_LONGEST = 2**16  # characters that an example prints, to be judged


class _Recorder(doctest.OutputChecker):
    """Keeps the output that was found equal last."""

    def __init__(self) -> None:
        self.equal: str = ""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        equal = super().check_output(want, got, optionflags)
        if equal:
            self.equal = got
        return equal


class _Runner(doctest.DocTestRunner):
    """Keeps the first example that failed, and the outputs of those that did not; prints nothing."""

    def __init__(self, candidate: Candidate, report: Report):
        self.recorder = _Recorder()
        super().__init__(self.recorder, verbose=False, optionflags=doctest.FAIL_FAST)
        self.candidate, self.needs = candidate, report.needs
        self.facts: dict[str, Any] = {}
        self.outputs: list[str] = []

    def report_start(self, out: Any, test: doctest.DocTest, example: doctest.Example) -> None:
        pass

    def report_success(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self.outputs.append(self.recorder.equal)

    def report_failure(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self.facts = {"status": "fail", "call": example.source.strip(), "got": got.strip()[:400]}
        self.facts["expected"] = example.want.strip()[:400]

    def report_unexpected_exception(
        self, out: Any, test: doctest.DocTest, example: doctest.Example, exc_info: Any
    ) -> None:
        error = exc_info[1]
        self.facts = {"status": "error", "call": example.source.strip(), "exception": type(error).__name__}
        self.facts |= {"message": safe_message(error), "line": self.candidate.line_of(error)}
        self.facts["needs"] = self.needs.of(error)


def find(module: ModuleType) -> list[doctest.DocTest]:
    """Docstrings with examples."""
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


def run_test(test: doctest.DocTest, candidate: Candidate, report: Report, begin: Callable[..., None]) -> None:
    """Run the examples of one docstring, and report the first failure, or what they printed."""
    begin(test.name, (), None)
    began = time.perf_counter()
    runner = _Runner(candidate, report)
    try:
        runner.run(test, out=lambda _text: None)
    except BaseException as error:
        facts: dict[str, Any] = {"status": "error", "exception": type(error).__name__, "message": safe_message(error)}
        facts |= {"line": candidate.line_of(error), "needs": report.needs.of(error)}
    else:
        facts = runner.facts or {"status": "pass", "evidence": [text[:_LONGEST] for text in runner.outputs]}
    if facts["status"] == "pass":
        report.verdict(test.name, "pass")
    report.outcome(test.name, seconds=time.perf_counter() - began, **facts)


def examples(tree: ast.Module, module: str) -> dict[str, list[list[Any]]]:
    """Wanted output and options of the examples in the text of a program, by the name that its docstring has as a test.

    An exception's text is wanted in place of an output where one is.
    """
    parser, found = doctest.DocTestParser(), {}
    for name, docstring in _docstrings(tree, module):
        wanted = [
            [each.want if each.exc_msg is None else each.exc_msg, sum(f for f, on in each.options.items() if on)]
            for each in parser.get_examples(docstring)
            if not each.options.get(doctest.SKIP)
        ]
        if wanted:
            found[name] = wanted
    return found


def _docstrings(node: Any, name: str) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node, clean=False)
    if text:
        yield name, text
    for inner in node.body:
        if isinstance(inner, ast.ClassDef) or (
            isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) and isinstance(node, (ast.Module, ast.ClassDef))
        ):
            yield from ((n, t) for n, t in _docstrings(inner, f"{name}.{inner.name}"))
