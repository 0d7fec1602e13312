"""The examples in the program's docstrings, in the child process: one test a docstring."""

import doctest
import time
from types import ModuleType
from typing import Any

from kelp.execution.candidate import Candidate, safe_message
from kelp.execution.report import Report

_now = time.perf_counter


class _Runner(doctest.DocTestRunner):
    """Keeps the first example that went wrong and prints nothing."""

    def __init__(self, candidate: Candidate):
        super().__init__(verbose=False, optionflags=doctest.FAIL_FAST)
        self.candidate = candidate
        self.facts: dict[str, Any] = {}

    def report_start(self, out: Any, test: doctest.DocTest, example: doctest.Example) -> None:
        pass

    def report_failure(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self.facts = {"status": "fail", "call": example.source.strip(), "got": got.strip()[:400]}
        self.facts["expected"] = example.want.strip()[:400]

    def report_unexpected_exception(
        self, out: Any, test: doctest.DocTest, example: doctest.Example, exc_info: Any
    ) -> None:
        error = exc_info[1]
        self.facts = {"status": "error", "call": example.source.strip(), "exception": type(error).__name__}
        self.facts |= {"message": safe_message(error), "line": self.candidate.line_of(error)}


def find_doctests(module: ModuleType) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


def run_doctests(tests: list[doctest.DocTest], candidate: Candidate, report: Report, *, trace: bool) -> bool:
    """Run the tests in order and report each; False as soon as one has failed and the report says to stop."""
    for test in tests:
        lines = report.begin(test.name)
        runner, began = _Runner(candidate), _now()
        try:
            if trace:
                with candidate.traced(lines):
                    runner.run(test, out=lambda _text: None)
            else:
                runner.run(test, out=lambda _text: None)
            facts = runner.facts or {"status": "pass"}
        except BaseException as error:
            facts = {"status": "error", "exception": type(error).__name__, "message": safe_message(error)}
        if not report.outcome(test.name, seconds=_now() - began, **facts):
            return False
    return True
