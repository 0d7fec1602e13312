"""The examples in the program's docstrings, in the child process: one test a docstring."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from kelp.execution.worker.candidate import Candidate, safe_message
from kelp.execution.worker.plugin.kelp_needs import Needs


class _Runner(doctest.DocTestRunner):
    """Keeps the first example that failed and prints nothing."""

    def __init__(self, candidate: Candidate, needs: Needs):
        super().__init__(verbose=False, optionflags=doctest.FAIL_FAST)
        self.candidate, self.needs = candidate, needs
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
        self.facts["needs"] = self.needs.of(error)


def find_doctests(
    module: ModuleType, candidate: Candidate, needs: Needs
) -> list[tuple[str, Callable[[], dict[str, Any]]]]:
    """Docstrings with examples: a name, and a function that returns the facts of the first failure (empty: none)."""

    def run(test: doctest.DocTest) -> dict[str, Any]:
        runner = _Runner(candidate, needs)
        runner.run(test, out=lambda _text: None)
        return runner.facts

    return [(test.name, partial(run, test)) for test in doctest.DocTestFinder().find(module) if test.examples]


class _Untraced(ModuleType):
    """`sys` without the trace function: doctest sets it, and the run's main thread may not."""

    def __getattribute__(self, name: str) -> Any:
        return (lambda _function: None) if name == "settrace" else getattr(sys, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(sys, name, value)


vars(doctest)["sys"] = _Untraced("sys")
